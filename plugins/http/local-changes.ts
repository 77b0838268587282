/** Waiting for a change of what this agent registered (/v1/agent/service/:id?hash=). */
import type { LocalApi } from "../../core/plugin/agent-api.ts";
import type { Clock } from "../../core/ports/clock.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";

/** More are refused. */
export const localWaitersMax = 10_000;

export class LocalChanges {
  readonly #local: LocalApi;
  readonly #clock: Clock;
  #waiters = 0;

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
    if (this.#waiters >= localWaitersMax)
      throw new AgentError("rate-limited", { message: "Too many requests wait for a service to change" });
    this.#waiters++;
    return new Promise((resolve) => {
      const done = (): void => {
        unfollow();
        timer.cancel();
        cancel.removeEventListener("abort", done);
        this.#waiters--;
        resolve();
      };
      const unfollow = this.#local.follow(done);
      const timer = this.#clock.after(Math.max(0, deadline - this.now()), done);
      cancel.addEventListener("abort", done);
    });
  }
}
