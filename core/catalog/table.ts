/**
 * One table: rows ordered by a primary key, and further orders to find them by.
 *
 * Keys are compound: the parts, folded to lower case where Consul compares without case, joined by NUL. So the rows of one
 * part lie together in the order of the next part, and finding them is a prefix scan.
 */
import { OrderedMap } from "../structures/ordered-map.ts";
import type { Journal } from "./journal.ts";

/** Gives the index part of a row's key; undefined keeps the row out of that index. */
export type KeyOf<Row> = (row: Row) => string | undefined;

export class Table<Row, Index extends string = never> {
  readonly #journal: Journal;
  readonly #keyOf: (row: Row) => string;
  readonly #indexes: readonly { readonly name: Index; readonly keyOf: KeyOf<Row>; readonly rows: OrderedMap<Row> }[];
  readonly #rows = new OrderedMap<Row>();

  constructor(journal: Journal, keyOf: (row: Row) => string, indexes: Readonly<Record<Index, KeyOf<Row>>>) {
    this.#journal = journal;
    this.#keyOf = keyOf;
    this.#indexes = (Object.entries(indexes) as [Index, KeyOf<Row>][]).map(([name, indexKeyOf]) => ({
      name,
      keyOf: indexKeyOf,
      rows: new OrderedMap<Row>(),
    }));
  }

  get size(): number {
    return this.#rows.size;
  }

  get(key: string): Row | undefined {
    return this.#rows.get(key);
  }

  /** Inserts, or replaces the row with the same key. */
  put(row: Row): void {
    const key = this.#keyOf(row);
    const before = this.#rows.get(key);
    this.#change(key, before, row);
    if (this.#journal.open) this.#journal.record(() => this.#change(key, row, before));
  }

  /** The row that was deleted. */
  delete(key: string): Row | undefined {
    const before = this.#rows.get(key);
    if (before === undefined) return undefined;
    this.#change(key, before, undefined);
    if (this.#journal.open) this.#journal.record(() => this.#change(key, undefined, before));
    return before;
  }

  /** In key order, the rows whose key starts with these parts; all without any. */
  rows(...parts: readonly string[]): Row[] {
    return this.#rows.valuesOf(parts.length === 0 ? "" : `${compoundKey(...parts)}\0`);
  }

  /** In key order, the rows that `index` files under these parts. */
  by(index: Index, ...parts: readonly string[]): Row[] {
    return this.#index(index).valuesOf(`${compoundKey(...parts)}\0`);
  }

  hasBy(index: Index, ...parts: readonly string[]): boolean {
    return this.#index(index).hasPrefix(`${compoundKey(...parts)}\0`);
  }

  /** As {@link by}, but for index keys that start with `prefix`; ends when `visit` returns false. */
  scanBy(index: Index, prefix: string, visit: (row: Row) => boolean | void): void {
    this.#index(index).scan(prefix, (_key, row) => visit(row));
  }

  /** The rows as they are now, unaffected by later writes. O(1). */
  freeze(): OrderedMap<Row> {
    return this.#rows.clone();
  }

  #index(name: Index): OrderedMap<Row> {
    return (this.#indexes.find((index) => index.name === name) as { readonly rows: OrderedMap<Row> }).rows;
  }

  #change(key: string, before: Row | undefined, after: Row | undefined): void {
    if (after === undefined) this.#rows.delete(key);
    else this.#rows.set(key, after);
    for (const { keyOf, rows } of this.#indexes) {
      const old = before === undefined ? undefined : keyOf(before);
      const now = after === undefined ? undefined : keyOf(after);
      if (old !== undefined && old !== now) rows.delete(`${old}\0${key}`);
      if (now !== undefined) rows.set(`${now}\0${key}`, after as Row);
    }
  }
}

/** Joins parts so that no part can look like two: NUL inside a part is escaped, in an order-preserving way but for U+0001. */
export function compoundKey(...parts: readonly string[]): string {
  const joined = parts.join("\0");
  if (!joined.includes("\u0001") && joined.split("\0").length === parts.length) return joined;
  return parts.map((part) => part.replaceAll("\u0001", "\u0001\u0002").replaceAll("\0", "\u0001\u0001")).join("\0");
}

/** As {@link compoundKey}, without case. */
export function foldedKey(...parts: readonly string[]): string {
  return compoundKey(...parts).toLowerCase();
}
