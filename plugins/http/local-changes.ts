/**
 * Waiting for a change of what this agent registered (/v1/agent/service/:id?hash=). The agent counts its changes and
 * tells nobody, so while anybody waits one timer looks at the count; with nobody waiting it does not run.
 */
import type { LocalApi } from "../../core/plugin/agent-api.ts";
import type { Clock, Timer } from "../../core/ports/clock.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";

const lookInterval: Millis = 100;
/** More are refused. */
export const localWaitersMax = 10_000;

interface Waiter {
  readonly deadline: Millis;
  readonly done: () => void;
}

export class LocalChanges {
  readonly #local: LocalApi;
  readonly #clock: Clock;
  readonly #waiters = new Set<Waiter>();
  #timer: Timer | undefined;
  #seen = 0;

  constructor(local: LocalApi, clock: Clock) {
    this.#local = local;
    this.#clock = clock;
  }

  now(): Millis {
    return this.#clock.monotonic();
  }

  /** Resolves after a change since `version`, at the deadline, or when cancelled. Rejects when too many wait. */
  wait(version: number, deadline: Millis, cancel: Cancel): Promise<void> {
    if (this.#local.version !== version || cancel.aborted) return Promise.resolve();
    if (this.#waiters.size >= localWaitersMax)
      throw new AgentError("rate-limited", { message: "Too many requests wait for a service to change" });
    return new Promise((resolve) => {
      const waiter: Waiter = {
        deadline,
        done: () => {
          this.#waiters.delete(waiter);
          cancel.removeEventListener("abort", waiter.done);
          if (this.#waiters.size === 0) this.stop();
          resolve();
        },
      };
      if (this.#waiters.size === 0) this.#seen = version;
      this.#waiters.add(waiter);
      cancel.addEventListener("abort", waiter.done);
      this.#arm();
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    this.#timer ??= this.#clock.after(lookInterval, () => this.#look());
  }

  #look(): void {
    this.#timer = undefined;
    const changed = this.#local.version !== this.#seen;
    this.#seen = this.#local.version;
    const now = this.#clock.monotonic();
    for (const waiter of [...this.#waiters]) if (changed || now >= waiter.deadline) waiter.done();
    if (this.#waiters.size > 0) this.#arm();
  }
}
