import type { Clock } from "../../core/ports/clock.ts";
import type { HttpClient, HttpClientRequest, HttpClientResponse } from "../../core/ports/http.ts";
import type { Address } from "../../core/ports/net.ts";
import type { ByteStream, Tls } from "../../core/ports/streams.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { concat, emptyBytes, utf8 } from "../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../core/types/errors.ts";
import { ByteReader } from "./byte-reader.ts";
import { ConnectionPool, type PooledConnection } from "./http-pool.ts";
import { readResponseBody, readResponseHead } from "./http-message.ts";

/** What the client stands on. */
export interface HttpClientGround {
  readonly clock: Clock;
  readonly tls: Tls;
  /** As `Streams.connect`, to an address or a Unix socket, without a timeout of its own. */
  connect(to: Address | { readonly path: string }, options: { readonly cancel: Cancel }): Promise<ByteStream>;
}

/**
 * `HttpClient`: HTTP/1.1 over byte streams, for checks, the command line and discovery. Our own, because a command that
 * asks an agent one thing should not load a platform's whole HTTP, because no two platforms word an error alike, and
 * because a check's error texts are Go's.
 *
 *   request ──▶ redirects ──▶ one exchange: pooled or new connection ──▶ write ──▶ read head ──▶ read body
 *
 * A deadline and the caller's cancel end the exchange wherever it is, by aborting its connection.
 */
export function createHttpClient(ground: HttpClientGround): HttpClient {
  const pool = new ConnectionPool(ground.clock);
  return { request: (request) => follow(ground, pool, request) };
}

async function follow(ground: HttpClientGround, pool: ConnectionPool, request: HttpClientRequest): Promise<HttpClientResponse> {
  const controller = new AbortController();
  const abort = (error: AgentError): void => controller.abort(error);
  const onCancel = (): void => abort(new AgentError("cancelled", { message: "context canceled", cause: request.cancel?.reason }));
  const timer = request.timeout === undefined ? undefined : ground.clock.after(request.timeout, () => abort(timedOut()));
  request.cancel?.addEventListener("abort", onCancel);
  if (request.cancel?.aborted === true) onCancel();
  let current = request;
  try {
    for (let redirects = 0; ; redirects++) {
      const response = await exchangeOrRetry(ground, pool, current, controller.signal);
      const next = redirected(current, response);
      if (next === undefined || request.redirectsMax === undefined || request.redirectsMax === 0) return response;
      if (redirects >= request.redirectsMax) {
        current = next;
        throw new AgentError("rejected", { message: `stopped after ${request.redirectsMax} redirects` });
      }
      current = next;
    }
  } catch (error) {
    const reason = controller.signal.aborted ? controller.signal.reason : error;
    const code = reason instanceof AgentError ? reason.code : "connection-closed";
    throw new AgentError(code, { message: `${verbOf(request.method)} "${current.url}": ${messageOf(reason)}`, cause: reason });
  } finally {
    timer?.cancel();
    request.cancel?.removeEventListener("abort", onCancel);
  }
}

/** "Get" for GET: Go's url.Error. */
function verbOf(method: string): string {
  return method.slice(0, 1).toUpperCase() + method.slice(1).toLowerCase();
}

function timedOut(): AgentError {
  return new AgentError("timeout", { message: "context deadline exceeded (Client.Timeout exceeded while awaiting headers)" });
}

/** The request that follows a redirect, or undefined for any other answer. As Go: 307 and 308 keep the method and the body. */
function redirected(request: HttpClientRequest, response: HttpClientResponse): HttpClientRequest | undefined {
  const location = response.headers["location"];
  if (![301, 302, 303, 307, 308].includes(response.status) || location === undefined) return undefined;
  const from = new URL(request.url);
  const to = new URL(location, from);
  const { body, headers, ...rest } = request;
  // What was meant for one host is not shown to another.
  const secret = (name: string): boolean => /^(authorization|cookie|host|x-consul-token)$/i.test(name);
  const kept = Object.fromEntries(Object.entries(headers ?? {}).filter(([name]) => to.host === from.host || !secret(name)));
  const base = { ...rest, url: to.href, headers: kept };
  if (response.status === 307 || response.status === 308) return body === undefined ? base : { ...base, body };
  return { ...base, method: request.method === "HEAD" ? "HEAD" : "GET" };
}

/** A kept connection may have been closed by the server just as we wrote: what is safe to repeat is repeated once, on a new one. */
async function exchangeOrRetry(
  ground: HttpClientGround,
  pool: ConnectionPool,
  request: HttpClientRequest,
  cancel: AbortSignal,
): Promise<HttpClientResponse> {
  const target = targetOf(request);
  const kept = target.secure ? undefined : pool.take(target.key);
  if (kept !== undefined) {
    try {
      return await exchange(pool, request, target, kept, cancel);
    } catch (error) {
      const repeatable = ["GET", "HEAD", "OPTIONS"].includes(request.method) && kept.reader.bytesRead === kept.bytesReadBefore;
      if (!repeatable || cancel.aborted) throw error;
    }
  }
  const opened = await open(ground, request, target, cancel);
  return exchange(pool, request, target, { stream: opened, reader: new ByteReader(opened), bytesReadBefore: 0 }, cancel);
}

interface Target {
  readonly url: URL;
  readonly secure: boolean;
  readonly to: Address | { readonly path: string };
  /** Connections with the same key lead to the same place. */
  readonly key: string;
}

function targetOf(request: HttpClientRequest): Target {
  let url: URL;
  try {
    url = new URL(request.url);
  } catch {
    throw new AgentError("bad-request", { message: "invalid URL" });
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new AgentError("bad-request", { message: `unsupported protocol scheme "${url.protocol.slice(0, -1)}"` });
  }
  const secure = url.protocol === "https:";
  const port = url.port === "" ? (secure ? 443 : 80) : Number(url.port);
  const to =
    request.socketPath === undefined ? { host: url.hostname.replace(/^\[|\]$/g, ""), port } : { path: request.socketPath };
  return { url, secure, to, key: request.socketPath ?? url.host };
}

async function open(
  ground: HttpClientGround,
  request: HttpClientRequest,
  target: Target,
  cancel: AbortSignal,
): Promise<ByteStream> {
  cancel.throwIfAborted();
  const stream = await ground.connect(target.to, { cancel });
  if (!target.secure) return stream;
  const onAbort = (): void => stream.abort(cancel.reason as Error);
  cancel.addEventListener("abort", onAbort);
  try {
    const { skipVerify, ...tls } = request.tls ?? {};
    const serverName = tls.serverName ?? target.url.hostname;
    return await ground.tls.wrap(stream, "client", { ...tls, serverName, verifyPeer: skipVerify !== true });
  } finally {
    cancel.removeEventListener("abort", onAbort);
  }
}

async function exchange(
  pool: ConnectionPool,
  request: HttpClientRequest,
  target: Target,
  connection: PooledConnection,
  cancel: AbortSignal,
): Promise<HttpClientResponse> {
  const { stream, reader } = connection;
  const onAbort = (): void => stream.abort(cancel.reason as Error);
  cancel.addEventListener("abort", onAbort);
  try {
    cancel.throwIfAborted();
    const head = requestHead(request, target.url);
    const whole = concat([utf8(head), request.body ?? emptyBytes]);
    // A server may answer and close before it has read everything: its answer counts, not our broken pipe.
    stream.write(whole);
    const responseHead = await readResponseHead(reader).catch((error: unknown) => {
      throw reader.bytesRead === connection.bytesReadBefore && messageOf(error) === "unexpected EOF"
        ? new AgentError("connection-closed", { message: "EOF" })
        : error;
    });
    const bytesMax = request.responseBytesMax ?? Infinity;
    const body = await readResponseBody(reader, responseHead, request.method === "HEAD", bytesMax, request.receive);
    const keeps =
      responseHead.keeps && body.complete && reader.isDrained && request.closeAfter !== true && !target.secure && !cancel.aborted;
    if (keeps) pool.keep(target.key, connection);
    else stream.abort(new AgentError("closed", { message: "use of closed network connection" }));
    const { status, statusText, headers } = responseHead;
    return { status, statusText, headers, body: body.content, truncated: body.truncated };
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(messageOf(error)));
    throw error;
  } finally {
    cancel.removeEventListener("abort", onAbort);
  }
}

function requestHead(request: HttpClientRequest, url: URL): string {
  const given = Object.entries(request.headers ?? {}).flatMap(([name, values]) =>
    (typeof values === "string" ? [values] : values).map((value) => [name, value] as const),
  );
  const has = (name: string): boolean => given.some(([other]) => other.toLowerCase() === name);
  if (!/^[A-Za-z]{1,32}$/.test(request.method))
    throw new AgentError("bad-request", { message: `net/http: invalid method ${JSON.stringify(request.method)}` });
  let head = `${request.method} ${url.pathname}${url.search} HTTP/1.1\r\n`;
  if (!has("host")) head += `Host: ${url.host}\r\n`;
  if (!has("user-agent")) head += "User-Agent: Go-http-client/1.1\r\n";
  if (url.username !== "" && !has("authorization"))
    head += `Authorization: Basic ${btoa(decodeURIComponent(`${url.username}:${url.password}`))}\r\n`;
  for (const [name, value] of given) {
    if (!/^[-!#$%&'*+.^_`|~0-9A-Za-z]+$/.test(name))
      throw new AgentError("bad-request", { message: `net/http: invalid header field name ${JSON.stringify(name)}` });
    if (/[\x00-\x08\x0a-\x1f\x7f]/.test(value))
      throw new AgentError("bad-request", {
        message: `net/http: invalid header field value ${JSON.stringify(value)} for key ${name}`,
      });
    if (/^(content-length|transfer-encoding|connection)$/i.test(name)) continue;
    head += `${name}: ${value}\r\n`;
  }
  if (request.body !== undefined || ["PUT", "POST", "PATCH"].includes(request.method))
    head += `Content-Length: ${request.body?.length ?? 0}\r\n`;
  return `${head}${request.closeAfter === true ? "Connection: close\r\n" : ""}\r\n`;
}
