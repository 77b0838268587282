/**
 * Virtual time and a network inside it, for drivers and machines: clock, datagrams and streams whose every event comes
 * from one queue. Nothing real happens between two events except that promises settle.
 */
import { setImmediate } from "node:timers/promises";
import type { Clock } from "../../core/ports/clock.ts";
import type { Datagrams, Packet } from "../../core/ports/datagrams.ts";
import { type Address, formatAddress } from "../../core/ports/net.ts";
import type { ByteStream, Streams } from "../../core/ports/streams.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";

interface Due {
  readonly at: Millis;
  readonly order: number;
  act: (() => void) | undefined;
}

export class VirtualWorld {
  now: Millis = 1000;
  /** One way. */
  delay: Millis = 1;
  readonly #due: Due[] = [];
  #order = 0;
  #port = 20_000;
  readonly #sockets = new Map<string, (packet: Packet) => void>();
  readonly #listeners = new Map<string, (stream: ByteStream) => void>();
  readonly #cut = new Set<string>();

  /** What connections carry meanwhile: it arrives when the host is back. */
  #held: { readonly hosts: readonly string[]; readonly act: () => void }[] = [];

  /** Nothing passes to or from `host` any more. */
  isolate(host: string): void {
    this.#cut.add(host);
  }

  heal(host: string): void {
    this.#cut.delete(host);
    const held = this.#held;
    this.#held = [];
    for (const { hosts, act } of held) this.#carry(hosts, act);
  }

  #carry(hosts: readonly string[], act: () => void): void {
    if (hosts.some((host) => this.#cut.has(host))) this.#held.push({ hosts, act });
    else this.at(this.delay, act);
  }

  readonly clock: Clock = {
    monotonic: () => this.now,
    wall: () => Math.floor(1_600_000_000_000 + this.now),
    after: (delay, fire) => {
      const due = this.at(delay, fire);
      return {
        cancel() {
          due.act = undefined;
        },
      };
    },
  };

  at(delay: Millis, act: () => void): Due {
    const due: Due = { at: this.now + delay, order: this.#order++, act };
    let index = this.#due.length;
    while (index > 0 && (this.#due[index - 1] as Due).at > due.at) index--;
    this.#due.splice(index, 0, due);
    return due;
  }

  /** Lets `duration` pass, or less when `until` holds. */
  async pass(duration: Millis, until: () => boolean = () => false): Promise<void> {
    const end = this.now + duration;
    await setImmediate();
    while (!until()) {
      const due = this.#due[0];
      if (due === undefined || due.at > end) {
        this.now = end;
        return;
      }
      this.#due.shift();
      if (due.act === undefined) continue;
      this.now = due.at;
      due.act();
      await setImmediate();
    }
  }

  /** Passes time until `promise` settles. */
  async settle<Result>(promise: Promise<Result>, limit: Millis = 600_000): Promise<Result> {
    let settled = false;
    const mark = () => {
      settled = true;
    };
    promise.then(mark, mark);
    await this.pass(limit, () => settled);
    if (!settled) throw new Error(`not settled within ${limit} virtual ms`);
    return promise;
  }

  datagrams(): Datagrams {
    return {
      bind: async (at, receive) => {
        const local = this.#place(at, "udp", this.#sockets);
        const key = formatAddress(local);
        this.#sockets.set(key, receive);
        return {
          local,
          send: (to, payload) => {
            this.at(this.delay, () => {
              if (this.#cut.has(to.host) || this.#cut.has(local.host)) return;
              this.#sockets.get(formatAddress(to))?.({ from: local, payload, receivedAt: this.now });
            });
          },
          close: async () => void this.#sockets.delete(key),
        };
      },
    };
  }

  /** `host` is where connections come from. */
  streams(host: string): Streams {
    return {
      connect: (to, options) => this.#connect(host, to, options),
      listen: async (at, accept) => {
        const local = this.#place(at, "tcp", this.#listeners);
        const accepted = new Set<ByteStream>();
        this.#listeners.set(formatAddress(local), (stream) => {
          accepted.add(stream);
          accept(stream);
        });
        return {
          local,
          close: async () => {
            this.#listeners.delete(formatAddress(local));
            for (const stream of accepted)
              stream.abort(new AgentError("closed", { message: "use of closed network connection" }));
          },
        };
      },
    };
  }

  #connect(host: string, to: Address, { timeout, cancel }: Parameters<Streams["connect"]>[1]): ReturnType<Streams["connect"]> {
    const dialing = `dial tcp ${formatAddress(to)}: `;
    return new Promise((resolve, reject) => {
      const fail = (code: "timeout" | "cancelled" | "connection-refused", message: string): void => {
        due.act = undefined;
        reject(new AgentError(code, { message: dialing + message }));
      };
      const blocked = this.#cut.has(to.host) || this.#cut.has(host);
      const due = this.at(blocked ? timeout : 2 * this.delay, () => {
        const accept = this.#listeners.get(formatAddress(to));
        if (blocked) fail("timeout", "i/o timeout");
        else if (accept === undefined) fail("connection-refused", "connect: connection refused");
        else {
          const [near, far] = streamPair({ host, port: this.#port++ }, to, (act) => this.#carry([host, to.host], act));
          accept(far);
          resolve(near);
        }
      });
      const onCancel = (): void => fail("cancelled", "operation was canceled");
      if (cancel?.aborted === true) onCancel();
      else cancel?.addEventListener("abort", onCancel);
    });
  }

  #place(at: Address, protocol: string, taken: ReadonlyMap<string, unknown>): Address {
    const local = at.port === 0 ? { host: at.host, port: this.#port++ } : at;
    if (taken.has(formatAddress(local))) {
      throw new AgentError("address-in-use", {
        message: `listen ${protocol} ${formatAddress(local)}: bind: address already in use`,
      });
    }
    return local;
  }
}

/** Two ends of a connection. `later` carries each event across; at once by default. */
export function streamPair(
  left: Address,
  right: Address,
  later: (act: () => void) => void = (act) => queueMicrotask(act),
): readonly [MemoryStream, MemoryStream] {
  const near = new MemoryStream(left, right, later);
  const far = new MemoryStream(right, left, later);
  near.peer = far;
  far.peer = near;
  return [near, far];
}

/** Bytes on the way before `write` says stop. */
const inFlightMax = 64 * 1024;

export class MemoryStream implements ByteStream {
  readonly local: Address;
  readonly remote: Address;
  peer: MemoryStream | undefined;
  readonly #later: (act: () => void) => void;
  readonly #chunks: (Bytes | undefined)[] = [];
  #reader: { resolve: (chunk: Bytes | undefined) => void; reject: (error: Error) => void } | undefined;
  #drain: { resolve: () => void; reject: (error: Error) => void }[] = [];
  #unread = 0;
  #ended = false;
  failure: Error | undefined;

  constructor(local: Address, remote: Address, later: (act: () => void) => void) {
    this.local = local;
    this.remote = remote;
    this.#later = later;
  }

  read(): Promise<Bytes | undefined> {
    if (this.#chunks.length > 0) {
      const chunk = this.#chunks.shift();
      this.peer?.taken(chunk?.length ?? 0);
      if (chunk === undefined) this.#chunks.push(undefined);
      return Promise.resolve(chunk);
    }
    if (this.failure !== undefined) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  write(chunk: Bytes): boolean {
    if (this.failure !== undefined || this.#ended) return false;
    this.#unread += chunk.length;
    this.#later(() => this.peer?.arrive(chunk));
    return this.#unread < inFlightMax;
  }

  drained(): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    if (this.#unread < inFlightMax) return Promise.resolve();
    return new Promise((resolve, reject) => this.#drain.push({ resolve, reject }));
  }

  async closeWrite(): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    if (this.#ended) return;
    this.#ended = true;
    this.#later(() => this.peer?.arrive(undefined));
  }

  abort(reason: Error): void {
    if (this.failure !== undefined) return;
    this.fail(reason);
    this.#later(() => this.peer?.fail(new AgentError("connection-closed", { message: "read: connection reset by peer" })));
  }

  arrive(chunk: Bytes | undefined): void {
    if (this.failure !== undefined) return;
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader === undefined || chunk === undefined) this.#chunks.push(chunk);
    if (reader !== undefined) {
      this.peer?.taken(chunk?.length ?? 0);
      reader.resolve(chunk);
    }
  }

  taken(length: number): void {
    this.#unread -= length;
    if (this.#unread >= inFlightMax) return;
    const waiting = this.#drain;
    this.#drain = [];
    for (const waiter of waiting) waiter.resolve();
  }

  fail(reason: Error): void {
    if (this.failure !== undefined) return;
    this.failure = reason;
    this.#chunks.length = 0;
    this.#reader?.reject(reason);
    this.#reader = undefined;
    for (const waiter of this.#drain) waiter.reject(reason);
    this.#drain = [];
  }
}
