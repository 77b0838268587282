/**
 * One server's disk, as Raft's storage contract allows it to be: a write is durable as a whole some time after it was
 * given, and not before. What is still on its way in a crash is lost, or stored although nobody was told; the entries and
 * the compaction that rides along are two steps. (How torn sectors are told from corruption is the business of the real
 * log, tests/runtimes/storage.test.ts; here a torn write is a lost one.)
 */
import { below, type Random } from "../../core/ports/random.ts";
import type { HardState, LogEntry } from "../../core/ports/storage.ts";
import type { TakenWrite } from "../../core/raft/disk.ts";
import type { SnapshotPoint } from "../../core/raft/messages.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import type { LogIndex } from "../../core/types/ids.ts";
import { check } from "./violation.ts";

/** A saved state machine. */
export interface StoredSnapshot {
  readonly point: SnapshotPoint;
  readonly content: Bytes;
}

export class GroupDisk {
  readonly #random: Random;
  #hardState: HardState = { term: 0, votedFor: undefined };
  #entries: LogEntry[] = [];
  #snapshot: StoredSnapshot | undefined;
  /** Given, not durable yet; in order. */
  readonly #unsynced: ((whole: boolean) => void)[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  get hardState(): HardState {
    return this.#hardState;
  }
  get entries(): readonly LogEntry[] {
    return this.#entries;
  }
  get snapshot(): StoredSnapshot | undefined {
    return this.#snapshot;
  }
  /** The highest index that a restart would find here. */
  get last(): LogIndex {
    return Math.max(this.#entries[this.#entries.length - 1]?.index ?? 0, this.#snapshot?.point.index ?? 0);
  }

  /** Takes a write; call the result when it has become durable. */
  begin(taken: TakenWrite): () => void {
    return this.#later((whole) => this.#write(taken, whole));
  }

  beginSnapshot(snapshot: StoredSnapshot): () => void {
    return this.#later(() => this.#save(snapshot));
  }

  /** The power is gone: of what is on its way a prefix is stored, mostly none of it. */
  crash(): void {
    const kept = below(this.#random, 3) === 0 ? below(this.#random, this.#unsynced.length + 1) : 0;
    const whole = below(this.#random, 2) === 0;
    for (const write of this.#unsynced.slice(0, kept)) write(whole);
    this.#unsynced.length = 0;
  }

  #later(act: (whole: boolean) => void): () => void {
    this.#unsynced.push(act);
    return () => {
      const at = this.#unsynced.indexOf(act);
      if (at < 0) return; // lost in a crash
      this.#unsynced.splice(at, 1);
      act(true);
    };
  }

  #write({ write, compactTo }: TakenWrite, whole: boolean): void {
    const { truncateFrom, hardState, entries } = write;
    const stored = this.#entries;
    if (truncateFrom !== undefined && stored.length > 0)
      stored.length = Math.max(0, Math.min(stored.length, truncateFrom - (stored[0] as LogEntry).index));
    const last = stored[stored.length - 1];
    const next = entries[0];
    check(
      next === undefined || last === undefined || next.index === last.index + 1,
      "a stored log has no gaps",
      () => `entry ${next?.index} is written behind ${last?.index}`,
    );
    for (const entry of entries) stored.push(entry);
    if (hardState !== undefined) this.#hardState = hardState;
    if (compactTo === undefined || !whole) return;
    const first = stored[0]?.index;
    if (first !== undefined && compactTo >= first) this.#entries = stored.slice(compactTo - first + 1);
  }

  #save(snapshot: StoredSnapshot): void {
    if (snapshot.point.index > (this.#snapshot?.point.index ?? 0)) this.#snapshot = snapshot;
  }
}
