/**
 * Reads that many clients share: one evaluation and one rendering per change, however many ask or wait.
 *
 *   read(key) ──► entry: evaluation, rendering ◄── now(key): a Map look-up and a freshness check
 *                  │  ▲
 *         waiters ─┘  └─ watches: a change of its rows
 *                           ├─ somebody waits: evaluate once, render once, answer all whose index is passed
 *                           └─ nobody waits:   forget the entry
 *
 * An entry lives while somebody waits on it or it has a rendering; renderings are kept within bounds, those not
 * used since the last look go first. A waiter is freed at once when it is answered, timed out or cancelled.
 *
 * Invariants: what is answered was the state at some moment between question and answer; a waiter sits in its entry's set
 * and in the heap of deadlines, in both or neither; one timer runs, never later than the first deadline.
 */
import type { Catalog } from "../catalog/catalog.ts";
import type { Answers, QueryKind, QueryOf, Topic } from "../catalog/queries.ts";
import type { Follower, Unwatch } from "../catalog/watch.ts";
import type { Blocking, ReadMeta, Shared, SharedRead } from "../plugin/agent-api.ts";
import { type Clock, runSoon } from "../ports/clock.ts";
import { between, type Random } from "../ports/random.ts";
import { type Cancel, clientGone } from "../types/cancel.ts";
import { AgentError } from "../types/errors.ts";
import type { LogIndex, Millis } from "../types/ids.ts";
import { type Deadline, Deadlines } from "./deadlines.ts";

/** Consul adds up to this share of the wait at random, so that clients do not come back in step. */
const jitterShare = 1 / 16;
/** How many renderings are kept, and how many bytes they may measure together. */
const renderedMaxDefault = 20_000;
const renderedBytesMaxDefault = 64 * 1024 * 1024;
/** How many may wait at once; each costs a few hundred bytes. */
const waitersMaxDefault = 200_000;
/** So many are answered in one go; before the next ones' turn comes that of whatever else is ready, the writer's answer too. */
const wokenAtOnceMax = 128;
/** What a rendering counts for that does not say its size. */
const unknownRenderingBytes = 1024;

export interface SharedReadsOptions {
  readonly catalog: Pick<Catalog, "evaluate" | "watches">;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: {
    readonly defaultWait: Millis;
    readonly maxWait: Millis;
    readonly renderedMax?: number;
    readonly renderedBytesMax?: number;
    readonly waitersMax?: number;
  };
  /** What goes with a result of this index now. */
  readonly meta: (index: LogIndex) => ReadMeta;
  /** Told of each read that is answered or waits; `found` is false for an empty list. Must be cheap. */
  readonly onQuery?: (query: QueryOf<QueryKind>, found: boolean) => void;
}

interface Waiter extends Deadline {
  readonly entry: Entry;
  readonly minIndex: LogIndex;
  readonly deadline: Millis;
  readonly resolve: (shared: Shared<object>) => void;
  readonly reject: (error: unknown) => void;
  readonly cancel: Cancel | undefined;
  readonly onAbort: () => void;
}

interface Entry {
  readonly key: string;
  readonly query: QueryOf<QueryKind>;
  readonly render: (answer: never, meta: ReadMeta) => object;
  readonly waiters: Set<Waiter>;
  index: LogIndex;
  /** It has an answer, and that is no empty list. */
  found: boolean;
  wakes: readonly Topic[];
  unwatch: Unwatch | undefined;
  follower: Follower | undefined;
  shared: Shared<object> | undefined;
  bytes: number;
  /** Since the eviction last came by. */
  used: boolean;
}

export class SharedReads {
  readonly #options: SharedReadsOptions;
  readonly #renderedMax: number;
  readonly #renderedBytesMax: number;
  readonly #waitersMax: number;
  readonly #entries = new Map<string, Entry>();
  /** Entries with a rendering, oldest first. */
  readonly #rendered = new Set<Entry>();
  #renderedBytes = 0;
  readonly #deadlines: Deadlines<Waiter>;

  constructor(options: SharedReadsOptions) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.clock, (now) => this.#onDue(now));
    this.#renderedMax = options.limits.renderedMax ?? renderedMaxDefault;
    this.#renderedBytesMax = options.limits.renderedBytesMax ?? renderedBytesMaxDefault;
    this.#waitersMax = options.limits.waitersMax ?? waitersMaxDefault;
  }

  /** For metrics, and for finding leaks. */
  get counts(): {
    readonly entries: number;
    readonly waiters: number;
    readonly rendered: number;
    readonly renderedBytes: number;
  } {
    return {
      entries: this.#entries.size,
      waiters: this.#deadlines.size,
      rendered: this.#rendered.size,
      renderedBytes: this.#renderedBytes,
    };
  }

  /** What an earlier {@link read} with this key left, if nothing it depends on has changed. */
  now<Rendered extends object>(key: string): Shared<Rendered> | undefined {
    const entry = this.#entries.get(key);
    if (entry?.shared === undefined || entry.follower?.changed !== false) return undefined;
    entry.used = true;
    this.#options.onQuery?.(entry.query, entry.found);
    return this.#withMeta(entry, entry.shared) as Shared<Rendered>;
  }

  /**
   * Answers at once, or with `blocking` when the index passes `minIndex`, the wait ends (with whatever there is then) or
   * the state is replaced by a snapshot. Rejects with `rejected` (a broken query), `cancelled`, `rate-limited`, `closed`.
   */
  read<Kind extends QueryKind, Rendered extends object>(
    request: SharedRead<Kind, Rendered>,
    blocking?: Blocking,
  ): Promise<Shared<Rendered>> {
    // Not `async`, which would put two promises between each of thousands who wait and what they wait for.
    try {
      const { entry, answer } = this.#current(request as unknown as SharedRead<QueryKind, object>);
      this.#options.onQuery?.(entry.query, entry.found);
      if (blocking === undefined || blocking.minIndex <= 0 || entry.index > blocking.minIndex)
        return Promise.resolve(this.#shared(entry, answer) as Shared<Rendered>);
      return this.#wait(entry, blocking) as Promise<Shared<Rendered>>;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Rejects everyone who waits with `closed`, and forgets everything. */
  stop(): void {
    for (const entry of [...this.#entries.values()]) {
      this.#rejectAll(entry, new AgentError("closed", { message: "The agent is shutting down" }));
      this.#drop(entry);
    }
    this.#deadlines.stop();
  }

  /** The entry for a request, up to date; with the answer where it had to be evaluated. */
  #current(request: SharedRead<QueryKind, object>): {
    readonly entry: Entry;
    readonly answer: { readonly value: unknown } | undefined;
  } {
    const known = this.#entries.get(request.key);
    if (known !== undefined)
      return { entry: known, answer: known.follower?.changed === false ? undefined : this.#evaluate(known) };
    const entry: Entry = {
      key: request.key,
      query: request.query,
      render: request.render as (answer: never, meta: ReadMeta) => object,
      waiters: new Set(),
      index: 0,
      found: false,
      wakes: [],
      unwatch: undefined,
      follower: undefined,
      shared: undefined,
      bytes: 0,
      used: false,
    };
    const answer = this.#evaluate(entry);
    this.#entries.set(entry.key, entry);
    return { entry, answer };
  }

  /** Brings an entry up to date; its rendering is void. Throws what the evaluation throws, and then forgets the entry. */
  #evaluate(entry: Entry): { readonly value: unknown } {
    this.#discard(entry);
    const { catalog } = this.#options;
    try {
      const { index, answer, wakes, stales } = catalog.evaluate<QueryKind>(entry.query);
      entry.index = index;
      entry.found = Array.isArray(answer) ? answer.length > 0 : answer !== undefined;
      if (entry.unwatch === undefined || !sameTopics(entry.wakes, wakes)) {
        entry.unwatch?.();
        entry.unwatch = catalog.watches.watch(wakes, (abandoned) => this.#onChange(entry, abandoned));
        entry.wakes = wakes;
      }
      entry.follower?.close();
      entry.follower = catalog.watches.follow(stales.length === 0 ? wakes : [...wakes, ...stales]);
      return { value: answer };
    } catch (error) {
      this.#rejectAll(entry, error);
      this.#drop(entry);
      throw error;
    }
  }

  #onChange(entry: Entry, abandoned: boolean): void {
    if (entry.waiters.size === 0) {
      this.#drop(entry);
      return;
    }
    try {
      const answer = this.#evaluate(entry);
      this.#answerWaiters(entry, answer, (waiter) => abandoned || entry.index > waiter.minIndex);
    } catch (error) {
      // The query or its rendering is broken: those who asked are told; the flush goes on for everyone else.
      this.#rejectAll(entry, error);
      this.#drop(entry);
    }
  }

  #answerWaiters(entry: Entry, answer: { readonly value: unknown } | undefined, due: (waiter: Waiter) => boolean): void {
    const woken = [...entry.waiters].filter(due);
    if (woken.length > 0) {
      const shared = this.#shared(entry, answer);
      for (const waiter of woken) this.#free(waiter);
      this.#resolve(woken, shared);
    }
    this.#dropIfUnused(entry);
  }

  #resolve(woken: readonly Waiter[], shared: Shared<object>): void {
    for (const { resolve } of woken.slice(0, wokenAtOnceMax)) resolve(shared);
    if (woken.length > wokenAtOnceMax) runSoon(this.#options.clock, () => this.#resolve(woken.slice(wokenAtOnceMax), shared));
  }

  /** The rendering, made now if there is none. */
  #shared(entry: Entry, answer: { readonly value: unknown } | undefined): Shared<object> {
    entry.used = true;
    if (entry.shared !== undefined) return this.#withMeta(entry, entry.shared);
    const { value } = answer ?? this.#evaluate(entry);
    const meta = this.#options.meta(entry.index);
    let rendered: object & { readonly bytes?: unknown };
    try {
      rendered = entry.render(value as Answers[QueryKind] as never, meta);
    } catch (error) {
      this.#dropIfUnused(entry);
      throw error;
    }
    const shared = { meta, rendered };
    entry.shared = shared;
    entry.bytes = typeof rendered.bytes === "number" ? rendered.bytes : unknownRenderingBytes;
    this.#renderedBytes += entry.bytes;
    this.#rendered.add(entry);
    this.#evict(entry);
    return shared;
  }

  /** The same object while what goes with it is the same, which on a leader it always is. */
  #withMeta(entry: Entry, shared: Shared<object>): Shared<object> {
    const meta = this.#options.meta(entry.index);
    if (meta.knownLeader === shared.meta.knownLeader && meta.lastContact === shared.meta.lastContact) return shared;
    return { meta, rendered: shared.rendered };
  }

  #wait(entry: Entry, { minIndex, wait, cancel }: Blocking): Promise<Shared<object>> {
    const { clock, random, limits } = this.#options;
    if (cancel?.aborted === true) return this.#refuse(entry, clientGone());
    if (this.#deadlines.size >= this.#waitersMax) {
      return this.#refuse(
        entry,
        new AgentError("rate-limited", { message: `Cannot wait: ${this.#waitersMax} blocking queries are waiting already` }),
      );
    }
    const asked = wait > 0 ? Math.min(wait, limits.maxWait) : limits.defaultWait;
    const deadline = clock.monotonic() + asked + between(random, 0, asked * jitterShare);
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#free(waiter);
        this.#dropIfUnused(entry);
        reject(clientGone());
      };
      const waiter: Waiter = { entry, minIndex, deadline, resolve, reject, cancel, onAbort, heapAt: -1 };
      entry.waiters.add(waiter);
      this.#deadlines.add(waiter);
      cancel?.addEventListener("abort", onAbort);
    });
  }

  #refuse(entry: Entry, error: AgentError): Promise<never> {
    this.#dropIfUnused(entry);
    return Promise.reject(error);
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
  }

  #onDue(now: Millis): void {
    for (let first = this.#deadlines.late(now); first !== undefined; first = this.#deadlines.late(now)) {
      const { entry } = first;
      try {
        const answer = entry.follower?.changed === false ? undefined : this.#evaluate(entry);
        this.#answerWaiters(entry, answer, (waiter) => waiter.deadline <= now);
      } catch (error) {
        this.#rejectAll(entry, error);
        this.#drop(entry);
      }
    }
  }

  /** Keeps the renderings within their bounds: oldest first, sparing those used since the last look. */
  #evict(newest: Entry): void {
    while (this.#rendered.size > this.#renderedMax || this.#renderedBytes > this.#renderedBytesMax) {
      const [oldest] = this.#rendered;
      if (oldest === undefined || (oldest === newest && this.#rendered.size === 1)) return;
      if (oldest.used || oldest === newest) {
        oldest.used = false;
        this.#rendered.delete(oldest);
        this.#rendered.add(oldest);
      } else {
        this.#discard(oldest);
        this.#dropIfUnused(oldest);
      }
    }
  }

  #discard(entry: Entry): void {
    if (entry.shared === undefined) return;
    entry.shared = undefined;
    this.#renderedBytes -= entry.bytes;
    this.#rendered.delete(entry);
  }

  #dropIfUnused(entry: Entry): void {
    if (entry.waiters.size === 0 && entry.shared === undefined) this.#drop(entry);
  }

  #drop(entry: Entry): void {
    this.#discard(entry);
    entry.unwatch?.();
    entry.unwatch = undefined;
    entry.follower?.close();
    entry.follower = undefined;
    if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
  }
}

function sameTopics(left: readonly Topic[], right: readonly Topic[]): boolean {
  return left.length === right.length && left.every((topic, at) => topic === right[at]);
}
