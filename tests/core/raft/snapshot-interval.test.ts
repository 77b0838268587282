import { defaultLimits, entryCommand, raftTiming, type RaftLimits } from "../../../core/raft/messages.ts";
import { RaftMachine } from "../../../core/raft/raft.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { constantRandom } from "../../support/virtual-clock.ts";

/** A lone server that applies one entry of 100 bytes each time it is told to; says when a snapshot is due. */
class Lone {
  readonly #machine: RaftMachine;
  #proposals = 0;

  constructor(limits: Partial<RaftLimits>) {
    this.#machine = new RaftMachine({
      id: "a",
      random: constantRandom(),
      timing: raftTiming(1, false),
      limits: { ...defaultLimits, ...limits },
      restored: { hardState: { term: 0, votedFor: undefined }, entries: [], snapshot: undefined },
      bootstrap: { servers: [{ id: "a", address: "a:1", voter: true }] },
      now: 0,
    });
    this.#turn(0);
  }

  apply(now: number, entries: number): boolean {
    const data = new Uint8Array(100);
    this.#machine.step(now, {
      kind: "propose",
      id: ++this.#proposals,
      entries: Array.from({ length: entries }, () => ({ type: entryCommand, data })),
    });
    return this.#turn(now);
  }

  snapshotTaken(now: number, size = 0): void {
    this.#machine.step(now, { kind: "snapshotTaken", index: this.#machine.appliedIndex, size });
  }

  #turn(now: number): boolean {
    this.#machine.step(now, { kind: "wake" });
    for (let write = this.#machine.takeWrite(now); write !== undefined; write = this.#machine.takeWrite(now)) {
      this.#machine.step(now, { kind: "written", ticket: write.ticket });
    }
    const last = this.#machine.takeCommitted(Number.POSITIVE_INFINITY).at(-1);
    if (last !== undefined) this.#machine.step(now, { kind: "applied", index: last.index });
    return this.#machine.takeEvents().some(({ kind }) => kind === "snapshotDue");
  }
}

describe("a snapshot", () => {
  it("is due at the threshold, but not sooner than the interval after the last one", () => {
    const server = new Lone({ snapshotThreshold: 10, snapshotInterval: 30_000 });
    assert.equal(server.apply(1000, 20), false);
    assert.equal(server.apply(29_000, 20), false);
    assert.equal(server.apply(30_000, 1), true);
    server.snapshotTaken(31_000);
    assert.equal(server.apply(40_000, 20), false);
    assert.equal(server.apply(61_000, 1), true);
  });

  it("does not wait when the log has grown too large for memory", () => {
    const server = new Lone({ snapshotThreshold: 10, snapshotInterval: 30_000, snapshotBytesThreshold: 5000 });
    assert.equal(server.apply(1000, 20), false);
    assert.equal(server.apply(2000, 40), true);
  });

  it("is due once the log has grown by as much as the last one had, within bounds", () => {
    const server = new Lone({ snapshotThreshold: 1_000_000, snapshotBytesMin: 5000, snapshotBytesThreshold: 20_000 });
    assert.equal(server.apply(1000, 49), false);
    assert.equal(server.apply(2000, 1), true);
    server.snapshotTaken(3000, 100);
    assert.equal(server.apply(4000, 49), false);
    assert.equal(server.apply(5000, 1), true);
    server.snapshotTaken(6000, 8000);
    assert.equal(server.apply(7000, 79), false);
    assert.equal(server.apply(8000, 1), true);
    server.snapshotTaken(9000, 1_000_000_000);
    assert.equal(server.apply(10_000, 199), false);
    assert.equal(server.apply(11_000, 1), true);
  });

  it("is not due for a few entries, however long it has been", () => {
    const server = new Lone({ snapshotThreshold: 10, snapshotInterval: 30_000 });
    assert.equal(server.apply(1_000_000, 3), false);
  });
});
