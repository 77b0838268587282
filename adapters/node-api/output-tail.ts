import type { Bytes } from "../../core/types/bytes.ts";

/** Keeps the last `bytesMax` of a stream in a ring that never grows. */
export class OutputTail {
  readonly #ring: Uint8Array;
  /** Where the next byte goes. */
  #end = 0;
  /** All bytes ever added. */
  bytesTotal = 0;

  constructor(bytesMax: number) {
    this.#ring = new Uint8Array(bytesMax);
  }

  add(chunk: Bytes): void {
    this.bytesTotal += chunk.length;
    const size = this.#ring.length;
    if (size === 0) return;
    const kept = chunk.length > size ? chunk.subarray(chunk.length - size) : chunk;
    const beforeWrap = Math.min(kept.length, size - this.#end);
    this.#ring.set(kept.subarray(0, beforeWrap), this.#end);
    this.#ring.set(kept.subarray(beforeWrap), 0);
    this.#end = (this.#end + kept.length) % size;
  }

  /** The tail, oldest byte first. */
  bytes(): Bytes {
    if (this.bytesTotal <= this.#ring.length) return this.#ring.slice(0, this.bytesTotal);
    const tail = new Uint8Array(this.#ring.length);
    tail.set(this.#ring.subarray(this.#end));
    tail.set(this.#ring.subarray(0, this.#end), this.#ring.length - this.#end);
    return tail;
  }
}
