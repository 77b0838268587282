/** Reading bytes and MessagePack values from a connection, as far as they have arrived. */
import type { Bytes } from "../types/bytes.ts";
import { decode, Malformed, type Value } from "./msgpack.ts";

/** The reading half of a connection: the next bytes, undefined at the end. */
export interface ByteSource {
  read(): Promise<Bytes | undefined>;
}

/** A source that gives `content` and ends. */
export function sourceOf(content: Bytes): ByteSource {
  let left: Bytes | undefined = content;
  return {
    read() {
      const next = left;
      left = undefined;
      return Promise.resolve(next);
    },
  };
}

/**
 * Buffers what a source gives and cuts it into values. Lengths stated by the peer are checked against `bytesMax`
 * before anything is kept for them, and each byte is looked at once however slowly it trickles in.
 */
export class ValueReader {
  readonly #source: ByteSource;
  #buffer: Bytes = new Uint8Array(0);
  /** Unread bytes are #buffer[#start, #end). */
  #start = 0;
  #end = 0;
  #taken = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** Bytes of all that was given out so far in values and in pieces of a known length. */
  get taken(): number {
    return this.#taken;
  }

  /** The next byte, undefined at a clean end. */
  async byte(): Promise<number | undefined> {
    if (!(await this.#have(1))) return undefined;
    return this.#buffer[this.#start++];
  }

  /** Throws `Malformed` when the source ends first. The result is a copy. */
  async exactly(length: number): Promise<Bytes> {
    if (!(await this.#have(length))) throw new Malformed("connection ended within a message");
    return this.#cut(length);
  }

  /** Undefined at a clean end before the first byte. Throws `Malformed` for broken input and for more than `bytesMax`. */
  async value(bytesMax: number): Promise<Value | undefined> {
    if (!(await this.#have(1))) return undefined;
    const scan = new Scan(bytesMax);
    while (!scan.advance(this.#buffer.subarray(this.#start, this.#end))) {
      if (!(await this.#more())) throw new Malformed("connection ended within a value");
    }
    return decode(this.#cut(scan.at));
  }

  /** Whatever arrives next, undefined at the end: for content without a length. */
  async rest(): Promise<Bytes | undefined> {
    if (this.#end > this.#start) return this.#cut(this.#end - this.#start);
    return this.#source.read();
  }

  async #have(length: number): Promise<boolean> {
    while (this.#end - this.#start < length) if (!(await this.#more())) return false;
    return true;
  }

  async #more(): Promise<boolean> {
    const chunk = await this.#source.read();
    if (chunk === undefined) return false;
    const held = this.#end - this.#start;
    if (this.#end + chunk.length > this.#buffer.length) {
      const room = Math.max(this.#buffer.length, held + chunk.length);
      const larger = held + chunk.length > this.#buffer.length ? new Uint8Array(Math.max(room, 2 * held)) : this.#buffer;
      larger.set(this.#buffer.subarray(this.#start, this.#end));
      this.#buffer = larger;
      this.#start = 0;
      this.#end = held;
    }
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.length;
    return true;
  }

  #cut(length: number): Bytes {
    const part = this.#buffer.slice(this.#start, this.#start + length);
    this.#start += length;
    this.#taken += length;
    if (this.#start === this.#end) {
      this.#start = 0;
      this.#end = 0;
    }
    return part;
  }
}

/** Finds where a value ends without making anything of it, and continues where it stopped. */
class Scan {
  /** How far the value is known to reach; may lie beyond what has arrived. */
  at = 0;
  #pending = 1;
  readonly #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** True when `bytes` holds the whole value. `bytes` starts where the value does and grows between calls. */
  advance(bytes: Bytes): boolean {
    while (this.#pending > 0) {
      if (this.at >= bytes.length || !this.#head(bytes)) return false;
      // Each value still to come takes a byte at least.
      if (this.at + this.#pending > this.#bytesMax) throw new Malformed(`value is larger than ${this.#bytesMax} bytes`);
    }
    return this.at <= bytes.length;
  }

  #head(bytes: Bytes): boolean {
    const code = bytes[this.at] as number;
    if (code < 0x80 || code >= 0xe0 || code === 0xc0 || code === 0xc2 || code === 0xc3) return this.#skip(1, 0);
    if (code < 0x90) return this.#skip(1, 2 * (code & 15));
    if (code < 0xa0) return this.#skip(1, code & 15);
    if (code < 0xc0) return this.#skip(1 + (code & 31), 0);
    const fixed = fixedLengths[code - 0xc0] as number;
    if (fixed > 0) return this.#skip(fixed, 0);
    const size = lengthSizes[code - 0xc0] as number;
    if (size === 0) throw new Malformed(`unknown type 0x${code.toString(16)}`);
    if (this.at + 1 + size > bytes.length) return false;
    let length = 0;
    for (let index = 1; index <= size; index++) length = length * 256 + (bytes[this.at + index] as number);
    if (code >= 0xde) return this.#skip(1 + size, 2 * length);
    if (code >= 0xdc) return this.#skip(1 + size, length);
    const isExtension = code >= 0xc7 && code <= 0xc9;
    return this.#skip(1 + size + length + (isExtension ? 1 : 0), 0);
  }

  #skip(length: number, children: number): true {
    this.at += length;
    this.#pending += children - 1;
    return true;
  }
}

/** For c0 to df: the whole length of types that have one. */
const fixedLengths: readonly number[] = [
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 9, 2, 3, 5, 9, 2, 3, 5, 9, 3, 4, 6, 10, 18, 0, 0, 0, 0, 0, 0, 0,
];
/** For c0 to df: how many bytes state the length of the others. */
const lengthSizes: readonly number[] = [
  0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4,
];
