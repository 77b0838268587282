import type { Server, Socket } from "node:net";
import type { Clock } from "../../core/ports/clock.ts";
import type { HttpListener, HttpServeOptions, HttpServer } from "../../core/ports/http.ts";
import { type Address, formatAddress } from "../../core/ports/net.ts";
import type { Logger } from "../../core/ports/telemetry.ts";
import type { Millis } from "../../core/types/ids.ts";
import { AgentError, unreachable } from "../../core/types/errors.ts";
import { builtin } from "./builtin.ts";
import { connectionErrorCode, goText } from "./go-errors.ts";
import { type ConnectionOwner, HttpConnection } from "./http-connection.ts";
import { answerByFetch } from "./http-fetch.ts";
import { createFallback, type HttpFallback } from "./http-fallback.ts";
import { headTimeout, idleTimeout, lingerTimeout, requestTimeout, sweepInterval, writeTimeout } from "./http-limits.ts";
import { secureContextOptions } from "./tls.ts";

const net = builtin<typeof import("node:net")>("node:net");
const tls = builtin<typeof import("node:tls")>("node:tls");

export interface HttpServerOptions {
  /** True where the platform's Request and Response are cheap: `fetch` is then called from the fast layer too. */
  readonly fetchIsCheap: boolean;
}

/** As Consul's `limits.https_handshake_timeout`. */
const tlsHandshakeTimeout: Millis = 5_000;

/**
 * `HttpServer` over node:net, in two layers.
 *
 *   node:net / node:tls ──▶ HttpConnection: plain requests for `direct` (about twice as fast as node:http, a third of its memory)
 *                               │ anything unusual, or a request that `direct` declines
 *                               ▼
 *                           node:http ──▶ `direct`, or @hono/node-server ──▶ `fetch`
 *
 * It serves Bun and Deno too, where it is faster for `direct` than their own servers, takes less memory than Deno's, and
 * enforces every limit, which theirs do not. There `fetch` is called from the fast layer: their node:http is slow, their
 * Request is not.
 *
 * The fast layer accepts only requests that no two parsers could read differently; it hands the rest over unread, and the
 * connection stays with node:http from there on. So what is malformed, and what to say about it, is node:http's to know.
 *
 * Bounds: headers (431), time for a head, for a request, without one, for reading an answer (http-limits.ts), and
 * connections of one address.
 */
export function createHttpServer(clock: Clock, logger: Logger, { fetchIsCheap }: HttpServerOptions): HttpServer {
  return {
    async serve(options) {
      const connections = new Connections(clock, options, logger, fetchIsCheap);
      const server = listener(options, (socket) => connections.accept(socket));
      await listen(server, options.at);
      return connections.listening(server);
    },
  };
}

function listener(options: HttpServeOptions, accept: (socket: Socket) => void): Server {
  const common = { allowHalfOpen: true, noDelay: true };
  if (options.tls === undefined) return net().createServer(common, accept);
  const server = tls().createServer(
    {
      ...common,
      ...secureContextOptions(options.tls),
      requestCert: options.tls.verifyPeer,
      rejectUnauthorized: options.tls.verifyPeer,
      handshakeTimeout: tlsHandshakeTimeout,
      ALPNProtocols: ["http/1.1"],
    },
    accept,
  );
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  return server;
}

function listen(server: Server, at: HttpServeOptions["at"]): Promise<void> {
  const described = "path" in at ? `listen unix ${at.path}` : `listen tcp ${formatAddress(at)}`;
  return new Promise((resolve, reject) => {
    const refuse = (error: Error): void =>
      reject(new AgentError(connectionErrorCode(error), { message: `${described}: bind: ${goText(error)}`, cause: error }));
    server.once("error", refuse);
    server.listen("path" in at ? { path: at.path } : { host: at.host, port: at.port, exclusive: true }, () => {
      server.off("error", refuse);
      // What fails later is one accept (no file descriptor left): the listener goes on.
      server.on("error", () => {});
      resolve();
    });
  });
}

/** A Unix socket's client has no address: host "" and port 0. */
function addressOf(socket: Socket): Address {
  return { host: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 };
}

/** All connections of one listener. The value is undefined for those that the fallback has. */
class Connections implements ConnectionOwner {
  readonly direct: ConnectionOwner["direct"];
  readonly fetch: ConnectionOwner["fetch"];
  readonly #clock: Clock;
  readonly #options: HttpServeOptions;
  readonly #logger: Logger;
  /** Loaded for the first connection that needs it: node:http and what comes with it are a tenth of an idle agent's memory. */
  #fallback: HttpFallback | undefined;
  #loading: Promise<HttpFallback> | undefined;
  readonly #open = new Map<Socket, HttpConnection | undefined>();
  readonly #perClient = new Map<string, number>();
  /** Read once in a while, not once per request: the limits are seconds long. */
  #now: Millis;
  #closing = false;
  #whenEmpty: (() => void) | undefined;
  #stopSweeping: () => void = () => {};

  constructor(clock: Clock, options: HttpServeOptions, logger: Logger, fetchIsCheap: boolean) {
    this.#clock = clock;
    this.#options = options;
    this.#logger = logger;
    this.#now = clock.monotonic();
    this.fetch = fetchIsCheap
      ? (request) => answerByFetch(options.fetch, options.tls === undefined ? "http" : "https", request)
      : undefined;
    this.direct = options.direct ?? (() => undefined);
  }

  now(): Millis {
    return this.#now;
  }

  accept(socket: Socket): void {
    const from = addressOf(socket);
    const connections = (this.#perClient.get(from.host) ?? 0) + 1;
    socket.on("error", ignored);
    if (from.host !== "" && connections > this.#options.limits.connectionsPerClientMax()) {
      socket.destroy();
      return;
    }
    this.#perClient.set(from.host, connections);
    socket.once("close", () => this.#gone(socket, from.host));
    this.#open.set(socket, new HttpConnection(this, socket, from));
  }

  handOver(socket: Socket, unread: Uint8Array, declined: boolean): void {
    if (this.#fallback !== undefined) {
      this.#goOn(this.#fallback, socket, unread, declined);
      return;
    }
    this.#loading ??= createFallback(this.#options, addressOf, this.#logger);
    this.#loading.then(
      (fallback) => {
        this.#fallback = fallback;
        if (!socket.destroyed) this.#goOn(fallback, socket, unread, declined);
      },
      (error: unknown) => {
        this.failed(error);
        socket.destroy();
      },
    );
  }

  #goOn(fallback: HttpFallback, socket: Socket, unread: Uint8Array, declined: boolean): void {
    this.#open.set(socket, undefined);
    fallback.accept(socket, unread, declined);
  }

  failed(error: unknown): void {
    this.#logger.log("error", "Cannot answer a request", { error });
  }

  listening(server: Server): HttpListener {
    const bound = server.address();
    const sweep = (): void => {
      this.#sweep();
      const timer = this.#clock.after(sweepInterval, sweep);
      this.#stopSweeping = () => timer.cancel();
    };
    sweep();
    return {
      local: bound === null || typeof bound === "string" ? { path: bound ?? "" } : { host: bound.address, port: bound.port },
      close: (deadline) => this.#close(server, deadline),
    };
  }

  async #close(server: Server, deadline: Millis): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    this.#closing = true;
    for (const [socket, connection] of this.#open) {
      if (connection !== undefined) connection.closeSoon();
      else if (this.#fallback?.isBusy(socket) !== true) socket.destroy();
    }
    const timer = this.#clock.after(deadline, () => {
      for (const socket of this.#open.keys()) socket.destroy();
    });
    if (this.#open.size > 0) {
      await new Promise<void>((resolve) => {
        this.#whenEmpty = resolve;
      });
    }
    timer.cancel();
    this.#stopSweeping();
    this.#fallback?.close();
    await closed;
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    // For as long as this process stood still, nobody could have been heard or served.
    const lost = Math.max(now - this.#now - 2 * sweepInterval, 0);
    this.#now = now;
    for (const [socket, connection] of this.#open) {
      if (connection !== undefined) connection.since += lost;
      if (connection === undefined) {
        if (this.#closing && this.#fallback?.isBusy(socket) !== true) socket.destroy();
      } else if (this.#now - connection.since >= allowance(connection.waitsFor)) socket.destroy();
    }
  }

  #gone(socket: Socket, host: string): void {
    this.#open.delete(socket);
    const left = (this.#perClient.get(host) ?? 1) - 1;
    if (left === 0) this.#perClient.delete(host);
    else this.#perClient.set(host, left);
    if (this.#open.size === 0) this.#whenEmpty?.();
  }
}

/** How long a connection may do what it does. */
function allowance(waitsFor: HttpConnection["waitsFor"]): Millis {
  switch (waitsFor) {
    case "request":
      return idleTimeout;
    case "head":
      return headTimeout;
    case "body":
      return requestTimeout;
    case "write":
      return writeTimeout;
    case "end":
      return lingerTimeout;
    case "answer":
      return Infinity;
    default:
      return unreachable(waitsFor);
  }
}

/** The connection's end is seen at "close"; why it ended is of no interest. */
function ignored(): void {}
