/**
 * A snapshot counts for a server's log once the store's log says that it begins there. Before that a restart that finds the
 * snapshot damaged would go on from an older one, and forget what was acknowledged.
 */
import type { LogEntry } from "../../../core/ports/storage.ts";
import { encodeConfiguration } from "../../../core/raft/membership.ts";
import { entryCommand, raftTiming, type RaftMessage, type SnapshotPoint } from "../../../core/raft/messages.ts";
import { RaftMachine, type RaftRestored } from "../../../core/raft/raft.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { seededRandom } from "../../support/raft-driver.ts";

const configuration = encodeConfiguration({ servers: ["a", "b", "c"].map((id) => ({ id, address: `${id}:8300`, voter: true })) });
const point = (index: number, term: number): SnapshotPoint => ({ index, term, configuration, configurationIndex: 1 });
const entry = (index: number, term: number): LogEntry => ({ index, term, type: entryCommand, data: new Uint8Array(1) });

function follower(restored: Partial<RaftRestored>) {
  const machine = new RaftMachine({
    id: "b",
    random: seededRandom(1),
    timing: raftTiming(1, true),
    restored: { hardState: { term: 5, votedFor: undefined }, entries: [], snapshot: undefined, ...restored },
    now: 0,
  });
  const receive = (message: RaftMessage): void => machine.step(1, { kind: "message", message });
  const acknowledged = (): readonly number[] =>
    machine.takeMessages().flatMap((message) => (message.kind === "appendReply" && message.accepted ? [message.index] : []));
  const append = { kind: "append", from: "a", to: "b", term: 5, commit: 0, entries: [] } as const;
  receive({ ...append, previousIndex: 0, previousTerm: 0 });
  acknowledged();
  return { machine, receive, acknowledged, append };
}

describe("a follower that was sent a snapshot", () => {
  it("acknowledges it once its log begins there, whatever write was under way and whatever the leader asks", () => {
    const { machine, receive, acknowledged, append } = follower({});
    receive({ ...append, previousIndex: 0, previousTerm: 0, entries: [entry(1, 4)] });
    const early = machine.takeWrite(1);
    assert.ok(early);
    machine.step(1, { kind: "snapshotInstalled", from: "a", term: 5, point: point(50, 5) });
    receive({ ...append, previousIndex: 50, previousTerm: 5 });
    machine.step(1, { kind: "written", ticket: early.ticket });
    assert.deepEqual(acknowledged(), []);
    const write = machine.takeWrite(1);
    assert.deepEqual([write?.write.truncateFrom, write?.compactTo], [1, 50]);
    assert.deepEqual(acknowledged(), []);
    machine.step(1, { kind: "written", ticket: write?.ticket ?? 0 });
    assert.deepEqual(acknowledged(), [50]);
    machine.validate();
  });
});

describe("a server that starts from a snapshot which its log knows nothing of", () => {
  const cases: readonly (readonly [string, Partial<RaftRestored>])[] = [
    ["since it is empty", { snapshot: point(50, 5), compacted: 20 }],
    ["since it ends before it", { snapshot: point(50, 5), entries: [entry(21, 3), entry(22, 4)], compacted: 20 }],
  ];
  for (const [why, restored] of cases)
    it(`${why}: has the log say so before it acknowledges anything`, () => {
      const { machine, receive, acknowledged, append } = follower(restored);
      receive({ ...append, previousIndex: 50, previousTerm: 5 });
      assert.deepEqual(acknowledged(), []);
      const write = machine.takeWrite(1);
      assert.equal(write?.compactTo, 50);
      machine.step(1, { kind: "written", ticket: write?.ticket ?? 0 });
      assert.deepEqual(acknowledged(), [50]);
      machine.validate();
    });

  it("that knows has nothing to write", () => {
    const { machine } = follower({ snapshot: point(50, 5), compacted: 50 });
    assert.equal(machine.takeWrite(1), undefined);
    assert.equal(machine.durableIndex, 50);
  });
});
