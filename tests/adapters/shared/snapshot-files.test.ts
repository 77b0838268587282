/** Which snapshot is the latest, whatever the clock said, and whatever lies in the directory. */
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import { FrameWriter, snapshotMagic } from "../../../adapters/shared/snapshot-file.ts";
import { SnapshotFiles } from "../../../adapters/shared/snapshot-files.ts";
import { SimDirectory } from "../../../adapters/sim/sim-directory.ts";
import { SimFiles } from "../../../adapters/sim/sim-files.ts";
import { encode } from "../../../core/codec/cbor.ts";
import { concat, emptyBytes, text, utf8 } from "../../../core/types/bytes.ts";
import { collect, stream } from "../../contract/storage.ts";
import { assert, describe, it } from "../../support/harness.ts";

class Place {
  readonly files = new SimFiles(createRandom(seedOf(1)));
  readonly passedOver: string[] = [];
  now = 1_600_000_000_000;
  store = this.open();

  open(): SnapshotFiles {
    this.store = new SnapshotFiles({
      directory: new SimDirectory("snapshots", this.files, { alive: true, sync: async () => {} }),
      clock: { wall: () => this.now },
      onDamaged: (_, error) => this.passedOver.push(error.message),
    });
    return this.store;
  }

  async save(index: number, content: string): Promise<void> {
    await this.store.save({ index, term: 1, configuration: utf8("m"), configurationIndex: 1 }, stream(utf8(content)));
  }

  /** What the next life finds. */
  async latest(): Promise<string | undefined> {
    const store = this.open();
    const meta = await store.latest();
    return meta === undefined ? undefined : `${meta.index} ${text(await collect(store.read(meta)))}`;
  }
}

describe("the latest snapshot", () => {
  it("is found whatever time the clock told", async () => {
    for (const now of [0, -5, 0.5, 1e15 + 0.5, 9e15, 1e21, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const place = new Place();
      place.now = now;
      await place.save(1, "first");
      await place.save(2, "second");
      assert.equal(await place.latest(), "2 second", String(now));
    }
  });

  it("is the one of the highest index, also when the clock went back", async () => {
    const place = new Place();
    await place.save(7, "earlier");
    place.now -= 86_400_000;
    place.open();
    await place.save(8, "later");
    await place.save(9, "latest");
    assert.equal(await place.latest(), "9 latest");
    assert.equal(place.files.list().length, 2);
  });

  it("is not one that was given another's name", async () => {
    const place = new Place();
    await place.save(7, "seven");
    await place.save(8, "eight");
    const [seven] = place.files.list();
    place.files.perform({ kind: "create", name: "1-99-1.snap", bytes: place.files.read(seven as string) });
    assert.equal(await place.latest(), "8 eight");
    assert.match(place.passedOver[0] ?? "", /1-99-1\.snap: damaged at byte 0: it is the snapshot of term 1 up to index 7/);
  });

  it("of a later version is neither read nor passed over for an older one", async () => {
    const place = new Place();
    await place.save(7, "seven");
    const frames = new FrameWriter();
    const head = encode({ version: 2, somethingElse: true });
    const bytes = concat([snapshotMagic, frames.header(head), head, frames.header(emptyBytes)]);
    place.files.perform({ kind: "create", name: "1-8-1.snap", bytes });
    await assert.rejects(place.latest(), {
      code: "storage-failed",
      message: /1-8-1\.snap: it was written by a later version of this program, in format 2; this one reads and writes 1/,
    });
  });

  it("is none where names say absurd things", async () => {
    const place = new Place();
    for (const name of [
      "9999999999999999-9999999999999999-9999999999999999.snap",
      "0-0-0.snap",
      "1-1-1.snap.tmp",
      "x.snap",
      "-1-1-1.snap",
    ])
      place.files.perform({ kind: "create", name, bytes: utf8("rubbish") });
    await assert.rejects(place.latest(), { code: "snapshot-corrupt", message: /all 2 are damaged/ });
  });
});
