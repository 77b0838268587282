/**
 * Recovery after a majority was lost, over whole groups under random delivery, crashes and elections: the survivors agree,
 * on a log that one of them held, and on who the group is.
 */
import { fc } from "../../support/property.ts";
import type { HardState, LogEntry } from "../../../core/ports/storage.ts";
import type { Configuration, RaftMessage } from "../../../core/raft/messages.ts";
import { entryCommand } from "../../../core/raft/messages.ts";
import { RaftMachine } from "../../../core/raft/raft.ts";
import { type Held, type Recovered, recoveryTerm } from "../../../core/raft/recovery.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { seededRandom } from "../../support/raft-driver.ts";

const timing = { heartbeat: 100, election: 100, lease: 50 };
const configurationOf = (ids: readonly string[]): Configuration => ({
  servers: ids.map((id) => ({ id, address: `${id}:8300`, voter: true })),
});

interface Server {
  readonly id: string;
  hardState: HardState;
  entries: LogEntry[];
  recovered: Recovered | undefined;
  machine: RaftMachine | undefined;
}

class Group {
  readonly servers: Server[];
  now = 0;
  #network: RaftMessage[] = [];
  #proposals = 0;
  readonly #founders: Configuration;
  readonly #seed: number;

  constructor(ids: readonly string[], seed: number) {
    this.#founders = configurationOf(ids);
    this.#seed = seed;
    const hardState = { term: 0, votedFor: undefined };
    this.servers = ids.map((id) => ({ id, hardState, entries: [], recovered: undefined, machine: undefined }));
    for (const server of this.servers) this.start(server);
  }

  start(server: Server): void {
    server.machine = new RaftMachine({
      id: server.id,
      random: seededRandom(this.#seed).fork(server.id + this.now),
      timing,
      restored: held(server),
      recovered: server.recovered,
      bootstrap: this.#founders,
      now: this.now,
    });
    this.#turn(server);
  }

  crash(server: Server): void {
    server.machine = undefined;
    this.#network = this.#network.filter(({ to, from }) => to !== server.id && from !== server.id);
  }

  propose(server: Server): void {
    const { machine } = server;
    const data = utf8(`command ${++this.#proposals}`);
    machine?.step(this.now, { kind: "propose", id: this.#proposals, entries: [{ type: entryCommand, data }] });
    this.#turn(server);
  }

  /** Delivers, or loses, the message at this place of the queue. */
  deliver(at: number, arrives: boolean): void {
    const [message] = this.#network.splice(at % Math.max(1, this.#network.length), 1);
    const server = this.servers.find(({ id }) => id === message?.to);
    if (message === undefined || server?.machine === undefined || !arrives) return;
    server.machine.step(this.now, { kind: "message", message });
    this.#turn(server);
  }

  pass(duration: number): void {
    this.now += duration;
    for (const server of this.servers) {
      server.machine?.step(this.now, { kind: "wake" });
      this.#turn(server);
    }
  }

  /** Everything arrives, in order, for a while. */
  calm(): void {
    for (let round = 0; round < 200; round++) {
      this.pass(10);
      for (let left = 1000; left > 0 && this.#network.length > 0; left--) this.deliver(0, true);
    }
  }

  #turn(server: Server): void {
    const { machine } = server;
    if (machine === undefined) return;
    for (;;) {
      const sent = machine.takeMessages();
      this.#network.push(...sent);
      machine.takeEvents();
      const taken = machine.takeWrite(this.now);
      if (taken !== undefined) {
        const { write, ticket } = taken;
        const { truncateFrom } = write;
        if (truncateFrom !== undefined) server.entries = server.entries.filter(({ index }) => index < truncateFrom);
        server.entries.push(...write.entries);
        if (write.hardState !== undefined) server.hardState = write.hardState;
        machine.step(this.now, { kind: "written", ticket });
      }
      const last = machine.takeCommitted(Number.POSITIVE_INFINITY).at(-1);
      if (last !== undefined) machine.step(this.now, { kind: "applied", index: last.index });
      machine.validate();
      if (taken === undefined && last === undefined && sent.length === 0) return;
    }
  }
}

/** The machine must not see the array change. */
const held = ({ hardState, entries }: Server): Held => ({ hardState, entries: entries.slice(), snapshot: undefined });
const shown = (entries: readonly LogEntry[]): string[] =>
  entries.map(({ index, term, type, data }) => `${index}/${term}:${type === entryCommand ? text(data) : type}`);

type Act =
  | { readonly kind: "deliver"; readonly at: number; readonly arrives: boolean }
  | { readonly kind: "pass"; readonly duration: number }
  | { readonly kind: "propose" | "restart"; readonly server: number };

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant("deliver" as const), at: fc.nat(20), arrives: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("pass" as const), duration: fc.integer({ min: 1, max: 150 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("propose" as const), server: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const), server: fc.nat(4) }) },
);

function perform(group: Group, step: Act): void {
  if (step.kind === "deliver") group.deliver(step.at, step.arrives);
  else if (step.kind === "pass") group.pass(step.duration);
  else {
    const server = group.servers[step.server % group.servers.length] as Server;
    if (step.kind === "propose") group.propose(server);
    else if (server.machine !== undefined) {
      group.crash(server);
      group.start(server);
    }
  }
}

describe("survivors of a lost majority", () => {
  it("agree on a log that one of them held, the longest where they need one another, and on who they are", () => {
    const scenario = fc.record({
      seed: fc.nat(),
      before: fc.array(act, { maxLength: 120 }),
      calm: fc.boolean(),
      survivors: fc.constantFrom(1, 2, 3),
      after: fc.array(act, { maxLength: 40 }),
    });
    fc.assert(
      fc.property(scenario, ({ seed, before, calm, survivors, after }) => {
        const group = new Group(["a", "b", "c", "d", "e"], seed);
        if (calm) group.calm();
        for (const step of before) perform(group, step);
        const lost = group.servers.filter(({ machine }) => machine?.role === "leader").concat(group.servers);
        const gone = new Set(
          lost
            .slice(0, 9)
            .filter((server, at) => lost.indexOf(server) === at)
            .slice(0, 5 - survivors),
        );
        const rest = group.servers.filter((server) => !gone.has(server));
        for (const server of group.servers) group.crash(server);
        if (rest.every(({ entries }) => entries.length === 0)) return;
        const logs = rest.map(({ entries }) => entries.slice()).sort(byLog);
        const configuration = configurationOf(rest.map(({ id }) => id));
        for (const server of rest) server.recovered = { configuration, term: recoveryTerm(held(server), undefined) };
        group.servers.splice(0, group.servers.length, ...rest);
        for (const server of rest) group.start(server);
        for (const step of after) if (step.kind !== "propose") perform(group, step);
        group.calm();
        const leaders = rest.filter(({ machine }) => machine?.role === "leader");
        assert.equal(leaders.length, 1);
        const log = (leaders[0] as Server).entries;
        // Two can only decide together; of three, two that are heard first may do without the third, as in any election.
        const candidates = rest.length <= 2 ? logs.slice(0, 1) : logs;
        const begins = (old: readonly LogEntry[]): boolean => shown(log).join().startsWith(shown(old).join());
        assert.ok(
          candidates.some(begins),
          `${shown(log).join()} goes on none of ${candidates.map((old) => shown(old).join()).join(" ")}`,
        );
        for (const { machine, entries } of rest) {
          assert.deepEqual(shown(entries), shown(log));
          assert.deepEqual(machine?.configuration, configuration);
          assert.equal(machine?.commitIndex, log.length);
        }
      }),
      { numRuns: 150 },
    );
  });
});

/** The one that would win an election first. */
function byLog(left: readonly LogEntry[], right: readonly LogEntry[]): number {
  const term = (entries: readonly LogEntry[]): number => entries[entries.length - 1]?.term ?? 0;
  return term(right) - term(left) || right.length - left.length;
}
