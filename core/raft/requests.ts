/**
 * What was asked of a Raft driver and has no answer yet.
 *
 *   propose ────► gathered ──submit──► asked ──accepted──► in the log ──applied──► what applying it gave
 *   change  ───────────────────────────►  └───dropped────► why not
 *   readIndex ──► gathered ──submit──► asked ──readReady─► ready ───────applied──► an index
 *   whenApplied ─────────────────────────────────────────► behind ──────applied──► nothing
 *
 * Everything gathered within a turn is one question to the machine, answered once. Indexes and deadlines rise along each
 * queue. What waits in the log or behind it has a deadline; what was asked is answered within the turn, or, reads, when
 * leadership is proved or lost.
 */
import type { Clock, Timer } from "../ports/clock.ts";
import type { LogEntry } from "../ports/storage.ts";
import { AgentError, assert, type ErrorCode } from "../types/errors.ts";
import type { LogIndex, Millis } from "../types/ids.ts";
import type { DropReason, MembershipChange, Proposal, RaftEvent, RaftInput } from "./messages.ts";
import { dropped, leadershipLost, type Proposed, Waiter, WaiterQueue } from "./waiters.ts";

/** How long a proposal or read waits. Consul 1.8: 30 s to enter the log. */
export const waitMax: Millis = 30_000;

interface Behind {
  readonly index: LogIndex;
  readonly resolve: () => void;
  readonly reject: (error: AgentError) => void;
  readonly timer: Timer;
}

export class Requests {
  readonly #clock: Clock;
  readonly #onResult: (took: Millis) => void;
  /** Not yet given to the machine. */
  #proposals: Proposal[] = [];
  #proposers: Waiter<Proposed>[] = [];
  #readers: Waiter<LogIndex>[] = [];
  /** Given to the machine, waiting for `accepted`, `readReady`, or the opposite. */
  readonly #asked = new Map<number, readonly Waiter<Proposed>[]>();
  readonly #askedReads = new Map<number, readonly Waiter<LogIndex>[]>();
  #idLast = 0;
  /** In the log, waiting to be applied. */
  readonly #proposed = new WaiterQueue<Proposed>();
  /** Linearizable once `index` is applied. */
  readonly #ready = new WaiterQueue<LogIndex>();
  #readersAsked = 0;
  /** Followers' readers: few, since the agent asks for many at once. */
  readonly #behind = new Set<Behind>();
  // Made once: a closure per proposal would cost as much as the proposal.
  readonly #addProposer = (resolve: (value: Proposed) => void, reject: (error: AgentError) => void): void => {
    this.#proposers.push(new Waiter(resolve, reject, this.#clock.monotonic() + waitMax));
  };
  readonly #addReader = (resolve: (value: LogIndex) => void, reject: (error: AgentError) => void): void => {
    this.#readers.push(new Waiter(resolve, reject, this.#clock.monotonic() + waitMax));
  };

  /** `onResult` is told how long each proposal took, from being made to having its result. */
  constructor(clock: Clock, onResult: (took: Millis) => void) {
    this.#clock = clock;
    this.#onResult = onResult;
  }

  /** How many proposals wait. */
  get proposals(): number {
    return this.#proposers.length + this.#proposed.length;
  }
  /** How many reads wait. */
  get reads(): number {
    return this.#readers.length + this.#readersAsked + this.#ready.length;
  }
  /** How many wait for an index to be applied. */
  get behind(): number {
    return this.#behind.size;
  }

  /** When the first one will have waited for too long; Infinity for never. */
  get deadline(): Millis {
    const proposed = this.#proposed.first?.deadline ?? Number.POSITIVE_INFINITY;
    return Math.min(proposed, this.#ready.first?.deadline ?? Number.POSITIVE_INFINITY);
  }

  propose(proposal: Proposal): Promise<Proposed> {
    this.#proposals.push(proposal);
    return new Promise(this.#addProposer);
  }

  /** All of them follow one another. Settles as the last one does. */
  proposeAll(proposals: readonly Proposal[]): Promise<Proposed> {
    assert(proposals.length > 0, "something is proposed");
    const deadline = this.#clock.monotonic() + waitMax;
    for (const proposal of proposals) this.#proposals.push(proposal);
    for (let at = 1; at < proposals.length; at++) this.#proposers.push(new Waiter<Proposed>(nothing, nothing, deadline));
    return new Promise(this.#addProposer);
  }

  /** A change of membership is put to the machine at once, by `feed`. */
  change(change: MembershipChange, feed: (input: RaftInput) => void): Promise<Proposed> {
    return new Promise((resolve, reject) => {
      const id = ++this.#idLast;
      this.#asked.set(id, [new Waiter(resolve, reject, this.#clock.monotonic() + waitMax)]);
      feed({ kind: "change", id, change });
    });
  }

  readIndex(): Promise<LogIndex> {
    return new Promise(this.#addReader);
  }

  whenApplied(index: LogIndex, timeout: Millis): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(timeout, () => {
        this.#behind.delete(waiter);
        reject(new AgentError("timeout", { message: "timed out waiting for the state machine" }));
      });
      const waiter: Behind = { index, resolve, reject, timer };
      this.#behind.add(waiter);
    });
  }

  /** Puts everything that was gathered to the machine. */
  submit(step: (input: RaftInput) => void): void {
    if (this.#proposals.length > 0) {
      const entries = this.#proposals;
      const id = ++this.#idLast;
      this.#asked.set(id, this.#proposers);
      this.#proposals = [];
      this.#proposers = [];
      step({ kind: "propose", id, entries });
    }
    if (this.#readers.length > 0) {
      const id = ++this.#idLast;
      this.#askedReads.set(id, this.#readers);
      this.#readersAsked += this.#readers.length;
      this.#readers = [];
      step({ kind: "read", id });
    }
  }

  accepted(event: Extract<RaftEvent, { kind: "accepted" }>): void {
    let index = event.index;
    for (const waiter of take(this.#asked, event.id)) {
      waiter.index = index++;
      waiter.term = event.term;
      this.#proposed.push(waiter);
    }
  }

  dropped(id: number, reason: DropReason): void {
    for (const waiter of take(this.#asked, id)) waiter.reject(dropped(reason));
  }

  readReady(id: number, index: LogIndex): void {
    for (const waiter of this.#takeReaders(id)) {
      waiter.index = index;
      this.#ready.push(waiter);
    }
  }

  readDropped(id: number): void {
    for (const waiter of this.#takeReaders(id)) waiter.reject(new AgentError("no-leader", { message: "No cluster leader" }));
  }

  /** Nobody here can tell any more what becomes of what is in the log. */
  leadershipLost(): void {
    this.#proposed.rejectAll("no-leader", leadershipLost);
  }

  /** These entries were applied by `now`, and gave that. */
  applied(entries: readonly LogEntry[], results: readonly unknown[], now: Millis): void {
    for (let at = 0; at < entries.length && this.#proposed.length > 0; at++)
      this.#resolve(entries[at] as LogEntry, results[at], now);
  }

  /** The state machine is at `applied`. */
  release(applied: LogIndex): void {
    for (let first = this.#ready.first; first !== undefined && first.index <= applied; first = this.#ready.first) {
      this.#ready.shift();
      first.resolve(applied);
    }
    for (const waiter of this.#behind) {
      if (waiter.index > applied) continue;
      this.#behind.delete(waiter);
      waiter.timer.cancel();
      waiter.resolve();
    }
  }

  /** Whoever has waited for too long is told. */
  expire(now: Millis): void {
    this.#proposed.rejectExpired(now, "timed out waiting for the entry to be committed");
    this.#ready.rejectExpired(now, "timed out waiting for the state machine");
  }

  rejectAll(code: ErrorCode, message: string): void {
    const error = new AgentError(code, { message });
    for (const waiter of this.#proposers) waiter.reject(error);
    for (const waiter of this.#readers) waiter.reject(error);
    for (const waiters of this.#asked.values()) for (const waiter of waiters) waiter.reject(error);
    for (const waiters of this.#askedReads.values()) for (const waiter of waiters) waiter.reject(error);
    this.#proposals = [];
    this.#proposers = [];
    this.#readers = [];
    this.#asked.clear();
    this.#askedReads.clear();
    this.#readersAsked = 0;
    this.#proposed.rejectAll(code, message);
    this.#ready.rejectAll(code, message);
    for (const waiter of this.#behind) {
      waiter.timer.cancel();
      waiter.reject(error);
    }
    this.#behind.clear();
  }

  #resolve(entry: LogEntry, result: unknown, now: Millis): void {
    for (let first = this.#proposed.first; first !== undefined && first.index <= entry.index; first = this.#proposed.first) {
      this.#proposed.shift();
      if (first.index === entry.index && first.term === entry.term) {
        this.#onResult(now - (first.deadline - waitMax));
        first.resolve({ index: entry.index, result });
      } else first.reject(new AgentError("no-leader", { message: leadershipLost }));
    }
  }

  #takeReaders(id: number): readonly Waiter<LogIndex>[] {
    const waiters = take(this.#askedReads, id);
    this.#readersAsked -= waiters.length;
    return waiters;
  }
}

function nothing(): void {}

function take<Value>(asked: Map<number, readonly Waiter<Value>[]>, id: number): readonly Waiter<Value>[] {
  const waiters = asked.get(id);
  assert(waiters !== undefined, "the machine answers each question once");
  asked.delete(id);
  return waiters;
}
