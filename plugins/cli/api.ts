/**
 * A thin client of the agent's HTTP API: builds the URL, adds the token, checks the status, reads the JSON. Failures
 * carry the texts of Consul's Go client, which people search for and scripts match.
 */
import type { HttpClientResponse } from "../../core/ports/http.ts";
import { type Bytes, strictText, text, utf8 } from "../../core/types/bytes.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { messageOf } from "../../core/types/errors.ts";
import { type ClientSettings, clientSettings, type SharedFlagValues } from "./client-settings.ts";
import type { CliContext } from "./context.ts";
import { type Json, parseJson } from "./json.ts";
import { encodeQuery, escapeHost, escapePath, type QueryParameters } from "../../core/codec/go-url.ts";

/** A request failed, or the agent answered other than 200. The message is what Consul's client would say. */
export class ApiError extends Error {
  /** Undefined when there was no answer. */
  readonly status: number | undefined;

  constructor(message: string, status?: number) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Unescaped: "/v1/kv/a b". */
  readonly path: string;
  readonly query?: QueryParameters;
  readonly body?: Bytes;
  readonly cancel?: Cancel;
  /** Gets the body piece by piece as it comes. */
  readonly receive?: (piece: Bytes) => void;
  /** A longer answer is an error. Default: no limit. */
  readonly responseBytesMax?: number;
}

/** Go's http.Client gives up after following this many. */
const redirectsMax = 10;

export class Api {
  readonly #context: CliContext;
  readonly #settings: ClientSettings;

  constructor(context: CliContext, settings: ClientSettings) {
    this.#context = context;
    this.#settings = settings;
  }

  /** Whatever the status. Rejects with {@link ApiError} when there is no answer. */
  async send(request: ApiRequest): Promise<HttpClientResponse> {
    // URL parsers resolve such segments, encoded or not, and the request would be about another object.
    if (/(^|\/)\.\.?(\/|$)/.test(request.path))
      throw new ApiError(`${request.path}: the segments "." and ".." cannot be part of a URL's path`);
    const { scheme, address, socketPath, token, authorization, tls } = this.#settings;
    const target = escapePath(request.path) + encodeQuery({ ...this.#settings.query, ...request.query });
    // Go dials the local machine when the host is empty, and names a Unix socket by its escaped path; only the text shows that.
    const host = socketPath !== undefined ? "localhost" : address.startsWith(":") ? `localhost${address}` : address;
    try {
      return await this.#context.httpClient.request({
        method: request.method,
        url: `${scheme}://${host}${target}`,
        headers: {
          ...(token !== "" && { "X-Consul-Token": token }),
          ...(authorization !== undefined && { Authorization: authorization }),
        },
        redirectsMax,
        ...(socketPath !== undefined && { socketPath }),
        ...(request.body !== undefined && { body: request.body }),
        ...(request.cancel !== undefined && { cancel: request.cancel }),
        ...(tls !== undefined && { tls }),
        ...(request.receive !== undefined && { receive: request.receive }),
        ...(request.responseBytesMax !== undefined && { responseBytesMax: request.responseBytesMax }),
      });
    } catch (error) {
      const verb = request.method.slice(0, 1) + request.method.slice(1).toLowerCase();
      const reason = messageOf(error).replace(/^[A-Z][a-z]+ "[^"]*": /, "");
      throw new ApiError(`${verb} "${scheme}://${escapeHost(address)}${target}": ${reason}`);
    }
  }

  /** Rejects with {@link ApiError} unless the status is 200. */
  async request(request: ApiRequest): Promise<HttpClientResponse> {
    const response = await this.send(request);
    if (response.status !== 200) throw unexpected(response);
    if (response.truncated) throw new ApiError(`The answer exceeds ${request.responseBytesMax} bytes`);
    return response;
  }

  async getJson(path: string, query: QueryParameters = {}): Promise<Json> {
    return readBody(await this.request({ method: "GET", path, query }));
  }

  async put(path: string, query: QueryParameters = {}, body: Bytes = utf8("")): Promise<HttpClientResponse> {
    return this.request({ method: "PUT", path, query, body });
  }

  async delete(path: string, query: QueryParameters = {}): Promise<HttpClientResponse> {
    return this.request({ method: "DELETE", path, query });
  }
}

function unexpected(response: HttpClientResponse): ApiError {
  return new ApiError(`Unexpected response code: ${response.status} (${text(response.body)})`, response.status);
}

export function readBody(response: HttpClientResponse): Json {
  const body = strictText(response.body);
  if (body === undefined) throw new ApiError("The answer is not valid UTF-8: is this the address of a Consul agent?");
  try {
    return parseJson(body);
  } catch (error) {
    throw new ApiError(messageOf(error));
  }
}

interface ApiCall {
  readonly context: CliContext;
  readonly given: ReadonlySet<string>;
  readonly flags: SharedFlagValues;
}

/** Reads settings from flags and environment. Rejects with `CommandError` when they are wrong. */
export async function openApi(call: ApiCall): Promise<Api> {
  return new Api(call.context, await clientSettings(call.context, call.given, call.flags));
}

/** The same as the operator's commands say it. */
export async function openOperatorApi(call: ApiCall): Promise<Api> {
  return new Api(call.context, await clientSettings(call.context, call.given, call.flags, "Error initializing client"));
}
