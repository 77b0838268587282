/**
 * Example: Raft by hand. The machine only decides; here a test carries its messages, writes and time about, which is
 * what a driver does with real sockets and disks and the simulator with virtual ones.
 */
import { entryCommand, raftTiming } from "../../core/raft/messages.ts";
import { RaftMachine } from "../../core/raft/raft.ts";
import { text, utf8 } from "../../core/types/bytes.ts";
import { assert, describe, it } from "../support/harness.ts";
import { constantRandom } from "../support/virtual-clock.ts";

describe("example: a Raft group of three, driven by hand", () => {
  it("elects a leader, replicates a proposal, and applies it everywhere", () => {
    const ids = ["a", "b", "c"];
    const bootstrap = { servers: ids.map((id) => ({ id, address: `${id}:8300`, voter: true })) };
    const machines = new Map(
      ids.map((id, at) => [
        id,
        new RaftMachine({
          id,
          random: constantRandom(at / ids.length), // so that they do not all campaign at once
          timing: raftTiming(1, false),
          restored: { hardState: { term: 0, votedFor: undefined }, entries: [], snapshot: undefined },
          bootstrap,
          now: 0,
        }),
      ]),
    );
    const applied = new Map(ids.map((id) => [id, [] as string[]]));

    /** One round of everything that was waiting to be carried. */
    let now = 0;
    const carry = (): void => {
      now += 50;
      for (const [id, machine] of machines) {
        machine.step(now, { kind: "wake" });
        for (const message of machine.takeMessages()) machines.get(message.to)?.step(now, { kind: "message", message });
        const write = machine.takeWrite(now);
        if (write !== undefined) machine.step(now, { kind: "written", ticket: write.ticket }); // a disk that never fails
        const committed = machine.takeCommitted(Number.POSITIVE_INFINITY);
        for (const entry of committed) if (entry.type === entryCommand) applied.get(id)?.push(text(entry.data));
        const last = committed.at(-1);
        if (last !== undefined) machine.step(now, { kind: "applied", index: last.index });
        machine.takeEvents();
        machine.validate();
      }
    };

    const leader = (): RaftMachine | undefined => [...machines.values()].find((machine) => machine.role === "leader");
    while (leader() === undefined && now < 10_000) carry();
    leader()?.step(now, { kind: "propose", id: 1, entries: [{ type: entryCommand, data: utf8("hello") }] });
    for (let round = 0; round < 40; round++) carry();
    assert.deepEqual([...applied.values()], [["hello"], ["hello"], ["hello"]]);
  });
});
