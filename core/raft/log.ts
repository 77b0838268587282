/**
 * The retained log: entries in memory, and the pointers into it.
 *
 *        purged          committed                 last
 *   ───────┤├──────────────┤├────────────────────────┤
 *           entries[0] …                      entries.at(-1)
 *
 *   purged ≤ snapshot ≤ applied ≤ committed ≤ last      applied ≤ durable ≤ last
 *
 * `committed` and `durable` are not ordered: a follower may learn that others committed what its own disk still writes.
 * It applies only what is durable here too, so that its state never goes back in a restart.
 * The log is read from memory only; a follower that needs what was purged gets a snapshot.
 */
import type { LogEntry } from "../ports/storage.ts";
import { AgentError, assert } from "../types/errors.ts";
import type { LogIndex, Term } from "../types/ids.ts";

export class RaftLog {
  /** consecutive; entries[0].index = purged + 1 */
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
   * forgotten what it told others it holds.
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
      log.#purged = log.#snapshot = log.#committed = log.#applied = log.#durable = snapshot.index;
      log.#purgedTerm = log.#snapshotTerm = snapshot.term;
    }
    if (first === undefined) return { log, staleFrom };
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
      log.#purged = first.index - 1;
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
    return this.#purged + this.#entries.length;
  }
  get lastTerm(): Term {
    return this.#entries.length === 0 ? this.#purgedTerm : (this.#entries[this.#entries.length - 1] as LogEntry).term;
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
    if (index === this.#purged) return index === 0 || this.#purgedTerm > 0 ? this.#purgedTerm : undefined;
    return this.#entries[index - this.#purged - 1]?.term;
  }

  /** A retained entry. */
  entryAt(index: LogIndex): LogEntry | undefined {
    return index <= this.#purged ? undefined : this.#entries[index - this.#purged - 1];
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
    this.#entries.length = from - this.#purged - 1;
    if (this.#durable >= from) this.#durable = from - 1;
  }

  /** Entries after `after`, as many as the limits allow, at least one if there is any. */
  slice(after: LogIndex, through: LogIndex, entriesMax: number, bytesMax: number): readonly LogEntry[] {
    assert(after >= this.#purged, "purged entries are not asked for");
    const start = after - this.#purged;
    const limit = Math.min(through - this.#purged, start + entriesMax, this.#entries.length);
    let end = start;
    let bytes = 0;
    while (end < limit) {
      bytes += (this.#entries[end] as LogEntry).data.length;
      if (bytes > bytesMax && end > start) break;
      end++;
    }
    return start === 0 && end === this.#entries.length ? this.#entries.slice() : this.#entries.slice(start, end);
  }

  /**
   * The highest entry at or below `index` whose term is at most `term`: two logs that disagree at `index` cannot agree
   * above it, so a leader and a follower skip whole terms instead of single entries (section 5.3).
   */
  agreementHint(index: LogIndex, term: Term): { readonly index: LogIndex; readonly term: Term } {
    let at = Math.min(index, this.last);
    while (at > this.#purged) {
      const entryTerm = (this.#entries[at - this.#purged - 1] as LogEntry).term;
      if (entryTerm <= term) return { index: at, term: entryTerm };
      at--;
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

  /** Bytes of the data of the entries in (after, through]; at most `bytesMax` are counted. */
  bytesBetween(after: LogIndex, through: LogIndex, bytesMax: number): number {
    let bytes = 0;
    for (let index = Math.max(after, this.#purged) + 1; index <= through && bytes < bytesMax; index++) {
      bytes += (this.#entries[index - this.#purged - 1] as LogEntry).data.length;
    }
    return bytes;
  }

  /** Drops entries up to and including `index` from memory. */
  purge(index: LogIndex): void {
    assert(index <= this.#snapshot, "only what a snapshot covers is purged");
    if (index <= this.#purged) return;
    const term = this.termAt(index);
    assert(term !== undefined, "the last purged entry is known");
    this.#entries = this.#entries.slice(index - this.#purged);
    this.#purged = index;
    this.#purgedTerm = term;
  }

  /** A leader's snapshot takes the place of the whole log. */
  replace(index: LogIndex, term: Term): void {
    assert(index > this.#committed, "a snapshot is installed only when it is ahead");
    this.#entries = [];
    this.#purged = this.#snapshot = this.#committed = this.#applied = this.#durable = index;
    this.#purgedTerm = this.#snapshotTerm = term;
  }

  validate(): void {
    assert(this.#purged <= this.#snapshot || this.#snapshot === 0, "purged ≤ snapshot");
    assert(this.#snapshot <= this.#applied, "snapshot ≤ applied");
    assert(this.#applied <= this.#committed, "applied ≤ committed");
    assert(this.#committed <= this.last, "committed ≤ last");
    assert(this.#durable <= this.last, "durable ≤ last");
    assert(this.#applied <= Math.max(this.#durable, this.#snapshot), "applied ≤ durable, or covered by a snapshot");
    const first = this.#entries[0];
    assert(first === undefined || first.index === this.#purged + 1, "the first entry follows the purged one");
    const end = this.#entries[this.#entries.length - 1];
    assert(end === undefined || end.index === this.last, "the last entry is where the length says");
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
