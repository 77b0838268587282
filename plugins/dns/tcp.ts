/**
 * DNS over TCP: each message behind its length in two bytes (RFC 1035 section 4.2.2).
 *
 * One question of a connection is in hand at a time; the next stays in the socket until its answer is written, which is
 * the bound on pipelining.
 */
import type { ByteStream, Clock, Logger, Metrics } from "../../core/ports/mod.ts";
import { type Bytes, concat } from "../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../core/types/errors.ts";
import { copyOf, headerBytes } from "./message.ts";

/** Open connections; one more is closed at once. */
const connectionsMax = 1024;
/** A connection that brings no whole question for so long is closed. */
const idleMax = 8000;

/** A stream and what was read of it beyond the last frame. */
export interface FrameReader {
  readonly stream: ByteStream;
  held: Bytes;
}

/** The next message, or undefined at the end. */
export async function readFrame(reader: FrameReader): Promise<Bytes | undefined> {
  for (;;) {
    const { held } = reader;
    if (held.length >= 2) {
      const length = ((held[0] as number) << 8) | (held[1] as number);
      if (held.length >= 2 + length) {
        reader.held = held.subarray(2 + length);
        return copyOf(held.subarray(2, 2 + length));
      }
    }
    const chunk = await reader.stream.read();
    if (chunk === undefined) return undefined;
    reader.held = held.length === 0 ? chunk : concat([held, chunk]);
  }
}

/** Resolves when there is room for another. */
export async function writeFrame(stream: ByteStream, message: Bytes): Promise<void> {
  const framed = new Uint8Array(2 + message.length);
  framed[0] = message.length >> 8;
  framed[1] = message.length & 255;
  framed.set(message, 2);
  if (!stream.write(framed)) await stream.drained();
}

export interface TcpService {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Undefined: nothing is sent back. */
  readonly answer: (packet: Bytes, transport: "tcp") => Bytes | undefined | Promise<Bytes | undefined>;
}

export class TcpConnections {
  readonly #service: TcpService;
  #open = 0;

  constructor(service: TcpService) {
    this.#service = service;
  }

  accept(stream: ByteStream): void {
    if (this.#open >= connectionsMax) {
      this.#service.metrics.counter("dns.connections_refused").add(1);
      stream.abort(new AgentError("closed", { message: `More than ${connectionsMax} DNS connections` }));
      return;
    }
    this.#open++;
    // Ends by itself: with the stream, after idleness, or when the listener aborts it.
    void this.#serve(stream).finally(() => {
      this.#open--;
    });
  }

  async #serve(stream: ByteStream): Promise<void> {
    const { clock, logger, answer } = this.#service;
    const reader: FrameReader = { stream, held: new Uint8Array(0) };
    const idle = (): void => stream.abort(new AgentError("timeout", { message: "The DNS connection was idle" }));
    try {
      for (;;) {
        const timer = clock.after(idleMax, idle);
        const packet = await readFrame(reader).finally(() => timer.cancel());
        if (packet === undefined || packet.length < headerBytes) break;
        const reply = await answer(packet, "tcp");
        if (reply === undefined) break;
        const stuck = clock.after(idleMax, idle);
        await writeFrame(stream, reply).finally(() => stuck.cancel());
      }
      await stream.closeWrite();
    } catch (error) {
      logger.log("debug", "DNS connection ended", { error: messageOf(error), client: stream.remote.host });
    }
    stream.abort(new AgentError("closed", { message: "The DNS connection is over" }));
  }
}
