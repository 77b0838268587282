/**
 * Frames between two servers, and how they leave and arrive.
 *
 *   frame:  length (4 bytes, of what follows the type) · type (1 byte) · body
 *
 * Frames queued together leave as one write. A length is checked before anything is kept, and nothing is
 * allocated for bytes that have not arrived.
 */
import { type Clock, runNext, runSoon } from "../ports/clock.ts";
import type { ByteStream } from "../ports/streams.ts";
import { type Bytes, concat, emptyBytes } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";

export const frameType = {
  /** First in both directions: CBOR, see transport.ts. */
  hello: 0,
  /** A Raft message, see wire.ts. */
  message: 1,
  /** Number (4 bytes), then the request. */
  request: 2,
  /** Number, then the answer. */
  answer: 3,
  /** Number, then CBOR [code, message]. */
  failure: 4,
  /** Are you there? Empty. */
  ping: 5,
  pong: 6,
} as const;

/** A body. The largest log entry with its envelope fits. */
export const frameBytesMax = 17 * 1024 * 1024;
const headBytes = 5;
/** Frames joined into one write. */
const writeBytesMax = 256 * 1024;

export interface Frame {
  readonly type: number;
  /** A view that is good until the next `read`; whoever keeps it copies it. */
  readonly body: Bytes;
}

/** `prefix` is a request's number. */
export function encodeFrame(type: number, body: Bytes, prefix?: number): Bytes {
  const prefixBytes = prefix === undefined ? 0 : 4;
  const frame = new Uint8Array(headBytes + prefixBytes + body.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, prefixBytes + body.length);
  frame[4] = type;
  if (prefix !== undefined) view.setUint32(headBytes, prefix);
  frame.set(body, headBytes + prefixBytes);
  return frame;
}

/** The number in front of a request, an answer or a failure; undefined when it is cut short. */
export function takeNumber(body: Bytes): { readonly id: number; readonly rest: Bytes } | undefined {
  if (body.length < 4) return undefined;
  const id = new DataView(body.buffer, body.byteOffset, 4).getUint32(0);
  return { id, rest: body.subarray(4) };
}

/** Cuts a stream into frames. */
export class FrameReader {
  readonly #stream: ByteStream;
  #bytes: Bytes = emptyBytes;

  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  /** Undefined at the end of the stream. Rejects with `bad-request` for a frame beyond `bytesMax`, or one cut short. */
  async read(bytesMax: number = frameBytesMax): Promise<Frame | undefined> {
    if (!(await this.#fill(headBytes))) return undefined;
    const head = this.#bytes;
    const length = new DataView(head.buffer, head.byteOffset, 4).getUint32(0);
    const type = head[4] as number;
    if (length > bytesMax)
      throw new AgentError("bad-request", { message: `a frame of ${length} bytes exceeds the limit of ${bytesMax}` });
    if (!(await this.#fill(headBytes + length))) throw new AgentError("bad-request", { message: "a frame was cut short" });
    const body = this.#bytes.subarray(headBytes, headBytes + length);
    this.#bytes = this.#bytes.subarray(headBytes + length);
    return { type, body };
  }

  /** Makes sure that `count` bytes are there; false when the stream ended before the first of them. */
  async #fill(count: number): Promise<boolean> {
    if (this.#bytes.length >= count) return true;
    const parts = [this.#bytes];
    let length = this.#bytes.length;
    while (length < count) {
      const chunk = await this.#stream.read();
      if (chunk === undefined) {
        if (length === 0) return false;
        throw new AgentError("bad-request", { message: "a frame was cut short" });
      }
      parts.push(chunk);
      length += chunk.length;
    }
    this.#bytes = parts.length === 2 && parts[0]?.length === 0 ? (parts[1] as Bytes) : concat(parts);
    return true;
  }
}

interface Queued {
  readonly frame: Bytes;
  readonly droppable: boolean;
}

/**
 * The sending end: frames wait here while the network is slow. What Raft can do without goes first, oldest first; when
 * even the rest exceeds the bound, the other side is not reading, and the connection is given up.
 */
export class Outbox {
  readonly #stream: ByteStream;
  readonly #bytesMax: number;
  readonly #clock: Clock | undefined;
  #queue: Queued[] = [];
  #bytes = 0;
  /** Writing, or about to. */
  #flushing = false;
  /** To be written when all who are ready have had their say. */
  #due = false;
  #gone = false;

  /** With a clock, frames that cannot be dropped are gathered as {@link Clock.soon} says; otherwise in a microtask. */
  constructor(stream: ByteStream, bytesMax: number, clock?: Clock) {
    this.#stream = stream;
    this.#bytesMax = bytesMax;
    this.#clock = clock;
  }

  push(frame: Bytes, droppable: boolean): void {
    this.#queue.push({ frame, droppable });
    this.#bytes += frame.length;
    if (this.#bytes > this.#bytesMax) this.#drop();
    if (this.#flushing || this.#gone) return;
    // Raft's turn has gathered what arrived together. Requests and answers come one by one, each from its own client.
    if (droppable || this.#clock === undefined) {
      this.#flushing = true;
      runNext(() => this.#flush());
    } else if (!this.#due) {
      this.#due = true;
      runSoon(this.#clock, this.#onSoon);
    }
  }

  readonly #onSoon = (): void => {
    this.#due = false;
    if (this.#flushing || this.#gone) return;
    this.#flushing = true;
    void this.#flush();
  };

  /** Frames that the stream was never given. */
  unsent(): readonly Bytes[] {
    return this.#queue.map(({ frame }) => frame);
  }

  /** Resolves when there is nothing left to send, or nobody to send it to. */
  async #flush(): Promise<void> {
    try {
      while (this.#queue.length > 0) if (!this.#stream.write(this.#take())) await this.#stream.drained();
    } catch {
      // The stream is gone; who reads it learns that, and closes this end.
      this.#gone = true;
    } finally {
      this.#flushing = false;
    }
  }

  #take(): Bytes {
    let count = 0;
    let bytes = 0;
    while (count < this.#queue.length) {
      const { length } = (this.#queue[count] as Queued).frame;
      if (count > 0 && bytes + length > writeBytesMax) break;
      bytes += length;
      count++;
    }
    const taken = this.#queue.splice(0, count);
    this.#bytes -= bytes;
    return taken.length === 1 ? (taken[0] as Queued).frame : concat(taken.map(({ frame }) => frame));
  }

  #drop(): void {
    const kept: Queued[] = [];
    for (const queued of this.#queue) {
      if (queued.droppable && this.#bytes > this.#bytesMax) this.#bytes -= queued.frame.length;
      else kept.push(queued);
    }
    this.#queue = kept;
    if (this.#bytes <= this.#bytesMax) return;
    this.#stream.abort(new AgentError("connection-closed", { message: "the other side does not read" }));
  }
}
