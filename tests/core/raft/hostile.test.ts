/** A peer, or who pretends to be one, may say anything: the machine never throws, and keeps its invariants. */
import { below, type Random } from "../../../core/ports/random.ts";
import type { LogEntry } from "../../../core/ports/storage.ts";
import { encodeConfiguration } from "../../../core/raft/membership.ts";
import { entryCommand, entryConfiguration, type RaftMessage, type WriteTicket } from "../../../core/raft/messages.ts";
import { RaftMachine } from "../../../core/raft/raft.ts";
import { assert, describe, it, stepTrapped } from "../../support/harness.ts";
import { seededRandom } from "../../support/raft-driver.ts";

const configuration = { servers: ["a", "b", "c"].map((id) => ({ id, address: id, voter: true })) };
const kinds: readonly RaftMessage["kind"][] = [
  "preVote",
  "preVoteReply",
  "vote",
  "voteReply",
  "append",
  "appendReply",
  "heartbeat",
  "heartbeatReply",
  "timeoutNow",
  "snapshotChunk",
  "snapshotChunkReply",
];

function drawMessage(random: Random, machine: RaftMachine): RaftMessage {
  const number = () => (below(random, 20) === 0 ? below(random, 2 ** 32) * 2 ** 20 : below(random, machine.lastIndex + 4));
  const term =
    below(random, 30) === 0 ? 2 ** 52 : Math.max(0, machine.term + below(random, 3) - (below(random, 2) === 0 ? 1 : 0));
  const truth = () => below(random, 2) === 0;
  const previousIndex = number();
  const entries: LogEntry[] = Array.from({ length: below(random, 4) }, (_, at) => ({
    index: below(random, 10) === 0 ? number() : previousIndex + 1 + at,
    term: below(random, 10) === 0 ? number() : Math.max(0, term - below(random, 2)),
    type: below(random, 5) === 0 ? entryConfiguration : entryCommand,
    data: below(random, 3) === 0 ? encodeConfiguration(configuration) : new Uint8Array(below(random, 9)),
  }));
  return {
    kind: kinds[below(random, kinds.length)],
    from: ["b", "c", "z", "a"][below(random, 4)],
    to: below(random, 10) === 0 ? "z" : "a",
    term,
    lastIndex: number(),
    lastTerm: number(),
    granted: truth(),
    transfer: truth(),
    previousIndex,
    previousTerm: truth() ? (machine.entryAt(previousIndex)?.term ?? 0) : number(),
    commit: number(),
    entries,
    accepted: truth(),
    index: number(),
    hintIndex: number(),
    hintTerm: number(),
    round: number(),
    point: { index: number(), term, configuration: new Uint8Array(3), configurationIndex: number() },
    attempt: number(),
    offset: number(),
    data: new Uint8Array(3),
    last: truth(),
    status: "more",
  } as unknown as RaftMessage;
}

function runSeed(seed: number): Set<string> {
  const random = seededRandom(seed);
  const machine = new RaftMachine({
    id: "a",
    random: random.fork("machine"),
    timing: { heartbeat: 100, election: 100, lease: 50 },
    restored: { hardState: { term: 0, votedFor: undefined }, entries: [], snapshot: undefined },
    bootstrap: configuration,
    now: 0,
  });
  const roles = new Set<string>();
  let now = 0;
  let ticket: WriteTicket | undefined;
  let term = 0;
  let committed = 0;
  for (let step = 0; step < 150; step++) {
    const draw = below(random, 10);
    now += below(random, 40);
    if (draw === 0) stepTrapped(machine, now, { kind: "wake" });
    else if (draw === 1)
      stepTrapped(machine, now, { kind: "propose", id: step, entries: [{ type: entryCommand, data: new Uint8Array(4) }] });
    else if (draw === 2 && ticket !== undefined) {
      stepTrapped(machine, now, { kind: "written", ticket });
      ticket = undefined;
    } else stepTrapped(machine, now, { kind: "message", message: drawMessage(random, machine) });
    roles.add(machine.role);
    machine.takeMessages();
    machine.takeEvents();
    ticket ??= machine.takeWrite(now)?.ticket;
    const entries = machine.takeCommitted(100);
    const last = entries[entries.length - 1];
    if (last !== undefined) stepTrapped(machine, now, { kind: "applied", index: last.index });
    assert.ok(machine.term >= term && machine.commitIndex >= committed, "terms and commits never fall");
    assert.ok(machine.term < 2 ** 51, "absurd terms are not believed");
    term = machine.term;
    committed = machine.commitIndex;
  }
  return roles;
}

describe("a Raft machine among liars", () => {
  it("never throws and keeps its invariants, whatever it is told, in whatever role", () => {
    const roles = new Set<string>();
    for (let seed = 1; seed <= 400; seed++) {
      try {
        for (const role of runSeed(seed)) roles.add(role);
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
    assert.deepEqual([...roles].sort(), ["candidate", "follower", "leader", "preCandidate"]);
  });
});
