/**
 * Entries that lie behind the state machine, packed: one buffer for all their bytes instead of two objects for each.
 *
 *   first, term, type         the same for all of a block
 *   ends    [ 31, 64, 190 …]  where each entry's bytes end
 *   bytes   ██████████████…
 *
 * They are kept for followers that are a little behind, and rarely looked at.
 */
import type { LogEntry } from "../ports/storage.ts";
import type { Bytes } from "../types/bytes.ts";
import { assert } from "../types/errors.ts";
import type { LogIndex, Term } from "../types/ids.ts";

/** What one block holds, unless a single entry is larger. */
export const blockEntriesMax = 512;
export const blockBytesMax = 64 * 1024;

export class EntryBlock {
  readonly first: LogIndex;
  readonly last: LogIndex;
  readonly term: Term;
  readonly #type: number;
  readonly #ends: Uint32Array;
  readonly #bytes: Bytes;

  /**
   * Packs as many of `entries` from `start` on, and before `end`, as belong into one block: at least one. They are
   * consecutive.
   */
  constructor(entries: readonly LogEntry[], start: number, end: number) {
    const { index, term, type } = entries[start] as LogEntry;
    let count = 0;
    let size = 0;
    for (; count < blockEntriesMax && start + count < end; count++) {
      const entry = entries[start + count] as LogEntry;
      if (entry.term !== term || entry.type !== type) break;
      if (count > 0 && size + entry.data.length > blockBytesMax) break;
      size += entry.data.length;
    }
    this.first = index;
    this.last = index + count - 1;
    this.term = term;
    this.#type = type;
    this.#ends = new Uint32Array(count);
    this.#bytes = new Uint8Array(size);
    let at = 0;
    for (let item = 0; item < count; item++) {
      const { data } = entries[start + item] as LogEntry;
      this.#bytes.set(data, at);
      at += data.length;
      this.#ends[item] = at;
    }
  }

  /** How many entries it holds. */
  get length(): number {
    return this.#ends.length;
  }

  /** The entry, with a view of its data. */
  entryAt(index: LogIndex): LogEntry {
    const at = index - this.first;
    assert(at >= 0 && at < this.#ends.length, "the entry is in this block");
    return { index, term: this.term, type: this.#type, data: this.#bytes.subarray(this.#endOf(at - 1), this.#endOf(at)) };
  }

  /** Bytes of the data of the entries in (after, through]; both within the block, or just before it. */
  bytesBetween(after: LogIndex, through: LogIndex): number {
    return this.#endOf(through - this.first) - this.#endOf(after - this.first);
  }

  #endOf(at: number): number {
    return at < 0 ? 0 : (this.#ends[at] as number);
  }
}
