/** How much a leader takes on before it is committed: its own proposals count, what it was elected with does not. */
import type { RaftEvent } from "../../../core/raft/messages.ts";
import { entryCommand, entryConfiguration, raftTiming } from "../../../core/raft/messages.ts";
import { encodeConfiguration } from "../../../core/raft/membership.ts";
import { RaftMachine } from "../../../core/raft/raft.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { seededRandom } from "../../support/raft-driver.ts";

const configuration = { servers: ["a", "b", "c"].map((id) => ({ id, address: `${id}:8300`, voter: true })) };
const bytes = (length: number): Uint8Array => new Uint8Array(length);

/** Elected in term 2 with a log whose entries 2…11, of 100 bytes each, were not known to be committed. */
function elected(): { readonly machine: RaftMachine; readonly write: () => void; readonly propose: (size: number) => RaftEvent } {
  const entries = [
    { index: 1, term: 1, type: entryConfiguration, data: encodeConfiguration(configuration) },
    ...Array.from({ length: 10 }, (_, at) => ({ index: at + 2, term: 1, type: entryCommand, data: bytes(100) })),
  ];
  const machine = new RaftMachine({
    id: "a",
    random: seededRandom(1),
    timing: raftTiming(1, true),
    limits: { uncommittedBytesMax: 500 },
    restored: { hardState: { term: 1, votedFor: undefined }, entries, snapshot: undefined },
    now: 0,
  });
  const now = machine.wakeAt;
  const write = (): void => {
    for (let next = machine.takeWrite(now); next !== undefined; next = machine.takeWrite(now))
      machine.step(now, { kind: "written", ticket: next.ticket });
  };
  const reply = { from: "b", to: "a", term: 2, granted: true } as const;
  machine.step(now, { kind: "wake" });
  machine.step(now, { kind: "message", message: { kind: "preVoteReply", ...reply } });
  write();
  machine.step(now, { kind: "message", message: { kind: "voteReply", ...reply } });
  assert.equal(machine.role, "leader");
  let id = 0;
  const propose = (size: number): RaftEvent => {
    machine.takeEvents();
    machine.step(now, { kind: "propose", id: ++id, entries: [{ type: entryCommand, data: bytes(size) }] });
    return machine.takeEvents()[0] as RaftEvent;
  };
  const accepted = { accepted: true, hintIndex: 0, hintTerm: 0 } as const;
  write();
  machine.step(now, { kind: "message", message: { kind: "appendReply", from: "b", to: "a", term: 2, index: 12, ...accepted } });
  assert.equal(machine.commitIndex, 12);
  return { machine, write, propose };
}

describe("what a leader takes on before it is committed", () => {
  it("is bounded as ever after entries of earlier leaders were committed, which nobody had counted", () => {
    const { propose } = elected();
    assert.equal(propose(400).kind, "accepted");
    assert.deepEqual(propose(400), { kind: "dropped", id: 2, reason: "overloaded" });
  });
});
