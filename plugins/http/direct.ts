/**
 * The hot path: what clients ask all day, answered without a Request, a router or a promise where that can be.
 *
 *   GET  a target the router answered before ──► one look-up ──► finished bytes
 *        the same with index and wait        ──► waits in the store, holding nothing else
 *   PUT  /v1/kv/key with at most one of flags, cas, acquire, release
 *
 *   the rest: the application's routes, without making a web-standard Request and Response for them
 *
 * The same routes are behind Hono's `fetch` (app.ts). Both ways give the same bytes: they share the routes, renderings,
 * headers and error texts, and a test sends every recorded request through both.
 */
import type { AgentConfig } from "../../core/config/config.ts";
import type { Shared } from "../../core/plugin/agent-api.ts";
import type { DirectRequest, DirectResponse } from "../../core/ports/http.ts";
import type { Address } from "../../core/ports/net.ts";
import { type Bytes, emptyBytes } from "../../core/types/bytes.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { extraHeaders, type HttpApp } from "./app.ts";
import type { ApiContext } from "./context.ts";
import type { HttpReply, HttpRequest, Route } from "./extension.ts";
import { tooLarge } from "./fetch-request.ts";
import { acceptsGzip, gzipRendered } from "./gzip.ts";
import { splitBlocking } from "./hot-reads.ts";
import { logError, logFinished } from "./log.ts";
import { parseWait } from "./query.ts";
import type { QueryValues } from "./query-string.ts";
import type { RouteMetrics } from "./request-metrics.ts";
import { booleanReply, emptyReply, errorReply } from "./reply.ts";
import { type KvChange, kvOp, writeKv } from "./routes/kv.ts";
import { currentHeaders, type RenderedBody, type ReplyRead } from "./shared.ts";
import { parseTarget, type Target } from "./target.ts";

type Answer = DirectResponse | Promise<DirectResponse> | undefined;

const kvPrefix = "/v1/kv/";
const kvNumber = /^(flags|cas)=(\d{1,15})$/;
const kvSession = /^(acquire|release)=([0-9a-fA-F-]{36})$/;

export class DirectApi {
  readonly #context: ApiContext;
  readonly #app: HttpApp;
  readonly #kvMetrics: RouteMetrics | undefined;
  /** Of reads that were asked for before. */
  readonly #readMetrics = new WeakMap<ReplyRead, RouteMetrics>();
  #config: AgentConfig | undefined;
  #extra: readonly string[] = [];
  /** Nothing in the configuration stands between a client and a write. */
  #writesOpen = false;

  constructor(context: ApiContext, app: HttpApp) {
    this.#context = context;
    this.#app = app;
    this.#kvMetrics = this.#metricsFor(kvPrefix);
    this.#follow(context.agent.config);
  }

  /** Never throws and never rejects. Undefined: a route that streams, which is for `fetch`. */
  handle(request: DirectRequest): Answer {
    this.#follow(this.#context.agent.config);
    return (hasUnusualHeader(request) ? undefined : this.#hot(request)) ?? this.#route(request);
  }

  #hot(request: DirectRequest): Answer {
    if (request.method === "GET") return this.#get(request);
    return request.method === "PUT" && request.target.startsWith(kvPrefix) ? this.#put(request) : undefined;
  }

  /** A reload replaces the configuration: whatever was derived from the old one goes. */
  #follow(config: AgentConfig): void {
    if (config === this.#config) return;
    this.#config = config;
    this.#context.hot.clear();
    this.#extra = extraHeaders(config, "api");
    this.#writesOpen = config.http.allowWriteHttpFrom.length === 0 && config.http.blockEndpoints.length === 0;
  }

  #get(request: DirectRequest): Answer {
    const { agent, hot, logger } = this.#context;
    const read = hot.get(request.target);
    if (read === undefined) return this.#getBlocking(request);
    const begun = this.#context.clock.monotonic();
    const shared = agent.store.sharedNow<RenderedBody>(read.key, read.consistency);
    if (shared === undefined) return this.#wait(request, read, 0, 0);
    if (logger.enabled("debug")) logFinished(this.#context, request, 0);
    const answer = this.#answer(request, shared);
    this.#metricsOf(request, read)?.onAnswered("GET", shared.rendered.status, begun, this.#context.clock.monotonic());
    return answer;
  }

  #getBlocking(request: DirectRequest): Answer {
    if (!request.target.includes("index=")) return undefined;
    const split = splitBlocking(request.target);
    const read = split === undefined ? undefined : this.#context.hot.get(split.target);
    if (split === undefined || read === undefined || !/^\d{1,15}$/.test(split.index)) return undefined;
    try {
      return this.#wait(request, read, Number(split.index), parseWait(split.wait));
    } catch {
      return undefined; // A broken `wait`: the application says so.
    }
  }

  /** `index` 0 does not block. */
  async #wait(request: DirectRequest, read: ReplyRead, index: number, wait: number): Promise<DirectResponse> {
    const begun = this.#context.clock.monotonic();
    let status = 200;
    try {
      const shared = await read.read({ minIndex: index, wait, cancel: request.cancel });
      status = shared.rendered.status;
      return this.#answer(request, shared);
    } catch (error) {
      logError(this.#context, request, error);
      const reply = read.onError(error);
      status = reply.status;
      return this.#finish(request, reply);
    } finally {
      const now = this.#context.clock.monotonic();
      this.#metricsOf(request, read)?.onAnswered("GET", status, begun, now);
      logFinished(this.#context, request, now - begun);
    }
  }

  #answer(request: DirectRequest, shared: Shared<RenderedBody>): DirectResponse | Promise<DirectResponse> {
    const { status, body } = shared.rendered;
    const current = currentHeaders(shared);
    const headers = this.#extra.length === 0 ? current : [...current, ...this.#extra];
    if (body.length === 0 || !acceptsGzip(request.header("accept-encoding"))) return { status, headers, body };
    const compressed = gzipRendered(shared.rendered);
    const zipped = [...headers, "Content-Encoding", "gzip"];
    if (compressed instanceof Uint8Array) return { status, headers: zipped, body: compressed };
    return compressed.then((bytes) => ({ status, headers: zipped, body: bytes }));
  }

  #put(request: DirectRequest): Answer {
    if (!this.#writesOpen) return undefined;
    const { config } = this.#context.agent;
    const target = parseTarget(request.target, config.http.unprintableCharFilter);
    if (target.kind !== "path") return undefined;
    const key = target.path.slice(kvPrefix.length);
    const change = kvChange(target.rawQuery);
    if (key === "" || key.includes("\ufffd") || change === undefined) return undefined;
    const length = request.header("content-length");
    if (length === undefined || Number(length) > config.limits.kvMaxValueSize) return undefined;
    return this.#putKey(request, key, change);
  }

  async #putKey(request: DirectRequest, key: string, change: KvChange): Promise<DirectResponse> {
    const { agent, clock } = this.#context;
    const begun = clock.monotonic();
    try {
      const value = await request.body(agent.config.limits.kvMaxValueSize);
      // The request itself, for its `cancel`, which is made where it is needed.
      const effect = await writeKv(this.#context, kvOp(key, change, value), request);
      return this.#finish(request, booleanReply(effect, agent.config.devMode));
    } catch (error) {
      logError(this.#context, request, error);
      return this.#finish(request, errorReply(error));
    } finally {
      const now = clock.monotonic();
      this.#kvMetrics?.onAnswered("PUT", 200, begun, now);
      logFinished(this.#context, request, now - begun);
    }
  }

  #metricsOf(request: DirectRequest, read: ReplyRead): RouteMetrics | undefined {
    let metrics = this.#readMetrics.get(read);
    if (metrics !== undefined) return metrics;
    const target = parseTarget(request.target, this.#context.agent.config.http.unprintableCharFilter);
    metrics = target.kind === "path" ? this.#metricsFor(target.path) : undefined;
    if (metrics !== undefined) this.#readMetrics.set(read, metrics);
    return metrics;
  }

  #metricsFor(path: string): RouteMetrics | undefined {
    const found = this.#app.match(path);
    return found === undefined ? undefined : this.#app.metricsOf(found.route);
  }

  /**
   * Any route. The target is still as it was sent here: making a URL of it would clean "//" and ".." silently, and the
   * client would write to another key than it named.
   */
  #route(request: DirectRequest): Answer {
    const { method } = request;
    const target = parseTarget(request.target, this.#context.agent.config.http.unprintableCharFilter);
    const answered = this.#app.answerTarget(method, target);
    if (answered !== undefined) return withoutBody(method, answered);
    const { path, rawQuery } = target as Extract<Target, { kind: "path" }>;
    const found = this.#app.match(path);
    if (found === undefined) return emptyReply(404);
    if (found.route.streams?.(method, rawQuery) === true) return undefined;
    return this.#serve(request, found.route, found.rest, path, rawQuery);
  }

  async #serve(request: DirectRequest, route: Route, rest: string, path: string, rawQuery: string): Promise<DirectResponse> {
    const { method, from } = request;
    const withQuery = (query: QueryValues): HttpRequest => new RoutedRequest(request, path, rest, query);
    const reply = await this.#app.serve(route, { method, path, rawQuery, from, withQuery });
    return withoutBody(method, await this.#app.finish(route.kind ?? "api", reply, request.header("accept-encoding")));
  }

  #finish(request: DirectRequest, reply: HttpReply): DirectResponse | Promise<DirectResponse> {
    return this.#app.finish("api", reply, request.header("accept-encoding"));
  }
}

/** A {@link HttpRequest} over a direct one. */
class RoutedRequest implements HttpRequest {
  readonly path: string;
  readonly rest: string;
  readonly query: QueryValues;
  readonly #request: DirectRequest;

  constructor(request: DirectRequest, path: string, rest: string, query: QueryValues) {
    this.#request = request;
    this.path = path;
    this.rest = rest;
    this.query = query;
  }

  get method(): string {
    return this.#request.method;
  }

  get target(): string {
    return this.#request.target;
  }

  get from(): Address {
    return this.#request.from;
  }

  get cancel(): Cancel {
    return this.#request.cancel;
  }

  header(name: string): string | undefined {
    return this.#request.header(name);
  }

  body(bytesMax: number): Promise<Bytes> {
    const declared = Number(this.#request.header("content-length") ?? 0);
    return declared > bytesMax ? Promise.reject(tooLarge(declared, bytesMax)) : this.#request.body(bytesMax);
  }
}

function withoutBody(method: string, reply: HttpReply): DirectResponse {
  return method === "HEAD" ? { ...reply, body: emptyBytes } : reply;
}

function hasUnusualHeader(request: DirectRequest): boolean {
  return (
    request.header("x-consul-namespace") !== undefined ||
    request.header("x-consul-token") !== undefined ||
    request.header("authorization") !== undefined ||
    request.header("cache-control") !== undefined
  );
}

/** Undefined for anything but the plain forms. */
function kvChange(rawQuery: string): KvChange | undefined {
  if (rawQuery === "") return { op: "set", flags: 0 };
  const number = kvNumber.exec(rawQuery);
  if (number !== null) {
    const value = Number(number[2]);
    return number[1] === "flags" ? { op: "set", flags: value } : { op: "cas", flags: 0, index: value };
  }
  const session = kvSession.exec(rawQuery);
  return session === null ? undefined : { op: session[1] as "acquire" | "release", flags: 0, session: session[2] as string };
}
