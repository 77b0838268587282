/**
 * Keys that may not be locked yet because the session that held them ended without releasing them.
 *
 * Time arrives with the commands, as the leader had it, so that every server comes to the same answer; Consul 1.8
 * keeps this in the leader's memory and forgets it when leadership moves.
 */
import { Heap } from "../structures/heap.ts";
import type { Journal } from "./journal.ts";
import type { LeaderTime } from "./records.ts";

interface Delay {
  readonly key: string;
  readonly until: LeaderTime;
  heapAt: number;
}

export class LockDelays {
  readonly #journal: Journal;
  readonly #delays = new Map<string, Delay>();
  readonly #byEnd = new Heap<Delay>(
    (left, right) => left.until < right.until || (left.until === right.until && left.key < right.key),
  );

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  get size(): number {
    return this.#delays.size;
  }

  /** Until when `key` may not be locked; 0 for no delay. */
  until(key: string): LeaderTime {
    return this.#delays.get(key)?.until ?? 0;
  }

  set(key: string, until: LeaderTime): void {
    const before = this.#delays.get(key);
    this.#replace(before, { key, until, heapAt: -1 });
    if (this.#journal.open) {
      this.#journal.record(() =>
        this.#replace(this.#delays.get(key), before === undefined ? undefined : { ...before, heapAt: -1 }),
      );
    }
  }

  /** Forgets delays that have ended. Not while a command is open: the past need not be undone. */
  prune(now: LeaderTime): void {
    for (let next = this.#byEnd.peek(); next !== undefined && next.until <= now; next = this.#byEnd.peek()) {
      this.#byEnd.pop();
      this.#delays.delete(next.key);
    }
  }

  /** By key. */
  entries(): [key: string, until: LeaderTime][] {
    const entries = [...this.#delays.values()].map((delay): [string, LeaderTime] => [delay.key, delay.until]);
    return entries.sort(([left], [right]) => (left < right ? -1 : 1));
  }

  #replace(before: Delay | undefined, after: Delay | undefined): void {
    if (before !== undefined) {
      this.#byEnd.remove(before);
      this.#delays.delete(before.key);
    }
    if (after !== undefined) {
      this.#byEnd.push(after);
      this.#delays.set(after.key, after);
    }
  }
}
