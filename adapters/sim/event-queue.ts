import type { Millis } from "../../core/types/ids.ts";

export interface Event {
  readonly at: Millis;
  /** Breaks ties: of two events due at the same time the one planned first comes first, on every engine. */
  readonly order: number;
  act: (() => void) | undefined;
}

/** A binary heap of what is going to happen. Cancelled events stay until their turn, without their act. */
export class EventQueue {
  readonly #heap: Event[] = [];
  #planned = 0;

  get size(): number {
    return this.#heap.length;
  }

  /** When the earliest is due. */
  get nextAt(): Millis {
    return this.#heap[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  add(at: Millis, act: () => void): Event {
    const event: Event = { at, order: this.#planned++, act };
    this.#heap.push(event);
    this.#rise(this.#heap.length - 1);
    return event;
  }

  /** Removes and gives the earliest. */
  next(): Event | undefined {
    const first = this.#heap[0];
    const last = this.#heap.pop();
    if (first === undefined || last === undefined) return undefined;
    if (this.#heap.length > 0) {
      this.#heap[0] = last;
      this.#sink();
    }
    return first;
  }

  #rise(at: number): void {
    const heap = this.#heap;
    const event = heap[at] as Event;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent] as Event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  #sink(): void {
    const heap = this.#heap;
    const event = heap[0] as Event;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (!before(heap[child] as Event, event)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = event;
  }
}

function before(left: Event, right: Event): boolean {
  return left.at < right.at || (left.at === right.at && left.order < right.order);
}
