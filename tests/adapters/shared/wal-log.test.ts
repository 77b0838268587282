/** What opening a log relies on: nothing that a power failure could still take. */
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import { type FileStep, WalLog, type WalOpened } from "../../../adapters/shared/wal-log.ts";
import { SimFiles, sectorBytes } from "../../../adapters/sim/sim-files.ts";
import { assert, describe, it } from "../../support/harness.ts";

class Disk {
  readonly files: SimFiles;
  /** A failed sync gives up what it could not write, and the pages count as clean: later syncs have nothing to do. */
  syncFails = false;

  constructor(seed: number) {
    this.files = new SimFiles(createRandom(seedOf(seed)));
  }

  perform(steps: readonly FileStep[]): void {
    for (const step of steps) {
      const file = step.kind === "sync" ? this.files.find(step.name) : undefined;
      if (this.syncFails && file !== undefined) {
        file.unsynced = [];
        throw new Error("input/output error");
      }
      this.files.perform(step);
    }
  }

  /** As a process does that begins. */
  open(): { readonly log: WalLog; readonly opened: WalOpened } {
    const salt = () => new Uint8Array(8).fill(7);
    const log = new WalLog({ path: "wal", salt, segmentBytes: 4096, extendBytes: 512, sectorBytes });
    const { segments } = WalLog.sort(this.files.list());
    for (const [at, name] of segments.entries()) log.read(name, this.files.read(name), at === segments.length - 1);
    const opened = log.open();
    this.perform(opened.steps);
    return { log, opened };
  }
}

const batch = (index: number) => ({ entries: [{ index, term: 1, type: 0, data: new Uint8Array(100).fill(index) }] });
const indexes = ({ entries }: WalOpened): readonly number[] => entries.map(({ index }) => index);

describe("a log whose sync failed, and whose process began anew", () => {
  it("makes durable what it still finds in the system's memory, before anybody relies on it", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const disk = new Disk(seed);
      const { log } = disk.open();
      disk.perform(log.append(batch(1)));
      disk.syncFails = true;
      assert.throws(() => disk.perform(log.append(batch(2))));
      disk.syncFails = false;
      const found = indexes(disk.open().opened);
      assert.deepEqual(found, [1, 2]);
      disk.files.powerFailure();
      assert.deepEqual(indexes(disk.open().opened), found);
    }
  });

  it("and whose sync fails again is not opened", () => {
    const disk = new Disk(1);
    const { log } = disk.open();
    disk.perform(log.append(batch(1)));
    disk.syncFails = true;
    assert.throws(() => disk.open());
  });
});
