/**
 * The key-value table: made for a million keys in little memory, and for point reads and writes at memory speed.
 *
 *   #ids       B+ tree    key → row ID          touched only when a key comes or goes
 *   #rows      slabs      row ID → indexes, value
 *   #extras    Map        row ID → flags, lock  only of keys that have any
 *   overlays   Map each   row ID → old record   what a running snapshot still needs to see
 *
 * Records are made when they are asked for. A snapshot is O(1): it clones the tree and opens an overlay, into which the
 * first change of each row saves the old record. Tombstones remember deletions until they are reaped, so that a
 * listing's index never falls while somebody might still watch it.
 */
import { OrderedMap } from "../structures/ordered-map.ts";
import { PackedRows, type RowId } from "../structures/packed-rows.ts";
import type { LogIndex } from "../types/ids.ts";
import type { Journal } from "./journal.ts";
import type { KvRecord } from "./records.ts";

/** The records at one moment. Must be released. */
export interface FrozenKv {
  readonly tombstones: OrderedMap<LogIndex>;
  /** In key order. */
  records(): Iterable<KvRecord>;
  release(): void;
}

/** The fields of a record that most keys do not use. */
type Extras = Pick<KvRecord, "flags" | "lockIndex" | "session">;

const noExtras: Extras = { flags: 0, lockIndex: 0, session: undefined };

export class KvTable {
  readonly #journal: Journal;
  readonly #ids = new OrderedMap<RowId>();
  readonly #rows = new PackedRows();
  readonly #extras = new Map<RowId, Extras>();
  /** Whoever puts a key has just looked at it: the tree is not asked twice. */
  #lastKey: string | undefined;
  #lastId: RowId | undefined;
  readonly #bySession = new Map<string, Set<string>>();
  readonly #tombstones = new OrderedMap<LogIndex>();
  /** Tombstones by age, so that reaping does not search. `#graves[#reaped…]` are not reaped yet. */
  #graves: { readonly index: LogIndex; readonly key: string }[] = [];
  #reaped = 0;
  readonly #overlays = new Set<Map<RowId, KvRecord>>();

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  get size(): number {
    return this.#ids.size;
  }

  get tombstoneCount(): number {
    return this.#tombstones.size;
  }

  get(key: string): KvRecord | undefined {
    const id = this.#find(key);
    return id === undefined ? undefined : this.#read(key, id);
  }

  /** The value is copied. */
  put(record: KvRecord): void {
    const before = this.get(record.key);
    this.#replace(record.key, before, record);
    if (this.#journal.open) this.#journal.record(() => this.#replace(record.key, record, before));
  }

  delete(key: string): void {
    const before = this.get(key);
    if (before === undefined) return;
    this.#replace(key, before, undefined);
    if (this.#journal.open) this.#journal.record(() => this.#replace(key, undefined, before));
  }

  /** In key order; ends when `visit` returns false. */
  scan(prefix: string, visit: (record: KvRecord) => boolean | void): void {
    this.#ids.scan(prefix, (key, id) => visit(this.#read(key, id)));
  }

  /** As {@link scan}, without making records. */
  scanKeys(prefix: string, visit: (key: string, modifyIndex: LogIndex) => boolean | void): void {
    this.#ids.scan(prefix, (key, id) => visit(key, this.#rows.secondOf(id)));
  }

  /** The first key at or after `from`. */
  keyFrom(from: string): string | undefined {
    return this.#ids.keyFrom(from);
  }

  /** The first key after `key`. */
  keyAfter(key: string): string | undefined {
    return this.#ids.keyAfter(key);
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
    const overlay = new Map<RowId, KvRecord>();
    this.#overlays.add(overlay);
    const ids = this.#ids.clone();
    const read = (key: string, id: RowId): KvRecord => overlay.get(id) ?? this.#read(key, id);
    return {
      tombstones: this.#tombstones.clone(),
      *records() {
        for (const [key, id] of ids.entries()) yield read(key, id);
      },
      release: () => {
        this.#overlays.delete(overlay);
      },
    };
  }

  #find(key: string): RowId | undefined {
    if (key !== this.#lastKey) {
      this.#lastId = this.#ids.get(key);
      this.#lastKey = key;
    }
    return this.#lastId;
  }

  #read(key: string, id: RowId): KvRecord {
    const { flags, lockIndex, session } = this.#extras.get(id) ?? noExtras;
    return {
      key,
      value: this.#rows.bytesOf(id),
      flags,
      lockIndex,
      session,
      createIndex: this.#rows.firstOf(id),
      modifyIndex: this.#rows.secondOf(id),
    };
  }

  #replace(key: string, before: KvRecord | undefined, after: KvRecord | undefined): void {
    const id = this.#find(key);
    if (before !== undefined && id !== undefined) {
      for (const overlay of this.#overlays) if (!overlay.has(id)) overlay.set(id, before);
    }
    if (after !== undefined) this.#write(key, id, after);
    else if (id !== undefined) {
      this.#rows.remove(id);
      this.#extras.delete(id);
      this.#ids.delete(key);
      this.#lastId = undefined;
    }
    const held = before?.session;
    const holds = after?.session;
    if (held !== holds) this.#moveLock(key, held, holds);
  }

  #write(key: string, id: RowId | undefined, record: KvRecord): void {
    const { value, flags, lockIndex, session, createIndex, modifyIndex } = record;
    if (id === undefined) {
      this.#lastId = this.#rows.insert(createIndex, modifyIndex, value);
      this.#ids.set(key, this.#lastId);
    } else this.#rows.replace(id, createIndex, modifyIndex, value);
    if (flags !== 0 || lockIndex !== 0 || session !== undefined) {
      this.#extras.set(this.#lastId as RowId, { flags, lockIndex, session });
    } else if (id !== undefined && this.#extras.size > 0) this.#extras.delete(id);
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
