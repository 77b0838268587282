/** What opening a log relies on: nothing that a power failure could still take. */
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import { type FileStep, WalLog, type WalOpened } from "../../../adapters/shared/wal-log.ts";
import { encodeMark, markName } from "../../../adapters/shared/wal-mark.ts";
import { SimFiles, sectorBytes } from "../../../adapters/sim/sim-files.ts";
import { crc32 } from "../../../core/codec/checks.ts";
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
    if (this.files.find(markName) !== undefined) log.readMark(this.files.read(markName));
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

/** Three records, of which the last fills several sectors, and a mark behind them. */
function marked(): Disk {
  const disk = new Disk(1);
  const { log } = disk.open();
  for (const index of [1, 2, 3]) disk.perform(log.append(batch(index)));
  disk.perform([log.mark()]);
  return disk;
}

describe("the mark of how far a log was durable", () => {
  const name = "0000000000000001.wal";
  const lastAt = (disk: Disk): number => disk.files.read(name).indexOf(3, 64) - 64;
  const zero = (disk: Disk, from: number): void =>
    disk.files.perform({ kind: "write", name, at: from, bytes: new Uint8Array(disk.files.read(name).length - from) });

  it("shows that a last record is gone, in part or as a whole", () => {
    for (const ahead of [0, 64]) {
      const disk = marked();
      const at = Math.ceil(lastAt(disk) / sectorBytes) * sectorBytes + ahead;
      zero(disk, at);
      assert.throws(() => disk.open(), { code: "wal-corrupt", message: /it ends before record 3, and all up to 3 were durable/ });
      disk.files.remove(markName);
      assert.deepEqual(indexes(disk.open().opened), [1, 2]);
    }
  });

  it("shows that the last segment is gone, or all of them", () => {
    const disk = marked();
    const { log } = disk.open();
    for (let index = 4; disk.files.list().length < 4; index++) disk.perform(log.append(batch(index)));
    disk.perform([log.mark()]);
    const segments = disk.files.list().filter((file) => file.endsWith(".wal"));
    for (const gone of segments.toReversed()) {
      disk.files.remove(gone);
      assert.throws(() => disk.open(), { code: "wal-corrupt", message: /segment 3 is missing, and was durable/ });
    }
  });

  it("says nothing when it is damaged, old, or of another log", () => {
    const disk = marked();
    const bytes = disk.files.read(markName);
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice();
      damaged[at] = (damaged[at] as number) ^ 4;
      disk.perform([{ kind: "note", name: markName, bytes: damaged }]);
      assert.deepEqual(indexes(disk.open().opened), [1, 2, 3]);
    }
    disk.perform([{ kind: "note", name: markName, bytes }]);
    const { log } = disk.open();
    disk.perform(log.append(batch(4)));
    assert.deepEqual(indexes(disk.open().opened), [1, 2, 3, 4]);

    const other = new Disk(2);
    other.perform(other.open().log.append(batch(1)));
    const salt = new Uint8Array(8).fill(1);
    other.perform([{ kind: "note", name: markName, bytes: encodeMark({ segment: 1, salt, nextSequence: 100 }) }]);
    assert.deepEqual(indexes(other.open().opened), [1]);
  });
});

it("a segment of another version is refused by its name, and not taken for damage", () => {
  for (const [version, words] of [
    [1, "an earlier version of this program, in format 1"],
    [3, "a later version of this program, in format 3"],
  ] as const) {
    const disk = marked();
    const name = "0000000000000001.wal";
    const header = disk.files.read(name).slice(0, 64);
    const view = new DataView(header.buffer);
    view.setUint32(4, version);
    view.setUint32(60, crc32(header.subarray(0, 60)));
    disk.perform([{ kind: "write", name, at: 0, bytes: header }]);
    assert.throws(() => disk.open(), { code: "wal-corrupt", message: new RegExp(`${name} was written by ${words}; this one`) });
  }
});
