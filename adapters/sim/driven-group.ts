/**
 * A simulated group of what an agent runs: the real driver (core/raft/driver.ts) over the real log and snapshot files, on
 * disks that lose their power, messages as the bytes they are on the wire, and clients whose history must be linearizable.
 *
 *   world.step() ─► a message arrives, a sync is over, a timer fires ─► promises settle ─► the ledger looks ─► next
 *
 * Between the fast mode (group.ts: machines and the same files, without a promise) and whole agents (world.ts). It is
 * there for what neither shows: the order in which a driver awaits. Membership stays as it is.
 */
import type { Command, CommandResult } from "../../core/catalog/commands.ts";
import { below, between, type Random, shuffle } from "../../core/ports/random.ts";
import type { Configuration, RaftMessage } from "../../core/raft/messages.ts";
import { majority } from "../../core/raft/quorum.ts";
import { decodeMessage, encodeMessage } from "../../core/raft/wire.ts";
import { text } from "../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../core/types/errors.ts";
import type { Millis, NodeId } from "../../core/types/ids.ts";
import { kvOp } from "./client.ts";
import { type Damage, DamageMap, damages } from "./damage.ts";
import { DrivenServer } from "./driven-server.ts";
import { type Faults, drawFaults, type Profile } from "./faults.ts";
import { History, type KeyInput, type KeyOutput } from "./history.ts";
import { Ledger } from "./ledger.ts";
import { check, Violation } from "./violation.ts";
import { World } from "./world.ts";

export interface DrivenOptions {
  readonly seed: number | string;
  readonly profile?: Profile;
  /** Of each client. Default 20. */
  readonly operations?: number;
}

export interface DrivenOutcome {
  readonly seed: number | string;
  /** The rule that was broken, and how; undefined: all is well. */
  readonly failure: { readonly checker: string; readonly message: string } | undefined;
  readonly virtualMillis: Millis;
  readonly committed: number;
  /** Operations that were answered. */
  readonly answered: number;
  /** Servers that refused to start from a disk that was hurt. */
  readonly refused: number;
}

const safetyLimit: Millis = 5_000;
const livenessLimit: Millis = 20_000;
const clientsCount = 3;
const answerTimeout: Millis = 500;
const keys = ["r1", "r2"];

/** Runs one simulation to its end; what goes wrong is in `failure`. */
export async function runDriven(options: DrivenOptions): Promise<DrivenOutcome> {
  const group = new DrivenGroup(options);
  let failure: DrivenOutcome["failure"];
  try {
    await group.run(options.operations ?? 20);
  } catch (error) {
    const found = group.failure ?? error;
    failure = { checker: found instanceof Violation ? found.checker : "assertion", message: messageOf(found) };
  }
  return {
    seed: options.seed,
    failure,
    virtualMillis: group.world.now,
    committed: group.ledger.applied.length,
    answered: group.answered,
    refused: group.servers.filter((server) => server.refused).length,
  };
}

class DrivenGroup {
  readonly world: World;
  readonly ledger = new Ledger();
  readonly servers: readonly DrivenServer[];
  readonly faults: Faults;
  failure: unknown;
  answered = 0;
  readonly #history = new History();
  readonly #damaged = new DamageMap();
  readonly #configuration: Configuration;
  readonly #mishaps: Random;
  readonly #links: Random;
  readonly #cut = new Set<NodeId>();
  #survivors: readonly DrivenServer[] | undefined;

  constructor({ seed, profile }: DrivenOptions) {
    this.world = new World(seed);
    const { random } = this.world;
    this.faults = drawFaults(random.fork("faults"), profile);
    this.#mishaps = random.fork("mishaps");
    this.#links = random.fork("links");
    const size = below(random, 3) === 0 ? 5 : 3;
    const ids = Array.from({ length: size }, (_, at) => `s${at + 1}`);
    this.#configuration = { servers: ids.map((id) => ({ id, address: id, voter: true })) };
    this.servers = ids.map((id) => {
      const spread = this.faults.clockSpread;
      const host = this.world.host(id, { clockRate: between(random, 1 - spread, 1 + spread) });
      return new DrivenServer({
        host,
        configuration: this.#configuration,
        faults: this.faults,
        ledger: this.ledger,
        send: (message) => this.#send(message),
        onFatal: (server, error) => this.#onFatal(server, error),
        isHurt: (hurt) => this.#damaged.isHurt(hurt),
      });
    });
  }

  /** Safety, liveness, and what the clients were told. Throws what was found. */
  async run(operations: number): Promise<void> {
    for (const server of this.servers) void server.start();
    this.#trouble();
    const work = Array.from({ length: clientsCount }, (_, at) => this.#client(at + 1, operations));
    await this.#within(safetyLimit + livenessLimit, Promise.all(work));
    this.#heal();
    await this.#within(livenessLimit, this.#revived());
    this.#history.check();
  }

  /** The world goes on until it settles; the ledger looks at everyone after each event. */
  async #within(limit: Millis, outcome: Promise<unknown>): Promise<void> {
    let settled = false;
    let failed: unknown;
    outcome.then(
      () => {
        settled = true;
      },
      (error: unknown) => {
        failed = error;
        settled = true;
      },
    );
    const end = this.world.now + limit;
    await turn();
    while (!settled) {
      check(this.world.now < end, "liveness", () => `${limit} ms were not enough`);
      check(this.world.step(), "liveness", () => "nothing is left to happen");
      await turn();
      if (this.failure !== undefined) throw this.failure;
      for (const server of this.servers) server.look();
    }
    if (failed !== undefined) throw failed;
  }

  #send(message: RaftMessage): void {
    const bytes = encodeMessage(message);
    const { loss, duplication, delayMax } = this.faults;
    const calm = this.#survivors !== undefined;
    const copies = !calm && below(this.#links, 1000) < duplication ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (!calm && below(this.#links, 1000) < loss) continue;
      this.world.at(between(this.#links, 0, calm ? 2 : delayMax), () => {
        if (this.#cut.has(message.from) !== this.#cut.has(message.to)) return;
        const decoded = decodeMessage(bytes);
        check(decoded !== undefined, "messages can be read", () => `${message.kind} cannot`);
        this.servers.find(({ id }) => id === message.to)?.receive(decoded);
      });
    }
  }

  #onFatal(server: DrivenServer, error: unknown): void {
    if (error instanceof AgentError && error.code === "storage-failed") this.#crash(server, "process");
    else if (error instanceof AgentError && error.code === "snapshot-corrupt" && this.#damaged.isHurt(server.id))
      this.#crash(server, "process");
    else this.failure ??= error;
  }

  #trouble(): void {
    const { crashEvery, partitionEvery, fullEvery, fullMax, damageEvery, stall } = this.faults;
    const anyone = (random: Random): DrivenServer => this.servers[below(random, this.servers.length)] as DrivenServer;
    this.#every(crashEvery, "crashes", (random) => this.#crash(anyone(random), below(random, 2) === 0 ? "power" : "process"));
    this.#every(partitionEvery, "partitions", (random) => {
      this.#cut.clear();
      if (below(random, 3) > 0) for (const { id } of this.servers) if (below(random, 2) === 0) this.#cut.add(id);
    });
    this.#every(stall === 0 ? 0 : 20_000 / stall, "stalls", (random) => {
      anyone(random).host.disk.faults.stalledUntil = this.world.now + between(random, 100, 1500);
    });
    this.#every(fullEvery, "full disks", (random) => {
      const { disk } = anyone(random).host;
      disk.full = true;
      this.world.at(between(random, 1, fullMax), () => {
        disk.full = false;
      });
    });
    this.#every(damageEvery, "damage", (random) => {
      const server = anyone(random);
      const damage = damages[below(random, damages.length)] as Damage;
      if (!this.#damaged.mayHurt(server.id, [this.#configuration]) || !server.hurt(damage)) return;
      this.#damaged.hurt(server.id);
      this.world.at(between(random, 0, 300), () => this.#crash(server, "power"));
    });
  }

  #every(mean: Millis, label: string, act: (random: Random) => void): void {
    if (mean === 0) return;
    const random = this.#mishaps.fork(label);
    const again = (): void => {
      if (this.#survivors !== undefined || this.world.now > safetyLimit) return;
      act(random);
      this.world.at(between(random, 0, 2 * mean), again);
    };
    this.world.at(between(random, 0, 2 * mean), again);
  }

  #crash(server: DrivenServer, how: "power" | "process"): void {
    if (!server.host.up || this.#survivors !== undefined) return;
    server.crash(how);
    this.world.at(between(this.#mishaps, 1, this.faults.downMax), () => {
      // Those that faults did not end for stay away.
      if (!server.host.up && (this.#survivors?.includes(server) ?? true)) server.restart();
    });
  }

  /** Faults end for a majority of those whose disks are whole; the others are gone for good. */
  #heal(): void {
    const whole = shuffle(this.#mishaps, this.servers.slice()).filter(({ id }) => !this.#damaged.isHurt(id));
    const survivors = whole.slice(0, majority(this.servers.length));
    this.#cut.clear();
    for (const server of this.servers) {
      const { disk } = server.host;
      disk.full = false;
      disk.faults.stalledUntil = 0;
      if (survivors.includes(server)) {
        if (!server.host.up) server.restart();
      } else if (server.host.up) server.crash("power");
    }
    this.#survivors = survivors;
  }

  /** Somebody takes a write, and all survivors come to hold it, in one state. */
  async #revived(): Promise<void> {
    const survivors = this.#survivors ?? [];
    let index = 0;
    while (index === 0) {
      for (const server of survivors) {
        const written = await this.#patiently(server.propose({ kind: "barrier" }));
        if (written !== undefined) index = written.index;
      }
      await this.#sleep(20);
    }
    while (survivors.some((server) => server.appliedIndex < index)) await this.#sleep(5);
    for (const server of survivors) server.compare();
    check(index >= this.ledger.acknowledged, "nothing acknowledged is lost", () => `the group goes on at ${index}`);
  }

  async #client(number: number, operations: number): Promise<void> {
    const random = this.world.random.fork(`client ${number}`);
    for (let done = 1; done <= operations && this.world.now < safetyLimit; done++) {
      await this.#sleep(between(random, 0, 60));
      const key = keys[below(random, keys.length)] as string;
      const leader = this.servers.find((server) => server.leads);
      const server = leader ?? this.servers[below(random, this.servers.length)];
      if (server === undefined) continue;
      const value = `${number}.${done}`;
      const writes = below(random, 2) === 0;
      const input: KeyInput = writes ? { kind: "put", value } : { kind: "get" };
      const told = this.#history.called(number, [key], input, this.world.now);
      const output = writes ? await this.#put(server, key, value) : await this.#get(server, key);
      if (output === undefined) continue;
      this.answered++;
      told(output, this.world.now);
    }
  }

  async #put(server: DrivenServer, key: string, value: string): Promise<KeyOutput | undefined> {
    const command: Command = { kind: "kv", op: kvOp.put(key, value), now: 0 };
    const written = await this.#patiently(server.propose(command));
    if (written === undefined) return undefined;
    if (written.index > this.ledger.acknowledged) this.ledger.acknowledged = written.index;
    return { kind: "took", effect: (written.result as CommandResult).kind === "took" };
  }

  async #get(server: DrivenServer, key: string): Promise<KeyOutput | undefined> {
    const floor = this.ledger.acknowledged;
    const read = await this.#patiently(server.read(key));
    if (read === undefined) return undefined;
    this.ledger.read(server.id, floor, read.index);
    return { kind: "value", value: read.record && text(read.record.value), holder: read.record?.session };
  }

  /** Undefined for what failed, or is not answered in time: it may have happened. */
  #patiently<Value>(outcome: Promise<Value>): Promise<Value | undefined> {
    return Promise.race([
      outcome.catch((error: unknown) => {
        if (!(error instanceof AgentError)) throw error;
        return undefined;
      }),
      this.#sleep(answerTimeout).then(() => undefined),
    ]);
  }

  #sleep(duration: Millis): Promise<void> {
    return new Promise((resolve) => this.world.at(duration, () => resolve()));
  }
}

/** One turn of the real event loop: every promise that can settle has settled. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
