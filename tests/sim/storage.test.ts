/** The simulated disk keeps what every storage promises; and it really tears, loses and rots. */
import { SimFiles } from "../../adapters/sim/sim-files.ts";
import { World } from "../../adapters/sim/world.ts";
import { createRandom, seedOf } from "../../adapters/shared/random.ts";
import type { Storage } from "../../core/ports/storage.ts";
import { utf8 } from "../../core/types/bytes.ts";
import { entry, storageContract } from "../contract/storage.ts";
import { assert, describe, it } from "../support/harness.ts";

/** The world's time goes on by itself, as fast as it can: the contract knows nothing of it. */
storageContract("sim", async () => {
  const world = new World(1);
  const host = world.host("a");
  let open = true;
  const turn = (): void => {
    if (!open) return;
    world.step();
    setImmediate(turn);
  };
  turn();
  return {
    open: () => host.disk.open(),
    survives: true,
    dispose: async () => {
      open = false;
    },
  };
});

/** A log of three batches, and a fourth under way when the power fails. Gives what a restart finds. */
async function afterPowerFailure(seed: number, hurt: (storage: Storage, files: SimFiles) => void = () => {}): Promise<string> {
  const world = new World(seed);
  const host = world.host("a");
  return world.run(
    (async () => {
      const storage = await host.disk.open();
      await storage.raft.load();
      for (const index of [1, 2, 3]) await storage.raft.write({ entries: [entry(index, 1, "x".repeat(200))] });
      hurt(storage, host.disk.log);
      void storage.raft.write({ entries: [entry(4, 1, "y".repeat(200))] });
      await Promise.resolve();
      host.crash("power");
      host.restart();
      const again = await host.disk.open();
      return again.raft.load().then(
        ({ entries }) => entries.map(({ index }) => index).join(" "),
        (error: { readonly code: string }) => error.code,
      );
    })(),
  );
}

describe("a simulated disk that loses its power", () => {
  it("has what was synced, and of the last write all or nothing", async () => {
    const found = new Set<string>();
    for (let seed = 1; seed <= 60; seed++) found.add(await afterPowerFailure(seed));
    assert.deepEqual([...found].sort(), ["1 2 3", "1 2 3 4"]);
  });

  it("whose log has a turned bit says so", async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const found = await afterPowerFailure(seed, (_, files) => files.rot("log"));
      // What fills a record up to its end, and the zeros behind the last one, may be anything.
      assert.ok(["wal-corrupt", "1 2 3", "1 2 3 4"].includes(found), found);
    }
  });
});

describe("a file on a simulated disk", () => {
  const name = "f";
  const write = (files: SimFiles, at: number, text: string): void =>
    files.perform({ kind: "write", name, at, bytes: utf8(text) });

  it("without a sync may be torn anywhere, in any order", () => {
    const found = new Set<string>();
    for (let seed = 1; seed <= 200; seed++) {
      const files = new SimFiles(createRandom(seedOf(seed)));
      files.perform({ kind: "create", name, bytes: utf8("0".repeat(128)) });
      files.perform({ kind: "sync", name });
      files.perform({ kind: "syncNames" });
      write(files, 0, "1".repeat(128));
      write(files, 128, "2".repeat(64));
      files.powerFailure();
      found.add(String.fromCharCode(...files.read(name)).replaceAll(/(.)\1*/g, "$1"));
    }
    for (const expected of ["0", "1", "12", "01", "10", "02"]) assert.ok(found.has(expected), `${expected} of ${[...found]}`);
  });

  it("without its directory's sync may be gone", () => {
    const files = new SimFiles(createRandom(seedOf(1)));
    files.perform({ kind: "create", name, bytes: utf8("x") });
    files.perform({ kind: "sync", name });
    for (let seed = 0; seed < 20 && files.list().length > 0; seed++) files.powerFailure();
    assert.deepEqual(files.list(), []);
  });

  it("does not grow when the disk is full", () => {
    const files = new SimFiles(createRandom(seedOf(1)));
    files.perform({ kind: "create", name, bytes: utf8("1234") });
    files.full = true;
    write(files, 0, "5678");
    assert.throws(() => write(files, 4, "9"), { code: "storage-failed" });
  });

  it("written elsewhere or not at all is noticed only behind it", () => {
    for (const how of ["lost", "misdirected"] as const) {
      const files = new SimFiles(createRandom(seedOf(3)));
      files.perform({ kind: "create", name, bytes: utf8("header--".repeat(8)) });
      files.perform({ kind: "sync", name });
      files.perform({ kind: "syncNames" });
      for (const [at, text] of [
        [64, "1".repeat(64)],
        [128, "2".repeat(64)],
        [192, "3".repeat(64)],
      ] as const) {
        if (at === 128) files.leadAstray(how);
        write(files, at, text);
        files.perform({ kind: "sync", name });
      }
      files.powerFailure();
      const bytes = String.fromCharCode(...files.read(name));
      assert.notEqual(bytes.slice(128, 192), "2".repeat(64));
      assert.equal(bytes.slice(192), "3".repeat(64));
    }
  });
});
