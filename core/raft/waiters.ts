/** Promises that wait for the log: proposals until their entry is applied, reads until an index is. */
import { AgentError, type ErrorCode } from "../types/errors.ts";
import type { LogIndex, Millis, Term } from "../types/ids.ts";

/** What a proposer gets: where its entry stands and what applying it answered. */
export interface Proposed {
  readonly index: LogIndex;
  readonly result: unknown;
}

/** One stable shape for all waiters: they are made a hundred thousand times a second. */
export class Waiter<Value> {
  readonly resolve: (value: Value) => void;
  readonly reject: (error: AgentError) => void;
  readonly deadline: Millis;
  index: LogIndex = 0;
  term: Term = 0;

  constructor(resolve: (value: Value) => void, reject: (error: AgentError) => void, deadline: Millis) {
    this.resolve = resolve;
    this.reject = reject;
    this.deadline = deadline;
  }
}

/** First in, first out; taking from the front costs no copying. Indexes rise from front to back. */
export class WaiterQueue<Value> {
  #items: Waiter<Value>[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }
  get first(): Waiter<Value> | undefined {
    return this.#items[this.#head];
  }

  push(waiter: Waiter<Value>): void {
    this.#items.push(waiter);
  }

  shift(): Waiter<Value> | undefined {
    const waiter = this.#items[this.#head];
    if (waiter === undefined) return undefined;
    this.#head++;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head > 4096 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return waiter;
  }

  rejectAll(code: ErrorCode, message: string): void {
    for (let waiter = this.shift(); waiter !== undefined; waiter = this.shift()) waiter.reject(new AgentError(code, { message }));
  }

  /** Deadlines rise from front to back, too. */
  rejectExpired(now: Millis, message: string): void {
    for (let first = this.first; first !== undefined && first.deadline <= now; first = this.first) {
      this.shift();
      first.reject(new AgentError("timeout", { message }));
    }
  }
}
