/**
 * A binary heap whose items know their place, so that one in the middle can be removed.
 *
 *   push, pop, remove   O(log n)
 *   peek                O(1)
 */

/** What a heap asks of its items: a field that only the heap writes. -1 while in no heap; an item is in one heap at a time. */
export interface HeapItem {
  heapAt: number;
}

export class Heap<Item extends HeapItem> {
  readonly #items: Item[] = [];
  readonly #before: (left: Item, right: Item) => boolean;

  /** `before(a, b)` says that `a` leaves first. Ties leave in no particular but a deterministic order. */
  constructor(before: (left: Item, right: Item) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#items.length;
  }

  peek(): Item | undefined {
    return this.#items[0];
  }

  push(item: Item): void {
    this.#items.push(item);
    this.#rise(item, this.#items.length - 1);
  }

  pop(): Item | undefined {
    const first = this.#items[0];
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Harmless when `item` is not in the heap. */
  remove(item: Item): void {
    const at = item.heapAt;
    if (at < 0 || this.#items[at] !== item) return;
    item.heapAt = -1;
    const last = this.#items.pop() as Item;
    if (last === item) return;
    const parent = this.#items[(at - 1) >> 1];
    if (at > 0 && parent !== undefined && this.#before(last, parent)) this.#rise(last, at);
    else this.#sink(last, at);
  }

  clear(): void {
    for (const item of this.#items) item.heapAt = -1;
    this.#items.length = 0;
  }

  #rise(item: Item, from: number): void {
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = this.#items[above] as Item;
      if (!this.#before(item, parent)) break;
      this.#place(parent, at);
      at = above;
    }
    this.#place(item, at);
  }

  #sink(item: Item, from: number): void {
    const size = this.#items.length;
    let at = from;
    for (;;) {
      let below = at * 2 + 1;
      if (below >= size) break;
      const right = below + 1;
      if (right < size && this.#before(this.#items[right] as Item, this.#items[below] as Item)) below = right;
      const child = this.#items[below] as Item;
      if (!this.#before(child, item)) break;
      this.#place(child, at);
      at = below;
    }
    this.#place(item, at);
  }

  #place(item: Item, at: number): void {
    this.#items[at] = item;
    item.heapAt = at;
  }
}
