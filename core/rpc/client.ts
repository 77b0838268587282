/**
 * Calls to servers: one yamux session per server, streams reused between calls, idle sessions closed.
 */
import { type Encodable, Malformed, type Value } from "../codec/msgpack.ts";
import { ValueReader } from "../codec/value-stream.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import { type Address, formatAddress } from "../ports/net.ts";
import type { Streams } from "../ports/streams.ts";
import type { Cancel } from "../types/cancel.ts";
import { AgentError, type ErrorCode, messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { encodeRequest, readResponse } from "./codec.ts";
import { firstByte } from "./first-byte.ts";
import { YamuxSession, type YamuxStream } from "./yamux.ts";

export interface RpcClientOptions {
  readonly streams: Streams;
  readonly clock: Clock;
  /** Default 10 s. */
  readonly dialTimeout?: Millis;
  /** A session without calls is closed after this. Consul's client agents: 127 s, servers: 120 s. */
  readonly idleTimeout?: Millis;
  /** Streams kept for reuse per server. Consul's client agents: 32, servers: 64. */
  readonly idleStreamsMax?: number;
}

export interface CallOptions {
  /** For the whole call. Default: none, because blocking queries wait long. */
  readonly timeout?: Millis;
  readonly cancel?: Cancel;
}

/** Sessions to servers that are open at once: more servers than a federation has. */
const sessionsMax = 1024;

export class RpcClient {
  readonly #options: RpcClientOptions;
  readonly #sessions = new Map<string, Promise<Session>>();
  #sequence = 0;
  #closed = false;

  constructor(options: RpcClientOptions) {
    this.#options = options;
  }

  /**
   * The answer's body. Rejects with the server's own text under the code it stands for (`no-leader`, `no-datacenter`,
   * `permission-denied`, `rejected`), or with `timeout`, `cancelled`, `connection-refused`, `connection-closed`.
   */
  async call(to: Address, method: string, args: Encodable, options: CallOptions = {}): Promise<Value> {
    if (options.cancel?.aborted) throw cancelled();
    const session = await unless(options.cancel, this.#session(to));
    const lane = session.take();
    const stop = (error: Error) => lane.stream.abort(error);
    const onCancel = () => stop(cancelled());
    const timer =
      options.timeout === undefined
        ? undefined
        : this.#options.clock.after(options.timeout, () =>
            stop(new AgentError("timeout", { message: "rpc error making call: i/o deadline reached" })),
          );
    options.cancel?.addEventListener("abort", onCancel);
    try {
      const { error, body } = await this.#exchange(lane, method, args);
      // Go's server closes the stream after it was asked for what it does not have.
      if (error.startsWith("rpc: ")) void release(lane.stream);
      else session.giveBack(lane);
      if (error !== "") throw failure(error);
      return body;
    } catch (error) {
      if (error instanceof Malformed) {
        lane.stream.abort(error);
        throw new AgentError("connection-closed", { message: `rpc error making call: ${error.message}`, cause: error });
      }
      throw error;
    } finally {
      timer?.cancel();
      options.cancel?.removeEventListener("abort", onCancel);
      session.touch();
    }
  }

  /** Ends all sessions; calls in flight reject with `connection-closed`. The next call dials again. */
  disconnect(): void {
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    const reason = new AgentError("connection-closed", { message: "rpc error making call: EOF" });
    for (const session of sessions) {
      session.then(
        (open) => open.close(reason),
        () => {}, // was told to those who dialled
      );
    }
  }

  /** Ends all sessions; calls in flight reject. */
  async close(): Promise<void> {
    this.#closed = true;
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    for (const session of sessions) {
      await session.then(
        (open) => open.close(),
        () => {},
      );
    }
  }

  async #exchange(lane: Lane, method: string, args: Encodable): Promise<{ readonly error: string; readonly body: Value }> {
    this.#sequence++;
    const sequence = this.#sequence;
    if (!lane.stream.write(encodeRequest({ sequence, method, args }))) await lane.stream.drained();
    const response = await readResponse(lane.reader);
    if (response === undefined) {
      // The server is closing, and may take its time: nothing is left open from this side.
      void release(lane.stream);
      throw new AgentError("connection-closed", { message: "rpc error making call: EOF" });
    }
    if (Number(response.sequence) !== sequence)
      throw new Malformed(`response ${response.sequence} does not answer request ${sequence}`);
    return response;
  }

  #session(to: Address): Promise<Session> {
    if (this.#closed) return Promise.reject(new AgentError("closed", { message: "rpc client is closed" }));
    const key = formatAddress(to);
    const known = this.#sessions.get(key);
    if (known !== undefined) return known;
    if (this.#sessions.size >= sessionsMax)
      return Promise.reject(new AgentError("rate-limited", { message: "rpc error getting client: too many servers" }));
    const session = this.#dial(to, () => {
      if (this.#sessions.get(key) === session) this.#sessions.delete(key);
    });
    this.#sessions.set(key, session);
    session.catch(() => this.#sessions.delete(key));
    return session;
  }

  async #dial(to: Address, gone: () => void): Promise<Session> {
    const { streams, clock, dialTimeout = 10_000 } = this.#options;
    try {
      const ground = await streams.connect(to, { timeout: dialTimeout });
      ground.write(Uint8Array.of(firstByte.multiplexV2));
      const mux = new YamuxSession(ground, { side: "client", clock });
      mux.closed.addEventListener("abort", gone);
      return new Session(mux, this.#options);
    } catch (error) {
      const code: ErrorCode = error instanceof AgentError ? error.code : "connection-refused";
      throw new AgentError(code, { message: `rpc error getting client: failed to get conn: ${messageOf(error)}`, cause: error });
    }
  }
}

/** A stream and what was read of it: they stay together from call to call. */
interface Lane {
  readonly stream: YamuxStream;
  readonly reader: ValueReader;
}

class Session {
  readonly #mux: YamuxSession;
  readonly #clock: Clock;
  readonly #idleTimeout: Millis;
  readonly #idleStreamsMax: number;
  readonly #idle: Lane[] = [];
  #inUse = 0;
  #timer: Timer | undefined;

  constructor(mux: YamuxSession, options: RpcClientOptions) {
    this.#mux = mux;
    this.#clock = options.clock;
    this.#idleTimeout = options.idleTimeout ?? 127_000;
    this.#idleStreamsMax = options.idleStreamsMax ?? 32;
  }

  take(): Lane {
    this.#timer?.cancel();
    let lane = this.#idle.pop();
    while (lane?.stream.cancel.aborted) lane = this.#idle.pop();
    if (lane === undefined) {
      const stream = this.#mux.open();
      lane = { stream, reader: new ValueReader(stream) };
    }
    this.#inUse++;
    return lane;
  }

  giveBack(lane: Lane): void {
    if (this.#idle.length < this.#idleStreamsMax) this.#idle.push(lane);
    else void release(lane.stream);
  }

  /** A call has ended: the last one starts the idle clock. */
  touch(): void {
    this.#inUse--;
    if (this.#inUse > 0 || this.#mux.closed.aborted) return;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(this.#idleTimeout, () => this.close());
  }

  close(reason?: Error): void {
    this.#timer?.cancel();
    this.#mux.close(reason);
  }
}

/** Ends a stream in peace, so that the server has nothing to report. */
async function release(stream: YamuxStream): Promise<void> {
  try {
    await stream.closeWrite();
    while ((await stream.read()) !== undefined);
  } catch {
    // The session ended first: so did the stream.
  }
}

const codes: readonly (readonly [text: string, code: ErrorCode])[] = [
  ["No cluster leader", "no-leader"],
  ["No path to datacenter", "no-datacenter"],
  ["Permission denied", "permission-denied"],
  ["ACL not found", "permission-denied"],
  ["RPC rate limit exceeded", "rate-limited"],
  ["rpc: can't find", "not-supported"],
];

/** Servers say what went wrong in words only; clients have always matched on them. */
function failure(text: string): AgentError {
  const code = codes.find(([part]) => text.includes(part))?.[1] ?? "rejected";
  return new AgentError(code, { message: text });
}

/** What a promise gives, unless it is cancelled first: a dial goes on for whoever calls the same server next. */
async function unless<Value>(cancel: Cancel | undefined, promise: Promise<Value>): Promise<Value> {
  if (cancel === undefined) return promise;
  let onCancel = (): void => {};
  const end = new Promise<never>((_resolve, reject) => {
    onCancel = () => reject(cancelled());
    cancel.addEventListener("abort", onCancel);
  });
  try {
    return await Promise.race([promise, end]);
  } finally {
    cancel.removeEventListener("abort", onCancel);
  }
}

function cancelled(): AgentError {
  return new AgentError("cancelled", { message: "rpc error making call: context canceled" });
}
