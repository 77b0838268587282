/**
 * One seed: a small pool, faults drawn for it, and after them a time in which everything must become well again.
 *
 *   1. safety    crashes, restarts, pauses, one-way cuts, leaves, user events, loss, duplicates, reordering; checks always
 *   2. liveness  the network heals; all tables agree within a bound, and an event reaches everyone once
 */
import { below, between, type Random, shuffle } from "../../core/ports/random.ts";
import { lanDefaults, type SwimConfig } from "../../core/swim/config.ts";
import type { Millis } from "../../core/types/ids.ts";
import { createRandom, seedOf } from "../shared/random.ts";
import { Invariants } from "./gossip-invariants.ts";
import type { GossipHost } from "./gossip-host.ts";
import { calmLinks } from "./gossip-network.ts";
import { GossipWorld } from "./gossip-world.ts";
import { check, Violation } from "./violation.ts";

export interface GossipRun {
  readonly hash: string;
  readonly members: number;
  readonly steps: number;
  readonly packets: number;
  readonly virtualMillis: Millis;
  /** `checker` is "crash" for what no rule explains. */
  readonly failure: { readonly checker: string; readonly message: string } | undefined;
}

const settleTimeMax: Millis = 600_000;
const rejoinInterval: Millis = 5000;
const eventTimeMax: Millis = 20_000;

export function runGossipSeed(options: { readonly seed: number | string }): GossipRun {
  const random = createRandom(seedOf(options.seed)).fork("swarm");
  const members = 6 + below(random, 18);
  const swim: Partial<SwimConfig> = {
    suspicionMult: 3 + below(random, 3),
    gossipNodes: 2 + below(random, 3),
    indirectChecks: 1 + below(random, 3),
    pushPullInterval: 10_000 + below(random, 20_000),
  };
  const world = new GossipWorld({ seed: options.seed, layer: "serf", swim });
  const invariants = new Invariants(world, { ...lanDefaults, ...swim, ...ownPart });
  let failure: GossipRun["failure"];
  try {
    new Swarm(world, invariants, random, members).run();
  } catch (error) {
    if (error instanceof Violation) failure = { checker: error.checker, message: error.message };
    else failure = { checker: "crash", message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  const { hash, steps, packets, now } = world;
  return { hash: hash.text, members, steps, packets, virtualMillis: now, failure };
}

/** Only so that the type is whole: the checks look at times and limits. */
const ownPart = { name: "", address: new Uint8Array(4), port: 0, version: new Uint8Array(6) };

class Swarm {
  readonly #world: GossipWorld;
  readonly #invariants: Invariants;
  readonly #random: Random;
  readonly #members: number;
  #events = 0;

  constructor(world: GossipWorld, invariants: Invariants, random: Random, members: number) {
    this.#world = world;
    this.#invariants = invariants;
    this.#random = random;
    this.#members = members;
  }

  run(): void {
    this.#gather();
    this.#trouble(60_000 + below(this.#random, 120_000));
    this.#heal();
    this.#agree();
    this.#tellEveryone();
  }

  /** Half of the pools have stood for long; the others come together one by one. */
  #gather(): void {
    const world = this.#world;
    if (this.#chance(500)) world.seed(this.#members);
    else for (let number = 0; number < this.#members; number++) this.#join(world.add());
    for (const host of world.hosts) host.troubledAt = 0;
    world.pass(5000);
  }

  #trouble(duration: Millis): void {
    const world = this.#world;
    const random = this.#random;
    world.network.faults = {
      lossPerMille: this.#chance(500) ? 0 : below(random, 250),
      duplicatePerMille: this.#chance(500) ? 0 : below(random, 200),
      reorderPerMille: this.#chance(500) ? 0 : below(random, 100),
      delayMin: 0.1,
      delayMax: this.#chance(500) ? 2 : between(random, 2, 120),
    };
    const lossy = world.network.faults.lossPerMille > 0 || world.network.faults.delayMax > 50;
    if (lossy) for (const host of world.hosts) host.troubledAt = Number.POSITIVE_INFINITY;
    // Each seed has its own favourites, and many kinds of trouble not at all.
    const kinds = shuffle(random, [this.#pause, this.#crash, this.#cut, this.#leave, this.#fire, this.#fire, this.#retag]).slice(
      0,
      2 + below(random, 5),
    );
    for (const end = world.now + duration; world.now < end; ) {
      world.pass(between(random, 50, 6000));
      const act = kinds[below(random, kinds.length)];
      const running = world.hosts.filter((host) => host.up && !host.leaving);
      const host = running[below(random, running.length)];
      // A majority stays, so that there is a pool to come back to.
      if (act !== undefined && host !== undefined && running.length > this.#members / 2) act.call(this, host, lossy);
    }
  }

  #pause(host: GossipHost, lossy: boolean): void {
    this.#world.pause(host, this.#chance(700) ? between(this.#random, 50, 3000) : between(this.#random, 3000, 30_000));
    if (lossy) host.troubledAt = Number.POSITIVE_INFINITY;
  }

  #crash(host: GossipHost): void {
    const world = this.#world;
    world.crash(host);
    if (this.#chance(300)) return;
    world.at(between(this.#random, 100, 40_000), () => {
      if (host.up) return;
      world.restart(host);
      this.#join(host);
    });
  }

  /** One way or both, between two halves or around one member. */
  #cut(host: GossipHost): void {
    const world = this.#world;
    const side = new Set<number>([host.number]);
    if (this.#chance(400)) for (const other of world.hosts) if (this.#chance(500)) side.add(other.number);
    const oneWay = this.#chance(500);
    for (const other of world.hosts) other.troubledAt = Number.POSITIVE_INFINITY;
    world.hash.mark(world.now, "cut", host.number, side.size);
    world.network.cut = (from, to) => (side.has(from) && !side.has(to)) || (!oneWay && side.has(to) && !side.has(from));
    world.pass(between(this.#random, 1000, 20_000));
    world.network.cut = () => false;
    world.hash.mark(world.now, "heal", 0, 0);
    for (const other of world.hosts)
      other.troubledAt = world.network.faults.lossPerMille > 0 ? Number.POSITIVE_INFINITY : world.now;
  }

  #leave(host: GossipHost): void {
    this.#world.leave(host);
  }

  #fire(host: GossipHost): void {
    this.#world.fire(host, `event ${++this.#events}`);
  }

  #retag(host: GossipHost): void {
    this.#world.feed(host, { kind: "tags", tags: { role: "node", version: String(this.#world.now) } });
  }

  #heal(): void {
    const world = this.#world;
    world.network.faults = calmLinks;
    world.hash.mark(world.now, "heal", 0, 1);
    world.pass(40_000);
    for (const host of world.hosts) host.troubledAt = world.now;
  }

  #agree(): void {
    const world = this.#world;
    const agreed = world.pass(settleTimeMax, () => this.#invariants.disagreement() === undefined, 1000);
    check(agreed, "after healing all tables agree", () => this.#invariants.disagreement() ?? "");
  }

  #tellEveryone(): void {
    const world = this.#world;
    const running = world.hosts.filter((host) => host.up && !host.leaving);
    const teller = running[below(this.#random, running.length)] as GossipHost;
    world.fire(teller, "the last event");
    const deaf = (): GossipHost | undefined => running.find((host) => !host.heard.has("the last event"));
    const told = world.pass(eventTimeMax, () => deaf() === undefined);
    check(told, "an event reaches everyone", () => `${deaf()?.name} did not hear of what ${teller.name} told`);
    // Echoes of it must not be told again.
    world.pass(5000);
  }

  /** Asks again until somebody answered, as an agent with retry_join does. */
  #join(host: GossipHost): void {
    const world = this.#world;
    const life = host.life;
    if (!host.up || host.life !== life || host.swim.members.length > 1) return;
    const others = world.hosts.filter((other) => other !== host && other.up && !other.leaving);
    const contact = others[below(this.#random, others.length)];
    if (contact !== undefined && host.pausedUntil <= world.now) world.join(host, contact);
    world.at(rejoinInterval, () => {
      if (host.life === life) this.#join(host);
    });
  }

  #chance(perMille: number): boolean {
    return below(this.#random, 1000) < perMille;
  }
}
