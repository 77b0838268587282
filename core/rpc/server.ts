/**
 * The server port: accepts connections, looks at their first byte, and answers calls.
 *
 *   connection ──first byte──► plain calls
 *                          ├─► yamux ──stream──► calls, one at a time; many streams at once
 *                          ├─► TLS ──first byte──► …                      (when configured)
 *                          └─► whatever the agent plugs in (`upgrades`): our own Raft, snapshots
 */
import { ByteBudget, MeteredSource } from "../codec/byte-budget.ts";
import { Fields } from "../codec/fields.ts";
import { type Encodable, Malformed } from "../codec/msgpack.ts";
import { ValueReader } from "../codec/value-stream.ts";
import type { Clock } from "../ports/clock.ts";
import { type Address, formatAddress } from "../ports/net.ts";
import type { ByteStream, StreamListener, Streams, Tls, TlsOptions } from "../ports/streams.ts";
import { type Counter, type Logger, type Metrics, noMetrics } from "../ports/telemetry.ts";
import type { Cancel } from "../types/cancel.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { CancelSource } from "./cancel-source.ts";
import { encodeResponse, type RpcRequest, readRequest } from "./codec.ts";
import { firstByte, readFirstByte } from "./first-byte.ts";
import { YamuxSession } from "./yamux.ts";

/**
 * Answers one method. What it throws is the caller's error text, except `closed`: then there is no answer. `args` reads as
 * Go reads into a struct and throws `Malformed`.
 */
export type RpcHandler = (args: Fields, call: RpcCall) => Promise<Encodable>;

export interface RpcCall {
  readonly method: string;
  readonly from: Address;
  /** Aborted when nobody waits for the answer any more. */
  readonly cancel: Cancel;
}

export interface RpcServerOptions {
  readonly streams: Streams;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** Port 0 takes any that is free. */
  readonly at: Address;
  /** By "Service.Method". */
  readonly handlers: ReadonlyMap<string, RpcHandler>;
  readonly limits: RpcServerLimits;
  /** Undefined: connections that ask for TLS are refused. */
  readonly tls?: { readonly wrap: Tls["wrap"]; readonly options: TlsOptions };
  /** Takes over connections by first byte: `firstByte.ownRaft`, `firstByte.snapshot`. The first byte is read already. */
  readonly upgrades?: ReadonlyMap<number, (stream: ByteStream) => Promise<void>>;
}

export interface RpcServerLimits {
  /** Open connections from one IP address; more are closed at once. */
  readonly connectionsPerClientMax: number;
  /** For the first byte, and for TLS. */
  readonly handshakeTimeout: Millis;
  /** Default 16,384. */
  readonly connectionsMax?: number;
}

export interface RpcServer {
  /** Rejects with `address-in-use`. */
  start(): Promise<{ readonly port: number }>;
  readonly local: Address;
  /** Closes all connections. */
  stop(): Promise<void>;
}

export function createRpcServer(options: RpcServerOptions): RpcServer {
  return new Server(options);
}

const connectionsMaxDefault = 16_384;
/** In requests that have begun and not been answered. */
const requestBytesInFlightMax = 256 * 1024 * 1024;
/** Inside TLS another first byte is read, but no further TLS. */
const layersMax = 2;

class Server implements RpcServer {
  readonly #options: RpcServerOptions;
  #listener: StreamListener | undefined;
  readonly #connections = new Set<ByteStream>();
  readonly #perClient = new Map<string, number>();
  readonly #budget = new ByteBudget(requestBytesInFlightMax);
  #stopped = false;
  readonly #accepted: Counter;
  readonly #requests: Counter;
  readonly #requestErrors: Counter;
  readonly #handedOver: Counter;

  constructor(options: RpcServerOptions) {
    this.#options = options;
    const { metrics = noMetrics } = options;
    this.#accepted = metrics.counter("rpc.accept_conn");
    this.#requests = metrics.counter("rpc.request");
    this.#requestErrors = metrics.counter("rpc.request_error");
    this.#handedOver = metrics.counter("rpc.raft_handoff");
  }

  get local(): Address {
    return this.#listener?.local ?? this.#options.at;
  }

  async start(): Promise<{ readonly port: number }> {
    this.#listener = await this.#options.streams.listen(this.#options.at, (stream) => void this.#accept(stream));
    return { port: this.#listener.local.port };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const connection of this.#connections)
      connection.abort(new AgentError("closed", { message: "the server is shutting down" }));
    await this.#listener?.close();
  }

  async #accept(stream: ByteStream): Promise<void> {
    const { limits, logger } = this.#options;
    const client = stream.remote.host;
    const open = this.#perClient.get(client) ?? 0;
    if (
      this.#stopped ||
      open >= limits.connectionsPerClientMax ||
      this.#connections.size >= (limits.connectionsMax ?? connectionsMaxDefault)
    ) {
      logger.log("error", "rpc: too many connections", { conn: from(stream) });
      stream.abort(new AgentError("rate-limited", { message: "too many connections" }));
      return;
    }
    this.#accepted.add(1);
    this.#connections.add(stream);
    this.#perClient.set(client, open + 1);
    try {
      await this.#dispatch(stream, 1);
    } catch (error) {
      if (!this.#stopped && !isClosed(error)) logger.log("error", `rpc: ${messageOf(error)}`, { conn: from(stream) });
      stream.abort(error instanceof Error ? error : new AgentError("connection-closed", { message: messageOf(error) }));
    } finally {
      this.#connections.delete(stream);
      const left = (this.#perClient.get(client) ?? 1) - 1;
      if (left > 0) this.#perClient.set(client, left);
      else this.#perClient.delete(client);
    }
  }

  /** Resolves when the connection is over. */
  async #dispatch(stream: ByteStream, layer: number): Promise<void> {
    const { clock, limits, logger, tls, upgrades } = this.#options;
    const { type, rest } = await readFirstByte(stream, { clock, timeout: limits.handshakeTimeout });
    const upgrade = upgrades?.get(type);
    if (type === firstByte.ownRaft) this.#handedOver.add(1);
    if (upgrade !== undefined) return upgrade(rest);
    switch (type) {
      case firstByte.consul:
        await this.#serveCalls(rest, new CancelSource());
        await finish(rest);
        return;
      case firstByte.multiplexV2:
        return this.#serveSession(rest);
      case firstByte.tls:
        if (tls === undefined || layer === layersMax) break;
        return this.#dispatch(await this.#handshake(rest, tls), layer + 1);
      default:
        break;
    }
    const reason = refusals.get(type);
    logger.log(reason === undefined ? "error" : "warn", reason ?? "unrecognized RPC byte", { byte: type, conn: from(stream) });
    stream.abort(new AgentError("rejected", { message: reason ?? "unrecognized RPC byte" }));
  }

  async #handshake(stream: ByteStream, tls: { readonly wrap: Tls["wrap"]; readonly options: TlsOptions }): Promise<ByteStream> {
    const { clock, limits } = this.#options;
    const timer = clock.after(limits.handshakeTimeout, () => stream.abort(new AgentError("timeout", { message: "i/o timeout" })));
    try {
      return await tls.wrap(stream, "server", tls.options);
    } finally {
      timer.cancel();
    }
  }

  #serveSession(ground: ByteStream): Promise<void> {
    return new Promise((resolve) => {
      const session = new YamuxSession(ground, {
        side: "server",
        clock: this.#options.clock,
        accept: (stream) => void this.#serveStream(stream, stream.cancel),
      });
      if (session.closed.aborted) resolve();
      else session.closed.addEventListener("abort", resolve);
    });
  }

  async #serveStream(stream: ByteStream, cancel: Cancel): Promise<void> {
    try {
      await this.#serveCalls(stream, cancel);
      await stream.closeWrite();
    } catch (error) {
      if (!this.#stopped && !isClosed(error))
        this.#options.logger.log("error", `rpc: ${messageOf(error)}`, { conn: from(stream) });
      stream.abort(error instanceof Error ? error : new AgentError("connection-closed", { message: messageOf(error) }));
    }
  }

  /** Until the other side ends the stream, or asks for what does not exist: then Go's server closes it, and so do we. */
  async #serveCalls(stream: ByteStream, cancel: Cancel): Promise<void> {
    const source = new MeteredSource(stream, this.#budget);
    try {
      const reader = new ValueReader(source);
      while (await this.#serveCall(reader, stream, cancel)) source.settle();
    } finally {
      source.settle();
    }
  }

  /** False when it was the last. */
  async #serveCall(reader: ValueReader, stream: ByteStream, cancel: Cancel): Promise<boolean> {
    const request = await readRequest(reader);
    if (request === undefined) return false;
    this.#requests.add(1);
    const handler = this.#options.handlers.get(request.method);
    const response =
      handler === undefined
        ? encodeResponse(request, this.#missing(request.method), {})
        : await this.#answer(handler, request, stream, cancel);
    if (response === undefined) return false;
    if (!stream.write(response)) await stream.drained();
    return handler !== undefined;
  }

  /** Undefined when this server is closing: callers take the end of the stream for that, and ask the next one. */
  async #answer(handler: RpcHandler, request: RpcRequest, stream: ByteStream, cancel: Cancel): Promise<Uint8Array | undefined> {
    try {
      const body = await handler(new Fields(request.args), { method: request.method, from: stream.remote, cancel });
      return encodeResponse(request, "", body);
    } catch (error) {
      this.#requestErrors.add(1);
      if (error instanceof AgentError && error.code === "closed") return undefined;
      // An empty text would read as success.
      return encodeResponse(request, messageOf(error) || "internal error", {});
    }
  }

  /** In the words of Go's net/rpc. */
  #missing(method: string): string {
    const dot = method.lastIndexOf(".");
    if (dot < 0) return `rpc: service/method request ill-formed: ${method}`;
    const service = method.slice(0, dot + 1);
    for (const known of this.#options.handlers.keys()) if (known.startsWith(service)) return `rpc: can't find method ${method}`;
    return `rpc: can't find service ${method}`;
  }
}

const refusals: ReadonlyMap<number, string> = new Map([
  [firstByte.raft, "refused a Raft connection: servers of this kind and Consul's own cannot share a Raft group"],
  [firstByte.multiplex, "refused a connection: this multiplexing is no longer supported"],
  [firstByte.tls, "TLS connection attempted, server not configured for TLS"],
  [firstByte.snapshot, "refused a snapshot connection: snapshots over this port are not supported"],
  [firstByte.gossip, "refused a connection: gossip over the RPC port is not supported"],
  [firstByte.tlsInsecure, "TLS connection attempted, server not configured for TLS"],
  [firstByte.ownRaft, "refused a Raft connection: this server takes part in no Raft group"],
]);

async function finish(stream: ByteStream): Promise<void> {
  await stream.closeWrite();
  while ((await stream.read()) !== undefined);
}

function from(stream: ByteStream): string {
  return `from=${formatAddress(stream.remote)}`;
}

/** How connections usually end; no news for an operator. */
function isClosed(error: unknown): boolean {
  if (error instanceof Malformed) return error.message.startsWith("connection ended");
  return (
    error instanceof AgentError && (error.code === "connection-closed" || error.code === "closed" || error.code === "cancelled")
  );
}
