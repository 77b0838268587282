/**
 * Consul's HTTP API, version 1.8: front page of this folder.
 *
 *   listener ─┬─ direct.ts   known reads and plain KV writes, from finished bytes
 *             └─ app.ts      Hono: target.ts ─► routes/* ─► core's AgentApi
 *                                 query*.ts, bodies.ts      json-decode.ts in, shapes.ts and json-write.ts out
 *
 * Routes only translate: parameters and bodies to commands and queries, records to JSON. What is allowed and what it
 * means is decided in core. Reads are shared (shared.ts): all clients that ask the same between two changes get the same
 * bytes, made once. Texts, statuses, field order and emptiness are those of Consul 1.8.7, recorded from it in
 * tests/cases/http.
 *
 * Bounds: bodies (`jsonBodyBytesMax`, `kv_max_value_size`, `txn_max_req_len`), headers (`headerBytesMax`), connections per
 * client (`http_max_conns_per_client`), remembered targets (`hotTargetsMax`); waiters and renderings are bounded in core.
 */
import type { AgentConfig, ListenAddress } from "../../core/config/config.ts";
import type { Lifecycle, Plugin, PluginContext } from "../../core/plugin/plugin.ts";
import type { DirectRequest, DirectResponse, HttpListener, HttpServer } from "../../core/ports/http.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import { HttpApp } from "./app.ts";
import type { ApiContext } from "./context.ts";
import { DirectApi } from "./direct.ts";
import { httpRoutes, innerApi, type Route } from "./extension.ts";
import { HotReads } from "./hot-reads.ts";
import { apiRoutes } from "./routes/all.ts";

/** The request line and all headers together: what Go's server reads of them, 1 MiB and its buffer. */
export const headerBytesMax = 1024 * 1024 + 4096;

export const httpPlugin: Plugin = {
  name: "http",
  needs: ["httpServer"],
  setup: (context) => new HttpSurface(context),
};

class HttpSurface implements Lifecycle {
  readonly #context: PluginContext<undefined>;
  readonly #listeners: HttpListener[] = [];
  readonly #closing = new AbortController();
  #handlers: Handlers | undefined;

  constructor(context: PluginContext<undefined>) {
    this.#context = context;
    context.extend(innerApi, { ask: (request) => this.#ask(request) });
  }

  async start(): Promise<void> {
    const { agent, runtime, logger, hooks } = this.#context;
    const api: ApiContext = {
      agent,
      clock: runtime.clock,
      crypto: runtime.crypto,
      logger,
      metrics: runtime.metrics,
      hot: new HotReads(),
      closing: this.#closing.signal,
      ...(runtime.host === undefined ? {} : { host: runtime.host }),
      ...(runtime.logFollow === undefined ? {} : { logFollow: runtime.logFollow }),
    };
    const handlers = createHandlers(api, this.#context.extensions(httpRoutes));
    this.#handlers = handlers;
    hooks.onNotify("configReloaded", () => api.hot.clear());
    refuseHttps(agent.config);
    for (const at of agent.config.httpAddrs) await this.#listen(runtime.httpServer as HttpServer, at, handlers);
  }

  async stop(deadline: Millis): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close(deadline)));
  }

  async #ask(request: DirectRequest): Promise<DirectResponse> {
    if (this.#handlers === undefined) throw new AgentError("closed", { message: "The agent's HTTP API is not running" });
    const answer = await this.#handlers.direct.handle(request);
    if (answer !== undefined) return answer;
    throw new AgentError("not-supported", { message: `${request.target} streams its answer` });
  }

  async #listen(server: HttpServer, at: ListenAddress, { app, direct }: Handlers): Promise<void> {
    const { agent } = this.#context;
    const listener = await server.serve({
      at,
      fetch: (request, from) => app.fetch(request as Request, from),
      direct: (request) => direct.handle(request),
      limits: { headerBytesMax, connectionsPerClientMax: () => agent.config.limits.httpMaxConnsPerClient },
    });
    this.#listeners.push(listener);
    this.#context.announce("http", listener.local);
  }
}

export interface Handlers {
  readonly app: HttpApp;
  readonly direct: DirectApi;
}

/** The API without a listener: for runtimes that only call a fetch handler, and for tests. */
export function createHandlers(context: ApiContext, extensions: readonly Route[]): Handlers {
  const taken = new Set(extensions.map((route) => route.path));
  const app = new HttpApp(context, [...extensions, ...apiRoutes(context).filter((route) => !taken.has(route.path))]);
  return { app, direct: new DirectApi(context, app) };
}

function refuseHttps(config: AgentConfig): void {
  if (config.httpsAddrs.length === 0) return;
  throw new AgentError("not-supported", {
    message: "Cannot serve HTTPS: it is not supported yet. Leave ports.https unset and put a TLS proxy in front",
  });
}
