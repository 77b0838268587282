/** Makes a failing simulation smaller, so that a person can read it: fewer kinds of trouble, clients, operations, servers. */
import { type FaultFamily, faultFamilies, runSeed, type SimulateOptions, type Simulation } from "./simulate.ts";

export interface Reduced {
  readonly options: SimulateOptions;
  readonly simulation: Simulation;
  /** Simulations that were needed. */
  readonly runs: number;
}

/** Seeds tried for each smaller shape: another shape is another history, and seldom fails at the same seed. */
const seedsPerShape = 60;

/**
 * Tries ever smaller variants of a failing run and keeps those that break the same rule, with the seed at hand or with one
 * of the next. `options` must fail. `run` is for simulators with a planted error.
 */
export function reduce(options: SimulateOptions, run: (options: SimulateOptions) => Simulation = runSeed): Reduced {
  let best = run(options);
  const checker = best.failure?.checker;
  let kept: SimulateOptions = { ...options, servers: best.servers, clients: best.clients };
  let runs = 1;
  const attempt = (smaller: SimulateOptions, seeds: number): boolean => {
    for (let more = 0; more < seeds; more++) {
      const seed = more === 0 ? smaller.seed : `${smaller.seed}+${more}`;
      const simulation = run({ ...smaller, seed });
      runs++;
      // Shorter is better: a smaller shape that takes longer to fail is no help.
      if (simulation.failure?.checker !== checker || simulation.events > best.events * 2) continue;
      best = simulation;
      kept = { ...smaller, seed };
      return true;
    }
    return false;
  };
  // Which kinds of trouble exist is drawn with the seed, so what is left out is tried with this seed first.
  for (const family of faultFamilies) attempt({ ...kept, without: [...(kept.without ?? []), family] }, 1);
  for (const family of faultFamilies) {
    const without: readonly FaultFamily[] = kept.without ?? [];
    if (!without.includes(family)) attempt({ ...kept, without: [...without, family] }, seedsPerShape);
  }
  if ((kept.servers ?? 3) > 3) attempt({ ...kept, servers: 3 }, seedsPerShape);
  for (const clients of [1, 2, 3]) if (clients < (kept.clients ?? 0) && attempt({ ...kept, clients }, seedsPerShape)) break;
  for (const operations of [1, 3, 8, 15])
    if (operations < (kept.operations ?? 30) && attempt({ ...kept, operations }, seedsPerShape)) break;
  return { options: kept, simulation: run({ ...kept, story: true }), runs };
}

/** The options as words for scripts/replay. */
export function asArguments(options: SimulateOptions): string {
  const words = [String(options.seed)];
  if (options.profile !== undefined) words.push(`--profile ${options.profile}`);
  if (options.servers !== undefined) words.push(`--servers ${options.servers}`);
  if (options.clients !== undefined) words.push(`--clients ${options.clients}`);
  if (options.operations !== undefined) words.push(`--operations ${options.operations}`);
  if (options.without !== undefined && options.without.length > 0) words.push(`--without ${options.without.join(",")}`);
  return words.join(" ");
}
