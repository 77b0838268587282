/**
 * The key-value table: made for a million keys and for point writes and reads at memory speed.
 *
 *   #records   Map        key → record        point reads and overwrites: one look-up, no tree
 *   #keys      B+ tree    keys in order       listings; touched only when a key comes or goes
 *   overlays   Map each   key → old record    what a running snapshot still needs to see
 *
 * A snapshot is therefore O(1): it clones the tree of keys and opens an overlay, into which the first change of each key
 * saves the old record. Tombstones remember deletions until they are reaped, so that a listing's index never falls
 * while somebody might still watch it.
 */
import { OrderedMap } from "../structures/ordered-map.ts";
import type { LogIndex } from "../types/ids.ts";
import type { Journal } from "./journal.ts";
import type { KvRecord } from "./records.ts";

/** The keys and records at one moment. Must be released. */
export interface FrozenKv {
  readonly keys: OrderedMap<undefined>;
  readonly tombstones: OrderedMap<LogIndex>;
  read(key: string): KvRecord | undefined;
  release(): void;
}

export class KvTable {
  readonly #journal: Journal;
  readonly #records = new Map<string, KvRecord>();
  readonly #keys = new OrderedMap<undefined>();
  readonly #bySession = new Map<string, Set<string>>();
  readonly #tombstones = new OrderedMap<LogIndex>();
  /** Tombstones by age, so that reaping does not search. `#graves[#reaped…]` are not reaped yet. */
  #graves: { readonly index: LogIndex; readonly key: string }[] = [];
  #reaped = 0;
  readonly #overlays = new Set<Map<string, KvRecord>>();

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  get size(): number {
    return this.#records.size;
  }

  get tombstoneCount(): number {
    return this.#tombstones.size;
  }

  get(key: string): KvRecord | undefined {
    return this.#records.get(key);
  }

  put(record: KvRecord): void {
    const before = this.#records.get(record.key);
    this.#replace(record.key, before, record);
    if (this.#journal.open) this.#journal.record(() => this.#replace(record.key, record, before));
  }

  delete(key: string): void {
    const before = this.#records.get(key);
    if (before === undefined) return;
    this.#replace(key, before, undefined);
    if (this.#journal.open) this.#journal.record(() => this.#replace(key, undefined, before));
  }

  /** In key order; ends when `visit` returns false. */
  scan(prefix: string, visit: (record: KvRecord) => boolean | void): void {
    this.#keys.scan(prefix, (key) => visit(this.#records.get(key) as KvRecord));
  }

  /** The first key at or after `from`. */
  keyFrom(from: string): string | undefined {
    return this.#keys.keyFrom(from);
  }

  /** The first key after `key`. */
  keyAfter(key: string): string | undefined {
    return this.#keys.keyAfter(key);
  }

  /** The keys that a session holds, in order. */
  heldBy(session: string): string[] {
    const held = this.#bySession.get(session);
    return held === undefined ? [] : [...held].sort();
  }

  bury(key: string, index: LogIndex): void {
    const before = this.#tombstones.get(key);
    this.#tombstones.set(key, index);
    this.#graves.push({ index, key });
    if (!this.#journal.open) return;
    this.#journal.record(() => {
      this.#graves.pop();
      if (before === undefined) this.#tombstones.delete(key);
      else this.#tombstones.set(key, before);
    });
  }

  /** Forgets tombstones up to and including `index`. */
  reap(index: LogIndex): void {
    for (; this.#reaped < this.#graves.length; this.#reaped++) {
      const grave = this.#graves[this.#reaped] as { readonly index: LogIndex; readonly key: string };
      if (grave.index > index) break;
      // A key deleted again since then has a younger tombstone, which stays.
      if (this.#tombstones.get(grave.key) === grave.index) this.#tombstones.delete(grave.key);
    }
    if (this.#reaped * 2 > this.#graves.length) {
      this.#graves = this.#graves.slice(this.#reaped);
      this.#reaped = 0;
    }
  }

  /**
   * The index of the last deletion that may have taken a key with `prefix`; 0 for none. A tree's one tombstone, at its own
   * prefix, may lie above: Consul 1.8 overlooks it there, and who waits for the longer prefix is not told.
   */
  lastDeletion(prefix: string): LogIndex {
    let last = 0;
    const take = (_key: string, index: LogIndex): void => {
      if (index > last) last = index;
    };
    this.#tombstones.scan(prefix, take);
    if (this.#tombstones.size > 0) {
      for (let length = 1; length < prefix.length; length++) take("", this.#tombstones.get(prefix.slice(0, length)) ?? 0);
    }
    return last;
  }

  freeze(): FrozenKv {
    const overlay = new Map<string, KvRecord>();
    this.#overlays.add(overlay);
    return {
      keys: this.#keys.clone(),
      tombstones: this.#tombstones.clone(),
      read: (key) => overlay.get(key) ?? this.#records.get(key),
      release: () => {
        this.#overlays.delete(overlay);
      },
    };
  }

  #replace(key: string, before: KvRecord | undefined, after: KvRecord | undefined): void {
    if (before !== undefined && this.#overlays.size > 0) {
      for (const overlay of this.#overlays) if (!overlay.has(key)) overlay.set(key, before);
    }
    if (after === undefined) {
      this.#records.delete(key);
      this.#keys.delete(key);
    } else {
      this.#records.set(key, after);
      if (before === undefined) this.#keys.set(key, undefined);
    }
    const held = before?.session;
    const holds = after?.session;
    if (held !== holds) this.#moveLock(key, held, holds);
  }

  #moveLock(key: string, from: string | undefined, to: string | undefined): void {
    if (from !== undefined) {
      const keys = this.#bySession.get(from);
      keys?.delete(key);
      if (keys?.size === 0) this.#bySession.delete(from);
    }
    if (to === undefined) return;
    const keys = this.#bySession.get(to);
    if (keys === undefined) this.#bySession.set(to, new Set([key]));
    else keys.add(key);
  }
}
