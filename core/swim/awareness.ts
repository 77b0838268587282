import type { Millis } from "../types/ids.ts";

/**
 * How much this member trusts itself (Lifeguard, section IV-A): 0 is healthy, up to `max − 1`. A member that misses
 * answers may itself be the slow one, so it waits longer before it accuses.
 */
export class Awareness {
  readonly #max: number;
  #score = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get score(): number {
    return this.#score;
  }

  /** Positive is worse. */
  apply(change: number): void {
    this.#score = Math.min(this.#max - 1, Math.max(0, this.#score + change));
  }

  scale(interval: Millis): Millis {
    return interval * (this.#score + 1);
  }
}
