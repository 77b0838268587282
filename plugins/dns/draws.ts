import { below, type Random } from "../../core/ports/random.ts";

/**
 * The random choices of one answer, which together are one number: its order. With as many orders as `orders` says, each as
 * likely as any other, whoever kept the answers of some of them can choose an order first and look afterwards.
 *
 * The choices must not depend on anything but each other and what the caller knows to be unchanged.
 */
export class Draws {
  readonly #random: Random;
  #given: number | undefined;
  #order = 0;
  #orders = 1;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Beyond 2^53 they are no longer exact, which is far more than anybody keeps. */
  get orders(): number {
    return this.#orders;
  }

  /** Of the choices since the last {@link begin}: from 0 to `orders` - 1. */
  get order(): number {
    return this.#order;
  }

  /** A new answer: in the given order, or in a random one. */
  begin(given?: number): void {
    this.#given = given;
    this.#order = 0;
    this.#orders = 1;
  }

  /** Uniform whole number in [0, bound). */
  below(bound: number): number {
    if (bound <= 1) return 0;
    const drawn = this.#given === undefined ? below(this.#random, bound) : this.#take(this.#given, bound);
    this.#order += drawn * this.#orders;
    this.#orders *= bound;
    return drawn;
  }

  #take(given: number, bound: number): number {
    this.#given = Math.floor(given / bound);
    return given % bound;
  }
}
