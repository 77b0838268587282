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
}
