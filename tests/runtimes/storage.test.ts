/** The storage contract, and what a crash may leave on a disk. Runs on whatever runtime executes it. */
import { constants } from "node:fs";
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClock } from "../../adapters/node-api/clock.ts";
import { createCrypto } from "../../adapters/node-api/crypto.ts";
import { NodeDirectory } from "../../adapters/node-api/directory.ts";
import { type FileHandle, type FileSystem, nodeFileSystem } from "../../adapters/node-api/file-system.ts";
import { openStorage } from "../../adapters/node-api/storage.ts";
import { memoryStorage } from "../../adapters/shared/memory.ts";
import { WalRaftStore } from "../../adapters/shared/raft-store.ts";
import type { LogEntry, RaftWrite } from "../../core/ports/storage.ts";
import { utf8 } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import { collect, entry, storageContract, stream } from "../contract/storage.ts";
import { assert, describe, it } from "../support/harness.ts";
import { silent } from "../support/raft-driver.ts";

const clock = createClock();
const crypto = createCrypto();
const temporary = () => mkdtemp(join(tmpdir(), "proconsul-storage-"));
const openAt = (dataDirectory: string) => openStorage({ dataDirectory, clock, crypto, logger: silent });

storageContract("memory", async () => ({ open: async () => memoryStorage(), survives: false, dispose: async () => {} }));
storageContract("node:fs", async () => {
  const directory = await temporary();
  return { open: () => openAt(directory), survives: true, dispose: () => rm(directory, { recursive: true }) };
});

async function inTemporary(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await temporary();
  try {
    await body(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

const seededBytes = (length: number) => new Uint8Array(length).fill(7);

async function openLog(
  directory: string,
  segmentBytes = 4096,
): Promise<{ store: WalRaftStore; entries: readonly LogEntry[]; term: number; torn: number }> {
  let torn = -1;
  const store = new WalRaftStore({
    directory: new NodeDirectory(directory),
    randomBytes: seededBytes,
    segmentBytes,
    onTornTail: (_, offset) => {
      torn = offset;
    },
  });
  try {
    const { entries, hardState } = await store.load();
    return { store, entries, term: hardState.term, torn };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** A process that is killed has not noted how far its log is durable. */
const killed = (directory: string) => rm(join(directory, "durable"), { force: true });

const segments = async (directory: string) => (await readdir(directory)).filter((name) => name.endsWith(".wal")).sort();

describe("a log on disk", () => {
  it("spreads over segments and deletes those that compaction leaves behind", () =>
    inTemporary(async (directory) => {
      const { store } = await openLog(directory);
      await store.write({ hardState: { term: 4, votedFor: "x" }, entries: [] });
      for (let index = 1; index <= 60; index++) await store.write({ entries: [entry(index, 4, "y".repeat(300))] });
      const before = await segments(directory);
      assert.ok(before.length >= 4, `${before.length} segments`);
      await store.compact(50);
      const after = await segments(directory);
      assert.ok(after.length < before.length);
      await store.close();
      const again = await openLog(directory);
      assert.deepEqual(
        again.entries.map(({ index }) => index),
        [51, 52, 53, 54, 55, 56, 57, 58, 59, 60],
      );
      assert.equal(again.term, 4);
      await again.store.close();
    }));

  it("takes a batch larger than a segment", () =>
    inTemporary(async (directory) => {
      const { store } = await openLog(directory);
      await store.write({ entries: [entry(1, 1, "z".repeat(20_000))] });
      await store.write({ entries: [entry(2, 1)] });
      await store.close();
      const again = await openLog(directory);
      assert.deepEqual(
        again.entries.map(({ data }) => data.length),
        [20_000, 3],
      );
      await again.store.close();
    }));

  it("refuses everything after a failed write", () =>
    inTemporary(async (directory) => {
      const { store } = await openLog(directory);
      const huge: RaftWrite = { entries: [entry(1, 1, new Uint8Array(70 * 1024 * 1024))] };
      await assert.rejects(store.write(huge));
      await assert.rejects(store.write({ entries: [entry(1, 1)] }));
      await store.close();
    }));

  it("cut off at any byte, holds all whole batches before the cut, and goes on from there", () =>
    inTemporary(async (directory) => {
      const written = await smallLog(directory);
      const [name] = await segments(directory);
      const path = join(directory, name as string);
      const whole = await readFile(path);
      const used = whole.findLastIndex((byte) => byte !== 0) + 1;
      for (let length = 512; length <= used; length += 3) {
        await writeFile(path, whole);
        await truncate(path, length);
        await killed(directory);
        const { store, entries } = await openLog(directory);
        assert.deepEqual(entries, written.slice(0, entries.length), `cut at ${length}`);
        await store.write({ entries: [entry(entries.length + 1, 9, "after")] });
        await store.close();
        const again = await openLog(directory);
        assert.equal(again.torn, -1);
        assert.equal(again.entries.length, entries.length + 1, `cut at ${length}`);
        assert.equal(again.entries.at(-1)?.term, 9);
        await again.store.close();
      }
    }));

  it("with any byte damaged, also of the last batch, refuses and names the file; or nothing is lost", () =>
    inTemporary(async (directory) => {
      const written = await smallLog(directory);
      const [name] = await segments(directory);
      const path = join(directory, name as string);
      const whole = await readFile(path);
      const used = whole.findLastIndex((byte) => byte !== 0) + 1;
      for (let at = 0; at < used; at++) {
        if (at === 64) at = 512; // nothing is there, and nobody looks
        const damaged = whole.slice();
        damaged[at] = (damaged[at] as number) ^ (1 << (at % 8));
        await writeFile(path, damaged);
        try {
          const { store, entries } = await openLog(directory);
          await store.close();
          // What fills a record up to its end may be anything.
          assert.deepEqual(entries, written, `byte ${at}`);
        } catch (error) {
          assert.ok(error instanceof AgentError && error.code === "wal-corrupt", `byte ${at}: ${String(error)}`);
          assert.match(error.message, new RegExp(`${name} is damaged at byte \\d+: .*Restore the data directory`));
        }
      }
    }));

  it("a torn record leaves nothing behind that a later one could uncover", () =>
    inTemporary(async (directory) => {
      const { store } = await openLog(directory);
      await store.write({ entries: [entry(1, 1)] });
      await store.write({ entries: [entry(2, 1, "a".repeat(1024)), entry(3, 1, "b".repeat(64))] });
      await store.close();
      const [name] = await segments(directory);
      const path = join(directory, name as string);
      const bytes = await readFile(path);
      bytes.fill(0, 1024, 1536); // one sector of it was not written
      await writeFile(path, bytes);
      await killed(directory);
      const torn = await openLog(directory);
      assert.equal(torn.entries.length, 1);
      assert.ok(torn.torn > 0);
      await torn.store.close();
      assert.equal((await readFile(path)).indexOf("bbbb"), -1);
    }));

  const linux = process.platform === "linux" ? false : "only Linux tells how a file is open";
  it("is open so that a write is durable when it returns", { skip: linux }, () =>
    inTemporary(async (directory) => {
      const handles: FileHandle[] = [];
      const open: FileSystem["open"] = async (path, flags, mode) => {
        const handle = await nodeFileSystem.open(path, flags, mode);
        if (String(path).includes(".wal")) handles.push(handle);
        return handle;
      };
      const options = { randomBytes: seededBytes, onTornTail: () => {} };
      for (const life of ["new", "again"]) {
        const store = new WalRaftStore({
          ...options,
          directory: new NodeDirectory(directory, directory, { ...nodeFileSystem, open }),
        });
        await store.load();
        const written = handles.at(-1) as FileHandle;
        const flags = /^flags:\s*([0-7]+)$/m.exec(await readFile(`/proc/self/fdinfo/${written.fd}`, "utf8"))?.[1] ?? "";
        assert.ok((Number.parseInt(flags, 8) & constants.O_DSYNC) !== 0, `${life}: ${flags}`);
        await store.close();
      }
    }),
  );

  it("shortened after it was closed, or idle for a second, is refused: that was durable", () =>
    inTemporary(async (directory) => {
      const fired: (() => void)[] = [];
      const store = new WalRaftStore({
        directory: new NodeDirectory(directory),
        randomBytes: seededBytes,
        onTornTail: () => {},
        clock: {
          after: (_, fire) => {
            fired.push(fire);
            return { cancel: () => {} };
          },
        },
      });
      await store.load();
      await store.write({ entries: [entry(1, 1)] });
      fired.shift()?.(); // something was written since it was set
      assert.deepEqual(await readdir(directory), ["0000000000000001.wal"]);
      fired.shift()?.();
      await store.close();
      const path = join(directory, "0000000000000001.wal");
      const bytes = await readFile(path);
      await writeFile(path, bytes.fill(0, 512));
      await assert.rejects(openLog(directory), {
        code: "wal-corrupt",
        message: /0000000000000001\.wal is damaged at byte 512: it ends before record 1, and all up to 1 were durable\. Restore/,
      });
    }));

  it("a missing segment is noticed", () =>
    inTemporary(async (directory) => {
      const { store } = await openLog(directory);
      for (let index = 1; index <= 40; index++) await store.write({ entries: [entry(index, 1, "y".repeat(300))] });
      await store.close();
      const names = await segments(directory);
      await rm(join(directory, names[1] as string));
      await assert.rejects(openLog(directory), { code: "wal-corrupt", message: /does not continue segment/ });
    }));

  it("term and vote survive when a crash took the first record of a new segment, and compaction the old one", () =>
    inTemporary(async (directory) => {
      const { store } = await openLog(directory, 1024);
      await store.write({ hardState: { term: 4, votedFor: "x" }, entries: [entry(1, 4, "y".repeat(300))] });
      await store.write({ entries: [entry(2, 4, "y".repeat(300))] });
      await store.close();
      const second = join(directory, (await segments(directory))[1] as string);
      await truncate(second, 512);
      await killed(directory);
      const again = await openLog(directory, 1024);
      assert.equal(again.entries.length, 1);
      await again.store.write({ entries: [entry(2, 4)] });
      await again.store.compact(1);
      await again.store.close();
      const last = await openLog(directory, 1024);
      assert.deepEqual([last.term, last.entries.length, (await segments(directory)).length], [4, 1, 1]);
      await last.store.close();
    }));

  it("a segment that was not finished is removed", () =>
    inTemporary(async (directory) => {
      const { store } = await openLog(directory);
      await store.write({ entries: [entry(1, 1)] });
      await store.close();
      await writeFile(join(directory, "0000000000000002.wal.tmp"), "half");
      const again = await openLog(directory);
      assert.equal(again.entries.length, 1);
      assert.deepEqual((await readdir(directory)).sort(), ["0000000000000001.wal", "durable"]);
      await again.store.close();
    }));
});

describe("a snapshot on disk", () => {
  it("damaged or cut anywhere, is passed over for the one before", () =>
    inTemporary(async (directory) => {
      const storage = await openAt(directory);
      const head = (index: number) => ({ index, term: 1, configuration: utf8("m"), configurationIndex: 1 });
      await storage.snapshots.save(head(1), stream(utf8("older")));
      const newest = await storage.snapshots.save(head(2), stream(utf8("newer content")));
      await storage.close();
      const path = join(directory, "raft", "snapshots", newest.id);
      const whole = await readFile(path);
      for (let at = 0; at < whole.length; at++) {
        const damaged = whole.slice();
        damaged[at] = (damaged[at] as number) ^ 16;
        for (const content of [damaged, whole.subarray(0, at)]) {
          await writeFile(path, content);
          const again = await openAt(directory);
          const latest = await again.snapshots.latest();
          assert.equal(latest?.index, 1, `byte ${at}`);
          await again.close();
        }
      }
      await writeFile(path, Buffer.concat([whole, Buffer.from("x")]));
      const again = await openAt(directory);
      assert.equal((await again.snapshots.latest())?.index, 1);
      await assert.rejects(collect(again.snapshots.read(newest)), { code: "snapshot-corrupt" });
      await again.close();
    }));

  it("when none is whole, opening says so instead of beginning anew", () =>
    inTemporary(async (directory) => {
      const storage = await openAt(directory);
      const saved = await storage.snapshots.save(
        { index: 1, term: 1, configuration: utf8(""), configurationIndex: 0 },
        stream(utf8("x")),
      );
      await storage.close();
      await truncate(join(directory, "raft", "snapshots", saved.id), 10);
      const again = await openAt(directory);
      await assert.rejects(again.snapshots.latest(), { code: "snapshot-corrupt" });
      await again.close();
    }));
});

describe("a data directory", () => {
  it("is opened once at a time", () =>
    inTemporary(async (directory) => {
      const storage = await openAt(directory);
      await assert.rejects(openAt(directory), { code: "storage-failed", message: /in use by process \d+/ });
      await storage.close();
      await (await openAt(directory)).close();
    }));

  it("is taken over from a process that is gone", () =>
    inTemporary(async (directory) => {
      for (const holder of ["999999999 boot:1", `${process.pid} boot:1`, "1 no-such-boot:1", "", "rubbish"]) {
        await writeFile(join(directory, "proconsul.lock"), holder);
        await (await openAt(directory)).close();
      }
    }));

  it("keeps its files apart from the log", () =>
    inTemporary(async (directory) => {
      const storage = await openAt(directory);
      await storage.raft.load();
      await storage.files.put("node-id", utf8("x"));
      assert.deepEqual(await storage.files.list(""), ["node-id"]);
      await assert.rejects(storage.files.put("raft/wal/x", utf8("x")), { code: "bad-request" });
      await storage.close();
    }));

  it("that cannot be made is an error in words", () =>
    inTemporary(async (directory) => {
      await writeFile(join(directory, "file"), "");
      await assert.rejects(openAt(join(directory, "file", "below")), {
        code: "storage-failed",
        message: /Cannot use .* as data directory: (not a directory|file exists)/,
      });
    }));
});

/** Six entries in three batches. */
async function smallLog(directory: string): Promise<readonly LogEntry[]> {
  const { store } = await openLog(directory);
  const written = [1, 2, 3, 4, 5, 6].map((index) => entry(index, 1, `entry number ${index}`));
  for (let at = 0; at < 6; at += 2)
    await store.write({ hardState: { term: 1, votedFor: "me" }, entries: written.slice(at, at + 2) });
  await store.close();
  return written;
}
