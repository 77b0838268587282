import type { Millis } from "./ids.ts";

/**
 * A token bucket: `burst` at once, `rate` per second in the long run. Starts full. A rate of Infinity allows everything;
 * of 0, the burst and nothing more.
 */
export class RateLimit {
  #tokens: number;
  #at: Millis;

  constructor(burst: number, now: Millis) {
    this.#tokens = Math.max(0, burst);
    this.#at = now;
  }

  /** Takes one if there is one. The limits may differ from call to call. */
  take(now: Millis, rate: number, burst: number): boolean {
    if (rate === Number.POSITIVE_INFINITY) return true;
    this.#tokens = Math.min(Math.max(0, burst), this.#tokens + ((now - this.#at) / 1000) * rate);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
