/**
 * The commit path of a server that is alone: proposals per second, in memory and on a disk.
 * Run: `npx esbuild tests/bench/raft.ts --bundle --platform=node --format=esm --packages=external --outfile=.build/raft-bench.mjs && node .build/raft-bench.mjs`
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClock } from "../../adapters/node-api/clock.ts";
import { createCrypto } from "../../adapters/node-api/crypto.ts";
import { openStorage } from "../../adapters/node-api/storage.ts";
import { loadRaft, RaftDriver } from "../../core/raft/driver.ts";
import { raftTiming } from "../../core/raft/messages.ts";
import { seededRandom, silent } from "../support/raft-driver.ts";

const seconds = 2;

async function measure(name: string, dataDirectory: string | undefined, proposers: number): Promise<void> {
  const clock = createClock();
  const storage = await openStorage({ dataDirectory, clock, crypto: createCrypto(), logger: silent });
  const { machine } = await loadRaft(storage.raft, storage.snapshots, {
    id: "a",
    random: seededRandom(1),
    timing: raftTiming(1, false),
    bootstrap: { servers: [{ id: "a", address: "a", voter: true }] },
    now: clock.monotonic(),
  });
  let applied = 0;
  const driver = new RaftDriver({
    machine,
    clock,
    store: storage.raft,
    snapshots: storage.snapshots,
    logger: silent,
    content: { async *capture() {}, restore: async () => {} },
    apply: (entries) => {
      applied += entries.length;
      return entries;
    },
    send: () => {},
    onLeader: () => {},
    onFatal: (error) => {
      throw error;
    },
  });
  driver.start();
  while (!driver.isLeader()) await new Promise((resolve) => setTimeout(resolve, 1));
  const data = new Uint8Array(200);
  const began = performance.now();
  const end = began + seconds * 1000;
  let done = 0;
  const proposer = async () => {
    for (; performance.now() < end; done++) {
      await driver.propose(data);
      // Requests come from sockets: let the event loop turn now and then, as they would.
      if (done % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(Array.from({ length: proposers }, proposer));
  const rate = done / ((performance.now() - began) / 1000);
  console.log(`${name}, ${proposers} proposers: ${Math.round(rate).toLocaleString("en")} proposals/s (${applied} applied)`);
  await driver.stop();
  await storage.close();
}

const directory = await mkdtemp(join(tmpdir(), "proconsul-bench-"));
for (const proposers of [1, 64, 1000]) await measure("memory", undefined, proposers);
for (const proposers of [1, 64, 1000]) await measure("disk", join(directory, String(proposers)), proposers);
await rm(directory, { recursive: true });
