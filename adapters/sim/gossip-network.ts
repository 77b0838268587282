import { below, between, type Random } from "../../core/ports/random.ts";
import type { Millis } from "../../core/types/ids.ts";

/** What a link does to what it carries. Rates are per mille of packets. */
export interface LinkFaults {
  readonly lossPerMille: number;
  readonly duplicatePerMille: number;
  /** Packets that take ten times as long as they would, so that later ones overtake them. */
  readonly reorderPerMille: number;
  /** One way. */
  readonly delayMin: Millis;
  readonly delayMax: Millis;
}

export const calmLinks: LinkFaults = {
  lossPerMille: 0,
  duplicatePerMille: 0,
  reorderPerMille: 0,
  delayMin: 0.2,
  delayMax: 2,
};

const reorderedDelay = 10;

/** Links between members, by number: how long something takes, whether it arrives, whether they are cut. */
export class GossipNetwork {
  faults: LinkFaults = calmLinks;
  /** True: nothing gets from the one to the other. One-way on purpose. */
  cut: (from: number, to: number) => boolean = () => false;
  /** False: no connection is made, as where only datagrams are let through. */
  streams = true;
  /** One way, in milliseconds, on top of the delay that is drawn. */
  latency: (from: number, to: number) => Millis = () => 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** When each copy of a datagram arrives, after now: none when it is lost. */
  deliveries(from: number, to: number): readonly Millis[] {
    const { lossPerMille, duplicatePerMille } = this.faults;
    if (lossPerMille === 0 && duplicatePerMille === 0) return [this.delay(from, to)];
    const copies = below(this.#random, 1000) < duplicatePerMille ? 2 : 1;
    const deliveries: Millis[] = [];
    for (let copy = 0; copy < copies; copy++) {
      if (below(this.#random, 1000) >= lossPerMille) deliveries.push(this.delay(from, to));
    }
    return deliveries;
  }

  delay(from: number, to: number): Millis {
    const { delayMin, delayMax, reorderPerMille } = this.faults;
    const delay = this.latency(from, to) + between(this.#random, delayMin, delayMax);
    return reorderPerMille > 0 && below(this.#random, 1000) < reorderPerMille ? delay * reorderedDelay : delay;
  }
}
