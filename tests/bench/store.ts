/**
 * The store with many keys: what they cost in memory, and how long anything else must wait while a snapshot is written,
 * read at the start, or received. A wait is the time between two turns of the event loop in which the main thread had
 * the processor (where the system tells: Linux), so that other load on the machine does not count.
 * Run: bun tests/bench/store.ts [KEYS], or deno run -A …, or node --expose-gc (22.18 and later) …; with Node 20 bundle it first, as raft.ts says
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClock } from "../../adapters/node-api/clock.ts";
import { createCrypto } from "../../adapters/node-api/crypto.ts";
import { openStorage } from "../../adapters/node-api/storage.ts";
import { Catalog } from "../../core/catalog/catalog.ts";
import type { Command } from "../../core/catalog/commands.ts";
import { restoreChunkBytesMax } from "../../core/catalog/restoring.ts";
import { decodeInPlace, encode } from "../../core/codec/cbor.ts";
import { concat } from "../../core/types/bytes.ts";
import { silent } from "../support/raft-driver.ts";

const keys = Number(process.argv[2] ?? 1_000_000);
/** The aim: nothing waits longer. */
const waitMax = 50;
const mebibyte = 1024 * 1024;

const value = new Uint8Array(100).fill(120);
/** As it comes out of the log. */
const set = (at: number): Command =>
  decodeInPlace(encode({ kind: "kv", op: { op: "set", key: `mem/${at % 100}/${at}`, value, flags: 0 }, now: 0 })) as Command;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const resident = (): number => process.memoryUsage().rss / mebibyte;
const collect = (): void => {
  const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } };
  gc?.();
  Bun?.gc(true);
};

/** Milliseconds that the main thread has run; of the clock where the system does not tell. */
const mainThread = (): number => {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
  } catch {
    return performance.now();
  }
};

/** Runs `act` with a clock beside it. */
async function watched(name: string, act: () => Promise<void>, every?: () => void): Promise<void> {
  let longest = 0;
  let peak = resident();
  const before = peak;
  let running = true;
  const began = performance.now();
  const used = process.cpuUsage();
  const watching = (async () => {
    let last = mainThread();
    for (let turns = 0; running; turns++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      longest = Math.max(longest, mainThread() - last);
      if (turns % 16 === 0) peak = Math.max(peak, resident());
      every?.();
      last = mainThread();
    }
  })();
  await act();
  running = false;
  const seconds = (performance.now() - began) / 1000;
  await watching;
  const { user, system } = process.cpuUsage(used);
  const verdict = longest <= waitMax ? "" : `   more than ${waitMax} ms`;
  console.log(
    `${name.padEnd(34)} ${seconds.toFixed(2).padStart(6)} s (cpu ${((user + system) / 1e6).toFixed(2)} s)   longest wait ${longest.toFixed(1).padStart(6)} ms   memory ${before.toFixed(0)} → peak ${peak.toFixed(0)} MiB${verdict}`,
  );
}

const clock = createClock();
const directory = await mkdtemp(join(tmpdir(), "proconsul-bench-"));
const open = () => openStorage({ dataDirectory: directory, clock, crypto: createCrypto(), logger: silent });
const head = (index: number) => ({ index, term: 1, configuration: new Uint8Array(0), configurationIndex: 0 });

collect();
const empty = resident();
const catalog = new Catalog();
let index = 0;
await watched(`${keys.toLocaleString("en")} keys are set`, async () => {
  while (index < keys) {
    for (let at = 0; at < 500 && index < keys; at++) catalog.apply(++index, set(index));
    await turn();
  }
});
collect();
await turn();
console.log(`memory for a key of 100 bytes: ${(((resident() - empty) * mebibyte) / keys).toFixed(0)} bytes resident`);

const storage = await open();
/** Ten keys are set in each turn meanwhile: new ones, and ones that the snapshot has not come to yet. */
const writes = (): void => {
  for (let at = 0; at < 10; at++) catalog.apply(++index, set(at % 2 === 0 ? index : (index * 7919) % keys));
  catalog.watches.flush();
};
await watched(
  "a snapshot is saved",
  async () => {
    const snapshot = catalog.snapshot();
    const content = async function* () {
      yield* snapshot;
    };
    await storage.snapshots.save(head(index), content());
  },
  writes,
);
await storage.close();

// What a server does when it starts.
const reopened = await open();
let restored = new Catalog();
const restore = async (into: Catalog): Promise<void> => {
  const meta = await reopened.snapshots.latest();
  if (meta === undefined) throw new Error("no snapshot was saved");
  const restoring = into.restore();
  for await (const chunk of reopened.snapshots.read(meta)) restoring.push(chunk);
  restoring.finish();
};
await watched("a server starts from it", () => restore(restored));
await watched("a follower replaces its state by it", () => restore(restored));

// An operator's snapshot: the same state, in commands of the log.
const chunks: Uint8Array[] = [];
let waiting: Uint8Array[] = [];
let size = 0;
for (const frame of catalog.snapshot("operator")) {
  waiting.push(frame);
  size += frame.length;
  if (size < restoreChunkBytesMax) continue;
  const bytes = concat(waiting);
  for (let from = 0; from < bytes.length; from += restoreChunkBytesMax)
    chunks.push(bytes.slice(from, from + restoreChunkBytesMax));
  waiting = [];
  size = 0;
}
if (waiting.length > 0) chunks.push(concat(waiting));
restored = new Catalog();
for (let at = 1; at <= keys / 10; at++) restored.apply(at, set(at));
await watched("an operator's snapshot is restored", async () => {
  let at = 0;
  let log = keys;
  restored.apply(++log, { kind: "restoreBegin", id: "bench" });
  for (const bytes of chunks) {
    restored.apply(++log, { kind: "restoreChunk", id: "bench", at, bytes });
    at += bytes.length;
    await turn();
  }
  const result = restored.apply(++log, { kind: "restoreEnd", id: "bench", length: at });
  if (result.kind !== "done") throw new Error(JSON.stringify(result));
});
await reopened.close();
await rm(directory, { recursive: true });
