import type { Timer } from "../../core/ports/clock.ts";
import type { Random } from "../../core/ports/random.ts";
import type { Millis } from "../../core/types/ids.ts";
import type { Event } from "./event-queue.ts";

/** The world, as its parts see it. */
export interface Ground {
  readonly now: Millis;
  readonly random: Random;
  readonly hosts: readonly Machine[];
  at(delay: Millis, act: () => void): Event;
}

/** A host, as network and disk see it. */
export interface Machine {
  readonly name: string;
  readonly address: string;
  readonly up: boolean;
  /** Which life this is. What was planned in an earlier one does not happen. */
  readonly life: number;
  readonly now: Millis;
  /** On its own clock. */
  monotonic(): Millis;
  /** Plans something in this life. */
  plan(delay: Millis, act: () => void): Timer;
}
