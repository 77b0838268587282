/**
 * The API as one Hono application.
 *
 *   target ─ parseTarget ─► 301, 400 │ Hono: exact routes, then prefixes, longest first ─► serve ─► Response
 *
 * `serve` is what Consul wraps round every endpoint: query string, blocked endpoints, OPTIONS, 405, write filter, the
 * handler, errors to statuses. The router only finds the route; handlers see an {@link HttpRequest} and never a Hono
 * context, so that the direct path can run the same code without one.
 */
import { Hono } from "hono";
import { TrieRouter } from "hono/router/trie-router";
import type { Address } from "../../core/ports/net.ts";
import { type Bytes, utf8 } from "../../core/types/bytes.ts";
import { isBlocked, mayWrite } from "./access.ts";
import type { ApiContext } from "./context.ts";
import type { HttpReply, HttpRequest, Route } from "./extension.ts";
import { FetchRequest } from "./fetch-request.ts";
import { acceptsGzip, gzip, gzipRendered } from "./gzip.ts";
import { logError, logFinished } from "./log.ts";
import { RouteMetrics } from "./request-metrics.ts";
import { parseQueryString, type QueryValues } from "./query-string.ts";
import { emptyReply, errorReply, textReply, type SharedReply } from "./reply.ts";
import { escapePath, parseTarget, type Target } from "./target.ts";

interface Bindings {
  readonly from: Address;
  readonly target: string;
  readonly path: string;
  readonly rawQuery: string;
}

/** A request before its query string is known to be readable. */
export interface Incoming {
  readonly method: string;
  readonly path: string;
  readonly rawQuery: string;
  readonly from: Address;
  withQuery(query: QueryValues): HttpRequest;
}

const noQuery = parseQueryString("") as QueryValues;

export class HttpApp {
  readonly #context: ApiContext;
  readonly #hono: Hono<{ Bindings: Bindings }>;
  readonly #prefixes: ReadonlySet<string>;
  readonly #exact: ReadonlyMap<string, Route>;
  /** Longest first. */
  readonly #byPrefix: readonly Route[];
  /** Of the API's routes. */
  readonly #metrics: ReadonlyMap<Route, RouteMetrics>;

  constructor(context: ApiContext, routes: readonly Route[]) {
    this.#context = context;
    const { metrics, agent } = context;
    const counted = routes.filter((route) => route.kind !== "page");
    this.#metrics = new Map(counted.map((route) => [route, new RouteMetrics(metrics, route.path, agent.config.nodeName)]));
    this.#exact = new Map(routes.map((route) => [route.path, route]));
    this.#byPrefix = inOrder(routes).filter((route) => route.path.endsWith("/"));
    this.#prefixes = new Set(routes.map((route) => route.path).filter((path) => path.endsWith("/")));
    this.#hono = new Hono<{ Bindings: Bindings }>({
      router: new TrieRouter(),
      getPath: (_request, options) => (options as { readonly env: Bindings }).env.path,
    });
    for (const route of inOrder(routes)) {
      const prefix = route.path.endsWith("/");
      this.#hono.all(prefix ? `${route.path}*` : route.path, (hono) => {
        const { from, target, path, rawQuery } = hono.env;
        return this.#respond(route, hono.req.raw, target, path, rawQuery, from);
      });
    }
    this.#hono.notFound(() => new Response(null, { status: 404, headers: { "Content-Length": "0" } }));
  }

  /** Never rejects and never throws, whatever is asked. */
  fetch(request: Request, from: Address): Response | Promise<Response> {
    const target = targetOf(request.url);
    const parsed = parseTarget(target, this.#context.agent.config.http.unprintableCharFilter);
    const answered = this.answerTarget(request.method, parsed);
    if (answered !== undefined) return toResponse(request.method, answered);
    const { path, rawQuery } = parsed as Extract<Target, { kind: "path" }>;
    return this.#hono.fetch(request, { from, target, path, rawQuery });
  }

  /** The route of a path, as Hono finds it for `fetch`: the exact one, else the longest prefix. `rest` is what follows a prefix. */
  match(path: string): { readonly route: Route; readonly rest: string } | undefined {
    const exact = this.#exact.get(path);
    if (exact !== undefined) return { route: exact, rest: "" };
    const route = this.#byPrefix.find((candidate) => path.startsWith(candidate.path));
    return route === undefined ? undefined : { route, rest: path.slice(route.path.length) };
  }

  /** What is said before any route is looked for; undefined to go on. */
  answerTarget(method: string, target: Target): HttpReply | undefined {
    switch (target.kind) {
      case "malformed":
        return textReply(400, "400 Bad Request", ["Connection", "close"]);
      case "unprintable":
        return emptyReply(400);
      case "redirect":
        return this.#withSlash(method, target) ?? redirect(method, target.location);
      case "path":
        return target.path === "/" ? this.#root(method) : this.#withSlash(method, target);
    }
  }

  /** For the path of a subtree without its last slash. */
  #withSlash(method: string, { path, rawQuery }: { readonly path: string; readonly rawQuery: string }): HttpReply | undefined {
    if (this.#exact.has(path) || path.endsWith("/") || !this.#prefixes.has(`${path}/`)) return undefined;
    return redirect(method, `${escapePath(path)}/${rawQuery === "" ? "" : `?${rawQuery}`}`);
  }

  #root(method: string): HttpReply {
    const { ui, uiContentPath } = this.#context.agent.config;
    return ui ? redirect(method, uiContentPath) : textReply(200, "Consul Agent");
  }

  /** How requests for a route's path are counted; undefined: they are not. */
  metricsOf(route: Route): RouteMetrics | undefined {
    return this.#metrics.get(route);
  }

  /** Runs a route as Consul runs an endpoint. The reply is complete but for {@link finish}. Never rejects. */
  async serve(route: Route, incoming: Incoming): Promise<HttpReply> {
    const { clock } = this.#context;
    const begun = clock.monotonic();
    const reply = await this.#serve(route, incoming);
    this.#metrics.get(route)?.onAnswered(incoming.method, reply.status, begun, clock.monotonic());
    return reply;
  }

  async #serve(route: Route, incoming: Incoming): Promise<HttpReply> {
    const { config } = this.#context.agent;
    const { method, path } = incoming;
    const query = parseQueryString(incoming.rawQuery);
    if (route.kind === "page") return this.#handle(route, incoming, incoming.withQuery(query ?? noQuery));
    if (query === undefined) return emptyReply(500);
    if (isBlocked(config, path)) return textReply(403, "Endpoint is blocked by agent configuration");
    if (route.methods.length > 0) {
      const allow = ["Allow", `OPTIONS,${route.methods.join(",")}`];
      if (method === "OPTIONS") return emptyReply(200, allow);
      if (!(route.methods as readonly string[]).includes(method)) return textReply(405, `method ${method} not allowed`, allow);
    }
    if (!mayWrite(config, method, incoming.from.host)) return textReply(403, "Access is restricted");
    return this.#handle(route, incoming, incoming.withQuery(query));
  }

  async #handle(route: Route, incoming: Incoming, request: HttpRequest): Promise<HttpReply> {
    const { clock } = this.#context;
    const begun = clock.monotonic();
    try {
      return await route.handle(request);
    } catch (error) {
      logError(this.#context, request, error);
      return errorReply(error);
    } finally {
      // A stream has only begun.
      if (route.streams?.(incoming.method, incoming.rawQuery) !== true)
        logFinished(this.#context, request, clock.monotonic() - begun);
    }
  }

  async #respond(
    route: Route,
    request: Request,
    target: string,
    path: string,
    rawQuery: string,
    from: Address,
  ): Promise<Response> {
    const rest = route.path.endsWith("/") ? path.slice(route.path.length) : "";
    const incoming: Incoming = {
      method: request.method,
      path,
      rawQuery,
      from,
      withQuery: (query) => new FetchRequest({ request, target, path, rest, query, from, closing: this.#context.closing }),
    };
    const reply = await this.serve(route, incoming);
    return toResponse(
      request.method,
      await this.finish(route.kind ?? "api", reply, request.headers.get("accept-encoding") ?? undefined),
    );
  }

  /** Adds what every reply of the API carries, and compresses. */
  finish(kind: "api" | "page", reply: HttpReply, acceptEncoding: string | undefined): HttpReply | Promise<HttpReply> {
    const extra = extraHeaders(this.#context.agent.config, kind);
    if (kind === "page") return extra.length === 0 ? reply : { ...reply, headers: [...reply.headers, ...extra] };
    const rendered = (reply as Partial<SharedReply>).rendered;
    let headers = rendered === undefined ? [...reply.headers, "Vary", "Accept-Encoding"] : reply.headers;
    if (extra.length > 0) headers = [...headers, ...extra];
    if (reply.stream !== undefined) return { ...reply, headers };
    if (reply.body.length === 0 || !acceptsGzip(acceptEncoding)) return { status: reply.status, headers, body: reply.body };
    const zipped = { status: reply.status, headers: [...headers, "Content-Encoding", "gzip"] };
    const body = rendered === undefined ? gzip(reply.body) : gzipRendered(rendered);
    return body instanceof Uint8Array ? { ...zipped, body } : body.then((bytes) => ({ ...zipped, body: bytes }));
  }
}

/** Exact paths before prefixes, longer prefixes before shorter: the first that matches is then the right one. */
function inOrder(routes: readonly Route[]): Route[] {
  return [...routes].sort((left, right) => {
    const byKind = Number(left.path.endsWith("/")) - Number(right.path.endsWith("/"));
    return byKind !== 0 ? byKind : right.path.length - left.path.length;
  });
}

type Config = ApiContext["agent"]["config"];
const extras = new WeakMap<Config, { readonly api: readonly string[]; readonly page: readonly string[] }>();

/** `response_headers`, and for the API the note that addresses are translated. Made once per configuration. */
export function extraHeaders(config: Config, kind: "api" | "page"): readonly string[] {
  let made = extras.get(config);
  if (made === undefined) {
    const page = Object.entries(config.http.responseHeaders).flat();
    made = { page, api: config.translateWanAddrs ? [...page, "X-Consul-Translate-Addresses", "true"] : page };
    extras.set(config, made);
  }
  return made[kind];
}

/** A redirect as Go's `http.Redirect` makes it: a body only for GET. */
function redirect(method: string, location: string): HttpReply {
  if (method !== "GET" && method !== "HEAD") return emptyReply(301, ["Location", location]);
  const html = location.replace(/[&<>"']/g, (character) => htmlEscapes[character] as string);
  return {
    status: 301,
    headers: ["Content-Type", "text/html; charset=utf-8", "Location", location],
    body: utf8(`<a href="${html}">Moved Permanently</a>.\n\n`),
  };
}

const htmlEscapes: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;" };

/** Path and query of a URL, exactly as written there. */
function targetOf(url: string): string {
  const scheme = url.indexOf("://");
  const slash = scheme < 0 ? url.indexOf("/") : url.indexOf("/", scheme + 3);
  return slash < 0 ? "/" : url.slice(slash);
}

export function toResponse(method: string, reply: HttpReply): Response {
  const headers = new Headers();
  for (let at = 0; at < reply.headers.length; at += 2)
    headers.append(reply.headers[at] as string, reply.headers[at + 1] as string);
  if (reply.stream !== undefined) return new Response(method === "HEAD" ? null : reply.stream, { status: reply.status, headers });
  headers.set("Content-Length", String(reply.body.length));
  const bodiless = method === "HEAD" || reply.body.length === 0;
  return new Response(bodiless ? null : (reply.body as Bytes & Uint8Array<ArrayBuffer>), { status: reply.status, headers });
}

/** Tokens never reach the log. */
export function redact(target: string): string {
  return target
    .replace(/([?&;]token=)[^&;#]*/g, "$1<hidden>")
    .replace(/^(\/v1\/acl\/(?:create|update|destroy|info|clone|list)\/)[^?]+/, "$1<hidden>");
}
