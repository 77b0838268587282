/** An operator's snapshot comes through the log: the same on every server, and no index is used twice. */
import { fc } from "../../support/property.ts";
import { Catalog } from "../../../core/catalog/catalog.ts";
import type { Command, CommandResult } from "../../../core/catalog/commands.ts";
import { encode } from "../../../core/codec/cbor.ts";
import { type Bytes, concat, emptyBytes, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { anyCommand } from "./random-commands.ts";

const set = (key: string, value: string): Command => ({
  kind: "kv",
  op: { op: "set", key, value: utf8(value), flags: 0 },
  now: 0,
});

const history = fc.array(anyCommand, { maxLength: 60 });

/** A server: a catalog and its place in the log. */
class Server {
  readonly catalog = new Catalog();
  index: number;

  constructor(index = 0) {
    this.index = index;
  }

  apply(...commands: readonly Command[]): CommandResult {
    let result: CommandResult = { kind: "done" };
    for (const command of commands) result = this.catalog.apply(++this.index, command);
    this.catalog.watches.flush();
    return result;
  }

  /** As a server that starts from a snapshot of this one. */
  restarted(): Server {
    const server = new Server(this.index);
    const restoring = server.catalog.restore();
    for (const chunk of this.catalog.snapshot()) restoring.push(chunk);
    restoring.finish();
    return server;
  }

  backup(): Bytes {
    return concat([...this.catalog.snapshot("operator")]);
  }

  value(key: string): string | undefined {
    const record = this.catalog.evaluate({ kind: "kvGet", key }).answer;
    return record === undefined ? undefined : new TextDecoder().decode(record.value);
  }
}

/** The commands that restore a snapshot, `size` bytes at a time. */
function restoring(backup: Bytes, id = "r1", size = 1000): Command[] {
  const commands: Command[] = [{ kind: "restoreBegin", id }];
  for (let at = 0; at < backup.length; at += size)
    commands.push({ kind: "restoreChunk", id, at, bytes: backup.slice(at, at + size) });
  return [...commands, { kind: "restoreEnd", id, length: backup.length }];
}

const rejected = (result: CommandResult): string =>
  result.kind === "rejected" ? result.message : `not rejected: ${result.kind}`;

describe("restoring an operator's snapshot", () => {
  it("brings back what was there, and takes away what was not", () => {
    const server = new Server();
    server.apply(set("a", "1"), set("b", "2"));
    const backup = server.backup();
    server.apply(set("a", "changed"), set("c", "3"));
    assert.deepEqual(server.apply(...restoring(backup)), { kind: "done" });
    assert.deepEqual([server.value("a"), server.value("b"), server.value("c")], ["1", "2", undefined]);
  });

  it("gives any state back as it was", () => {
    fc.assert(
      fc.property(history, history, fc.integer({ min: 1, max: 300 }), (before, after, size) => {
        const old = new Server();
        old.apply(...before);
        const server = new Server();
        server.apply(...after);
        assert.deepEqual(server.apply(...restoring(old.backup(), "r", size)), { kind: "done" });
        for (const kind of ["sessions", "coordinates", "nodes", "services"] as const)
          assert.deepEqual(server.catalog.evaluate({ kind }).answer, old.catalog.evaluate({ kind }).answer);
        assert.deepEqual(
          server.catalog.evaluate({ kind: "kvList", prefix: "" }).answer,
          old.catalog.evaluate({ kind: "kvList", prefix: "" }).answer,
        );
      }),
      { numRuns: 60 },
    );
  });

  it("of a longer log lifts the index above everything in it, for good", () => {
    const long = new Server(1000);
    long.apply(set("a", "1"));
    const fresh = new Server();
    fresh.apply(...restoring(long.backup()));
    assert.equal(fresh.catalog.lastIndex, 1001);
    fresh.apply(set("b", "2"));
    assert.equal(fresh.catalog.evaluate({ kind: "kvGet", key: "b" }).answer?.modifyIndex, 1002);
    const again = fresh.restarted();
    again.apply(set("c", "3"));
    assert.equal(again.catalog.evaluate({ kind: "kvGet", key: "c" }).answer?.modifyIndex, 1003);
  });

  it("of an older state of the same log moves no index back", () => {
    const server = new Server();
    server.apply(set("a", "1"));
    const backup = server.backup();
    server.apply(set("a", "2"), ...restoring(backup), set("b", "3"));
    assert.equal(server.catalog.evaluate({ kind: "kvGet", key: "b" }).answer?.modifyIndex, server.index);
    assert.equal(server.catalog.lastIndex, server.index);
  });

  it("wakes everyone who waits, once it has ended and not before", () => {
    const server = new Server();
    server.apply(set("a", "1"));
    const commands = restoring(server.backup());
    const woken: boolean[] = [];
    server.catalog.watches.watch(["nodes"], (abandoned) => woken.push(abandoned));
    server.apply(...commands.slice(0, -1));
    assert.deepEqual(woken, []);
    server.apply(commands.at(-1) as Command);
    assert.deepEqual(woken, [true]);
  });

  it("comes out the same on a server that started from a snapshot taken anywhere within it", () => {
    fc.assert(
      fc.property(history, history, fc.integer({ min: 50, max: 500 }), fc.nat(40), (before, after, size, cut) => {
        const old = new Server(500);
        old.apply(...before);
        const commands = [...after, ...restoring(old.backup(), "r", size), set("z", "1")];
        const at = Math.min(commands.length, after.length + cut);
        const whole = new Server();
        const early = new Server();
        whole.apply(...commands);
        early.apply(...commands.slice(0, at));
        const late = early.restarted();
        assert.equal(late.catalog.hash(), early.catalog.hash());
        late.apply(...commands.slice(at));
        assert.equal(late.catalog.hash(), whole.catalog.hash());
        assert.equal(late.catalog.lastIndex, whole.catalog.lastIndex);
      }),
      { numRuns: 60 },
    );
  });

  it("leaves the state alone when a part is missing, and forgets what had come", () => {
    const server = new Server();
    server.apply(set("a", "1"));
    const commands = restoring(server.backup(), "r1", 20);
    server.apply(set("a", "2"));
    const missing = server.apply(...commands.slice(0, 2), commands[3] as Command);
    assert.equal(rejected(missing), "Cannot restore: a part of the snapshot is missing");
    assert.equal(server.catalog.restoringId, undefined);
    assert.match(rejected(server.apply(commands.at(-1) as Command)), /^The restore was given up/);
    assert.equal(server.value("a"), "2");
    const short = server.apply(commands[0] as Command, commands.at(-1) as Command);
    assert.equal(rejected(short), "Cannot restore: a part of the snapshot is missing");
    assert.equal(server.value("a"), "2");
  });

  it("that another begins in the middle of is forgotten", () => {
    const server = new Server();
    server.apply(set("a", "1"));
    const backup = server.backup();
    const first = restoring(backup, "r1", 20);
    server.apply(...first.slice(0, 3), { kind: "restoreBegin", id: "r2" });
    assert.match(rejected(server.apply(first[3] as Command)), /another was begun/);
    assert.equal(server.catalog.restoringId, "r2");
    server.apply({ kind: "restoreDiscard", id: "r1" });
    assert.equal(server.catalog.restoringId, "r2");
    server.apply({ kind: "restoreDiscard", id: "r2" });
    assert.equal(server.catalog.restoringId, undefined);
  });

  it("survives any bytes: restored or refused, never half", () => {
    const server = new Server();
    server.apply(set("a", "1"), set("b", "2"));
    const backup = server.backup();
    fc.assert(
      fc.property(fc.nat(backup.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const target = new Server(10_000);
        target.apply(set("mine", "1"));
        const hash = target.catalog.hash();
        const broken = backup.slice();
        broken[at] = (broken[at] as number) ^ change;
        const result = target.apply(...restoring(broken));
        if (result.kind === "rejected") assert.equal(target.catalog.hash(), hash);
        else assert.equal(target.value("mine"), undefined);
        target.apply(set("after", "1"));
        assert.equal(target.value("after"), "1");
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (bytes) => {
        assert.equal(new Server().apply(...restoring(bytes)).kind, "rejected");
      }),
    );
  });
});

describe("an operator's snapshot made by hand", () => {
  const frame = (value: unknown): Bytes => {
    const encoded = encode(value);
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, encoded.length);
    return concat([length, encoded]);
  };
  const made = (table: string, row: unknown, header: readonly unknown[] = ["proconsul-catalog", 1, 9, 9, 0]): Bytes =>
    concat([frame(header), frame([table, [row]]), frame(["end", 2])]);
  const node = { id: "", node: "n", address: "a", datacenter: "dc1", taggedAddresses: undefined, meta: undefined };
  const session = {
    id: "5e551011-0000-0000-0000-000000000001",
    name: "",
    node: "n",
    lockDelay: 0,
    behavior: "release",
    ttl: "",
    nodeChecks: [],
    serviceChecks: undefined,
    checks: undefined,
  };
  const cases: readonly (readonly [string, Bytes, string])[] = [
    [
      "with a node whose name is a number",
      made("nodes", { ...node, node: 5, createIndex: 1, modifyIndex: 1 }),
      "a row of nodes has a wrong node",
    ],
    [
      "with metadata that is a list",
      made("nodes", { ...node, meta: [], createIndex: 1, modifyIndex: 1 }),
      "a row of nodes has a wrong meta",
    ],
    [
      "with a row from the future",
      made("nodes", { ...node, createIndex: 1, modifyIndex: 10 }),
      "a row of nodes has an index out of order",
    ],
    [
      "with a key from the future",
      made("kv", ["a", emptyBytes, 0, 0, undefined, 1, 10]),
      "a row of kv has an index out of order",
    ],
    ["with a key that has too little", made("kv", ["a", emptyBytes]), "a row of kv is malformed"],
    ["with a topic from the future", made("indexes", ["nodes", 10]), "a row of indexes has an index out of order"],
    [
      "with a session of no node",
      made("sessions", { ...session, createIndex: 1, modifyIndex: 1 }),
      "a row of sessions names a node that is not there",
    ],
    [
      "with a lock of nobody",
      made("kv", ["a", emptyBytes, 0, 1, session.id, 1, 1]),
      "a row of kv names a session that is not there",
    ],
    ["with an unknown table", made("secrets", ["a"]), "table secrets is unknown: it was made by a later version"],
    ["with an index beyond any log", made("kv", [], ["proconsul-catalog", 1, 2 ** 52, 1, 0]), "its index is out of range"],
    ["of another program", made("kv", [], ["other", 1, 1, 1, 0]), "it is not a catalog snapshot"],
  ];
  for (const [what, backup, reason] of cases) {
    it(`${what} is refused`, () => {
      const server = new Server();
      assert.equal(
        rejected(server.apply(...restoring(backup).slice(0, 2))),
        `Cannot restore the catalog: ${reason}. Use another snapshot`,
      );
      assert.equal(server.catalog.restoringId, undefined);
    });
  }
});
