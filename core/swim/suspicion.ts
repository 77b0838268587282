/**
 * How long a suspected member has to speak up (Lifeguard, section IV-B). The first accusation alone gives it long; each
 * independent confirmation shortens that towards the minimum, so that only an accuser who is himself slow waits.
 *
 *   after c confirmations of k   max − log(c + 1) / log(k + 1) × (max − min)
 */
import { log2, log10 } from "../structures/log2.ts";
import type { Millis } from "../types/ids.ts";

export interface SuspicionConfig {
  readonly suspicionMult: number;
  readonly suspicionMaxMult: number;
  readonly probeInterval: Millis;
}

export class Suspicion {
  #start: Millis;
  readonly #min: Millis;
  readonly #max: Millis;
  /** Confirmations that bring the deadline to its minimum; 0 when there are too few others to expect any. */
  readonly #expected: number;
  /** The first accuser counts for nothing but may not confirm himself. A handful. */
  readonly #accusers: string[];
  #deadline: Millis;

  /** `memberCount` includes the dead that are still remembered. */
  constructor(config: SuspicionConfig, memberCount: number, accuser: string, now: Millis) {
    this.#start = now;
    this.#min = suspicionMin(config, memberCount);
    this.#max = config.suspicionMaxMult * this.#min;
    const expected = config.suspicionMult - 2;
    this.#expected = memberCount - 2 < expected ? 0 : Math.max(0, expected);
    this.#accusers = [accuser];
    this.#deadline = this.#computed();
  }

  get confirmations(): number {
    return this.#accusers.length - 1;
  }

  /** As many as can be expected have accused. */
  get isConfirmed(): boolean {
    return this.confirmations >= this.#expected;
  }

  get deadline(): Millis {
    return this.#deadline;
  }

  /** Time in which the suspected member could not have been heard does not count. */
  postpone(by: Millis): void {
    this.#start += by;
    this.#deadline = this.#computed();
  }

  /** False when `accuser` adds nothing: heard before, or enough have confirmed. */
  confirm(accuser: string): boolean {
    if (this.isConfirmed || this.#accusers.includes(accuser)) return false;
    this.#accusers.push(accuser);
    this.#deadline = this.#computed();
    return true;
  }

  #computed(): Millis {
    if (this.#expected === 0) return this.#start + this.#min;
    const fraction = log2(this.confirmations + 1) / log2(this.#expected + 1);
    return this.#start + Math.max(this.#min, Math.floor(this.#max - fraction * (this.#max - this.#min)));
  }
}

/** mult × max(1, log10 n) × probe interval, the logarithm cut to thousandths as memberlist cuts it. */
export function suspicionMin(config: SuspicionConfig, memberCount: number): Millis {
  const scale = Math.max(1, log10(Math.max(1, memberCount)));
  // The tiny addition keeps exact powers of ten from landing just below themselves.
  return (config.suspicionMult * Math.floor(scale * 1000 + 1e-6) * config.probeInterval) / 1000;
}
