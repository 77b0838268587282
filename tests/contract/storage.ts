/**
 * What every Storage promises. A place is where one can be opened, closed and opened again; where nothing survives
 * closing (memory), the sentences about that are left to the places where it does.
 */
import type { LogEntry, Storage } from "../../core/ports/storage.ts";
import { type Bytes, concat, text, utf8 } from "../../core/types/bytes.ts";
import { assert, describe, it } from "../support/harness.ts";
import { pattern } from "./subject.ts";

export interface StoragePlace {
  open(): Promise<Storage>;
  readonly survives: boolean;
  /** Removes it. */
  dispose(): Promise<void>;
}

export function entry(index: number, term: number, data: string | Bytes = `${term}.${index}`): LogEntry {
  return { index, term, type: 0, data: typeof data === "string" ? utf8(data) : data };
}

export async function* stream(...parts: Bytes[]): AsyncGenerator<Bytes> {
  yield* parts;
}

export async function collect(content: AsyncIterable<Bytes>): Promise<Bytes> {
  const parts: Bytes[] = [];
  for await (const part of content) parts.push(part.slice());
  return concat(parts);
}

const plain = (entries: readonly LogEntry[]) => entries.map(({ index, term, type, data }) => [index, term, type, text(data)]);
const head = (index: number, term = 1) => ({ index, term, configuration: utf8("members"), configurationIndex: 1 });

export function storageContract(name: string, place: () => Promise<StoragePlace>): void {
  /** Opens, runs, and reopens where that makes a difference; `body` gets what a restart would find. */
  const inPlace = (body: (storage: Storage, reopen: () => Promise<Storage>) => Promise<void>) => async () => {
    const at = await place();
    let storage = await at.open();
    try {
      await body(storage, async () => {
        if (!at.survives) return storage;
        await storage.close();
        storage = await at.open();
        return storage;
      });
    } finally {
      await storage.close();
      await at.dispose();
    }
  };

  describe(`raft store of ${name}`, () => {
    it(
      "a new log is empty, in term 0, and voted for nobody",
      inPlace(async ({ raft }) => {
        const { hardState, entries, compacted = 0 } = await raft.load();
        assert.deepEqual(
          { hardState, entries, compacted },
          { hardState: { term: 0, votedFor: undefined }, entries: [], compacted: 0 },
        );
      }),
    );

    it(
      "entries, term and vote are there after a restart",
      inPlace(async ({ raft }, reopen) => {
        await raft.load();
        await raft.write({ hardState: { term: 2, votedFor: "b" }, entries: [entry(1, 1), entry(2, 2, pattern(5000))] });
        await raft.write({ entries: [entry(3, 2)] });
        const { hardState, entries } = await (await reopen()).raft.load();
        assert.deepEqual(hardState, { term: 2, votedFor: "b" });
        assert.deepEqual(plain(entries), plain([entry(1, 1), entry(2, 2, pattern(5000)), entry(3, 2)]));
      }),
    );

    it(
      "a write after a restart continues the log",
      inPlace(async ({ raft }, reopen) => {
        await raft.load();
        await raft.write({ hardState: { term: 1, votedFor: undefined }, entries: [entry(1, 1)] });
        const second = (await reopen()).raft;
        if (second !== raft) await second.load();
        await second.write({ entries: [entry(2, 1)] });
        assert.deepEqual(plain((await (await reopen()).raft.load()).entries), plain([entry(1, 1), entry(2, 1)]));
      }),
    );

    it(
      "truncation removes an entry and all after it before the new ones are added",
      inPlace(async ({ raft }, reopen) => {
        await raft.load();
        await raft.write({ entries: [entry(1, 1), entry(2, 1), entry(3, 1)] });
        await raft.write({ truncateFrom: 2, hardState: { term: 2, votedFor: undefined }, entries: [entry(2, 2)] });
        assert.deepEqual(plain((await (await reopen()).raft.load()).entries), plain([entry(1, 1), entry(2, 2)]));
      }),
    );

    it(
      "a log emptied from 1 goes on at any index",
      inPlace(async ({ raft }, reopen) => {
        await raft.load();
        await raft.write({ entries: [entry(1, 1), entry(2, 1)] });
        await raft.write({ truncateFrom: 1, entries: [entry(101, 3)] });
        await raft.compact(100);
        assert.deepEqual(plain((await (await reopen()).raft.load()).entries), plain([entry(101, 3)]));
      }),
    );

    it(
      "compaction drops entries up to its index and keeps the rest",
      inPlace(async ({ raft }, reopen) => {
        await raft.load();
        await raft.write({ hardState: { term: 1, votedFor: "a" }, entries: [1, 2, 3, 4, 5].map((index) => entry(index, 1)) });
        await raft.compact(3);
        await raft.write({ entries: [entry(6, 1)] });
        const { hardState, entries } = await (await reopen()).raft.load();
        assert.deepEqual(hardState, { term: 1, votedFor: "a" });
        assert.deepEqual(plain(entries), plain([entry(4, 1), entry(5, 1), entry(6, 1)]));
      }),
    );

    it(
      "compaction beyond the last entry empties the log, which then goes on behind the gap",
      inPlace(async ({ raft }, reopen) => {
        await raft.load();
        await raft.write({ entries: [entry(1, 1), entry(2, 1)] });
        await raft.compact(100);
        await raft.write({ entries: [entry(101, 3)] });
        assert.deepEqual(plain((await (await reopen()).raft.load()).entries), plain([entry(101, 3)]));
      }),
    );

    it(
      "a closed log refuses writes",
      inPlace(async ({ raft }) => {
        await raft.load();
        await raft.close();
        await assert.rejects(raft.write({ entries: [entry(1, 1)] }), { code: "closed" });
      }),
    );
  });

  describe(`snapshot store of ${name}`, () => {
    it(
      "there is none at first",
      inPlace(async ({ snapshots }) => {
        assert.equal(await snapshots.latest(), undefined);
      }),
    );

    it(
      "a saved one is the latest, also after a restart, and reads back as it was",
      inPlace(async ({ snapshots }, reopen) => {
        const parts = [utf8("one"), pattern(700_000), utf8("three")];
        const saved = await snapshots.save(head(7, 3), stream(...parts));
        const again = (await reopen()).snapshots;
        const latest = await again.latest();
        assert.deepEqual(latest, saved);
        assert.deepEqual([saved.index, saved.term, saved.size, saved.configurationIndex], [7, 3, 700_008, 1]);
        assert.deepEqual(saved.configuration, utf8("members"));
        assert.deepEqual(await collect(again.read(saved)), concat(parts));
      }),
    );

    it(
      "one with no content is one",
      inPlace(async ({ snapshots }, reopen) => {
        await snapshots.save(head(1), stream());
        const again = (await reopen()).snapshots;
        const latest = await again.latest();
        assert.equal(latest?.size, 0);
        assert.equal((await collect(again.read(latest as NonNullable<typeof latest>))).length, 0);
      }),
    );

    it(
      "a save that fails leaves no trace",
      inPlace(async ({ snapshots }, reopen) => {
        await snapshots.save(head(1), stream(utf8("good")));
        const broken = async function* () {
          yield utf8("half");
          throw new Error("gone");
        };
        await assert.rejects(snapshots.save(head(2), broken()));
        const again = (await reopen()).snapshots;
        const latest = await again.latest();
        assert.equal(latest?.index, 1);
        assert.equal(text(await collect(again.read(latest as NonNullable<typeof latest>))), "good");
      }),
    );

    it(
      "the newest two are kept, and one that is being read survives its removal",
      inPlace(async ({ snapshots }) => {
        const first = await snapshots.save(head(1), stream(pattern(300_000), pattern(300_000)));
        const reading = snapshots.read(first)[Symbol.asyncIterator]();
        let length = (await reading.next()).value?.length ?? 0;
        for (const index of [2, 3, 4]) await snapshots.save(head(index), stream(utf8(`s${index}`)));
        assert.equal((await snapshots.latest())?.index, 4);
        for (let part = await reading.next(); part.done !== true; part = await reading.next()) length += part.value.length;
        assert.equal(length, 600_000);
        await assert.rejects(collect(snapshots.read(first)));
      }),
    );
  });

  describe(`file store of ${name}`, () => {
    it(
      "a file comes back as it was put, also after a restart, and missing ones are undefined",
      inPlace(async ({ files }, reopen) => {
        await files.put("node-id", utf8("1234"));
        await files.put("services/abc", pattern(10_000));
        await files.put("empty", utf8(""));
        const again = (await reopen()).files;
        assert.equal(text((await again.get("node-id")) as Bytes), "1234");
        assert.deepEqual(await again.get("services/abc"), pattern(10_000));
        assert.equal((await again.get("empty"))?.length, 0);
        assert.equal(await again.get("missing"), undefined);
        assert.equal(await again.get("services"), undefined);
        assert.equal(await again.get("node-id/below"), undefined);
      }),
    );

    it(
      "a later put replaces an earlier one, in the order of the calls",
      inPlace(async ({ files }, reopen) => {
        const content = utf8("0");
        const puts = Array.from({ length: 20 }, (_, at) => {
          content[0] = 48 + at;
          return files.put("counter", content);
        });
        await Promise.all(puts);
        assert.equal((await (await reopen()).files.get("counter"))?.[0], 48 + 19);
      }),
    );

    it(
      "what is appended stands behind what was there, in the order of the calls, also after a restart",
      inPlace(async ({ files }, reopen) => {
        const content = utf8("a");
        const changes = [files.append("log/new", content)];
        content[0] = 98;
        changes.push(files.append("log/new", content, { sync: true }), files.append("log/new", utf8("")));
        changes.push(files.put("log/new", utf8("c")), files.append("log/new", utf8("d")), files.append("log/other", utf8("e")));
        await Promise.all(changes);
        const again = (await reopen()).files;
        assert.equal(text((await again.get("log/new")) as Bytes), "cd");
        await again.append("log/new", pattern(5000));
        assert.deepEqual(await again.get("log/new"), concat([utf8("cd"), pattern(5000)]));
        assert.deepEqual(await again.list("log/"), ["log/new", "log/other"]);
      }),
    );

    it(
      "deleting twice is harmless",
      inPlace(async ({ files }, reopen) => {
        await files.put("checks/x", utf8("x"));
        await files.delete("checks/x");
        await files.delete("checks/x");
        assert.equal(await (await reopen()).files.get("checks/x"), undefined);
      }),
    );

    it(
      "names are listed by prefix, sorted",
      inPlace(async ({ files }) => {
        for (const name of ["services/b", "services/a", "services/configs/c", "serf/local.snapshot", "node-id"])
          await files.put(name, utf8(name));
        assert.deepEqual(await files.list("services/"), ["services/a", "services/b", "services/configs/c"]);
        assert.deepEqual(await files.list("ser"), ["serf/local.snapshot", "services/a", "services/b", "services/configs/c"]);
        assert.deepEqual(await files.list("services/a"), ["services/a"]);
        assert.deepEqual(await files.list("nothing/"), []);
        assert.equal((await files.list("")).length, 5);
      }),
    );

    it(
      "names that lead elsewhere are refused",
      inPlace(async ({ files }) => {
        for (const name of [
          "",
          "/etc/passwd",
          "../x",
          "a/../../x",
          "a//b",
          "a/",
          "./a",
          "a\\b",
          "C:x",
          "a\u0000b",
          "x".repeat(2000),
        ]) {
          await assert.rejects(async () => files.put(name, utf8("x")), { code: "bad-request" }, name);
          await assert.rejects(async () => files.append(name, utf8("x")), { code: "bad-request" }, name);
          await assert.rejects(async () => files.get(name), { code: "bad-request" }, name);
        }
      }),
    );
  });
}
