/**
 * A runtime in which nothing real happens: time, network, disk and chance come from a seed.
 *
 *   world.step() ──▶ earliest event ──▶ a timer fires, a packet arrives, a write is durable ──▶ the host's code runs
 *                                                                                                  └▶ plans further events
 *
 * Invariants: time moves only in `step`; two runs of one seed plan the same events in the same order; nothing of a crashed
 * host runs any more, and what its disk had not made durable is gone. Tested by the same contract suites as the real
 * runtimes: if a real socket can do it, so can this one.
 */
import type { Millis } from "../../core/types/ids.ts";
import type { Random } from "../../core/ports/random.ts";
import { createRandom, seedOf } from "../shared/random.ts";
import { type Event, EventQueue } from "./event-queue.ts";
import { type HostOptions, SimHost } from "./sim-host.ts";
import type { Ground } from "./ground.ts";
import { Network } from "./network.ts";

export class World implements Ground {
  readonly seed: number | string;
  readonly random: Random;
  readonly network: Network;
  readonly hosts: SimHost[] = [];
  readonly #events = new EventQueue();
  #now: Millis = 0;

  constructor(seed: number | string) {
    this.seed = seed;
    this.random = createRandom(seedOf(seed));
    this.network = new Network(this);
  }

  get now(): Millis {
    return this.#now;
  }

  /** A machine, with 10.0.0.1 as the address of the first one, 10.0.0.2 of the second, and so on. */
  host(name: string, options: HostOptions = {}): SimHost {
    const number = this.hosts.length + 1;
    const host = new SimHost(this, this.network, name, `10.0.${number >> 8}.${number & 255}`, options);
    this.hosts.push(host);
    return host;
  }

  /** Plans something that belongs to no host. */
  at(delay: Millis, act: () => void): Event {
    return this.#events.add(this.#now + Math.max(delay, 0), act);
  }

  /** Makes the next event happen; false when nothing is left. */
  step(): boolean {
    for (;;) {
      const event = this.#events.next();
      if (event === undefined) return false;
      if (event.act === undefined) continue;
      this.#now = event.at;
      event.act();
      return true;
    }
  }

  /**
   * Full mode: steps until `outcome` settles, and lets every promise settle between two events. Rejects when nothing is
   * left to happen, or after `limit` of virtual time, and `outcome` is still open.
   */
  async run<Outcome>(outcome: Promise<Outcome>, limit: Millis = 3_600_000): Promise<Outcome> {
    let settled = false;
    const note = (): void => {
      settled = true;
    };
    outcome.then(note, note);
    const end = this.#now + limit;
    await turn();
    while (!settled) {
      if (this.#now > end) throw new Error(`seed ${this.seed}: not settled after ${limit} ms of virtual time`);
      if (!this.step()) throw new Error(`seed ${this.seed}: nothing is left to happen, and the outcome is open`);
      await turn();
    }
    return outcome;
  }
}

/** One turn of the real event loop: every promise that can settle has settled. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
