import { fc } from "../../support/property.ts";
import { decodeHead, encodeHead } from "../../../adapters/shared/snapshot-file.ts";
import {
  decodeSegmentHeader,
  encodeRecord,
  encodeSegmentHeader,
  firstRecordAt,
  scanSegment,
} from "../../../adapters/shared/wal.ts";
import { encodeBatch, type WalBatch } from "../../../adapters/shared/wal-batch.ts";
import { concat } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";

const header = { number: 3, firstSequence: 17, salt: new Uint8Array(8).fill(9), sectorBytes: 64 };
const begin = firstRecordAt(header);
const whole = fc.maxSafeInteger().map(Math.abs);
const entry = fc.record(
  { index: whole, term: whole, type: fc.nat(255), data: fc.uint8Array({ maxLength: 60 }) },
  { noNullPrototype: true },
);
const batch = fc.record(
  {
    hardState: fc.record({ term: whole, votedFor: fc.option(fc.uuid(), { nil: undefined }) }, { noNullPrototype: true }),
    truncateFrom: whole,
    compactTo: whole,
    entries: fc.array(entry, { maxLength: 4 }),
  },
  { requiredKeys: ["entries"], noNullPrototype: true },
) as fc.Arbitrary<WalBatch>;

function segmentOf(batches: readonly WalBatch[]): Uint8Array {
  const parts = [encodeSegmentHeader(header)];
  let at = begin;
  for (const [number, one] of batches.entries()) {
    const record = encodeRecord(encodeBatch(one), header.firstSequence + number, at, header);
    parts.push(record);
    at += record.length;
  }
  return concat([...parts, new Uint8Array(200)]);
}

describe("wal", () => {
  it("batches come back as they were written", () => {
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 5 }), (batches) => {
        const bytes = segmentOf(batches);
        assert.deepEqual(decodeSegmentHeader(bytes), { kind: "header", header });
        const scanned = scanSegment(bytes, header);
        assert.equal(scanned.kind, "whole");
        assert.deepEqual(scanned.batches, batches);
      }),
      { numRuns: 200 },
    );
  });

  it("records of another segment are none of ours: their salt differs", () => {
    const salt = new Uint8Array(8).fill(1);
    const foreign = encodeRecord(encodeBatch({ entries: [] }), header.firstSequence, begin, { ...header, salt });
    const scanned = scanSegment(concat([encodeSegmentHeader(header), foreign]), header);
    assert.deepEqual([scanned.kind, scanned.kind === "corrupt" && scanned.at], ["corrupt", begin]);
  });

  it("contents that look like records do not turn a torn end into corruption", () => {
    const decoy = encodeRecord(encodeBatch({ entries: [] }), header.firstSequence + 5, begin, {
      ...header,
      salt: new Uint8Array(8),
    });
    const data = concat([new Uint8Array(32), decoy, decoy, decoy]);
    const bytes = segmentOf([{ entries: [{ index: 1, term: 1, type: 0, data }] }]);
    bytes.fill(0, begin + 64, begin + 128);
    assert.equal(scanSegment(bytes, header).kind, "torn");
  });

  it("random bytes are scanned without a word", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (random) => {
        decodeSegmentHeader(random);
        decodeHead(random);
        scanSegment(concat([encodeSegmentHeader(header), random]), header);
      }),
      { numRuns: 1000 },
    );
  });

  it("a snapshot's head comes back as it was", () => {
    const head = { index: 5, term: 2, configuration: new Uint8Array([1, 2]), configurationIndex: 3 };
    assert.deepEqual(decodeHead(encodeHead(head)), head);
  });
});
