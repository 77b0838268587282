/**
 * Every call that storage makes of its disk fails once, and is the last one before a full disk, a read-only one, and the
 * end of the process. What was acknowledged is there afterwards; what was under way is there as a whole or not at all.
 */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClock } from "../../adapters/node-api/clock.ts";
import { createCrypto } from "../../adapters/node-api/crypto.ts";
import { NodeDirectory } from "../../adapters/node-api/directory.ts";
import type { FileSystem } from "../../adapters/node-api/file-system.ts";
import { NodeFileStore } from "../../adapters/node-api/files.ts";
import { openStorage } from "../../adapters/node-api/storage.ts";
import { WalRaftStore } from "../../adapters/shared/raft-store.ts";
import { SnapshotFiles } from "../../adapters/shared/snapshot-files.ts";
import type { FileStore, HardState, RaftWrite, SnapshotStore } from "../../core/ports/storage.ts";
import { type Bytes, text, utf8 } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import { collect, entry, stream } from "../contract/storage.ts";
import { type Fault, FaultyFileSystem, faults, wellFileSystem } from "../support/faulty-file-system.ts";
import { assert, describe, it } from "../support/harness.ts";
import { silent } from "../support/raft-driver.ts";

const clock = createClock();
const crypto = createCrypto();

/** Runs `body` once for each call that it makes of the disk, with the fault there; and a last time without. */
async function atEveryCall(
  fault: Fault,
  body: (disk: FaultyFileSystem, directory: string, where: string) => Promise<void>,
): Promise<void> {
  for (let call = 1; ; call++) {
    const directory = await mkdtemp(join(tmpdir(), "proconsul-faults-"));
    const disk = new FaultyFileSystem(fault, call);
    try {
      await body(disk, directory, `${fault} at call ${call}`);
      if (disk.calls < call) {
        assert.ok(call > 20, `only ${call} calls`);
        return;
      }
    } finally {
      await disk.closeAll();
      await rm(directory, { recursive: true });
    }
  }
}

/** What became of a step: done, an error in words, or nothing any more because the process is gone. */
async function outcome(disk: FaultyFileSystem, act: () => Promise<unknown>): Promise<"done" | "failed" | "quiet"> {
  const done = act().then(
    () => "done" as const,
    (error: unknown) => {
      assert.ok(error instanceof AgentError, String(error));
      if (error.code !== "storage-failed" && error.code !== "closed") throw error;
      assert.match(
        error.message,
        /^Cannot .+: (.* )?(input\/output error|no space left on device|read-only file system|the log is closed)/,
      );
      return "failed" as const;
    },
  );
  return Promise.race([done, disk.died.then(() => "quiet" as const)]);
}

interface Log {
  readonly hardState: HardState;
  readonly indexes: readonly number[];
}

function openLog(directory: string, fileSystem: FileSystem): WalRaftStore {
  return new WalRaftStore({
    directory: new NodeDirectory(join(directory, "wal"), directory, fileSystem),
    randomBytes: (length) => new Uint8Array(length).fill(7),
    onTornTail: () => {},
    segmentBytes: 1536,
    extendBytes: 1024,
  });
}

async function loaded(store: WalRaftStore): Promise<Log> {
  const { hardState, entries, compacted } = await store.load();
  return { hardState, indexes: entries.map(({ index }) => index).filter((index) => index > compacted) };
}

const writes: readonly RaftWrite[] = [
  { hardState: { term: 1, votedFor: "a" }, entries: [entry(1, 1, "x".repeat(300)), entry(2, 1)] },
  { entries: [entry(3, 1, "x".repeat(700))] },
  { hardState: { term: 2, votedFor: undefined }, entries: [] },
  { truncateFrom: 3, entries: [entry(3, 2, "y".repeat(600))] },
];

describe("the log on a disk with faults", () => {
  for (const fault of faults)
    it(`${fault}: has what it acknowledged, and goes on when the disk is well again`, () =>
      atEveryCall(fault, async (disk, directory, where) => {
        const store = openLog(directory, disk);
        /** What may be found: after the last acknowledged step, or after the one behind it. */
        let mayBe: Log[] = [{ hardState: { term: 0, votedFor: undefined }, indexes: [] }];
        const steps: readonly (readonly [() => Promise<unknown>, (log: Log) => Log])[] = [
          [() => store.load(), (log) => log],
          ...writes.map(
            (write) =>
              [
                () => store.write(write),
                (log: Log): Log => ({
                  hardState: write.hardState ?? log.hardState,
                  indexes: [
                    ...log.indexes.filter((index) => index < (write.truncateFrom ?? Number.POSITIVE_INFINITY)),
                    ...write.entries.map(({ index }) => index),
                  ],
                }),
              ] as const,
          ),
          [() => store.compact(2), (log) => ({ ...log, indexes: log.indexes.filter((index) => index > 2) })],
        ];
        let well = true;
        for (const [act, then] of steps) {
          const before = mayBe[0] as Log;
          const became = await outcome(disk, act);
          mayBe = became === "done" ? [then(before)] : [before, then(before)];
          if (became === "done") continue;
          well = false;
          // Nobody knows what is on the disk: nothing more is taken.
          if (became === "failed") await assert.rejects(store.write({ entries: [entry(9, 9)] }), AgentError, where);
          break;
        }
        if (!disk.dies) {
          await store.close().catch(() => assert.ok(!disk.isWell, where));
          assert.equal(disk.stillOpen, 0, `${where}: a file stays open`);
        }
        const again = openLog(directory, wellFileSystem());
        const found = await loaded(again);
        assert.ok(
          mayBe.some((log) => JSON.stringify(log) === JSON.stringify(found)),
          `${where}: ${JSON.stringify(found)} is none of ${JSON.stringify(mayBe)}`,
        );
        assert.equal(well, mayBe.length === 1);
        const next = (found.indexes.at(-1) ?? 2) + 1;
        await again.write({ entries: [entry(next, 5)] });
        await again.close();
        const last = openLog(directory, wellFileSystem());
        assert.deepEqual((await loaded(last)).indexes, [...found.indexes, next], where);
        await last.close();
        const names = await readdir(join(directory, "wal"));
        assert.ok(
          names.every((name) => name.endsWith(".wal") || name === "durable"),
          `${where}: ${names}`,
        );
      }));
});

const head = (index: number) => ({ index, term: 1, configuration: utf8("m"), configurationIndex: 1 });

interface Stores {
  readonly files: FileStore;
  readonly snapshots: SnapshotStore;
}

/** Steps on small files and snapshots, and what each file may hold after them. */
async function exercise({ files, snapshots }: Stores, disk: FaultyFileSystem): Promise<Map<string, Set<string | undefined>>> {
  const may = new Map<string, Set<string | undefined>>();
  const known = (name: string) => may.get(name) ?? new Set([undefined]);
  const change = async (
    name: string,
    act: () => Promise<unknown>,
    next: (held: string | undefined) => readonly (string | undefined)[],
  ) => {
    const before = known(name);
    const after = new Set([...before].flatMap((held) => next(held).slice(-1)));
    const meanwhile = new Set([...before, ...[...before].flatMap((held) => [...next(held)])]);
    may.set(name, (await outcome(disk, act)) === "done" ? after : meanwhile);
  };
  /** A part of what was to be added may be there. */
  const grown = (added: string) => (held: string | undefined) =>
    Array.from({ length: added.length + 1 }, (_, length) => (held ?? "") + added.slice(0, length));
  await change(
    "node-id",
    () => files.put("node-id", utf8("one")),
    () => ["one"],
  );
  await change("serf/local", () => files.append("serf/local", utf8("12")), grown("12"));
  await change("serf/local", () => files.append("serf/local", utf8("34"), { sync: true }), grown("34"));
  await change(
    "snapshot",
    () => snapshots.save(head(1), stream(utf8("first"))),
    () => ["first"],
  );
  await change(
    "node-id",
    () => files.put("node-id", utf8("two")),
    () => ["two"],
  );
  await change(
    "serf/local",
    () => files.delete("serf/local"),
    () => [undefined],
  );
  await change(
    "snapshot",
    () => snapshots.save(head(2), stream(utf8("second"))),
    () => ["second"],
  );
  await change(
    "snapshot",
    () => snapshots.save(head(3), stream(utf8("third"))),
    () => ["third"],
  );
  await outcome(disk, () => files.get("node-id"));
  await outcome(disk, () => files.list(""));
  return may;
}

async function held({ files, snapshots }: Stores): Promise<Map<string, string | undefined>> {
  const textOf = (bytes: Bytes | undefined) => (bytes === undefined ? undefined : text(bytes));
  const latest = await snapshots.latest();
  return new Map([
    ["node-id", textOf(await files.get("node-id"))],
    ["serf/local", textOf(await files.get("serf/local"))],
    ["snapshot", latest === undefined ? undefined : text(await collect(snapshots.read(latest)))],
  ]);
}

function compare(
  found: ReadonlyMap<string, string | undefined>,
  may: ReadonlyMap<string, ReadonlySet<string | undefined>>,
  where: string,
): void {
  for (const [name, one] of found) {
    const possible = may.get(name) ?? new Set([undefined]);
    assert.ok(possible.has(one), `${where}: ${name} holds ${one}, and not one of ${[...possible].join(", ")}`);
  }
}

async function unfinished(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory, { recursive: true });
  return names.filter((name) => /\.(tmp|new|stale|lock)$/.test(name));
}

describe("small files and snapshots on a disk with faults", () => {
  for (const fault of ["once", "full", "readonly"] as const)
    it(`${fault}: are as they were acknowledged; and the directory is free for the next`, () =>
      atEveryCall(fault, async (disk, directory, where) => {
        const options = { dataDirectory: join(directory, "data"), clock, crypto, logger: silent };
        let storage: Awaited<ReturnType<typeof openStorage>> | undefined;
        const opened = await outcome(disk, async () => {
          storage = await openStorage({ ...options, fileSystem: disk });
        });
        let may: Map<string, Set<string | undefined>> = new Map();
        if (opened === "done" && storage !== undefined) {
          await outcome(disk, () => (storage as NonNullable<typeof storage>).raft.load());
          may = await exercise(storage, disk);
          await storage.close().catch(() => assert.ok(!disk.isWell, where));
        }
        assert.equal(disk.stillOpen, 0, `${where}: a file stays open`);
        // What cannot be removed stays; for the next process it is the lock of one that is gone.
        await rm(join(options.dataDirectory, "proconsul.lock"), { force: true });
        const again = await openStorage({ ...options, fileSystem: wellFileSystem() });
        await again.raft.load();
        compare(await held(again), may, where);
        await again.close();
        // What a full disk took is given back; on a read-only one nothing could be.
        if (fault === "full") assert.deepEqual(await unfinished(directory), [], where);
      }));

  it("killed: are as they were acknowledged, and what was not finished is gone", () =>
    atEveryCall("killed", async (disk, directory, where) => {
      const stores = (fileSystem: FileSystem) => ({
        files: new NodeFileStore(directory, ["snapshots"], fileSystem),
        snapshots: new SnapshotFiles({
          directory: new NodeDirectory(join(directory, "snapshots"), directory, fileSystem),
          clock,
          onDamaged: (path) => assert.fail(`${where}: ${path} is damaged`),
        }),
      });
      const may = await exercise(stores(disk), disk);
      const again = stores(wellFileSystem());
      await again.files.sweep();
      compare(await held(again), may, where);
      assert.deepEqual(await unfinished(directory), [], where);
    }));
});
