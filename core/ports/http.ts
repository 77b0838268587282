import type { Bytes } from "../types/bytes.ts";
import type { Cancel } from "../types/cancel.ts";
import type { Millis } from "../types/ids.ts";
import type { Address } from "./net.ts";
import type { TlsOptions } from "./streams.ts";

/**
 * Web-standard handlers, because Hono speaks them and edge runtimes call them. `Request` and `Response` are opaque to
 * core; only plugins look inside. The request's own signal is aborted when the client goes away.
 */
export interface WebRequest {
  readonly method: string;
  readonly url: string;
}
export interface WebResponse {
  readonly status: number;
}

export interface HttpServer {
  /** Rejects with `address-in-use`. */
  serve(options: HttpServeOptions): Promise<HttpListener>;
}

export interface HttpServeOptions {
  /** A socket, or a Unix socket's path. Port 0 picks a free one. */
  readonly at: Address | { readonly path: string };
  readonly tls?: TlsOptions;
  readonly fetch: (request: WebRequest, from: Address) => WebResponse | Promise<WebResponse>;
  /**
   * Hot routes, asked first and without building a Request. Undefined: use `fetch`. Where a runtime answers through
   * `fetch` alone, the same function is called from there, so that both ways give the same bytes.
   */
  readonly direct?: (request: DirectRequest) => DirectResponse | Promise<DirectResponse> | undefined;
  readonly limits: HttpLimits;
}

export interface HttpLimits {
  /** All headers together; beyond it 431. */
  readonly headerBytesMax: number;
  /** Open connections from one IP address; more are closed at once. A function, because a reload may change it. */
  readonly connectionsPerClientMax: () => number;
}

export interface DirectRequest {
  readonly method: string;
  /** Path and query exactly as sent. */
  readonly target: string;
  /** Name in lower case. */
  header(name: string): string | undefined;
  readonly from: Address;
  /** The whole body. Rejects with `too-large` beyond `bytesMax`, with `connection-closed` when the client goes away. */
  body(bytesMax: number): Promise<Bytes>;
  /** Aborted when the client goes away. Made on first use. */
  readonly cancel: Cancel;
}

export interface DirectResponse {
  readonly status: number;
  /** Name, value, name, value… Content-Length is added. */
  readonly headers: readonly string[];
  readonly body: Bytes;
}

export interface HttpListener {
  readonly local: Address | { readonly path: string };
  /** Stops accepting, gives requests in flight until `deadline` from now, then aborts them. */
  close(deadline: Millis): Promise<void>;
}

export interface HttpClient {
  /** Rejects with `connection-refused`, `timeout`, `cancelled`, `connection-closed`; messages as Go's http client gives them. */
  request(request: HttpClientRequest): Promise<HttpClientResponse>;
}

export interface HttpClientRequest {
  readonly method: string;
  readonly url: string;
  /** Connect here instead of to the URL's host. */
  readonly socketPath?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: Bytes;
  /** Whole exchange. Undefined: no limit. */
  readonly timeout?: Millis;
  readonly tls?: Partial<TlsOptions> & { readonly skipVerify?: boolean };
  /** How many redirects to follow; more is an error. Default 0: the redirect itself is the answer. */
  readonly redirectsMax?: number;
  /** The connection is not reused afterwards. */
  readonly closeAfter?: boolean;
  readonly cancel?: Cancel;
  /** Gets the body of a success piece by piece as it comes; the response's own is then empty. Must not throw. */
  readonly receive?: (piece: Bytes) => void;
  /** The body beyond this is cut (`truncated` says so), and the rest is not read. Default: no limit. */
  readonly responseBytesMax?: number;
}

export interface HttpClientResponse {
  readonly status: number;
  /** The reason phrase, e.g. "OK". */
  readonly statusText: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Bytes;
  readonly truncated: boolean;
}
