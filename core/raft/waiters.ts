/** Promises that wait for the log: proposals until their entry is applied, reads until an index is. */
import { AgentError, type ErrorCode, unreachable } from "../types/errors.ts";
import type { LogIndex, Millis, Term } from "../types/ids.ts";
import type { DropReason } from "./messages.ts";

/** What a proposer is told whose entry may or may not be committed by the next leader. */
export const leadershipLost = "leadership lost while committing log";

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

/** Why the machine did not take what was proposed. */
export function dropped(reason: DropReason): AgentError {
  switch (reason) {
    case "not-leader":
      return new AgentError("no-leader", { message: "No cluster leader" });
    case "transferring":
      return new AgentError("no-leader", { message: "leadership transfer in progress" });
    case "overloaded":
      return new AgentError("rate-limited", { message: "Too much is waiting to be committed" });
    case "change-pending":
      return new AgentError("rate-limited", { message: "Another change of the Raft configuration is under way" });
    case "change-refused":
      return new AgentError("rejected", { message: "The change would leave no voter, or names a server that is not there" });
    default:
      return unreachable(reason);
  }
}
