/**
 * A simulated group of servers, from one seed: real Raft machines and real catalogs, virtual time, links, disks and
 * clocks that fail as the seed says, and clients whose history must be linearizable.
 *
 *   safety    clients work, faults strike, everything is checked after every event (ledger.ts)
 *   liveness  faults end for a majority drawn by chance; within a bound it must answer and agree
 *   at last   the clients' history is checked (history.ts)
 *
 * The same seed gives the same history, event by event, on every JavaScript engine.
 *
 * This is the fast mode: no promises, only machines, catalogs, virtual lanes (group.ts) and the real log on simulated files.
 * The driven mode, with the real driver and stores, is driven-group.ts; the full mode, whole agents over virtual ports, is
 * world.ts. docs/simulator.md tells about all three.
 * Tests: tests/sim. They measure the simulator, too: errors are planted in the source of core and of the lanes while it is
 * bundled (tests/sim/mutants.ts; the code itself has no switches), and each must be found. From the command line:
 * scripts/simulate, scripts/replay.
 *
 * For tests of your own code, bring a workload: it talks to the group through a client whose operations are promises,
 * and waits with `client.sleep`. It must use no other time, chance or network. For instance a counter that must not lose
 * an increment that was confirmed, whatever fails:
 *
 * ```ts
 * import assert from "node:assert/strict";
 * import { test } from "node:test";
 * import { simulate } from "proconsul/sim";
 *
 * test("no confirmed increment is lost", async () => {
 *   for (let seed = 1; seed <= 20; seed++) {
 *     let confirmed = 0;
 *     const run = await simulate({
 *       seed,
 *       workload: async (client) => {
 *         for (let attempt = 0; attempt < 10; attempt++) {
 *           const entry = await client.get("counter").catch(() => undefined);
 *           const next = String(Number(entry?.value ?? 0) + 1);
 *           if (await client.cas("counter", next, entry).catch(() => false)) confirmed++;
 *         }
 *       },
 *     });
 *     assert.equal(run.failure, undefined);
 *     assert.ok(Number(run.state.get("counter") ?? 0) >= confirmed, `seed ${seed}`);
 *   }
 * });
 * ```
 */
import { text } from "../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import { createRandom, seedOf } from "../shared/random.ts";
import { Client, type Entry } from "./client.ts";
import { drawFaults, type FaultFamily, type Faults, noFaults, type Profile, withoutFamily } from "./faults.ts";
import { Group } from "./group.ts";
import type { GroupServer } from "./group-server.ts";
import { History } from "./history.ts";
import { isUnanswered, type SimulatedClient, simulatedClient } from "./simulated-client.ts";
import { Trace } from "./trace.ts";
import { Violation } from "./violation.ts";
import { DrawnWorkload, lockKeys, registerNode } from "./workload.ts";

export type { Entry, FaultFamily, Faults, Profile, SimulatedClient };
export { faultFamilies, profiles } from "./faults.ts";

export interface SimulateOptions {
  /** Everything that happens follows from it, and from the other options. */
  readonly seed: number | string;
  /** Voters at the beginning, 1 to 7. Default: 3 or 5, drawn. One more server stands by and may be added. */
  readonly servers?: number;
  /** 1 to 20. Default: 3 to 6, drawn. */
  readonly clients?: number;
  /** Of each client, without a workload; at most 200. Default 30. */
  readonly operations?: number;
  /** "swarm" draws them from the seed, "none" leaves everything whole, or some of your own on top of "none". Default "swarm". */
  readonly faults?: "swarm" | "none" | Partial<Faults>;
  /** What the swarm leans towards. Default: drawn from the seed. */
  readonly profile?: Profile;
  /** Kinds of trouble to leave out: to find what a failure needs. */
  readonly without?: readonly FaultFamily[];
  /** Keep the story: one line for each event. */
  readonly story?: boolean;
  /**
   * Runs once for each client, all at the same virtual time. What it throws is a failure; but that nobody answered is
   * what faults do: a client that does not expect it, and so throws that, gives up, and the others go on.
   */
  readonly workload?: (client: SimulatedClient) => Promise<void>;
}

/** Exit codes of scripts/simulate follow `kind`: crash 1, safety 2, liveness 3. */
export interface Failure {
  readonly kind: "crash" | "safety" | "liveness" | "workload";
  /** The rule that was broken; for a crash "assertion". */
  readonly checker: string;
  readonly message: string;
  readonly stack: string | undefined;
}

export interface Simulation {
  readonly seed: number | string;
  /** Undefined: all is well. */
  readonly failure: Failure | undefined;
  /** Over all that happened: equal on every engine. */
  readonly hash: string;
  readonly events: number;
  readonly virtualMillis: Millis;
  /** Entries committed, operations that clients called. */
  readonly committed: number;
  readonly operations: number;
  readonly faults: Faults;
  readonly servers: number;
  readonly clients: number;
  /** Keys whose history was too long to be checked. */
  readonly undecided: number;
  /** Empty unless `story` was asked for. */
  readonly story: readonly string[];
  /** The values of all keys at the end, as the servers that survived agree. Empty after a failure. */
  readonly state: ReadonlyMap<string, string>;
}

/** Clients stop then, done or not. */
const safetyLimit: Millis = 6_000;
/** Events of one run; a run that needs more goes round in circles. */
const eventsMax = 3_000_000;
/** Once faults are over, all must be answered and agree within this. */
const livenessLimit: Millis = 20_000;
const operationsDefault = 30;
const serversMax = 7;
const clientsMax = 20;
/** More of them on one key make the check of the history slow. */
const operationsMax = 200;

/** Runs one simulation. What goes wrong in it is in `failure`; rejects with `bad-request` for options out of their range. */
export async function simulate(options: SimulateOptions): Promise<Simulation> {
  const { workload } = options;
  if (workload === undefined) return runSeed(options);
  const run = new Run(options);
  const steps = run.steps((clients, done) => runWorkload(run, clients, workload, done));
  for (;;) {
    if (steps.next().done === true) return run.outcome();
    if (!run.woken) continue;
    // A promise of the workload was settled: let it go on as far as it can before time does.
    run.woken = false;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A simulation with the drawn workload, without a promise: as fast as it gets. */
export function runSeed(options: Omit<SimulateOptions, "workload">): Simulation {
  const run = new Run(options);
  for (const _ of run.steps((clients, done) => runDrawn(run, clients, options.operations ?? operationsDefault, done)));
  return run.outcome();
}

class LivenessFailure extends Error {}
class WorkloadFailure extends Error {}

class Run {
  readonly options: SimulateOptions;
  readonly group: Group;
  readonly trace: Trace;
  readonly history = new History();
  readonly clients: readonly Client[];
  readonly #size: number;
  /** A promise was settled since this was last false. */
  woken = false;
  /** The first phase is over: begin nothing new. */
  ending = false;
  workloadError: unknown;
  #failure: Failure | undefined;
  #undecided = 0;
  #state: ReadonlyMap<string, string> = new Map();

  constructor(options: SimulateOptions) {
    this.options = options;
    const { servers = 3, clients: wantedClients = 3, operations = operationsDefault } = options;
    for (const [name, value, max] of [
      ["servers", servers, serversMax],
      ["clients", wantedClients, clientsMax],
      ["operations", operations, operationsMax],
    ] as const) {
      if (Number.isInteger(value) && value >= 1 && value <= max) continue;
      throw new AgentError("bad-request", {
        message: `Cannot simulate: "${name}" must be a whole number from 1 to ${max}, not ${value}`,
      });
    }
    const random = createRandom(seedOf(options.seed)).fork("options");
    const drawn = drawFaults(random.fork("faults"), options.profile);
    this.#size = options.servers ?? (random.uint32() % 3 === 0 ? 5 : 3);
    const clients = options.clients ?? 3 + (random.uint32() % 4);
    const wanted = options.faults ?? "swarm";
    let faults = wanted === "swarm" ? drawn : wanted === "none" ? noFaults : { ...noFaults, ...wanted };
    for (const family of options.without ?? []) faults = withoutFamily(faults, family);
    this.trace = new Trace(options.story === true);
    this.group = new Group(options.seed, this.#size, faults, this.trace);
    const locks = new Set(options.workload === undefined ? lockKeys : []);
    this.clients = Array.from({ length: clients }, (_, at) => new Client(this.group, at + 1, this.history, locks));
  }

  /** One event at a time, until it is over. Errors become the failure. */
  *steps(work: (clients: readonly Client[], done: () => void) => void): Generator<void> {
    try {
      yield* this.#phases(work);
    } catch (error) {
      this.#failure = failureOf(error);
    }
  }

  outcome(): Simulation {
    return {
      seed: this.options.seed,
      failure: this.#failure,
      hash: this.trace.hash,
      events: this.trace.events,
      virtualMillis: this.group.now,
      committed: this.group.ledger.applied.length,
      operations: this.history.count,
      faults: this.group.faults,
      servers: this.#size,
      clients: this.clients.length,
      undecided: this.#undecided,
      story: this.trace.lines,
      state: this.#state,
    };
  }

  *#phases(work: (clients: readonly Client[], done: () => void) => void): Generator<void> {
    let done = false;
    work(this.clients, () => {
      done = true;
    });
    yield* this.#until(safetyLimit, () => done);
    this.ending = true;
    const survivors = this.group.heal();
    for (const client of this.clients) client.patient = true;
    if (!(yield* this.#until(livenessLimit, () => done)))
      throw new LivenessFailure(`${livenessLimit} ms after the faults ended requests are still waiting`);
    let alive = 0;
    for (const client of this.clients) probe(client, this, () => alive++);
    if (!(yield* this.#until(livenessLimit, () => alive === this.clients.length)))
      throw new LivenessFailure(
        `${livenessLimit} ms after the faults ended ${alive} of ${this.clients.length} clients were answered`,
      );
    const disagreement = (): string | undefined => this.#disagreement(survivors);
    if (!(yield* this.#until(livenessLimit, () => disagreement() === undefined)))
      throw new LivenessFailure(`${livenessLimit} ms after the faults ended ${disagreement()}`);
    this.#agree(survivors);
    this.#undecided = this.history.check();
  }

  /** False when the time was not enough. */
  *#until(duration: Millis, holds: () => boolean): Generator<void, boolean> {
    const { group, trace } = this;
    const end = group.now + duration;
    while (!holds()) {
      if (this.workloadError !== undefined)
        throw new WorkloadFailure(messageOf(this.workloadError), { cause: this.workloadError });
      if (group.now > end) return false;
      if (trace.events > eventsMax) throw new LivenessFailure(`${eventsMax} events were not enough`);
      if (!group.step()) throw new LivenessFailure("nothing is left to happen");
      yield;
    }
    return true;
  }

  /** What survivors that are in the group do not agree on yet. */
  #disagreement(survivors: readonly GroupServer[]): string | undefined {
    const { leader } = this.group;
    const machine = leader?.machine;
    if (leader === undefined || machine === undefined || !survivors.includes(leader)) return "nobody leads";
    if (machine.appliedIndex < this.group.ledger.applied.length) return `${leader.id} has not applied everything`;
    // Nobody renews sessions any more.
    const session = leader.catalog.evaluate({ kind: "sessions" }).answer.find(({ ttl }) => ttl !== "");
    if (session !== undefined && this.options.workload === undefined) return `session ${session.id} outlives its TTL`;
    for (const server of survivors) {
      if (!machine.configuration.servers.some(({ id }) => id === server.id)) continue;
      if (server.machine?.appliedIndex !== machine.appliedIndex) return `${server.id} has not caught up with ${leader.id}`;
    }
    return undefined;
  }

  #agree(survivors: readonly GroupServer[]): void {
    const { leader, ledger } = this.group;
    const index = leader?.machine?.appliedIndex;
    if (leader === undefined || index === undefined) return;
    if (index < ledger.acknowledged) throw new Violation("nothing acknowledged is lost", `${leader.id} ends at ${index}`);
    for (const server of survivors) if (server.machine?.appliedIndex === index) ledger.compare(server.id, index, server.catalog);
    const all = leader.catalog.evaluate({ kind: "kvList", prefix: "" }).answer;
    this.#state = new Map(all.map(({ key, value }) => [key, text(value)]));
  }
}

function failureOf(error: unknown): Failure {
  const message = messageOf(error);
  const stack = error instanceof Error ? error.stack : undefined;
  if (error instanceof Violation) return { kind: "safety", checker: error.checker, message, stack };
  if (error instanceof LivenessFailure) return { kind: "liveness", checker: "liveness", message, stack };
  if (error instanceof WorkloadFailure) return { kind: "workload", checker: "workload", message, stack };
  return { kind: "crash", checker: "assertion", message, stack };
}

/** Everyone does its operations, then it is done. */
function runDrawn(run: Run, clients: readonly Client[], operations: number, done: () => void): void {
  let working = clients.length;
  const begin = (): void => {
    for (const client of clients) {
      const workload = new DrawnWorkload(client);
      let left = operations;
      const next = (): void => {
        if (left-- > 0 && !run.ending) run.group.at(workload.pause, () => workload.next(next));
        else if (--working === 0) done();
      };
      next();
    }
  };
  registerFirst(clients, begin);
}

/** The node that sessions are bound to; tried until somebody took it. */
function registerFirst(clients: readonly Client[], then: () => void): void {
  const again = (): void =>
    clients[0]?.write(registerNode, (outcome) => {
      if (outcome.kind === "done") then();
      else again();
    });
  again();
}

function probe(client: Client, run: Run, answered: () => void): void {
  const attempt = (): void => {
    client.write({ kind: "barrier" }, (outcome) => {
      if (outcome.kind === "done") answered();
      else run.group.at(1, attempt);
    });
  };
  attempt();
}

function runWorkload(
  run: Run,
  clients: readonly Client[],
  workload: (client: SimulatedClient) => Promise<void>,
  done: () => void,
): void {
  let working = clients.length;
  const wake = (): void => {
    run.woken = true;
  };
  const begin = (): void => {
    wake();
    const ended = (): void => {
      if (--working === 0) done();
    };
    for (const client of clients)
      workload(simulatedClient(run.group, client, wake)).then(ended, (error: unknown) => {
        if (isUnanswered(error)) ended();
        else run.workloadError ??= error ?? new Error("the workload failed");
      });
  };
  registerFirst(clients, begin);
}
