/** What `consul lock` competes for: a lock (lock.ts), or one of several slots of a semaphore (semaphore.ts). */
import { type Clock, pause } from "../../core/ports/clock.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import type { Millis } from "../../core/types/ids.ts";
import { type Api, ApiError } from "./api.ts";
import type { LockSession } from "./lock-session.ts";

export interface Contest {
  /** Resolves when it is held; undefined when the time is up or `stop` was aborted. Rejects with what went wrong. */
  acquire(stop: Cancel): Promise<Held | undefined>;
  release(): Promise<void>;
  /** Removes what stands for it, unless others use it. */
  cleanUp(): Promise<"removed" | "in use">;
}

export interface Held {
  /** Resolves when it is held no more, or nobody says that it is. Never rejects. */
  readonly lost: Promise<void>;
}

export interface ContestOptions {
  readonly api: Api;
  readonly clock: Clock;
  readonly session: LockSession;
  /** 0: as long as it takes. */
  readonly timeout: Millis;
  /** How often a failing agent is asked again whether it is still held. */
  readonly monitorRetries: number;
}

/** One blocking read while waiting. */
const readWait: Millis = 15_000;
const retryPause: Millis = 1_000;

/** How long the next blocking read may take; undefined when the time for all of them is up. */
export function nextWait({ clock, timeout }: ContestOptions, begun: Millis, attempt: number): Millis | undefined {
  if (timeout === 0 || attempt === 0) return timeout === 0 ? readWait : timeout;
  const left = timeout - (clock.monotonic() - begun);
  return left < 0 ? undefined : Math.max(1, Math.trunc(left));
}

/**
 * Reads again and again while what is read says that it is held; `stop` ends it. A short absence of the agent is bridged by
 * the retries, which are counted anew after each success.
 */
export async function untilLost(
  { clock, monitorRetries }: ContestOptions,
  stop: Cancel,
  read: (index: string) => Promise<{ readonly held: boolean; readonly index: string }>,
): Promise<void> {
  let retries = monitorRetries;
  let index = "0";
  while (!stop.aborted) {
    try {
      const seen = await read(index);
      if (!seen.held) return;
      retries = monitorRetries;
      index = seen.index;
    } catch (error) {
      const passing = error instanceof ApiError && (error.status === undefined || error.status >= 500);
      if (!passing || retries === 0 || stop.aborted) return;
      retries--;
      index = "0";
      await pause(clock, retryPause, stop);
    }
  }
}
