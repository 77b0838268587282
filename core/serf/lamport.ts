/**
 * Lamport times beyond this are not believed: one hostile message must not run the whole pool's clocks into the end of exact
 * numbers. Clocks that get there stand still: what they stamp is still read by others, and so is their state.
 */
export const lamportMax = 2 ** 52;

/** A logical clock (Lamport 1978). Starts at 1: 0 means "never". */
export class LamportClock {
  #time = 1;

  get time(): number {
    return this.#time;
  }

  increment(): void {
    this.#time = Math.min(this.#time + 1, lamportMax);
  }

  /** What was seen lies in the past from now on. */
  witness(seen: number): void {
    if (seen >= this.#time) this.#time = Math.min(seen + 1, lamportMax);
  }
}
