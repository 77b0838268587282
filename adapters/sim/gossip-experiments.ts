/**
 * What the gossip protocol does, in numbers: how fast, how often wrongly, and what Lifeguard is worth.
 *
 * Each experiment makes pools of its own, all in virtual time; the same seed gives the same numbers on every engine.
 * The invariants are checked meanwhile, as in every run.
 */
import { below, type Random, shuffle } from "../../core/ports/random.ts";
import { distance } from "../../core/serf/coordinates.ts";
import { lanDefaults, type SwimConfig } from "../../core/swim/config.ts";
import type { Millis } from "../../core/types/ids.ts";
import type { GossipHost, Layer } from "./gossip-host.ts";
import { Invariants } from "./gossip-invariants.ts";
import { calmLinks } from "./gossip-network.ts";
import { GossipWorld } from "./gossip-world.ts";

/** The same code with parts of it switched off. */
export interface Variant {
  readonly name: string;
  readonly swim: Partial<SwimConfig>;
}

/** SWIM with memberlist's stream fallback, and without any of Lifeguard. */
export const plainSwim: Variant = {
  name: "SWIM",
  swim: { awarenessMax: 1, suspicionMaxMult: 1, nacks: false, buddy: false, stallTolerance: Number.POSITIVE_INFINITY },
};
/** What memberlist does. */
export const lifeguard: Variant = { name: "Lifeguard", swim: { stallTolerance: Number.POSITIVE_INFINITY } };
/** And what we do. */
export const withStallSensor: Variant = { name: "Lifeguard and stall sensor", swim: {} };

export const variants: readonly Variant[] = [plainSwim, lifeguard, withStallSensor];

const settleTimeMax: Millis = 600_000;

export function poolOf(options: {
  readonly seed: number | string;
  readonly members: number;
  readonly layer?: Layer;
  readonly variant?: Variant;
  readonly swim?: Partial<SwimConfig>;
}): { readonly world: GossipWorld; readonly invariants: Invariants } {
  const swim = { ...(options.variant ?? withStallSensor).swim, ...options.swim };
  const world = new GossipWorld({ seed: options.seed, layer: options.layer ?? "swim", swim });
  const unnamed = { name: "", address: new Uint8Array(4), port: 0, version: new Uint8Array(6) };
  const invariants = new Invariants(world, { ...lanDefaults, ...swim, ...unnamed });
  world.seed(options.members);
  // What they say of themselves at the start has gone round.
  world.pass(5000);
  return { world, invariants };
}

/** Milliseconds until something was so, undefined when it was not within the time. */
function timeUntil(world: GossipWorld, holds: () => boolean, timeout: Millis = settleTimeMax): Millis | undefined {
  const started = world.now;
  return world.pass(timeout, holds, 10) ? world.now - started : undefined;
}

export interface JoinTimes {
  readonly members: number;
  /** The newcomer is known to half of the pool, and to all of it; and itself knows all. */
  readonly half: Millis | undefined;
  readonly all: Millis | undefined;
  readonly itself: Millis | undefined;
}

/** One newcomer joins a pool that stands. */
export function joining(options: {
  readonly seed: number | string;
  readonly members: number;
  readonly layer?: Layer;
}): JoinTimes {
  const { world } = poolOf({ ...options, members: options.members - 1 });
  const contact = world.hosts[below(world.random.fork("contact"), world.hosts.length)] as GossipHost;
  let known = 0;
  const newcomer = world.add();
  const started = world.now;
  let half: Millis | undefined;
  let all: Millis | undefined;
  world.observe = (_by, what) => {
    if (what.kind !== "joined" || what.about !== newcomer.name) return;
    known++;
    if (known === Math.ceil((options.members - 1) / 2)) half = world.now - started;
    if (known === options.members - 1) all = world.now - started;
  };
  world.join(newcomer, contact);
  const itself = timeUntil(world, () => newcomer.swim.members.length === options.members);
  timeUntil(world, () => all !== undefined);
  return { members: options.members, half, all, itself };
}

export interface FormationTime {
  readonly members: number;
  readonly all: Millis | undefined;
  readonly packetsPerMember: number;
}

/** Everyone starts at once and joins the same contact. */
export function forming(options: { readonly seed: number | string; readonly members: number }): FormationTime {
  const { world } = poolOf({ ...options, members: 1, layer: "serf" });
  const [contact] = world.hosts as [GossipHost];
  const { packets } = world;
  for (let number = 1; number < options.members; number++) world.join(world.add(), contact);
  const all = timeUntil(world, () => world.hosts.every((host) => host.swim.members.length === options.members));
  return { members: options.members, all, packetsPerMember: (world.packets - packets) / options.members };
}

export interface EventTimes {
  readonly members: number;
  readonly lossPerMille: number;
  readonly half: Millis | undefined;
  readonly all: Millis | undefined;
  /** Those who have not heard of it when all is quiet again, before an exchange of state repairs that. */
  readonly missed: number;
}

/** One user event; loss counts for gossip only. */
export function telling(options: {
  readonly seed: number | string;
  readonly members: number;
  readonly lossPerMille: number;
}): EventTimes {
  const { members, lossPerMille } = options;
  const { world } = poolOf({ ...options, layer: "serf", swim: { pushPullInterval: 3_600_000 } });
  world.network.faults = { ...calmLinks, lossPerMille };
  let heard = 0;
  const started = world.now;
  let half: Millis | undefined;
  let all: Millis | undefined;
  world.observe = (_by, what) => {
    if (what.kind !== "event") return;
    heard++;
    if (heard === Math.ceil(members / 2)) half = world.now - started;
    if (heard === members) all = world.now - started;
  };
  world.fire(world.hosts[below(world.random.fork("teller"), members)] as GossipHost, "news");
  world.pass(20_000, () => all !== undefined);
  return { members, lossPerMille, half, all, missed: members - heard };
}

export interface FailureTimes {
  readonly variant: string;
  readonly members: number;
  readonly lossPerMille: number;
  readonly crashes: number;
  /** From the crash: somebody suspects, somebody declares failed, everybody knows. Medians, and the worst. */
  readonly suspected: Millis;
  readonly declared: Millis;
  readonly known: Millis;
  readonly knownWorst: Millis;
}

/** Members crash one after another. */
export function failing(options: {
  readonly seed: number | string;
  readonly variant: Variant;
  readonly members: number;
  readonly crashes: number;
  readonly lossPerMille?: number;
  readonly layer?: Layer;
}): FailureTimes {
  const { world } = poolOf(options);
  const lossPerMille = options.lossPerMille ?? 0;
  world.network.faults = { ...calmLinks, lossPerMille };
  const random = world.random.fork("victims");
  const suspected: Millis[] = [];
  const declared: Millis[] = [];
  const known: Millis[] = [];
  for (let crash = 0; crash < options.crashes; crash++) {
    const running = world.hosts.filter((host) => host.up);
    const victim = running[below(random, running.length)] as GossipHost;
    const started = world.now;
    let knowing = 0;
    let first: Millis | undefined;
    world.observe = (_by, what) => {
      if (what.kind !== "failed" || what.about !== victim.name) return;
      first ??= world.now - started;
      knowing++;
    };
    world.crash(victim);
    const survivors = world.hosts.filter((host) => host.up);
    const all = timeUntil(world, () => knowing >= survivors.length) ?? Number.POSITIVE_INFINITY;
    let earliest = Number.POSITIVE_INFINITY;
    for (const { swim } of survivors)
      for (const { at } of swim.evidence.accusations(victim.name)) if (at >= started) earliest = Math.min(earliest, at - started);
    suspected.push(earliest);
    declared.push(first ?? Number.POSITIVE_INFINITY);
    known.push(all);
    world.pass(2000);
  }
  return {
    variant: options.variant.name,
    members: options.members,
    lossPerMille,
    crashes: options.crashes,
    suspected: median(suspected),
    declared: median(declared),
    known: median(known),
    knownWorst: Math.max(...known),
  };
}

export type StallKind = "process" | "messages";

export interface FalsePositives {
  readonly variant: string;
  readonly members: number;
  /** What a stall is: the whole process stands still, or only its messages wait. */
  readonly kind: StallKind;
  /** Datagrams only: no probe and no exchange of state over a stream. */
  readonly streams: boolean;
  /** How many of them stall, for how long each time, and how long they run in between. */
  readonly stalled: number;
  readonly stall: Millis;
  readonly run: Millis;
  readonly lossPerMille: number;
  readonly seconds: number;
  /** Members that never stalled and were declared failed, as different members, and as reports by everyone. */
  readonly wronged: number;
  readonly reports: number;
  /** Of these reports, those by members that never stalled. */
  readonly reportsByHealthy: number;
  /** Accusations by probe that stalled members began about others. */
  readonly accusations: number;
  /** Reports about members that did stall. */
  readonly reportsOfStalled: number;
  /** A member that crashes in the middle of it: declared failed somewhere, known to all who are healthy. */
  readonly declared: Millis | undefined;
  readonly known: Millis | undefined;
  readonly packetsPerMemberSecond: number;
}

/** Nobody crashes but one; some stall again and again, as machines with too little processor do; packets are lost. */
export function wronging(options: {
  readonly seed: number | string;
  readonly variant: Variant;
  readonly members: number;
  readonly stalled: number;
  readonly stall: Millis;
  readonly run: Millis;
  readonly lossPerMille: number;
  readonly seconds: number;
  readonly kind: StallKind;
  readonly streams?: boolean;
}): FalsePositives {
  const { members, stalled, stall, run, seconds, lossPerMille, variant, kind, streams = true } = options;
  const { world } = poolOf(options);
  for (const host of world.hosts) host.troubledAt = Number.POSITIVE_INFINITY;
  world.network.faults = { ...calmLinks, lossPerMille };
  world.network.streams = streams;
  const random = world.random.fork("stalls");
  const order = shuffle(random, [...world.hosts]);
  const slow = new Set(order.slice(0, stalled));
  const victim = order[stalled] as GossipHost;
  const wronged = new Set<string>();
  let reports = 0;
  let reportsByHealthy = 0;
  let reportsOfStalled = 0;
  let declared: Millis | undefined;
  let known: Millis | undefined;
  let knowing = 0;
  world.observe = (by, what) => {
    if (what.kind !== "failed") return;
    const about = world.host(what.about);
    if (about === victim && !victim.up) {
      declared ??= world.now - victim.crashedAt;
      if (!slow.has(by) && ++knowing === members - stalled - 1) known = world.now - victim.crashedAt;
      return;
    }
    if (slow.has(about)) {
      reportsOfStalled++;
      return;
    }
    wronged.add(what.about);
    reports++;
    if (!slow.has(by)) reportsByHealthy++;
  };
  for (const host of slow) stallAgain(world, host, { kind, stall, run, random });
  const { packets } = world;
  world.pass((seconds * 1000) / 2);
  world.crash(victim);
  world.pass((seconds * 1000) / 2);
  let accusations = 0;
  for (const { name, swim } of slow)
    for (const { by, grounds, node } of swim.evidence.accusations())
      if (by === name && grounds.kind === "probe" && !slow.has(world.host(node)) && node !== victim.name) accusations++;
  return {
    variant: variant.name,
    members,
    kind,
    streams,
    stalled,
    stall,
    run,
    lossPerMille,
    seconds,
    wronged: wronged.size,
    reports,
    reportsByHealthy,
    accusations,
    reportsOfStalled,
    declared,
    known,
    packetsPerMemberSecond: (world.packets - packets) / members / seconds,
  };
}

function stallAgain(
  world: GossipWorld,
  host: GossipHost,
  times: { readonly kind: StallKind; readonly stall: Millis; readonly run: Millis; readonly random: Random },
): void {
  const { kind, stall, run, random } = times;
  const cycle = (): void => {
    if (kind === "process") world.pause(host, stall);
    else world.block(host, stall);
    world.at(stall + run, cycle);
  };
  world.at(below(random, Math.ceil(stall + run)), cycle);
}

export interface PartitionTimes {
  readonly members: number;
  readonly kind: "halves" | "one way";
  readonly seconds: number;
  /** Reports of failure while it lasted. */
  readonly reports: number;
  /** After healing: everyone holds everyone for alive again. */
  readonly healed: Millis | undefined;
  /** Members that somebody still misses then. */
  readonly lost: number;
}

/** The pool is cut in two for a while, both ways or one way. */
export function parting(options: {
  readonly seed: number | string;
  readonly members: number;
  readonly kind: "halves" | "one way";
  readonly seconds: number;
}): PartitionTimes {
  const { members, kind, seconds } = options;
  const { world, invariants } = poolOf({ ...options, layer: "serf" });
  const half = members / 2;
  let reports = 0;
  world.observe = (_by, what) => {
    if (what.kind === "failed") reports++;
  };
  for (const host of world.hosts) host.troubledAt = Number.POSITIVE_INFINITY;
  world.network.cut = (from, to) => (from <= half && to > half) || (kind === "halves" && from > half && to <= half);
  world.pass(seconds * 1000);
  world.network.cut = () => false;
  for (const host of world.hosts) host.troubledAt = world.now;
  const started = world.now;
  const healed = world.pass(settleTimeMax, () => invariants.disagreement() === undefined, 250);
  const lost = world.hosts.filter(
    (host) => host.swim.members.some((member) => member.condition !== "alive") || host.swim.members.length !== members,
  ).length;
  return { members, kind, seconds, reports, healed: healed ? world.now - started : undefined, lost };
}

export interface CoordinateError {
  readonly seconds: number;
  /** Of all pairs: |distance of their coordinates − round trip| / round trip. */
  readonly median: number;
  readonly ninetieth: number;
}

/** Members in four data centers on a plane, each behind an access link of its own; coordinates learn the round trips. */
export function placing(options: {
  readonly seed: number | string;
  readonly members: number;
  readonly moments: readonly number[];
}): readonly CoordinateError[] {
  const { world } = poolOf({ ...options, layer: "serf" });
  const random = world.random.fork("places");
  const centers = [0, 1, 2, 3].map(() => ({ x: below(random, 60), y: below(random, 60) }));
  const places = world.hosts.map((host) => {
    const center = centers[host.number % centers.length] as { x: number; y: number };
    return {
      x: center.x + below(random, 1000) / 500,
      y: center.y + below(random, 1000) / 500,
      access: 0.1 + below(random, 1000) / 500,
    };
  });
  const oneWay = (from: number, to: number): Millis => {
    const [left, right] = [places[from - 1], places[to - 1]];
    if (left === undefined || right === undefined) return 0;
    return Math.sqrt((left.x - right.x) ** 2 + (left.y - right.y) ** 2) / 2 + (left.access + right.access) / 2;
  };
  // A tenth of jitter on top of the matrix.
  world.network.faults = { ...calmLinks, delayMin: 0, delayMax: 0.2 };
  world.network.latency = oneWay;
  return options.moments.map((seconds) => {
    world.pass(Math.max(0, seconds * 1000 + 5000 - world.now));
    const errors: number[] = [];
    for (const left of world.hosts)
      for (const right of world.hosts) {
        if (left.number >= right.number || left.serf === undefined || right.serf === undefined) continue;
        const truth = (oneWay(left.number, right.number) + oneWay(right.number, left.number) + 0.2) / 1000;
        errors.push(Math.abs(distance(left.serf.coordinates.coordinate, right.serf.coordinates.coordinate) - truth) / truth);
      }
    errors.sort((one, other) => one - other);
    return { seconds, median: quantile(errors, 0.5), ninetieth: quantile(errors, 0.9) };
  });
}

export function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((left, right) => left - right),
    0.5,
  );
}

function quantile(sorted: readonly number[], fraction: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? Number.NaN;
}
