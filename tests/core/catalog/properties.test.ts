/** What holds whatever commands were applied. */
import { fc } from "../../support/property.ts";
import { Catalog } from "../../../core/catalog/catalog.ts";
import type { Command } from "../../../core/catalog/commands.ts";
import type { Query, Topic } from "../../../core/catalog/queries.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { compareAsUtf8 } from "../../../core/structures/ordered-map.ts";
import { type Bytes, concat, equalBytes } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { anyCommand, anyKvOp, sessionIds } from "./random-commands.ts";

const history = fc.array(anyCommand, { maxLength: 60 });

/** Every kind of read, over the names that the commands use. */
const queries: readonly Query[] = [
  { kind: "kvGet", key: "a/b" },
  { kind: "kvGet", key: "missing" },
  { kind: "kvList", prefix: "a/" },
  { kind: "kvList", prefix: "" },
  { kind: "kvList", prefix: "zzz" },
  { kind: "kvKeys", prefix: "a", separator: "/" },
  { kind: "nodes" },
  { kind: "nodes", nodeMeta: { rack: "r1" } },
  { kind: "nodes", near: "n1" },
  { kind: "services" },
  { kind: "services", nodeMeta: { rack: "r1" } },
  { kind: "serviceInstances", service: "web" },
  { kind: "serviceInstances", service: "web", through: "connect" },
  { kind: "serviceInstances", service: "nope", through: "ingress" },
  { kind: "checkedInstances", service: "web", passingOnly: false },
  { kind: "checkedInstances", service: "db", passingOnly: true },
  { kind: "checkedInstances", service: "web", passingOnly: false, through: "connect" },
  { kind: "checkedInstances", service: "db", passingOnly: false, near: "n1" },
  { kind: "nodeServices", node: "n1" },
  { kind: "nodeServices", node: "10de" },
  { kind: "nodeServices", node: "2" },
  { kind: "nodeChecks", node: "n2" },
  { kind: "serviceChecks", service: "web" },
  { kind: "serviceChecks", service: "web", nodeMeta: { rack: "r2" } },
  { kind: "checksInState", state: "critical" },
  { kind: "checksInState", state: "any" },
  { kind: "checksInState", state: "any", nodeMeta: { rack: "r1" } },
  { kind: "session", id: sessionIds[0] as string },
  { kind: "sessions" },
  { kind: "nodeSessions", node: "n1" },
  { kind: "coordinates" },
  { kind: "coordinate", node: "n1" },
  { kind: "byAddress", address: "10.0.0.1" },
];

function applied(commands: readonly Command[]): Catalog {
  const catalog = new Catalog();
  commands.forEach((command, at) => {
    catalog.apply(at + 1, command);
  });
  return catalog;
}

function restored(chunks: Iterable<Bytes>): Catalog {
  const catalog = new Catalog();
  const restore = catalog.restore();
  for (const chunk of chunks) restore.push(chunk);
  restore.finish();
  return catalog;
}

function answers(catalog: Catalog): unknown[] {
  return queries.map((query) => catalog.evaluate(query));
}

describe("the catalog, whatever was applied", () => {
  it("comes to the same state on every server, and again from a snapshot and the rest of the log", () => {
    fc.assert(
      fc.property(history, fc.nat(60), (commands, cut) => {
        const whole = applied(commands);
        assert.equal(applied(commands).hash(), whole.hash());
        const early = restored(applied(commands.slice(0, cut)).snapshot());
        commands.slice(cut).forEach((command, at) => {
          early.apply(cut + at + 1, command);
        });
        assert.equal(early.hash(), whole.hash());
        assert.equal(early.lastIndex, whole.lastIndex);
        assert.deepEqual(answers(early), answers(whole));
      }),
    );
  });

  it("gives a snapshot of the moment it was taken, while writes go on, in chunks cut anywhere", () => {
    fc.assert(
      fc.property(history, history, fc.integer({ min: 1, max: 50 }), (before, after, size) => {
        const catalog = applied(before);
        const hash = catalog.hash();
        const snapshot = catalog.snapshot();
        const reading = snapshot[Symbol.iterator]();
        const chunks: Bytes[] = [];
        after.forEach((command, at) => {
          catalog.apply(before.length + at + 1, command);
          const next = reading.next();
          if (next.done !== true) chunks.push(next.value);
        });
        for (let next = reading.next(); next.done !== true; next = reading.next()) chunks.push(next.value);
        const bytes = concat(chunks);
        const pieces: Bytes[] = [];
        for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
        assert.equal(restored(pieces).hash(), hash);
      }),
    );
  });

  it("does nothing at all when it refuses", () => {
    fc.assert(
      fc.property(history, (commands) => {
        const catalog = new Catalog();
        let index = 0;
        for (const command of commands) {
          // Time may pass with any command: that alone is no change.
          catalog.apply(++index, { kind: "kv", op: { op: "delete", key: "none" }, now: "now" in command ? command.now : 0 });
          const before = catalog.hash();
          let woken = 0;
          const unwatch = catalog.watches.watch(
            ["kv", "nodes", "services", "checks", "sessions", "coordinates", "extinctions", "kv-prefix:"],
            () => woken++,
          );
          const result = catalog.apply(++index, command);
          catalog.watches.flush();
          unwatch();
          const refused =
            result.kind === "rejected" ||
            (result.kind === "took" && !result.effect) ||
            (result.kind === "txn" && result.errors.length > 0);
          if (!refused) continue;
          assert.equal(catalog.hash(), before);
          assert.equal(woken, 0);
        }
      }),
    );
  });

  it("wakes each watcher whose answer changed, lets its index pass, and marks stale who need not wake", () => {
    fc.assert(
      fc.property(history, (commands) => {
        const catalog = new Catalog();
        commands.forEach((command, at) => {
          const before = queries.map((query) => catalog.evaluate(query));
          const woken = new Set<number>();
          const unwatches = before.map(({ wakes }, which) => catalog.watches.watch(wakes, () => woken.add(which)));
          const followers = before.map(({ wakes, stales }) => catalog.watches.follow([...wakes, ...stales]));
          catalog.apply(at + 1, command);
          catalog.watches.flush();
          queries.forEach((query, which) => {
            const was = before[which] as { index: number; answer: unknown; stales: readonly Topic[] };
            const is = catalog.evaluate(query);
            const near = "near" in query;
            const shown = `${JSON.stringify(query)} after ${JSON.stringify(command)}`;
            const same = is.index === was.index && JSON.stringify(is.answer) === JSON.stringify(was.answer);
            if (!same) assert.ok(followers[which]?.changed, `not stale: ${shown}`);
            const differs = JSON.stringify(is.answer) !== JSON.stringify(was.answer);
            if (differs && !near) {
              assert.ok(woken.has(which), `not woken: ${shown}`);
              assert.ok(is.index > was.index || is.index === 1, `index ${was.index} to ${is.index}: ${shown}`);
            }
          });
          for (const unwatch of unwatches) unwatch();
          for (const follower of followers) follower.close();
          assert.equal(catalog.watches.topicCount, 0);
        });
      }),
      { numRuns: 500 },
    );
  });

  it("keeps keys as a plain map would", () => {
    fc.assert(
      fc.property(fc.array(anyKvOp, { maxLength: 80 }), (ops) => {
        const catalog = new Catalog();
        const model = new Map<string, { value: Bytes; flags: number | bigint; create: number; modify: number }>();
        ops.forEach((op, at) => {
          const index = at + 1;
          const result = catalog.apply(index, { kind: "kv", op, now: 0 });
          const put = (): void => {
            if (op.op !== "set" && op.op !== "cas") return;
            const was = model.get(op.key);
            if (was !== undefined && equalBytes(was.value, op.value) && was.flags === op.flags) return;
            model.set(op.key, { value: op.value, flags: op.flags, create: was?.create ?? index, modify: index });
          };
          switch (op.op) {
            case "set":
              put();
              break;
            case "cas":
              if ((model.get(op.key)?.modify ?? 0) === op.index) put();
              break;
            case "delete":
              model.delete(op.key);
              break;
            case "deleteCas":
              if (model.get(op.key)?.modify === op.index) model.delete(op.key);
              break;
            case "deleteTree":
              for (const key of [...model.keys()]) if (key.startsWith(op.prefix)) model.delete(key);
              break;
            default:
              // Without sessions nothing can be locked.
              assert.ok(result.kind === "rejected" || (result.kind === "took" && !result.effect));
          }
        });
        const rows = catalog.evaluate({ kind: "kvList", prefix: "" }).answer;
        assert.deepEqual(
          rows.map((row) => [row.key, row.value, row.flags, row.createIndex, row.modifyIndex]),
          [...model]
            .sort(([left], [right]) => compareAsUtf8(left, right))
            .map(([key, row]) => [key, row.value, row.flags, row.create, row.modify]),
        );
      }),
    );
  });

  it("owns what it keeps: a command's bytes may be written to once it is applied", () => {
    const catalog = new Catalog();
    const value = Uint8Array.of(1, 2, 3);
    catalog.apply(1, { kind: "kv", op: { op: "set", key: "a", value, flags: 0 }, now: 0 });
    value.fill(9);
    assert.deepEqual([...(catalog.evaluate({ kind: "kvGet", key: "a" }).answer?.value ?? [])], [1, 2, 3]);
  });

  it("lets only existing sessions hold locks, and ends all that a session held with it", () => {
    fc.assert(
      fc.property(history, (commands) => {
        const catalog = applied(commands);
        const sessions = new Set(catalog.evaluate({ kind: "sessions" }).answer.map((session) => session.id));
        const nodes = new Set(catalog.evaluate({ kind: "nodes" }).answer.map((node) => node.node.toLowerCase()));
        for (const row of catalog.evaluate({ kind: "kvList", prefix: "" }).answer) {
          if (row.session !== undefined) assert.ok(sessions.has(row.session));
        }
        for (const check of catalog.evaluate({ kind: "checksInState", state: "any" }).answer)
          assert.ok(nodes.has(check.node.toLowerCase()));
        for (const session of catalog.evaluate({ kind: "sessions" }).answer) assert.ok(nodes.has(session.node.toLowerCase()));
      }),
    );
  });

  it("restores from bytes that nobody vouches for, or refuses them and stays as it was", () => {
    const good = concat([
      ...applied([{ kind: "kv", op: { op: "set", key: "k", value: new Uint8Array(3), flags: 0 }, now: 0 }]).snapshot(),
    ]);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 60 }),
          fc
            .tuple(fc.nat(good.length - 1), fc.nat(255))
            .map(([at, byte]) => good.map((old, place) => (place === at ? byte : old))),
          fc.nat(good.length - 1).map((end) => good.slice(0, end)),
        ),
        (bytes) => {
          const catalog = applied([{ kind: "kv", op: { op: "set", key: "mine", value: new Uint8Array(1), flags: 0 }, now: 0 }]);
          const before = catalog.hash();
          try {
            const restore = catalog.restore();
            restore.push(bytes);
            restore.finish();
          } catch (error) {
            assert.ok(error instanceof AgentError && error.code === "snapshot-corrupt", String(error));
            assert.equal(catalog.hash(), before);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it("reads no more snapshots at once than its bound, and frees those that were left", () => {
    const catalog = applied([]);
    const snapshots = Array.from({ length: 8 }, () => catalog.snapshot());
    assert.throws(
      () => catalog.snapshot(),
      (error: unknown) => error instanceof AgentError && error.code === "rate-limited",
    );
    snapshots[0]?.release();
    snapshots[0]?.release();
    for (const _chunk of snapshots[1] as Iterable<Bytes>) break;
    catalog.snapshot();
    catalog.snapshot();
    assert.throws(() => catalog.snapshot());
  });
});
