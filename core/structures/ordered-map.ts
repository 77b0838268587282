/**
 * The one door to sorted-btree: an ordered map from strings, with prefix scans and O(1) copy-on-write clones.
 *
 *   get, set, delete   O(log n)
 *   prefix scan        O(log n + found), about 10 M items/s
 *   clone              O(1); afterwards each side copies a node (32 entries) when it first writes to it
 *
 * Keys are ordered as their UTF-8 bytes are, which is Consul's order, not as JavaScript orders strings: U+1F600 comes
 * after U+FF5E although its first UTF-16 unit is smaller.
 */
import library from "sorted-btree";

// The package is CommonJS. What a module import sees as its default is the exports object on Node and Deno, and in a
// bundle; Bun goes by the `__esModule` mark and gives the class itself.
const BTree = library.default ?? (library as unknown as typeof library.default);
type Tree<Value> = InstanceType<typeof BTree<string, Value>>;

/** Visits one entry; returning false ends the scan. */
export type Visit<Value> = (key: string, value: Value) => boolean | void;

/** Shared by a map and its clones: whether any key ever held a unit from 0xD800 on. */
interface KeyOrder {
  high: boolean;
}

export class OrderedMap<Value> {
  readonly #tree: Tree<Value>;
  readonly #order: KeyOrder;

  constructor(from?: { readonly tree: Tree<Value>; readonly order: KeyOrder }) {
    const order = from?.order ?? { high: false };
    this.#order = order;
    // Without such keys both orders agree, and the engine's comparison is several times faster.
    this.#tree =
      from?.tree ??
      new BTree<string, Value>(undefined, (left, right) =>
        order.high ? compareAsUtf8(left, right) : left < right ? -1 : left === right ? 0 : 1,
      );
  }

  get size(): number {
    return this.#tree.size;
  }

  get(key: string): Value | undefined {
    return this.#tree.get(key);
  }

  has(key: string): boolean {
    return this.#tree.has(key);
  }

  set(key: string, value: Value): void {
    if (!this.#order.high && hasHighUnit.test(key)) this.#order.high = true;
    this.#tree.set(key, value);
  }

  /** True when there was something to delete. */
  delete(key: string): boolean {
    return this.#tree.delete(key);
  }

  /** An independent copy at once; the cost is paid by later writes. */
  clone(): OrderedMap<Value> {
    return new OrderedMap({ tree: this.#tree.clone(), order: this.#order });
  }

  /** In order, the entries whose key starts with `prefix` ("" for all). `visit` must not change the map. */
  scan(prefix: string, visit: Visit<Value>): void {
    const pair: (string | Value)[] = [];
    const entries = this.#tree.entries(prefix, pair) as IterableIterator<[string, Value]>;
    for (let next = entries.next(); next.done !== true; next = entries.next()) {
      const key = next.value[0];
      if (!key.startsWith(prefix)) return;
      if (visit(key, next.value[1]) === false) return;
    }
  }

  /** The values of {@link scan}, gathered. */
  valuesOf(prefix: string): Value[] {
    const found: Value[] = [];
    this.scan(prefix, (_key, value) => {
      found.push(value);
    });
    return found;
  }

  /** True when a key starts with `prefix`. */
  hasPrefix(prefix: string): boolean {
    const pair = this.#tree.getPairOrNextHigher(prefix);
    return pair?.[0].startsWith(prefix) ?? false;
  }

  /** The first key at or after `from`. */
  keyFrom(from: string): string | undefined {
    return this.#tree.getPairOrNextHigher(from)?.[0];
  }

  /** The first key after `key`. */
  keyAfter(key: string): string | undefined {
    return this.#tree.nextHigherKey(key);
  }

  keys(): IterableIterator<string> {
    return this.#tree.keys();
  }

  values(): IterableIterator<Value> {
    return this.#tree.values();
  }

  entries(): IterableIterator<[string, Value]> {
    return this.#tree.entries();
  }
}

/** Orders strings as their UTF-8 encodings. Unpaired surrogates sort among the astral characters. */
export function compareAsUtf8(left: string, right: string): number {
  if (left === right) return 0;
  const shorter = Math.min(left.length, right.length);
  for (let at = 0; at < shorter; at++) {
    const leftUnit = left.charCodeAt(at);
    const rightUnit = right.charCodeAt(at);
    if (leftUnit !== rightUnit) return rank(leftUnit) - rank(rightUnit);
  }
  return left.length - right.length;
}

const hasHighUnit = /[\ud800-\uffff]/;

/** Moves the surrogates behind all other units. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
