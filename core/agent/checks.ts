/**
 * When the agent's checks run and what their results mean.
 *
 *            ┌──────────── after `interval` ────────────┐
 *   add ──► due ──► waiting ──takeRuns──► running ──finished──► thresholds ──takeResults──► local state
 *            ▲ at random within the first interval             (successes, failures in a row)
 *
 *   TTL:     update ──► takeResults, and the time runs again;  no update ──► critical, "TTL expired"
 *   alias:   due at once when a local check changed, and every minute
 *   reaping: every 30 s, services whose check has been critical for too long ──► takeReaps
 *
 * Invariants: a check runs at most once at a time; at most `runsMax` run together, `scriptsMax` of them processes; the
 * result of a run that began before its check was removed or replaced changes nothing.
 *
 * Tested by tests/cases/checks in virtual time.
 */
import type { CheckStatus } from "../catalog/records.ts";
import type { Machine } from "../machine.ts";
import { between, type Random } from "../ports/random.ts";
import { Heap, type HeapItem } from "../structures/heap.ts";
import { assert, unreachable } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { expiredOutput } from "./check-output.ts";
import type { CheckPlan } from "./check-plan.ts";

export type CheckInput =
  | { readonly kind: "wake" }
  /** Replaces a check with the same id. */
  | { readonly kind: "add"; readonly plan: CheckPlan }
  | { readonly kind: "remove"; readonly id: string }
  | { readonly kind: "finished"; readonly run: number; readonly outcome: CheckOutcome }
  | { readonly kind: "ttlUpdate"; readonly id: string; readonly status: CheckStatus; readonly output: string }
  /** A local check or service changed: aliases may see something else. */
  | { readonly kind: "localChanged" };

export interface CheckOutcome {
  readonly status: CheckStatus;
  readonly output: string;
  /** Holds at once: thresholds are for what a service answered, not for a script that could not start or end. */
  readonly certain: boolean;
}

export interface CheckRun {
  /** To be given back with the outcome. */
  readonly run: number;
  readonly id: string;
  readonly kind: "http" | "tcp" | "script" | "alias";
  readonly timeout: Millis;
}

export interface CheckResult {
  readonly id: string;
  readonly status: CheckStatus;
  readonly output: string;
  /** "missed": nobody updated a TTL check in time. */
  readonly cause: "run" | "update" | "missed";
}

export interface CheckReap {
  readonly serviceId: string;
  readonly checkId: string;
}

/** Runs at one time. Further ones wait their turn, which the metric "checks.waiting" shows. */
export const runsMax = 256;
/** Of these, processes. */
export const scriptsMax = 64;
const reapInterval: Millis = 30_000;
const aliasInterval: Millis = 60_000;

/** One check. `at`: when it next has something to do. */
interface Entry extends HeapItem {
  readonly plan: CheckPlan;
  at: Millis;
  /** The number of its run in hand, or of its place in the queue; 0: none. */
  run: number;
  successes: number;
  failures: number;
  /** Of a TTL check. */
  lastOutput: string;
  /** Undefined unless the last result was critical. */
  criticalSince: Millis | undefined;
}

export class ChecksMachine implements Machine<CheckInput> {
  readonly #random: Random;
  readonly #entries = new Map<string, Entry>();
  readonly #due = new Heap<Entry>((left, right) => left.at < right.at);
  readonly #waiting: Entry[] = [];
  readonly #waitingScripts: Entry[] = [];
  /** Runs that were handed out and are not finished, removed checks' among them. run → kind */
  readonly #running = new Map<number, CheckRun["kind"]>();
  readonly #byRun = new Map<number, Entry>();
  #results: CheckResult[] = [];
  #reaps: CheckReap[] = [];
  #aliases = 0;
  #reapAt: Millis = Number.POSITIVE_INFINITY;
  #scriptsRunning = 0;
  #lastRun = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  get wakeAt(): Millis {
    return Math.min(this.#due.peek()?.at ?? Number.POSITIVE_INFINITY, this.#reapAt);
  }

  /** Checks whose turn has not come. */
  get waiting(): number {
    return this.#waiting.length + this.#waitingScripts.length;
  }

  get running(): number {
    return this.#running.size;
  }

  get hasAliases(): boolean {
    return this.#aliases > 0;
  }

  hasTtl(id: string): boolean {
    return this.#entries.get(id)?.plan.kind === "ttl";
  }

  step(now: Millis, input: CheckInput): void {
    switch (input.kind) {
      case "wake":
        this.#wake(now);
        break;
      case "add":
        this.#remove(input.plan.id);
        this.#add(now, input.plan);
        break;
      case "remove":
        this.#remove(input.id);
        break;
      case "finished":
        this.#finished(now, input.run, input.outcome);
        break;
      case "ttlUpdate":
        this.#ttlUpdate(now, input.id, input.status, input.output);
        break;
      case "localChanged":
        for (const entry of this.#entries.values())
          if (entry.plan.kind === "alias" && entry.run === 0) this.#schedule(entry, now);
        break;
      default:
        unreachable(input);
    }
  }

  /** Runs to start now. Pull after each step: a finished run makes room. */
  takeRuns(): readonly CheckRun[] {
    const runs: CheckRun[] = [];
    while (this.#running.size < runsMax) {
      const queue = this.#waitingScripts.length > 0 && this.#scriptsRunning < scriptsMax ? this.#waitingScripts : this.#waiting;
      const entry = queue.shift();
      if (entry === undefined) break;
      const { plan } = entry;
      assert(plan.kind !== "ttl", "a TTL check does not run");
      if (plan.kind === "script") this.#scriptsRunning++;
      this.#running.set(entry.run, plan.kind);
      runs.push({ run: entry.run, id: plan.id, kind: plan.kind, timeout: plan.kind === "alias" ? 0 : plan.timeout });
    }
    return runs;
  }

  /** What the local state is to be told, in order. */
  takeResults(): readonly CheckResult[] {
    const results = this.#results;
    this.#results = [];
    return results;
  }

  /** Services to be removed. */
  takeReaps(): readonly CheckReap[] {
    const reaps = this.#reaps;
    this.#reaps = [];
    return reaps;
  }

  validate(): void {
    assert(this.#running.size <= runsMax, "no more runs than allowed");
    assert(this.#scriptsRunning <= scriptsMax, "no more scripts than allowed");
    for (const [run, entry] of this.#byRun) assert(entry.run === run && entry.heapAt < 0, "a check that runs is not due");
  }

  #add(now: Millis, plan: CheckPlan): void {
    const entry: Entry = {
      heapAt: -1,
      plan,
      at: now,
      run: 0,
      ...countersOf(plan),
      lastOutput: "",
      criticalSince: undefined,
    };
    this.#entries.set(plan.id, entry);
    if (plan.kind === "alias") this.#aliases++;
    if (plan.kind === "ttl") this.#schedule(entry, now + plan.ttl);
    else this.#schedule(entry, plan.kind === "alias" ? now : now + between(this.#random, 0, plan.interval));
    if (plan.reapAfter !== Number.POSITIVE_INFINITY && this.#reapAt === Number.POSITIVE_INFINITY)
      this.#reapAt = now + reapInterval;
  }

  #remove(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.#due.remove(entry);
    if (entry.plan.kind === "alias") this.#aliases--;
    if (entry.run === 0) return;
    this.#byRun.delete(entry.run);
    for (const queue of [this.#waiting, this.#waitingScripts]) {
      const at = queue.indexOf(entry);
      if (at >= 0) queue.splice(at, 1);
    }
  }

  #wake(now: Millis): void {
    for (let entry = this.#due.peek(); entry !== undefined && entry.at <= now; entry = this.#due.peek()) {
      this.#due.remove(entry);
      if (entry.plan.kind === "ttl")
        this.#report(now, entry, "missed", { status: "critical", output: expiredOutput(entry.lastOutput) });
      else this.#queue(entry);
    }
    if (this.#reapAt <= now) this.#reap(now);
  }

  #queue(entry: Entry): void {
    entry.run = ++this.#lastRun;
    this.#byRun.set(entry.run, entry);
    (entry.plan.kind === "script" ? this.#waitingScripts : this.#waiting).push(entry);
  }

  #finished(now: Millis, run: number, outcome: CheckOutcome): void {
    if (this.#running.get(run) === "script") this.#scriptsRunning--;
    this.#running.delete(run);
    const entry = this.#byRun.get(run);
    if (entry === undefined) return;
    this.#byRun.delete(run);
    entry.run = 0;
    const { plan } = entry;
    assert(plan.kind !== "ttl", "a TTL check does not run");
    this.#schedule(entry, now + (plan.kind === "alias" ? aliasInterval : plan.interval));
    if (plan.kind === "alias" || outcome.certain || this.#passesThreshold(entry, plan, outcome.status)) {
      this.#report(now, entry, "run", outcome);
    }
  }

  /** Counts results of a kind in a row. Passing and warning are one kind: neither is critical. */
  #passesThreshold(
    entry: Entry,
    plan: { readonly successesNeeded: number; readonly failuresNeeded: number },
    status: CheckStatus,
  ): boolean {
    if (status === "critical") {
      entry.successes = 0;
      return ++entry.failures >= plan.failuresNeeded;
    }
    entry.failures = 0;
    return ++entry.successes >= plan.successesNeeded;
  }

  #ttlUpdate(now: Millis, id: string, status: CheckStatus, output: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.plan.kind !== "ttl") return;
    entry.lastOutput = output;
    this.#schedule(entry, now + entry.plan.ttl);
    this.#report(now, entry, "update", { status, output });
  }

  #report(
    now: Millis,
    entry: Entry,
    cause: CheckResult["cause"],
    { status, output }: Pick<CheckResult, "status" | "output">,
  ): void {
    entry.criticalSince = status === "critical" ? (entry.criticalSince ?? now) : undefined;
    this.#results.push({ id: entry.plan.id, status, output, cause });
  }

  #reap(now: Millis): void {
    let left = false;
    const reaped = new Set<string>();
    for (const { plan, criticalSince } of this.#entries.values()) {
      if (plan.reapAfter === Number.POSITIVE_INFINITY) continue;
      left = true;
      if (criticalSince === undefined || now - criticalSince <= plan.reapAfter || reaped.has(plan.serviceId)) continue;
      reaped.add(plan.serviceId);
      this.#reaps.push({ serviceId: plan.serviceId, checkId: plan.id });
    }
    this.#reapAt = left ? now + reapInterval : Number.POSITIVE_INFINITY;
  }

  #schedule(entry: Entry, at: Millis): void {
    this.#due.remove(entry);
    entry.at = at;
    this.#due.push(entry);
  }
}

/** The first result takes effect whatever it is: the counters begin as if the row before had been long enough (Consul 1.8). */
function countersOf(plan: CheckPlan): Pick<Entry, "successes" | "failures"> {
  return "interval" in plan ? { successes: plan.successesNeeded, failures: plan.failuresNeeded } : { successes: 0, failures: 0 };
}

export { unsupportedCheck } from "./check-plan.ts";
