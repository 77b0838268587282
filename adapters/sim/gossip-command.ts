/** What `scripts/simulate --gossip` runs. Exit codes: 0 all is well, 1 a crash, 2 a broken invariant, 64 wrong use. */
import { below } from "../../core/ports/random.ts";
import { type Layer, nameOf } from "./gossip-host.ts";
import { poolOf, withStallSensor } from "./gossip-experiments.ts";
import { runGossipSeed } from "./gossip-swarm.ts";
import { fullSize, render, smallSize, tables } from "./gossip-tables.ts";
import { Violation } from "./violation.ts";

const usage = `usage: simulate --gossip [--seed S] [--small]              the tables of docs/gossip-simulation.md
       simulate --gossip --seeds N [--from SEED]           small pools under all faults, until one breaks a rule
       simulate --gossip --members N [--layer swim|serf]   one large pool: a newcomer, an event, crashes at once`;

export interface Surroundings {
  readonly print: (line: string) => void;
  /** Milliseconds of wall time. */
  readonly now: () => number;
  /** Milliseconds of processor time that this process has used. */
  readonly cpu: () => number;
  /** Bytes of memory in use. */
  readonly memory: () => number;
}

/** Gossip reaches everyone in some multiple of log n rounds of 200 ms: this is far more, at any size. */
const newsTimeMax = 10_000;

class WrongUse extends Error {}

/** Runs what `words` ask for; gives the exit code. */
export function gossipMain(words: readonly string[], around: Surroundings): number {
  try {
    const flags = parse(words);
    if (flags.has("seeds")) return swarm(whole(flags, "seeds", 100), whole(flags, "from", 1), around);
    if (flags.has("members")) return large(whole(flags, "members", 5000), layerOf(flags), flags.get("seed") ?? "1", around);
    for (const table of tables) {
      for (const line of render(table(flags.has("small") ? smallSize : fullSize, flags.get("seed") ?? 1))) around.print(line);
    }
    return 0;
  } catch (error) {
    if (error instanceof Violation) {
      around.print(error.message);
      return 2;
    }
    if (!(error instanceof WrongUse)) throw error;
    around.print(`${error.message}\n${usage}`);
    return 64;
  }
}

function swarm(seeds: number, from: number, { print, now }: Surroundings): number {
  const started = now();
  let steps = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const run = runGossipSeed({ seed });
    steps += run.steps;
    if (run.failure === undefined) continue;
    print(`seed ${seed} fails: ${run.failure.message}`);
    print(`  ${run.members} members, ${run.steps} steps, ${run.virtualMillis.toFixed(0)} virtual ms`);
    print(`  scripts/simulate --gossip --seeds 1 --from ${seed}`);
    return run.failure.checker === "crash" ? 1 : 2;
  }
  const elapsed = Math.max(now() - started, 1) / 1000;
  print(
    `ok: ${seeds} seeds, ${(seeds / elapsed).toFixed(1)} a second, ${Math.round(steps / elapsed)} steps a second, from ${from}`,
  );
  return 0;
}

/** One pool, as large as memory allows: everyone knows everyone. */
function large(members: number, layer: Layer, seed: string, around: Surroundings): number {
  const { print, now, cpu, memory } = around;
  const started = now();
  const startedCpu = cpu();
  const took = (): string =>
    `${((now() - started) / 1000).toFixed(0)} s (${((cpu() - startedCpu) / 1000).toFixed(0)} s of processor)`;
  const { world, invariants } = poolOf({ seed, members, layer, variant: withStallSensor });
  print(`${members} members know one another (${layer}): ${took()}, ${megabytes(memory())} MB`);

  const newcomer = world.add();
  let known = 0;
  world.observe = (_by, what) => {
    if (what.kind === "joined" && what.about === newcomer.name) known++;
  };
  const joinedAt = world.now;
  world.join(newcomer, world.hosts[0] ?? newcomer);
  const joined = world.pass(newsTimeMax, () => known >= members && newcomer.swim.memberCount > members);
  print(`a newcomer is known to ${known} of ${members} after ${((world.now - joinedAt) / 1000).toFixed(1)} s`);

  let heard = 0;
  if (layer === "serf") {
    world.observe = (_by, what) => {
      if (what.kind === "event") heard++;
    };
    const firedAt = world.now;
    world.fire(newcomer, "news");
    world.pass(newsTimeMax, () => heard > members);
    print(`an event reaches ${heard} of ${members + 1} after ${((world.now - firedAt) / 1000).toFixed(1)} s`);
  }

  const random = world.random.fork("victims");
  const victims = new Set<string>();
  for (let crash = 0; crash < Math.ceil(members / 100); crash++) victims.add(nameOf(1 + below(random, members)));
  const reports = new Map<string, number>();
  let wronged = 0;
  let first: number | undefined;
  const crashedAt = world.now;
  world.observe = (_by, what) => {
    if (what.kind !== "failed") return;
    if (!victims.has(what.about)) wronged++;
    else {
      first ??= world.now - crashedAt;
      reports.set(what.about, (reports.get(what.about) ?? 0) + 1);
    }
  };
  for (const name of victims) world.crash(world.host(name));
  const survivors = members + 1 - victims.size;
  const complete = (): number => [...reports.values()].filter((count) => count >= survivors).length;
  world.pass(180_000, () => complete() === victims.size, 250);
  print(
    `${victims.size} crash at once: the first is declared failed after ${((first ?? Number.NaN) / 1000).toFixed(1)} s, ` +
      `${complete()} are known to all ${survivors} after ${((world.now - crashedAt) / 1000).toFixed(1)} s, ${wronged} reports about others`,
  );
  invariants.sweep();
  const disagreement = invariants.disagreement();
  print(disagreement === undefined ? `all ${survivors} agree about all ${members + 1}` : `not all agree: ${disagreement}`);
  print(
    `${(world.now / 1000).toFixed(0)} virtual s, ${world.steps} steps, ${world.packets} packets of ${megabytes(world.bytes)} MB, ` +
      `hash ${world.hash.text}: ${took()}, ${megabytes(memory())} MB`,
  );
  const told = layer === "swim" || heard > members;
  return joined && told && complete() === victims.size && wronged === 0 && disagreement === undefined ? 0 : 2;
}

function megabytes(bytes: number): string {
  return (bytes / 1_000_000).toFixed(0);
}

function layerOf(flags: ReadonlyMap<string, string>): Layer {
  const layer = flags.get("layer") ?? "swim";
  if (layer !== "swim" && layer !== "serf") throw new WrongUse(`--layer is swim or serf, not "${layer}"`);
  return layer;
}

function parse(words: readonly string[]): ReadonlyMap<string, string> {
  const flags = new Map<string, string>();
  for (let at = 0; at < words.length; at++) {
    const name = (words[at] as string).replace(/^--/, "");
    if (name === "gossip" || name === "small") {
      flags.set(name, "");
      continue;
    }
    if (!["seeds", "from", "members", "layer", "seed"].includes(name)) throw new WrongUse(`unknown flag ${words[at]}`);
    const value = words[++at];
    if (value === undefined) throw new WrongUse(`--${name} needs a value`);
    flags.set(name, value);
  }
  return flags;
}

function whole(flags: ReadonlyMap<string, string>, name: string, fallback: number): number {
  const value = flags.get(name);
  if (value === undefined) return fallback;
  if (!/^[1-9]\d{0,8}$/.test(value)) throw new WrongUse(`--${name} needs a whole number, not "${value}"`);
  return Number(value);
}
