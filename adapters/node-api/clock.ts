import type { Clock, Timer } from "../../core/ports/clock.ts";
import type { Millis } from "../../core/types/ids.ts";

/** The longest delay the platform's timer takes; beyond it the timer would fire at once. */
const platformDelayMax: Millis = 2 ** 31 - 1;

/** `Clock` over `performance.now`, `setTimeout` and `setImmediate`, which Node, Bun and Deno share. */
export function createClock(): Clock {
  return {
    monotonic: () => performance.now(),
    wall: () => Date.now(),
    after: (delay, fire) => new PlatformTimer(delay, fire),
    // Behind all sockets and files that are ready in this turn of the loop.
    soon: (fire) => void setImmediate(fire),
  };
}

class PlatformTimer implements Timer {
  readonly #due: Millis;
  readonly #fire: () => void;
  #handle: ReturnType<typeof setTimeout> | undefined;

  constructor(delay: Millis, fire: () => void) {
    this.#due = performance.now() + delay;
    this.#fire = fire;
    this.#arm(delay);
  }

  cancel(): void {
    if (this.#handle === undefined) return;
    clearTimeout(this.#handle);
    this.#handle = undefined;
  }

  #arm(delay: Millis): void {
    if (delay === Infinity) return;
    this.#handle = setTimeout(() => this.#wake(), Math.min(Math.max(Math.ceil(delay), 0), platformDelayMax));
  }

  /** The platform counts from the start of its loop turn, so it may be early by a fraction; the contract says never. */
  #wake(): void {
    const left = this.#due - performance.now();
    this.#handle = undefined;
    if (left > 0) this.#arm(left);
    else this.#fire();
  }
}
