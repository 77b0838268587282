import type { Cancel } from "../types/cancel.ts";
import type { EpochMillis, Millis } from "../types/ids.ts";

export interface Timer {
  /** After this `fire` is not called. Harmless when it already was. */
  cancel(): void;
}

export interface Clock {
  /** Never goes back. Origin unknown: only differences mean anything. */
  monotonic(): Millis;
  /** Wall time. May jump. Shown to people and written to records; never used for timeouts. */
  wall(): EpochMillis;
  /** Calls `fire` once, no earlier than `delay` from now. Delays beyond 2^31 ms are honoured. */
  after(delay: Millis, fire: () => void): Timer;
  /**
   * Calls `fire` once, after everything that is ready by now has had its turn, and without waiting for anything else:
   * what many requests that arrived together ask for can then be done together. Where it is left out, microtasks serve.
   */
  soon?(fire: () => void): void;
}

/** Calls `fire` as {@link Clock.soon} says, or in a microtask. */
export function runSoon(clock: Clock, fire: () => void): void {
  if (clock.soon !== undefined) clock.soon(fire);
  else runNext(fire);
}

/** Calls `fire` in a microtask: after what runs now, before anything that is ready elsewhere. */
export function runNext(fire: () => void): void {
  void Promise.resolve().then(fire);
}

/** Resolves after `delay`, or as soon as it is cancelled. */
export function pause(clock: Pick<Clock, "after">, delay: Millis, cancel: Cancel): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      timer.cancel();
      cancel.removeEventListener("abort", end);
      resolve();
    };
    const timer = clock.after(delay, end);
    cancel.addEventListener("abort", end);
    if (cancel.aborted) end();
  });
}
