import type { Clock, Timer } from "../ports/clock.ts";
import { Heap } from "../structures/heap.ts";
import type { Millis } from "../types/ids.ts";

/** One who waits, and until when. */
export interface Deadline {
  /** On the monotonic clock. */
  readonly deadline: Millis;
  heapAt: number;
}

/**
 * Everyone who waits for something, with one timer for all: it never rings later than the first deadline. An early ring does
 * no harm: nobody is late, and it is set again.
 */
export class Deadlines<Waiter extends Deadline> {
  readonly #clock: Clock;
  readonly #onDue: (now: Millis) => void;
  readonly #heap = new Heap<Waiter>((left, right) => left.deadline < right.deadline);
  #timer: Timer | undefined;
  #timerAt: Millis = Number.POSITIVE_INFINITY;

  /** `onDue` removes whoever is {@link late}. */
  constructor(clock: Clock, onDue: (now: Millis) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#heap.size;
  }

  add(waiter: Waiter): void {
    this.#heap.push(waiter);
    this.#arm();
  }

  remove(waiter: Waiter): void {
    this.#heap.remove(waiter);
  }

  /** The first whose time is over at `now`. */
  late(now: Millis): Waiter | undefined {
    const first = this.#heap.peek();
    return first !== undefined && first.deadline <= now ? first : undefined;
  }

  /** No timer runs any more. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    const first = this.#heap.peek();
    if (first === undefined || first.deadline >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = first.deadline;
    this.#timer = this.#clock.after(Math.max(0, first.deadline - this.#clock.monotonic()), () => this.#onTimer());
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    this.#onDue(this.#clock.monotonic());
    this.#arm();
  }
}
