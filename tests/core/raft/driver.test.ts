import { MemoryRaftStore, MemorySnapshotStore } from "../../../adapters/shared/memory.ts";
import type { RaftWrite } from "../../../core/ports/storage.ts";
import { entryCommand, entryConfiguration, entryNoop } from "../../../core/raft/messages.ts";
import type { Bytes } from "../../../core/types/bytes.ts";
import { concat, text, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { openSingle } from "../../support/raft-driver.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

/** A store whose writes finish when told. */
class SlowStore extends MemoryRaftStore {
  readonly pending: { readonly batch: RaftWrite; finish: (error?: Error) => void }[] = [];

  override write(batch: RaftWrite): Promise<void> {
    return new Promise((resolve, reject) => {
      this.pending.push({
        batch,
        finish: (error) => {
          if (error !== undefined) reject(error);
          else void super.write(batch).then(resolve, reject);
        },
      });
    });
  }
}

describe("a Raft driver that is alone", () => {
  it("leads at once, without waiting for an election timeout", async () => {
    const { driver, leaders, applied } = await openSingle();
    await settle();
    assert.equal(driver.isLeader(), true);
    assert.deepEqual(leaders.at(-1), { role: "leader", isLeader: true, term: 2, leader: "a", leaderAddress: "127.0.0.1:8300" });
    assert.deepEqual(
      applied.map((entry) => [entry.index, entry.term, entry.type]),
      [
        [1, 1, entryConfiguration],
        [2, 2, entryNoop],
      ],
    );
    assert.equal(driver.leaseValid(), true);
    await driver.stop();
  });

  it("applies proposals in order and answers each with its own result", async () => {
    const { driver, applied } = await openSingle();
    await settle();
    const results = await Promise.all(Array.from({ length: 100 }, (_, at) => driver.propose(utf8(`p${at}`))));
    assert.deepEqual(
      results.map(({ index, result }) => [index, result]),
      Array.from({ length: 100 }, (_, at) => [at + 3, `p${at}`]),
    );
    assert.equal(applied.length, 102);
    assert.equal(applied.at(-1)?.type, entryCommand);
    assert.equal(driver.state().commitIndex, 102);
    await driver.stop();
  });

  it("writes what was proposed while a write was out as one batch", async () => {
    const store = new SlowStore();
    const { driver } = await openSingle({ store });
    for (let round = 0; round < 3; round++) {
      await settle();
      for (const write of store.pending.splice(0)) write.finish();
    }
    await settle();
    const first = driver.propose(utf8("first"));
    await settle();
    const others = Array.from({ length: 50 }, () => driver.propose(utf8("other")));
    await settle();
    assert.equal(store.pending.length, 1);
    store.pending.shift()?.finish();
    await first;
    assert.equal(store.pending[0]?.batch.entries.length, 50);
    store.pending.shift()?.finish();
    await Promise.all(others);
    await driver.stop();
  });

  it("answers a read index only after everything acknowledged before is applied", async () => {
    const { driver } = await openSingle();
    await settle();
    const { index } = await driver.propose(utf8("x"));
    assert.equal(await driver.readIndex(), index);
    const pending = driver.propose(utf8("y"));
    assert.ok((await driver.readIndex()) >= index);
    await pending;
    await driver.stop();
  });

  it("refuses proposals and reads before it leads and after it stopped", async () => {
    const store = new SlowStore();
    const { driver } = await openSingle({ store });
    await assert.rejects(driver.propose(utf8("early")), { code: "no-leader" });
    await assert.rejects(driver.readIndex(), { code: "no-leader" });
    store.pending.shift()?.finish();
    await driver.stop();
    await assert.rejects(driver.propose(utf8("late")), { code: "closed" });
    await assert.rejects(driver.readIndex(), { code: "closed" });
  });

  it("waits for a disk that holds a write for longer than an election timeout: nobody else could lead", async () => {
    const store = new SlowStore();
    const { driver, clock, leaders } = await openSingle({ store });
    for (let round = 0; round < 3; round++) {
      await settle();
      for (const write of store.pending.splice(0)) write.finish();
    }
    await settle();
    assert.equal(driver.isLeader(), true);
    const changes = leaders.length;
    const stuck = driver.propose(utf8("stuck"));
    await settle();
    await clock.advance(10_000);
    assert.equal(driver.isLeader(), true);
    const behind = driver.propose(utf8("behind"));
    for (let round = 0; round < 3; round++) {
      for (const write of store.pending.splice(0)) write.finish();
      await settle();
      await clock.advance(1);
    }
    await Promise.all([stuck, behind]);
    assert.equal(leaders.length, changes);
    await driver.stop();
  });

  it("stops for good when a write fails", async () => {
    const store = new SlowStore();
    const { driver, fatal } = await openSingle({ store });
    await settle();
    const waiting = assert.rejects(driver.change({ kind: "remove", id: "a" }));
    store.pending.shift()?.finish(new Error("disk full"));
    await settle();
    await waiting;
    assert.equal(fatal.length, 1);
    await assert.rejects(driver.propose(utf8("x")), { code: "closed" });
  });

  it("stops for good when the state machine throws", async () => {
    const { driver, fatal } = await openSingle({
      driver: {
        apply() {
          throw new Error("bug");
        },
      },
    });
    await settle();
    assert.equal((fatal[0] as Error).message, "bug");
    await assert.rejects(driver.propose(utf8("x")), { code: "closed" });
  });

  it("stops for good when an invariant of its machine is broken, whoever fed it", async () => {
    const { driver, fatal } = await openSingle();
    await settle();
    const waits = driver.whenApplied(1000);
    assert.doesNotThrow(() => driver.feed({ kind: "written", ticket: 999 }));
    assert.equal(fatal.length, 1);
    await assert.rejects(waits, { code: "closed" });
    await assert.rejects(driver.propose(utf8("x")), { code: "closed" });
    await driver.stop();
  });

  it("resumes after a restart with everything that was applied, in a higher term", async () => {
    const store = new MemoryRaftStore();
    const before = await openSingle({ store });
    await settle();
    await before.driver.propose(utf8("kept"));
    await before.driver.stop();
    const after = await openSingle({ store });
    await settle();
    assert.deepEqual(
      after.applied.map((entry) => text(entry.data)).filter((data) => data === "kept"),
      ["kept"],
    );
    assert.equal(after.driver.state().term, 3);
    assert.equal(after.driver.state().lastIndex, 4);
    await after.driver.stop();
  });

  it("saves a snapshot when enough was applied, cuts the log, and resumes from both", async () => {
    const store = new MemoryRaftStore();
    const snapshots = new MemorySnapshotStore();
    const limits = { snapshotThreshold: 100, trailingEntries: 10 };
    const stateOf = (contents: string[]) => ({
      async *capture() {
        yield utf8(contents.join(","));
      },
      async restore(content: AsyncIterable<Bytes>) {
        const parts: Bytes[] = [];
        for await (const part of content) parts.push(part);
        contents.splice(0, contents.length, ...text(concat(parts)).split(","));
      },
    });
    const contents: string[] = [];
    const { driver } = await openSingle({
      store,
      machine: { limits },
      driver: {
        snapshots,
        content: stateOf(contents),
        apply: (entries) => entries.map((entry) => contents.push(text(entry.data))),
      },
    });
    await settle();
    for (let round = 0; round < 25; round++) {
      await Promise.all(Array.from({ length: 10 }, (_, at) => driver.propose(utf8(`${round}.${at}`))));
      await settle();
    }
    const status = driver.state();
    assert.ok(status.snapshotIndex >= 200, `snapshot at ${status.snapshotIndex}`);
    assert.equal(status.snapshotTerm, 2);
    const { entries } = await store.load();
    assert.equal(entries[0]?.index, status.snapshotIndex - 10 + 1);
    await driver.stop();

    const again: string[] = [];
    const content = stateOf(again);
    const latest = await snapshots.latest();
    assert.ok(latest !== undefined);
    await content.restore(snapshots.read(latest));
    const { driver: resumed } = await openSingle({
      store,
      machine: { limits },
      driver: { snapshots, content, apply: (fresh) => fresh.map((entry) => again.push(text(entry.data))) },
    });
    await settle();
    assert.deepEqual(again.slice(0, contents.length), contents);
    await resumed.stop();
  });

  it("an idle driver needs no timer", async () => {
    const clock = new VirtualClock();
    let timers = 0;
    const counted = Object.assign(Object.create(clock), {
      monotonic: () => clock.monotonic(),
      wall: () => clock.wall(),
      after: (delay: number, fire: () => void) => {
        timers++;
        return clock.after(delay, fire);
      },
    }) as VirtualClock;
    const { driver } = await openSingle({ clock: counted });
    await settle();
    await clock.advance(1000);
    const armed = timers;
    await clock.advance(100_000);
    assert.equal(timers, armed);
    await driver.stop();
  });
});
