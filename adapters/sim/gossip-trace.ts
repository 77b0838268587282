import type { Millis } from "../../core/types/ids.ts";

/** What is marked, as the hash has it. Append only: the numbers are part of pinned hashes. */
const kinds = ["packet", "joined", "failed", "left", "event", "crash", "restart", "pause", "cut", "heal"] as const;
export type Marked = (typeof kinds)[number];

/** A hash over all that happened, of whole numbers only: the same on every engine for one seed and one commit. */
export class RollingHash {
  #low = 0x811c9dc5 | 0;
  #high = 0x2545f491 | 0;
  marks = 0;

  mark(now: Millis, what: Marked, host: number, detail: number): void {
    this.marks++;
    this.#mix(Math.floor(now * 1000) | 0);
    this.#mix((kinds.indexOf(what) << 24) | host);
    this.#mix(detail | 0);
  }

  /** 16 hex digits. */
  get text(): string {
    return (this.#high >>> 0).toString(16).padStart(8, "0") + (this.#low >>> 0).toString(16).padStart(8, "0");
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193);
    this.#low ^= this.#low >>> 13;
    this.#high = Math.imul(this.#high ^ value, 0x85ebca6b) ^ this.#low;
    this.#high ^= this.#high >>> 15;
  }
}
