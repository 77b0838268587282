/**
 * Blocking queries of many, asked of a server as one.
 *
 *   waiters of one key ──► flight: one blocking call, for the smallest index seen and the longest wait
 *                            ├─ index moved      answers all who had not seen it; flies again for the rest
 *                            ├─ wait over        answers all whose wait is over
 *                            ├─ back too early   the server's state was replaced: answers all
 *                            └─ failed           rejects all
 *
 * Who asks with an index below the flight's has something to catch up on, and asks alone. Who wanted to wait less than
 * the flight lasts is answered by a read of its own. The last waiter to go ends the flight.
 *
 * What a waiter gets is newer than what it has seen; it may have been on its way when the waiter came. Consul's agents ask
 * for each waiter alone: the sharing is ours.
 *
 * Invariants: an entry has waiters; a waiter sits in its entry's set and in the heap, in both or neither.
 */
import type { QueryKind } from "../catalog/queries.ts";
import type { Blocking, Shared, SharedRead } from "../plugin/agent-api.ts";
import type { Clock } from "../ports/clock.ts";
import { CancelSource } from "../rpc/cancel-source.ts";
import { type Cancel, clientGone } from "../types/cancel.ts";
import { AgentError } from "../types/errors.ts";
import type { LogIndex, Millis } from "../types/ids.ts";
import { type Deadline, Deadlines } from "./deadlines.ts";

type Request = SharedRead<QueryKind, object>;

export interface RemoteWatchesOptions {
  readonly clock: Clock;
  readonly limits: () => { readonly defaultWait: Millis; readonly maxWait: Millis };
  /** Default 200,000. */
  readonly waitersMax?: number;
  /** One call, rendered. `blocking.wait` is never 0. */
  readonly ask: (request: Request, blocking: Blocking | undefined) => Promise<Shared<object>>;
}

const waitersMaxDefault = 200_000;
/** Servers add up to this share of a wait at random. */
const jitterShare = 1 / 16;
/** For the way there and back, before a waiter looks for itself. */
const grace: Millis = 1000;

interface Waiter extends Deadline {
  readonly entry: Entry;
  readonly minIndex: LogIndex;
  /** From here on a reply without news will do. */
  readonly due: Millis;
  /** Until here a flight may answer. */
  readonly deadline: Millis;
  readonly resolve: (shared: Shared<object>) => void;
  readonly reject: (error: unknown) => void;
  readonly cancel: Cancel | undefined;
  readonly onAbort: () => void;
}

interface Entry {
  readonly request: Request;
  readonly waiters: Set<Waiter>;
  flight: Flight | undefined;
}

interface Flight {
  readonly minIndex: LogIndex;
  readonly due: Millis;
  readonly cancel: CancelSource;
}

export class RemoteWatches {
  readonly #options: RemoteWatchesOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #deadlines: Deadlines<Waiter>;

  constructor(options: RemoteWatchesOptions) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.clock, (now) => this.#onDue(now));
  }

  /** For metrics, and for finding leaks. */
  get counts(): { readonly entries: number; readonly waiters: number } {
    return { entries: this.#entries.size, waiters: this.#deadlines.size };
  }

  /** Rejects as the call does, with `cancelled`, `rate-limited`, or `closed`. */
  wait(request: Request, { minIndex, wait, cancel }: Blocking): Promise<Shared<object>> {
    const { clock, limits, ask, waitersMax = waitersMaxDefault } = this.#options;
    if (cancel?.aborted === true) return Promise.reject(clientGone());
    if (this.#deadlines.size >= waitersMax)
      return Promise.reject(
        new AgentError("rate-limited", { message: `Cannot wait: ${waitersMax} blocking queries are waiting already` }),
      );
    const { defaultWait, maxWait } = limits();
    const asked = wait > 0 ? Math.min(wait, maxWait) : defaultWait;
    const known = this.#entries.get(request.key);
    if (known?.flight !== undefined && known.flight.minIndex > minIndex)
      return ask(request, { minIndex, wait: asked, ...(cancel === undefined ? {} : { cancel }) });
    const entry: Entry = known ?? { request, waiters: new Set(), flight: undefined };
    this.#entries.set(request.key, entry);
    const due = clock.monotonic() + asked;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#free(waiter);
        this.#dropIfUnused(entry);
        reject(clientGone());
      };
      const deadline = due + asked * jitterShare + grace;
      const waiter: Waiter = { entry, minIndex, due, deadline, resolve, reject, cancel, onAbort, heapAt: -1 };
      entry.waiters.add(waiter);
      this.#deadlines.add(waiter);
      cancel?.addEventListener("abort", onAbort);
      if (entry.flight === undefined) this.#fly(entry);
    });
  }

  /** Rejects everyone who waits. */
  stop(closed: AgentError = new AgentError("closed", { message: "The agent is shutting down" })): void {
    for (const entry of [...this.#entries.values()]) this.#rejectAll(entry, closed);
    this.#deadlines.stop();
  }

  #fly(entry: Entry): void {
    const now = this.#options.clock.monotonic();
    let minIndex = Number.MAX_SAFE_INTEGER;
    let due = now;
    for (const waiter of entry.waiters) {
      minIndex = Math.min(minIndex, waiter.minIndex);
      due = Math.max(due, waiter.due);
    }
    const flight: Flight = { minIndex, due, cancel: new CancelSource() };
    entry.flight = flight;
    const wait = Math.max(1, due - now);
    this.#options.ask(entry.request, { minIndex, wait, cancel: flight.cancel }).then(
      (shared) => this.#onReply(entry, flight, shared),
      (error: unknown) => {
        if (entry.flight === flight) this.#rejectAll(entry, error);
      },
    );
  }

  #onReply(entry: Entry, flight: Flight, shared: Shared<object>): void {
    if (entry.flight !== flight) return;
    entry.flight = undefined;
    const now = this.#options.clock.monotonic();
    const { index } = shared.meta;
    const abandoned = index <= flight.minIndex && now < flight.due;
    for (const waiter of entry.waiters) {
      if (!abandoned && index <= waiter.minIndex && waiter.due > now) continue;
      this.#free(waiter);
      waiter.resolve(shared);
    }
    if (entry.waiters.size > 0) this.#fly(entry);
    else this.#dropIfUnused(entry);
  }

  #free(waiter: Waiter): void {
    waiter.entry.waiters.delete(waiter);
    this.#deadlines.remove(waiter);
    waiter.cancel?.removeEventListener("abort", waiter.onAbort);
  }

  #rejectAll(entry: Entry, error: unknown): void {
    for (const waiter of entry.waiters) {
      this.#free(waiter);
      waiter.reject(error);
    }
    this.#dropIfUnused(entry);
  }

  #dropIfUnused(entry: Entry): void {
    if (entry.waiters.size > 0) return;
    const { flight } = entry;
    entry.flight = undefined;
    if (this.#entries.get(entry.request.key) === entry) this.#entries.delete(entry.request.key);
    flight?.cancel.abort(undefined);
  }

  #onDue(now: Millis): void {
    const late = new Map<Entry, Waiter[]>();
    for (let first = this.#deadlines.late(now); first !== undefined; first = this.#deadlines.late(now)) {
      this.#free(first);
      const others = late.get(first.entry);
      if (others === undefined) late.set(first.entry, [first]);
      else others.push(first);
    }
    for (const [entry, waiters] of late) {
      this.#dropIfUnused(entry);
      this.#options.ask(entry.request, undefined).then(
        (shared) => {
          for (const waiter of waiters) waiter.resolve(shared);
        },
        (error: unknown) => {
          for (const waiter of waiters) waiter.reject(error);
        },
      );
    }
  }
}
