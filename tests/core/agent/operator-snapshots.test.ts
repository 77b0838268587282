/** What a server does round an operator's snapshot: bounds, failures in the middle, and what a leader starts anew. */
import { Leader } from "../../../core/agent/leader.ts";
import { OperatorSnapshots } from "../../../core/agent/operator-snapshots.ts";
import { Catalog } from "../../../core/catalog/catalog.ts";
import type { Command, CommandResult } from "../../../core/catalog/commands.ts";
import type { SavedSnapshot, StoreApi } from "../../../core/plugin/agent-api.ts";
import type { Crypto } from "../../../core/ports/crypto.ts";
import type { Logger } from "../../../core/ports/telemetry.ts";
import { type Bytes, concat, utf8 } from "../../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

const logger: Logger = { log: () => {}, enabled: () => false, child: () => logger };
const set = (key: string, value: string): Command => ({
  kind: "kv",
  op: { op: "set", key, value: utf8(value), flags: 0 },
  now: 0,
});

class World {
  readonly clock = new VirtualClock();
  readonly catalog = new Catalog();
  readonly written: Command[] = [];
  readonly leader: Leader;
  readonly snapshots: OperatorSnapshots;
  /** Asked before each write; throws to refuse it. */
  allow: (command: Command) => void = () => {};
  restored = 0;
  #index = 100;
  #ids = 0;

  constructor() {
    const write = async (command: Command): Promise<CommandResult> => {
      this.allow(command);
      return this.apply(command);
    };
    this.leader = new Leader({
      catalog: this.catalog,
      clock: this.clock,
      logger,
      datacenter: "dc1",
      self: "s1",
      members: () => [],
      write,
      announce: () => {},
      now: () => this.clock.wall(),
    });
    const store = {
      write,
      read: async () => ({ meta: { index: 1, knownLeader: true, lastContact: 0 }, answer: undefined }),
    } as unknown as StoreApi;
    this.snapshots = new OperatorSnapshots({
      catalog: this.catalog,
      store,
      raft: { term: 3, servers: () => [] },
      clock: this.clock,
      crypto: { randomBytes: (length: number) => new Uint8Array(length).fill(++this.#ids) } as unknown as Crypto,
      logger,
      onRestored: () => {
        this.restored++;
      },
    });
  }

  apply(command: Command): CommandResult {
    this.written.push(command);
    const result = this.catalog.apply(++this.#index, command);
    this.leader.onApplied(this.#index, command, result);
    this.catalog.watches.flush();
    return result;
  }

  async archive(): Promise<Bytes> {
    const saved = await this.snapshots.save({ stale: false });
    const parts: Bytes[] = [];
    for await (const part of saved.content) parts.push(part);
    saved.release();
    return concat(parts);
  }

  restore(archive: Bytes): Promise<void> {
    return this.snapshots.restore(async function* () {
      yield archive;
    }, false);
  }

  value(key: string): string | undefined {
    const record = this.catalog.evaluate({ kind: "kvGet", key }).answer;
    return record === undefined ? undefined : new TextDecoder().decode(record.value);
  }
}

describe("an operator's snapshot", () => {
  it("is being made for so many at a time, and a finished one makes room", async () => {
    const world = new World();
    const open: SavedSnapshot[] = [];
    for (let at = 0; at < 2; at++) open.push(await world.snapshots.save({ stale: false }));
    await assert.rejects(world.snapshots.save({ stale: false }), /2 are being made already/);
    for (let at = 0; at < 20; at++) {
      open.shift()?.release();
      open.push(await world.snapshots.save({ stale: false }));
    }
    for (const saved of open) {
      saved.release();
      saved.release();
    }
    // None of the catalog's own snapshots is held either.
    for (let at = 0; at < 8; at++) world.catalog.snapshot();
  });

  it("goes into the log only when all of it is right", async () => {
    const world = new World();
    world.apply(set("a", "1"));
    const archive = await world.archive();
    const before = world.written.length;
    const broken = archive.slice();
    broken[1600] = 255;
    await assert.rejects(world.restore(broken), /^AgentError: failed to read snapshot file/);
    assert.equal(world.written.length, before);
    await world.restore(archive);
    assert.deepEqual(
      world.written.slice(before).map(({ kind }) => kind),
      ["restoreBegin", "restoreChunk", "restoreEnd"],
    );
    assert.equal(world.restored, 1);
  });

  it("that fails in the middle is discarded, and the state is as it was", async () => {
    const world = new World();
    world.apply(set("a", "1"));
    const archive = await world.archive();
    world.apply(set("a", "2"));
    let lost = true;
    world.allow = ({ kind }) => {
      if (kind !== "restoreEnd" || !lost) return;
      lost = false;
      throw new AgentError("no-leader", { message: "No cluster leader" });
    };
    await assert.rejects(world.restore(archive), (error: unknown) => messageOf(error) === "No cluster leader");
    await settle();
    assert.equal(world.written.at(-1)?.kind, "restoreDiscard");
    assert.equal(world.catalog.restoringId, undefined);
    assert.equal(world.value("a"), "2");
    assert.equal(world.restored, 0);
    await world.restore(archive);
    assert.equal(world.value("a"), "1");
  });

  it("that was left unfinished is discarded by the next leader", async () => {
    const world = new World();
    world.apply({ kind: "restoreBegin", id: "of a leader that is gone" });
    world.snapshots.onLeading();
    await settle();
    assert.equal(world.catalog.restoringId, undefined);
  });

  it("starts the time of each session anew, and forgets those that are gone", async () => {
    const world = new World();
    await world.leader.establish(() => {});
    const session = (id: string): Command => ({
      kind: "sessionCreate",
      session: {
        id,
        name: "",
        node: "n1",
        lockDelay: 0,
        behavior: "release",
        ttl: "10s",
        nodeChecks: [],
        serviceChecks: undefined,
        checks: undefined,
      },
      now: 0,
    });
    world.apply({
      kind: "register",
      node: "n1",
      id: "",
      address: "10.0.0.1",
      datacenter: "dc1",
      taggedAddresses: undefined,
      nodeMeta: undefined,
      skipNodeUpdate: false,
      service: undefined,
      checks: [],
      now: 0,
    });
    const old = "5e551011-0000-0000-0000-000000000001";
    world.apply(session(old));
    const archive = await world.archive();
    world.apply({ kind: "sessionDestroy", id: old, now: 0 });
    world.apply(session("5e551011-0000-0000-0000-000000000002"));
    await world.clock.advance(15_000);
    await world.restore(archive);
    const ended = (): string[] => world.written.flatMap((command) => (command.kind === "sessionDestroy" ? [command.id] : []));
    await world.clock.advance(19_000);
    assert.deepEqual(ended(), [old]);
    await world.clock.advance(2_000);
    assert.deepEqual(ended(), [old, old]);
    world.leader.resign();
  });

  it("of a longer log: tombstones are reaped by the index that clients see", async () => {
    const long = new World();
    for (let at = 0; at < 500; at++) long.apply(set("a", String(at)));
    const world = new World();
    await world.leader.establish(() => {});
    await world.restore(await long.archive());
    world.apply({ kind: "kv", op: { op: "delete", key: "a" }, now: 0 });
    const deleted = world.catalog.lastIndex;
    assert.ok(deleted > 600);
    assert.equal(world.catalog.sizes.tombstones, 1);
    await world.clock.advance(16 * 60_000);
    assert.equal(world.catalog.sizes.tombstones, 0);
    world.leader.resign();
  });
});
