/** A clock that stands still until told to go on. Timers fire in order of their time, then of their making. */
import type { Clock, Timer } from "../../core/ports/clock.ts";
import type { Random } from "../../core/ports/random.ts";

export class VirtualClock implements Clock {
  #now = 0;
  #made = 0;
  #timers: { readonly at: number; readonly order: number; readonly fire: () => void }[] = [];

  monotonic(): number {
    return this.#now;
  }

  wall(): number {
    return 1_700_000_000_000 + this.#now;
  }

  after(delay: number, fire: () => void): Timer {
    const timer = { at: this.#now + delay, order: this.#made++, fire };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  get pending(): number {
    return this.#timers.length;
  }

  /** Lets `time` pass; after each timer the promises it settled are run. */
  async advance(time: number): Promise<void> {
    const until = this.#now + time;
    for (;;) {
      const next = this.#timers
        .filter(({ at }) => at <= until)
        .sort((left, right) => left.at - right.at || left.order - right.order)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.fire();
      await settle();
    }
    this.#now = until;
    await settle();
  }
}

/** Lets all promises that can settle do so. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Every draw is this fraction of its range. */
export function constantRandom(fraction = 0): Random {
  const random: Random = { uint32: () => Math.floor(fraction * 4294967296), fork: () => random };
  return random;
}
