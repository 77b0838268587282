/**
 * What other plugins may import of the HTTP plugin: how to add a route, and how to ask the API without a socket.
 *
 * ```ts
 * context.extend(httpRoutes, {
 *   path: "/v1/example/",
 *   methods: ["GET"],
 *   handle: (request) => ({ status: 200, headers: ["Content-Type", "text/plain"], body: utf8(request.rest) }),
 * });
 * ```
 */
import type { ExtensionPoint } from "../../core/plugin/plugin.ts";
import type { DirectRequest, DirectResponse } from "../../core/ports/http.ts";
import type { Address } from "../../core/ports/net.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import type { QueryValues } from "./query-string.ts";

export type Method = "GET" | "PUT" | "POST" | "DELETE" | "PATCH";

/** One request, whichever way it came in. */
export interface HttpRequest {
  readonly method: string;
  /** Percent-decoded and clean: no "//", no "..". */
  readonly path: string;
  /** What follows the route's own path; "" for an exact route. */
  readonly rest: string;
  /** Path and query as they were sent. */
  readonly target: string;
  readonly query: QueryValues;
  /** `name` in lower case. */
  header(name: string): string | undefined;
  readonly from: Address;
  /** The whole body. Rejects with `too-large` beyond `bytesMax`, with `connection-closed` when the client goes away. */
  body(bytesMax: number): Promise<Bytes>;
  /** Aborted when the client goes away. */
  readonly cancel: Cancel;
}

export interface HttpReply {
  readonly status: number;
  /** Name, value, name, value… without Content-Length. */
  readonly headers: readonly string[];
  readonly body: Bytes;
  /** Instead of a body: pieces as they come, until the stream or the client ends. Only from a route that `streams`. */
  readonly stream?: ReadableStream<Uint8Array>;
}

/**
 * One pattern. "/v1/example" matches exactly that; "/v1/example/" all below it, and "/v1/example" is redirected to it.
 * The longest pattern wins, an exact one before any other.
 */
export interface Route {
  readonly path: string;
  /** Others get 405 with `Allow`; OPTIONS is answered for the route. Empty: all methods come to `handle`. */
  readonly methods: readonly Method[];
  /**
   * `api` (the default): compressed on request, limited by `block_endpoints` and `allow_write_http_from`.
   * `page`: only `response_headers` are added.
   */
  readonly kind?: "api" | "page";
  /** Whether the reply to this will be a stream, which is never compressed. Default: no. */
  readonly streams?: (method: string, rawQuery: string) => boolean;
  /** A thrown AgentError becomes the status its code stands for, with its message as the body. */
  handle(request: HttpRequest): HttpReply | Promise<HttpReply>;
}

/** Plug routes in here during `setup`. */
export const httpRoutes: ExtensionPoint<Route> = {
  name: "http.routes",
  check(route) {
    if (!route.path.startsWith("/")) throw new Error(`An HTTP route's path starts with "/": ${route.path}`);
    if (/[:*{}?#]/.test(route.path)) throw new Error(`An HTTP route's path is plain text without parameters: ${route.path}`);
  },
};

/** The API from inside the process: the same answers as over a socket, compressed only when asked. */
export interface InnerApi {
  /** Rejects with `closed` before the HTTP plugin has started, and with `not-supported` for a route that streams. */
  ask(request: DirectRequest): Promise<DirectResponse>;
}

/** The HTTP plugin plugs its own in here during its `setup`: a plugin that comes `after` it finds one. */
export const innerApi: ExtensionPoint<InnerApi> = { name: "http.inner-api" };
