/** What scripts/simulate and scripts/replay run. Exit codes: 0 all is well, 1 a crash, 2 safety, 3 liveness, 64 wrong use. */
import { asArguments, reduce } from "./reduce.ts";
import {
  type FaultFamily,
  faultFamilies,
  type Profile,
  profiles,
  runSeed,
  type SimulateOptions,
  type Simulation,
} from "./simulate.ts";

const usage = `usage: simulate [--seeds N] [--minutes M] [--from SEED] [--profile P]     runs seeds until one fails, then reduces it
       replay SEED [--trace] [--reduce] [--profile P] [--servers N] [--clients N] [--operations N] [--without FAMILY,…]
profiles: ${profiles.join(", ")}
families: ${faultFamilies.join(", ")}`;

const exitCodes = { crash: 1, safety: 2, liveness: 3, workload: 1 } as const;
const progressEvery = 10_000;

class WrongUse extends Error {}

/** Runs one command; gives the exit code. `now` is milliseconds of wall time. */
export function main(words: readonly string[], print: (line: string) => void, now: () => number): number {
  try {
    const [name, ...rest] = words;
    if (name === "simulate") return simulateMany(rest, print, now);
    if (name === "replay") return replay(rest, print);
    throw new WrongUse("simulate or replay?");
  } catch (error) {
    if (!(error instanceof WrongUse)) throw error;
    print(`${error.message}\n${usage}`);
    return 64;
  }
}

function simulateMany(words: readonly string[], print: (line: string) => void, now: () => number): number {
  const { flags, rest } = parse(words);
  if (rest.length > 0) throw new WrongUse(`unexpected "${rest[0]}"`);
  const minutes = flags.has("minutes") ? whole(flags, "minutes", 0) : Number.POSITIVE_INFINITY;
  const seeds = flags.has("seeds")
    ? whole(flags, "seeds", 0)
    : minutes === Number.POSITIVE_INFINITY
      ? 1000
      : Number.MAX_SAFE_INTEGER;
  const from = whole(flags, "from", 1);
  const profile = flags.has("profile") ? { profile: profileOf(flags.get("profile")) } : undefined;
  const started = now();
  let told = started;
  let events = 0;
  let done = 0;
  const rate = (): string => {
    const seconds = Math.max(now() - started, 1) / 1000;
    return `${done} seeds, ${(done / seconds).toFixed(1)} a second, ${Math.round(events / seconds)} events a second`;
  };
  for (; done < seeds && now() - started < minutes * 60_000; done++) {
    const options: SimulateOptions = { seed: from + done, ...profile };
    const simulation = runSeed(options);
    events += simulation.events;
    if (simulation.failure !== undefined) {
      print(`${rate()}\n`);
      return tellFailure(simulation, options, true, print);
    }
    if (now() - told < progressEvery) continue;
    told = now();
    print(`${rate()}, now at ${from + done}`);
  }
  print(`ok: ${rate()}, from ${from}`);
  return 0;
}

function replay(words: readonly string[], print: (line: string) => void): number {
  const { flags, rest } = parse(words);
  const [seed] = rest;
  if (seed === undefined || rest.length > 1) throw new WrongUse("replay needs one seed");
  const trace = flags.has("trace");
  const without = flags.get("without")?.split(",") ?? [];
  for (const family of without) if (!faultFamilies.includes(family as FaultFamily)) throw new WrongUse(`no family "${family}"`);
  const options: SimulateOptions = {
    seed,
    ...(flags.has("servers") ? { servers: whole(flags, "servers", 3) } : undefined),
    ...(flags.has("clients") ? { clients: whole(flags, "clients", 3) } : undefined),
    ...(flags.has("profile") ? { profile: profileOf(flags.get("profile")) } : undefined),
    ...(flags.has("operations") ? { operations: whole(flags, "operations", 30) } : undefined),
    without: without as FaultFamily[],
  };
  const simulation = runSeed({ ...options, story: true });
  if (trace) for (const line of simulation.story) print(line);
  if (simulation.failure !== undefined) return tellFailure(simulation, options, flags.has("reduce"), print);
  const { events, committed, operations, virtualMillis, hash } = simulation;
  print(
    `ok: ${events} events, ${committed} entries, ${operations} operations in ${virtualMillis.toFixed(0)} virtual ms, hash ${hash}`,
  );
  return 0;
}

function tellFailure(simulation: Simulation, options: SimulateOptions, smaller: boolean, print: (line: string) => void): number {
  const { failure } = simulation;
  if (failure === undefined) return 0;
  print(`seed ${options.seed} fails: ${failure.kind}, ${failure.message}`);
  print(`  after ${simulation.events} events, ${simulation.virtualMillis.toFixed(0)} virtual ms, ${simulation.servers} servers`);
  print(`  faults ${JSON.stringify(simulation.faults)}`);
  print(`  scripts/replay ${asArguments(options)} --trace`);
  if (failure.kind === "crash") print(failure.stack ?? "");
  if (!smaller) return exitCodes[failure.kind];
  const reduced = reduce(options);
  print(`\nthe smallest that breaks the same rule, after ${reduced.runs} runs: ${reduced.simulation.events} events`);
  print(`  ${reduced.simulation.failure?.message}`);
  print(`  scripts/replay ${asArguments(reduced.options)} --trace`);
  print("its end:");
  for (const line of reduced.simulation.story.slice(-25)) print(`  ${line}`);
  return exitCodes[failure.kind];
}

/** `--name value`; `--trace` and `--reduce` stand alone. */
function parse(words: readonly string[]): { readonly flags: ReadonlyMap<string, string>; readonly rest: readonly string[] } {
  const flags = new Map<string, string>();
  const rest: string[] = [];
  const known = ["seeds", "minutes", "from", "servers", "clients", "operations", "profile", "without", "trace", "reduce"];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string;
    if (!word.startsWith("--")) {
      rest.push(word);
      continue;
    }
    const name = word.slice(2);
    if (!known.includes(name)) throw new WrongUse(`unknown flag ${word}`);
    if (name === "trace" || name === "reduce") {
      flags.set(name, "");
      continue;
    }
    const value = words[++at];
    if (value === undefined) throw new WrongUse(`${word} needs a value`);
    flags.set(name, value);
  }
  return { flags, rest };
}

function profileOf(word: string | undefined): Profile {
  const found = profiles.find((profile) => profile === word);
  if (found === undefined) throw new WrongUse(`no profile "${word}"`);
  return found;
}

function whole(flags: ReadonlyMap<string, string>, name: string, fallback: number): number {
  const value = flags.get(name);
  if (value === undefined) return fallback;
  if (!/^\d{1,12}$/.test(value)) throw new WrongUse(`--${name} needs a whole number, not "${value}"`);
  return Number(value);
}
