import type { Clock, Timer } from "../ports/clock.ts";
import type { Cancel } from "../types/cancel.ts";
import type { Millis } from "../types/ids.ts";

/**
 * A client that has sent its end may still be reading: what is answered this soon is answered. A pipe into netcat ends
 * its half with the request.
 */
export const leavingGrace: Millis = 1_000;

/**
 * Another cancel, {@link leavingGrace} later: for what is answered soon or not at all (a read or a write that finds no
 * leader). Blocking queries end with their client at once; to them an answer in the next second means nothing.
 *
 * Holds a timer and a place among the other's listeners only while it has listeners itself.
 */
export class LateCancel implements Cancel {
  readonly #clock: Clock;
  readonly #source: Cancel;
  readonly #listeners = new Set<() => void>();
  #due: Millis | undefined;
  #timer: Timer | undefined;

  constructor(clock: Clock, source: Cancel) {
    this.#clock = clock;
    this.#source = source;
  }

  get aborted(): boolean {
    return this.#source.aborted && this.#clock.monotonic() >= this.#dueAt();
  }

  get reason(): unknown {
    return this.aborted ? this.#source.reason : undefined;
  }

  addEventListener(_type: "abort", listener: () => void): void {
    this.#listeners.add(listener);
    if (this.#listeners.size > 1) return;
    if (this.#source.aborted) this.#arm();
    else this.#source.addEventListener("abort", this.#arm);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0) return;
    this.#source.removeEventListener("abort", this.#arm);
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** From when the source is first seen to be aborted: waits come one after the other, and must not each begin anew. */
  #dueAt(): Millis {
    this.#due ??= this.#clock.monotonic() + leavingGrace;
    return this.#due;
  }

  readonly #arm = (): void => {
    const left = Math.max(0, this.#dueAt() - this.#clock.monotonic());
    this.#timer = this.#clock.after(left, () => {
      this.#timer = undefined;
      for (const listener of [...this.#listeners]) listener();
    });
  };
}

/** Undefined stays undefined. */
export function late(clock: Clock, cancel: Cancel | undefined): Cancel | undefined {
  return cancel === undefined ? undefined : new LateCancel(clock, cancel);
}
