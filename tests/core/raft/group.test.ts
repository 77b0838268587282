/** Three drivers over a network of encoded messages, in virtual time: what the agent will run. */
import { MemoryRaftStore, MemorySnapshotStore } from "../../../adapters/shared/memory.ts";
import { loadRaft, RaftDriver } from "../../../core/raft/driver.ts";
import { type Configuration, entryCommand, type RaftLimits, raftTiming } from "../../../core/raft/messages.ts";
import { decodeMessage, encodeMessage } from "../../../core/raft/wire.ts";
import { type Bytes, concat, text, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { seededRandom, silent } from "../../support/raft-driver.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

class Member {
  readonly store = new MemoryRaftStore();
  readonly snapshots = new MemorySnapshotStore();
  contents: string[] = [];
  driver: RaftDriver | undefined;
  restores = 0;
}

class Group {
  readonly clock = new VirtualClock();
  readonly members = new Map<string, Member>();
  readonly #limits: Partial<RaftLimits>;
  readonly #configuration: Configuration;
  /** Kinds of messages that are lost, each as many times as it says. */
  readonly lost = new Map<string, number>();
  readonly sent: string[] = [];

  constructor(ids: readonly string[], limits: Partial<RaftLimits> = {}) {
    this.#limits = limits;
    this.#configuration = { servers: ids.map((id) => ({ id, address: id, voter: true })) };
    for (const id of ids) this.members.set(id, new Member());
  }

  async start(id: string, bootstrap = true): Promise<void> {
    const member = this.members.get(id) ?? new Member();
    this.members.set(id, member);
    const { machine, snapshot } = await loadRaft(member.store, member.snapshots, {
      id,
      random: seededRandom(id.charCodeAt(0)),
      timing: raftTiming(1, false),
      limits: this.#limits,
      ...(bootstrap ? { bootstrap: this.#configuration } : {}),
      now: this.clock.monotonic(),
    });
    const restore = async (content: AsyncIterable<Bytes>): Promise<void> => {
      const parts: Bytes[] = [];
      for await (const part of content) parts.push(part.slice());
      member.contents = text(concat(parts)).split("\n").slice(0, -1);
      member.restores++;
    };
    member.contents = [];
    if (snapshot !== undefined) await restore(member.snapshots.read(snapshot));
    const driver = new RaftDriver({
      machine,
      clock: this.clock,
      store: member.store,
      snapshots: member.snapshots,
      logger: silent,
      apply: (entries) =>
        entries.map((entry) => {
          if (entry.type === entryCommand) member.contents.push(text(entry.data));
          return member.contents.length;
        }),
      content: {
        async *capture() {
          for (const line of member.contents.slice()) yield utf8(`${line}\n`);
        },
        restore,
      },
      send: (message) => {
        this.sent.push(message.kind);
        const losses = this.lost.get(message.kind) ?? 0;
        if (losses > 0) this.lost.set(message.kind, losses - 1);
        else {
          const bytes = encodeMessage(message);
          this.clock.after(1, () => {
            const decoded = decodeMessage(bytes);
            assert.ok(decoded !== undefined);
            this.members.get(message.to)?.driver?.receive(decoded);
          });
        }
      },
      onLeader: () => undefined,
      onFatal: (error) => {
        throw error;
      },
    });
    member.driver = driver;
    driver.start();
  }

  async stop(id: string): Promise<void> {
    const member = this.members.get(id) as Member;
    await member.driver?.stop();
    member.driver = undefined;
  }

  async stopAll(): Promise<void> {
    for (const id of this.members.keys()) await this.stop(id);
  }

  get leader(): RaftDriver {
    for (const { driver } of this.members.values()) if (driver?.isLeader() === true) return driver;
    throw new Error("nobody leads");
  }

  async pass(time: number): Promise<void> {
    await settle();
    await this.clock.advance(time);
  }

  async propose(...commands: string[]): Promise<void> {
    const done = Promise.all(commands.map((command) => this.leader.propose(utf8(command))));
    await this.pass(20);
    await done;
  }
}

async function began(limits: Partial<RaftLimits> = {}): Promise<Group> {
  const group = new Group(["a", "b", "c"], limits);
  for (const id of ["a", "b", "c"]) await group.start(id);
  await group.pass(5000);
  return group;
}

describe("a group of Raft drivers", () => {
  it("elects one leader and applies everywhere what it acknowledged", async () => {
    const group = await began();
    const commands = Array.from({ length: 500 }, (_, at) => `command ${at}`);
    await group.propose(...commands);
    await group.pass(1000);
    for (const { contents } of group.members.values()) assert.deepEqual(contents, commands);
    await group.stopAll();
  });

  it("answers linearizable reads with one round, and refuses them on followers", async () => {
    const group = await began();
    await group.propose("x");
    const before = group.sent.filter((kind) => kind === "heartbeat").length;
    const reads = Promise.all(Array.from({ length: 100 }, () => group.leader.readIndex()));
    await group.pass(5);
    for (const index of await reads) assert.ok(index >= group.leader.state().commitIndex - 1);
    assert.equal(group.sent.filter((kind) => kind === "heartbeat").length - before, 2);
    assert.equal(group.leader.leaseValid(), true);
    const follower = [...group.members.values()].find(({ driver }) => driver?.isLeader() === false)?.driver as RaftDriver;
    assert.equal(follower.leaseValid(), false);
    const refused = assert.rejects(follower.readIndex(), { code: "no-leader" });
    await group.pass(5);
    await refused;
    await group.stopAll();
  });

  it("a follower far behind gets the snapshot in chunks, also over a link that loses some", async () => {
    const group = await began({ snapshotThreshold: 50, trailingEntries: 5 });
    const behind = [...group.members].find(([, { driver }]) => driver?.isLeader() === false)?.[0] as string;
    await group.stop(behind);
    await group.pass(2000);
    const long = "x".repeat(20_000);
    for (let round = 0; round < 10; round++)
      await group.propose(...Array.from({ length: 20 }, (_, at) => `${round}.${at} ${long}`));
    assert.ok(group.leader.state().snapshotIndex > 100);
    group.lost.set("snapshotChunk", 3);
    group.lost.set("snapshotChunkReply", 2);
    await group.start(behind);
    await group.pass(60_000);
    const member = group.members.get(behind) as Member;
    assert.equal(member.restores, 1);
    assert.ok(group.sent.filter((kind) => kind === "snapshotChunk").length > 15);
    for (const { contents } of group.members.values()) assert.equal(contents.length, 200);
    await group.propose("after");
    await group.pass(1000);
    assert.equal(member.contents.at(-1), "after");

    // It resumes from what it was sent.
    await group.stop(behind);
    await group.start(behind);
    await group.pass(5000);
    assert.equal((group.members.get(behind) as Member).contents.length, 201);
    await group.stopAll();
  });

  it("takes in a server as a learner, makes it a voter, and lets another go", async () => {
    const group = await began();
    await group.propose("x");
    await group.start("d", false);
    const { leader } = group;
    const step = async (change: Parameters<RaftDriver["change"]>[0]) => {
      const done = leader.change(change);
      await group.pass(200);
      await done;
    };
    await step({ kind: "add", server: { id: "d", address: "d", voter: false } });
    await step({ kind: "add", server: { id: "d", address: "d", voter: true } });
    const leaving = [...group.members.keys()].find((id) => id !== "d" && id !== leader.state().id) as string;
    await step({ kind: "remove", id: leaving });
    await group.stop(leaving);
    assert.deepEqual(group.members.get("d")?.contents, ["x"]);
    assert.equal(leader.state().configuration.servers.length, 3);
    const refused = assert.rejects(leader.change({ kind: "remove", id: "nobody" }), { code: "rejected" });
    await group.pass(1);
    await refused;
    await group.stopAll();
  });

  it("hands leadership over without an election timeout", async () => {
    const group = await began();
    await group.propose("x");
    const before = group.leader;
    before.transferLeadership();
    await group.pass(20);
    assert.notEqual(group.leader, before);
    await group.stopAll();
  });
});
