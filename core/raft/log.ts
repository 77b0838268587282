/**
 * The retained log: entries in memory, and the pointers into it.
 *
 *        purged        packed    applied     committed                 last
 *   ───────┤├────────────┤├─────────┤├───────────┤├──────────────────────┤
 *           blocks        entries[0] …                        entries.at(-1)
 *
 *   purged ≤ snapshot ≤ applied ≤ committed ≤ last      applied ≤ max(durable, snapshot)      packed ≤ applied
 *
 * `committed` and `durable` are not ordered: a follower may learn that others committed what its own disk still writes.
 * It applies only what is durable here too, so that its state never goes back in a restart. A leader's snapshot is there
 * before the store's log says that it begins behind it; until that is recorded, `durable` lies below.
 * The log is read from memory only; a follower that needs what was purged gets a snapshot. So what lies well behind the
 * state machine is packed (entry-block.ts): an entry of 200 bytes then costs 204, and the garbage collector nothing.
 */
import type { LogEntry } from "../ports/storage.ts";
import { AgentError, assert } from "../types/errors.ts";
import type { LogIndex, Term } from "../types/ids.ts";
import { blockEntriesMax, EntryBlock } from "./entry-block.ts";

/** Entries behind the state machine that are not packed yet: the ones that followers are being sent. */
const loosenessMax = 2 * blockEntriesMax;

export class RaftLog {
  /** consecutive; the first one may begin before the first retained entry */
  #blocks: EntryBlock[] = [];
  /** Everything up to here is in blocks, or purged. */
  #packed: LogIndex = 0;
  /** consecutive; entries[0].index = packed + 1 */
  #entries: LogEntry[] = [];
  /** Index and term of the entry before the first retained one. */
  #purged: LogIndex = 0;
  #purgedTerm: Term = 0;
  #committed: LogIndex = 0;
  #applied: LogIndex = 0;
  /** Everything up to here survives a crash. */
  #durable: LogIndex = 0;
  /** Covered by the newest snapshot. */
  #snapshot: LogIndex = 0;
  #snapshotTerm: Term = 0;

  /**
   * From what a store held. Entries that a snapshot covers are kept for followers; those that do not fit the snapshot
   * are dropped (`staleFrom` of the result says from where). Throws `wal-corrupt` when entries are missing: also when there
   * are none, and the snapshot for which they were dropped is not the one at hand. Who began at an older one would have
   * forgotten what it told others it holds. What the snapshot holds and the store's log knows nothing of is not durable.
   */
  static restore(
    entries: readonly LogEntry[],
    snapshot: { readonly index: LogIndex; readonly term: Term } | undefined,
    compacted: LogIndex = 0,
  ): { log: RaftLog; staleFrom: LogIndex | undefined } {
    const log = new RaftLog();
    const begins = Math.max(compacted + 1, entries[0]?.index ?? 0);
    if (begins > (snapshot?.index ?? 0) + 1) {
      throw new AgentError("wal-corrupt", {
        message: `Cannot resume: the log begins at ${begins} but the newest snapshot ends at ${snapshot?.index ?? 0}. Restore the data directory, or remove it and rejoin`,
      });
    }
    const first = entries[0];
    let staleFrom: LogIndex | undefined;
    if (snapshot !== undefined) {
      log.#packed = log.#purged = log.#snapshot = log.#committed = log.#applied = snapshot.index;
      log.#purgedTerm = log.#snapshotTerm = snapshot.term;
    }
    if (first === undefined) {
      log.#durable = Math.min(compacted, log.#snapshot);
      return { log, staleFrom };
    }
    assertConsecutive(entries);
    const atSnapshot = snapshot === undefined ? undefined : entries[snapshot.index - first.index];
    if (snapshot !== undefined && first.index <= snapshot.index && atSnapshot?.term !== snapshot.term) {
      // The log ends before the snapshot or contradicts it: a crash came between installing it and cutting the log.
      staleFrom = first.index;
      return { log, staleFrom };
    }
    log.#entries = entries.slice();
    log.#durable = (entries[entries.length - 1] as LogEntry).index;
    if (first.index <= log.#snapshot) {
      log.#packed = log.#purged = first.index - 1;
      // Nobody may ask for the entry before: its term is not known, and 0 equals no entry's.
      log.#purgedTerm = 0;
    }
    return { log, staleFrom };
  }

  get purged(): LogIndex {
    return this.#purged;
  }
  get first(): LogIndex {
    return this.#purged + 1;
  }
  get last(): LogIndex {
    return this.#packed + this.#entries.length;
  }
  get lastTerm(): Term {
    return this.#entries.length > 0
      ? (this.#entries[this.#entries.length - 1] as LogEntry).term
      : (this.#blocks[this.#blocks.length - 1]?.term ?? this.#purgedTerm);
  }
  get committed(): LogIndex {
    return this.#committed;
  }
  get applied(): LogIndex {
    return this.#applied;
  }
  get durable(): LogIndex {
    return this.#durable;
  }
  get snapshot(): LogIndex {
    return this.#snapshot;
  }
  get snapshotTerm(): Term {
    return this.#snapshotTerm;
  }

  /** The term of the entry at `index`; 0 for index 0; undefined when it is not retained or not there yet. */
  termAt(index: LogIndex): Term | undefined {
    if (index > this.#packed) return this.#entries[index - this.#packed - 1]?.term;
    if (index > this.#purged) return this.#blockOf(index).term;
    return index === this.#purged && (index === 0 || this.#purgedTerm > 0) ? this.#purgedTerm : undefined;
  }

  /** A retained entry. */
  entryAt(index: LogIndex): LogEntry | undefined {
    if (index > this.#packed) return this.#entries[index - this.#packed - 1];
    return index > this.#purged ? this.#blockOf(index).entryAt(index) : undefined;
  }

  /** True when a log ending with this entry has everything that ours may have committed (section 5.4.1). */
  isUpToDate(lastIndex: LogIndex, lastTerm: Term): boolean {
    return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.last);
  }

  append(entry: LogEntry): void {
    assert(entry.index === this.last + 1, "entries are appended in order");
    assert(entry.term >= this.lastTerm, "terms never fall along the log");
    this.#entries.push(entry);
  }

  /** Removes `from` and all after it. */
  truncate(from: LogIndex): void {
    assert(from > this.#committed, "a committed entry is never removed");
    assert(from > this.#purged && from <= this.last, "only retained entries are removed");
    this.#entries.length = from - this.#packed - 1;
    if (this.#durable >= from) this.#durable = from - 1;
  }

  /** Entries after `after`, as many as the limits allow, at least one if there is any. */
  slice(after: LogIndex, through: LogIndex, entriesMax: number, bytesMax: number): readonly LogEntry[] {
    assert(after >= this.#purged, "purged entries are not asked for");
    const limit = Math.min(through, after + entriesMax, this.last);
    const found: LogEntry[] = [];
    let bytes = 0;
    for (let index = after + 1; index <= limit; index++) {
      const entry = this.entryAt(index) as LogEntry;
      bytes += entry.data.length;
      if (bytes > bytesMax && found.length > 0) break;
      found.push(entry);
    }
    return found;
  }

  /**
   * The highest entry at or below `index` whose term is at most `term`: two logs that disagree at `index` cannot agree
   * above it, so a leader and a follower skip whole terms instead of single entries (section 5.3).
   */
  agreementHint(index: LogIndex, term: Term): { readonly index: LogIndex; readonly term: Term } {
    let at = Math.min(index, this.last);
    while (at > this.#purged) {
      const entryTerm = this.termAt(at) as Term;
      if (entryTerm <= term) return { index: at, term: entryTerm };
      // All of a block is of one term.
      at = at > this.#packed ? at - 1 : Math.max(this.#blockOf(at).first - 1, this.#purged);
    }
    return { index: at, term: this.termAt(at) ?? 0 };
  }

  /** How far the state machine may go. */
  get applicable(): LogIndex {
    return Math.min(this.#committed, Math.max(this.#durable, this.#snapshot));
  }

  commitTo(index: LogIndex): void {
    assert(index >= this.#committed && index <= this.last, "commit moves forward, within the log");
    this.#committed = index;
  }
  appliedTo(index: LogIndex): void {
    assert(index >= this.#applied && index <= this.#committed, "what is applied is committed");
    this.#applied = index;
    this.#pack();
  }
  durableTo(index: LogIndex): void {
    assert(index <= this.last, "what is durable is in the log");
    if (index > this.#durable) this.#durable = index;
  }

  /** A snapshot covers everything up to `index`. */
  snapshotTo(index: LogIndex): void {
    assert(index <= this.#applied, "a snapshot holds what was applied");
    if (index <= this.#snapshot) return;
    this.#snapshot = index;
    this.#snapshotTerm = this.termAt(index) ?? 0;
  }

  /** Bytes of the data of the entries in (after, through]; counting stops beyond `bytesMax`. */
  bytesBetween(after: LogIndex, through: LogIndex, bytesMax: number): number {
    let bytes = 0;
    let index = Math.max(after, this.#purged);
    while (index < Math.min(through, this.#packed) && bytes < bytesMax) {
      const block = this.#blockOf(index + 1);
      const end = Math.min(through, block.last);
      bytes += block.bytesBetween(index, end);
      index = end;
    }
    for (; index < through && bytes < bytesMax; index++) bytes += (this.#entries[index - this.#packed] as LogEntry).data.length;
    return bytes;
  }

  /** Drops entries up to and including `index` from memory. */
  purge(index: LogIndex): void {
    assert(index <= this.#snapshot, "only what a snapshot covers is purged");
    if (index <= this.#purged) return;
    const term = this.termAt(index);
    assert(term !== undefined, "the last purged entry is known");
    if (index > this.#packed) {
      this.#entries = this.#entries.slice(index - this.#packed);
      this.#packed = index;
    }
    let gone = 0;
    while (gone < this.#blocks.length && (this.#blocks[gone] as EntryBlock).last <= index) gone++;
    if (gone > 0) this.#blocks = this.#blocks.slice(gone);
    this.#purged = index;
    this.#purgedTerm = term;
  }

  /** A leader's snapshot takes the place of the whole log; none of that is durable before the store has recorded it. */
  replace(index: LogIndex, term: Term): void {
    assert(index > this.#committed, "a snapshot is installed only when it is ahead");
    this.#entries = [];
    this.#blocks = [];
    this.#packed = this.#purged = this.#snapshot = this.#committed = this.#applied = index;
    this.#purgedTerm = this.#snapshotTerm = term;
    this.#durable = 0;
  }

  validate(): void {
    assert(this.#purged <= this.#snapshot || this.#snapshot === 0, "purged ≤ snapshot");
    assert(this.#snapshot <= this.#applied, "snapshot ≤ applied");
    assert(this.#applied <= this.#committed, "applied ≤ committed");
    assert(this.#committed <= this.last, "committed ≤ last");
    assert(this.#durable <= this.last, "durable ≤ last");
    assert(this.#applied <= Math.max(this.#durable, this.#snapshot), "applied ≤ durable, or covered by a snapshot");
    assert(this.#purged <= this.#packed && (this.#blocks.length === 0 || this.#packed <= this.#applied), "packed ≤ applied");
    const block = this.#blocks[0];
    assert(block === undefined || (block.first <= this.#purged + 1 && block.last > this.#purged), "the first block is retained");
    assert(block !== undefined || this.#purged === this.#packed, "what is packed is in blocks");
    const first = this.#entries[0];
    assert(first === undefined || first.index === this.#packed + 1, "the first entry follows the packed ones");
    const end = this.#entries[this.#entries.length - 1];
    assert(end === undefined || end.index === this.last, "the last entry is where the length says");
  }

  /** Packs whole blocks. Not what may still be truncated, nor what is just being sent. */
  #pack(): void {
    const through = Math.min(this.#applied, this.#durable);
    if (through - this.#packed < loosenessMax) return;
    let start = 0;
    for (const end = through - this.#packed - blockEntriesMax; start < end; ) {
      const block = new EntryBlock(this.#entries, start, end);
      this.#blocks.push(block);
      start += block.length;
    }
    this.#entries = this.#entries.slice(start);
    this.#packed += start;
  }

  /** The block that holds a packed entry. */
  #blockOf(index: LogIndex): EntryBlock {
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#blocks[middle] as EntryBlock).last < index) low = middle + 1;
      else high = middle;
    }
    return this.#blocks[low] as EntryBlock;
  }
}

function assertConsecutive(entries: readonly LogEntry[]): void {
  for (let at = 1; at < entries.length; at++) {
    const before = entries[at - 1] as LogEntry;
    const after = entries[at] as LogEntry;
    if (after.index === before.index + 1 && after.term >= before.term) continue;
    throw new AgentError("wal-corrupt", {
      message: `Cannot resume: entry ${after.index} of term ${after.term} follows entry ${before.index} of term ${before.term}. Restore the data directory, or remove it and rejoin`,
    });
  }
}
