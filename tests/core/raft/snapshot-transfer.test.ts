/** Sending and receiving a snapshot: what an attempt that another replaced may still say, and what stopping waits for. */
import { MemorySnapshotStore } from "../../../adapters/shared/memory.ts";
import type { SnapshotMeta, SnapshotStore } from "../../../core/ports/storage.ts";
import { encodeConfiguration } from "../../../core/raft/membership.ts";
import type { RaftInput, RaftMessage, SnapshotPoint } from "../../../core/raft/messages.ts";
import type { RaftMachine } from "../../../core/raft/raft.ts";
import { SnapshotTransfer } from "../../../core/raft/snapshot-transfer.ts";
import type { Bytes } from "../../../core/types/bytes.ts";
import { utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { silent } from "../../support/raft-driver.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

const point: SnapshotPoint = {
  index: 50,
  term: 3,
  configuration: encodeConfiguration({ servers: [{ id: "a", address: "10.0.0.1:8300", voter: true }] }),
  configurationIndex: 1,
};

async function* content(): AsyncGenerator<Bytes> {
  yield utf8("state");
}

function open(overrides: { readonly machine: object; readonly snapshots?: SnapshotStore }) {
  const clock = new VirtualClock();
  const fed: RaftInput[] = [];
  const sent: RaftMessage[] = [];
  const snapshots = overrides.snapshots ?? new MemorySnapshotStore();
  const installed: SnapshotMeta[] = [];
  const transfer = new SnapshotTransfer({
    machine: overrides.machine as RaftMachine,
    clock,
    snapshots,
    logger: silent,
    send: (message) => void sent.push(message),
    feed: (input) => void fed.push(input),
    install: async (meta) => {
      installed.push(meta);
      return true;
    },
  });
  return { clock, fed, sent, snapshots, transfer, installed };
}

const leader = { id: "a", term: 4, role: "leader", leader: "a", appliedIndex: 60 };
const follower = { id: "b", term: 4, role: "follower", leader: "a", appliedIndex: 0 };

describe("a snapshot on its way to a follower", () => {
  it("whose attempt was replaced by another says nothing of how the old one ended: the leader would begin again without end", async () => {
    const { transfer, fed, sent, snapshots } = open({ machine: leader });
    await snapshots.save(point, content());
    // The follower was taken out and in again while chunks wait for answers: the leader asks for the snapshot a second time.
    const first = transfer.sendTo("b");
    await settle();
    const second = transfer.sendTo("b");
    await first;
    assert.deepEqual(fed, []);
    await settle();
    const chunk = sent.at(-1);
    assert.ok(chunk?.kind === "snapshotChunk");
    const { attempt } = chunk;
    transfer.receive({ kind: "snapshotChunkReply", from: "b", to: "a", term: 4, attempt, offset: 5, status: "installed" });
    await second;
    assert.deepEqual(fed, [{ kind: "snapshotSent", to: "b", ok: true, index: 50 }]);
  });

  it("that is stopped while it is being stored leaves the disk at rest", async () => {
    let finish = (): void => {};
    const slow: SnapshotStore = {
      latest: async () => undefined,
      read: content,
      save: async (_meta, parts) => {
        try {
          for await (const _ of parts);
        } finally {
          // As a store does that removes what it could not finish.
          await new Promise<void>((resolve) => {
            finish = resolve;
          });
        }
        throw new Error("not reached");
      },
    };
    const { transfer, clock } = open({ machine: follower, snapshots: slow });
    const chunk = { kind: "snapshotChunk", from: "a", to: "b", term: 4, point, attempt: 1, offset: 0, last: false } as const;
    transfer.receive({ ...chunk, data: utf8("sta") });
    await settle();
    let stopped = false;
    const stop = Promise.resolve(transfer.stop()).then(() => {
      stopped = true;
    });
    await settle();
    assert.equal(stopped, false);
    finish();
    await stop;
    assert.equal(clock.pending, 0);
  });
});
