/** What a connection to the server port turns into: its first byte says. */
import type { Clock } from "../ports/clock.ts";
import type { Address } from "../ports/net.ts";
import type { ByteStream } from "../ports/streams.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";

export const firstByte = {
  /** msgpack-rpc at once, one call at a time. */
  consul: 0,
  /** Raft as Consul's servers speak it among themselves; not spoken here. */
  raft: 1,
  /** A multiplexer before yamux. */
  multiplex: 2,
  /** TLS, then a first byte within. */
  tls: 3,
  /** yamux, each stream msgpack-rpc: what agents and servers use. */
  multiplexV2: 4,
  snapshot: 5,
  gossip: 6,
  /** TLS without a client certificate, then msgpack-rpc. */
  tlsInsecure: 7,
  /** Raft between servers of this kind, in CBOR. Above Consul's numbers and below 22, with which TLS itself begins. */
  ownRaft: 16,
} as const;

/** The first byte, and the connection as it goes on behind it. Rejects with `timeout`, or `connection-closed` when nothing came. */
export async function readFirstByte(
  stream: ByteStream,
  limits: { readonly clock: Clock; readonly timeout: Millis },
): Promise<{ readonly type: number; readonly rest: ByteStream }> {
  const late = new AgentError("timeout", { message: "i/o timeout" });
  const timer = limits.clock.after(limits.timeout, () => stream.abort(late));
  try {
    for (;;) {
      const chunk = await stream.read();
      if (chunk === undefined) throw new AgentError("connection-closed", { message: "EOF" });
      if (chunk.length > 0) return { type: chunk[0] as number, rest: new PrefixedStream(stream, chunk.subarray(1)) };
    }
  } finally {
    timer.cancel();
  }
}

/** A connection of which some bytes were read already. */
class PrefixedStream implements ByteStream {
  readonly #stream: ByteStream;
  #prefix: Bytes | undefined;

  constructor(stream: ByteStream, prefix: Bytes) {
    this.#stream = stream;
    this.#prefix = prefix.length === 0 ? undefined : prefix;
  }

  get local(): Address {
    return this.#stream.local;
  }

  get remote(): Address {
    return this.#stream.remote;
  }

  read(): Promise<Bytes | undefined> {
    const prefix = this.#prefix;
    if (prefix === undefined) return this.#stream.read();
    this.#prefix = undefined;
    return Promise.resolve(prefix);
  }

  write(chunk: Bytes): boolean {
    return this.#stream.write(chunk);
  }

  drained(): Promise<void> {
    return this.#stream.drained();
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  abort(reason: Error): void {
    this.#stream.abort(reason);
  }
}
