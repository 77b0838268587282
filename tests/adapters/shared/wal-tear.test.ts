/** What a power failure may do to the last record, and what it may not: every way in which a write is cut short, every bit. */
import { fc } from "../../support/property.ts";
import { encodeRecord, encodeSegmentHeader, firstRecordAt, scanSegment } from "../../../adapters/shared/wal.ts";
import { encodeBatch } from "../../../adapters/shared/wal-batch.ts";
import { concat } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";

const sectorBytes = 64;
const header = { number: 1, firstSequence: 1, salt: new Uint8Array(8).fill(9), sectorBytes };

interface Written {
  readonly bytes: Uint8Array;
  /** Where each record begins, and where the last one ends. */
  readonly places: readonly number[];
}

function segmentWith(contents: readonly Uint8Array[]): Written {
  const parts = [encodeSegmentHeader(header)];
  const places = [firstRecordAt(header)];
  for (const [number, data] of contents.entries()) {
    const payload = encodeBatch({ entries: [{ index: number + 1, term: 1, type: 0, data }] });
    const at = places[number] as number;
    const record = encodeRecord(payload, number + 1, at, header);
    parts.push(record);
    places.push(at + record.length);
  }
  return { bytes: concat([...parts, new Uint8Array(512)]), places };
}

/** The last record with only those of its sectors written that `landed` says, first to last. */
function torn({ bytes, places }: Written, landed: (part: number) => boolean): Uint8Array {
  const [at, end] = places.slice(-2) as [number, number];
  const left = bytes.slice();
  for (let from = at, part = 0; from < end; from = (Math.floor(from / sectorBytes) + 1) * sectorBytes, part++)
    if (!landed(part)) left.fill(0, from, Math.min(end, (Math.floor(from / sectorBytes) + 1) * sectorBytes));
  return left;
}

function found(bytes: Uint8Array): string {
  const scanned = scanSegment(bytes, header);
  return scanned.kind === "corrupt" ? `corrupt at ${scanned.at}` : `${scanned.kind} ${scanned.batches.length}`;
}

const zeros = (length: number) => new Uint8Array(length);
/** What is stored tells nothing of what was written: zeros, one bit, noise. */
const content = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.nat(400).map(zeros),
  fc.tuple(fc.nat(400), fc.nat(400)).map(([length, at]) => zeros(length + 1).fill(1, at, at + 1)),
);
const contents = fc.array(content, { minLength: 1, maxLength: 4 });

describe("the last record of a log", () => {
  it("written up to any byte is torn, and cut where it begins", () => {
    fc.assert(
      fc.property(contents, fc.nat(), (stored, chance) => {
        const { bytes, places } = segmentWith(stored);
        const [at, end] = places.slice(-2) as [number, number];
        const left = bytes.slice();
        left.fill(0, at + (chance % (end - at)));
        const outcome = found(left);
        if (outcome === `whole ${stored.length}`) assert.deepEqual(scanSegment(left, header), scanSegment(bytes, header));
        else assert.equal(outcome, `${left[at] === 0 ? "whole" : "torn"} ${stored.length - 1}`);
      }),
      { numRuns: 2000 },
    );
  });

  it("with any of its sectors not written is torn, and cut where it begins", () => {
    fc.assert(
      fc.property(contents, fc.infiniteStream(fc.boolean()), (stored, chance) => {
        const written = segmentWith(stored);
        const left = torn(written, () => chance.next().value as boolean);
        const outcome = found(left);
        if (outcome === `whole ${stored.length}`) {
          // All is there, but perhaps for what fills the record up to its end.
          assert.deepEqual(scanSegment(left, header), scanSegment(written.bytes, header));
          return;
        }
        const nothing = left.subarray(written.places.at(-2)).every((byte) => byte === 0);
        assert.equal(outcome, `${nothing ? "whole" : "torn"} ${stored.length - 1}`);
      }),
      { numRuns: 2000 },
    );
  });

  it("with up to seven of its bytes damaged is corrupt, and so is each before it, or as it was", () => {
    fc.assert(
      fc.property(
        contents,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 7 }),
        (stored, turns) => {
          const { bytes, places } = segmentWith(stored);
          const from = places[0] as number;
          const end = places.at(-1) as number;
          const damaged = bytes.slice();
          for (const [at, bits] of turns) {
            const place = from + (at % (end - from));
            damaged[place] = (damaged[place] as number) ^ bits;
          }
          const outcome = found(damaged);
          if (outcome === `whole ${stored.length}`) {
            // Only what fills a record up to its end may differ.
            assert.deepEqual(scanSegment(damaged, header), scanSegment(bytes, header));
          } else assert.match(outcome, /^corrupt at /);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("bit by bit, with nothing but zeros in it", () => {
    const { bytes, places } = segmentWith([zeros(10), zeros(300)]);
    const [at, end] = places.slice(-2) as [number, number];
    for (let bit = at * 8; bit < end * 8; bit++) {
      const damaged = bytes.slice();
      const place = bit >> 3;
      damaged[place] = (damaged[place] as number) ^ (1 << (bit & 7));
      assert.ok([`corrupt at ${at}`, "whole 2"].includes(found(damaged)), `bit ${bit - at * 8}: ${found(damaged)}`);
    }
  });

  it("damaged, with a torn one behind it, is corrupt: that was begun when it was durable", () => {
    const written = segmentWith([zeros(10), zeros(300), zeros(300)]);
    const [, second] = written.places as [number, number];
    const left = torn(written, (part) => part === 0);
    assert.equal(found(left), "torn 2");
    left.fill(0, second + sectorBytes, second + 2 * sectorBytes);
    assert.equal(found(left), `corrupt at ${second}`);
  });

  it("whose file ends within it is torn: nobody acknowledges a file that is too short", () => {
    const { bytes, places } = segmentWith([zeros(10), zeros(300)]);
    const [at, end] = places.slice(-2) as [number, number];
    for (let length = at + 1; length < end - 39; length++) assert.equal(found(bytes.slice(0, length)), "torn 1", `at ${length}`);
  });

  it("behind it a turned bit in the zeros is cut, and nothing is lost", () => {
    const { bytes, places } = segmentWith([zeros(10)]);
    const end = places.at(-1) as number;
    for (let place = end; place < bytes.length; place++) {
      const damaged = bytes.slice();
      damaged[place] = 16;
      assert.equal(found(damaged), "torn 1", `byte ${place}`);
    }
  });

  it("made of sectors that each resemble a mask finds another one", () => {
    // One sector for each byte: whatever mask of one repeated byte is tried, some sector has nothing else.
    const hostile = concat(Array.from({ length: 256 }, (_, byte) => new Uint8Array(sectorBytes).fill(byte)));
    const written = segmentWith([hostile]);
    assert.equal(found(written.bytes), "whole 1");
    for (let part = 0; part < 256; part++) assert.equal(found(torn(written, (other) => other !== part)), "torn 0");
  });
});
