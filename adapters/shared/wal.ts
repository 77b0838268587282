/**
 * The bytes of the write-ahead log: how a batch becomes a record, how records are found again, and how a torn end is
 * told from corruption. Pure; wal-log.ts says what is written where, wal-batch.ts what a payload says.
 *
 *   segment:  header, a sector of its own │ record │ record │ … │ zeros up to where the file was extended
 *   record:   magic 4 │ length 4 │ crc of the payload 4 │ mask 4 │ sequence 8 │ crc of the header 4 │ 0 4 │ payload │ ones
 *
 * One batch is one record, so a batch is there as a whole or not at all. Records begin and end at multiples of 32 bytes:
 * a header never lies in two sectors, so no tear leaves half of one. Its checksum covers the segment's random salt, which
 * keeps log contents from being taken for records, whatever a client stores. Sequence numbers rise by one through all
 * segments.
 *
 * Torn or corrupt? A batch is written only after the one before it is durable, so a crash can damage none but the last
 * record, and that only by not writing some of its sectors, or all from some byte on (wal-tear.ts).
 *
 *   what stands where a record is to come               it is
 *   a header of a higher sequence, here or behind       corrupt: what comes before that was durable
 *   zeros, and something behind them                    torn: the first sector was not written
 *   a header that fails its check, zeros behind it      torn: not written to its end
 *   a header that fails its check, something behind it  corrupt
 *   a good header, and zeros in a part or at the end    torn
 *   a good header, all was written, a bad payload       corrupt
 */
import { crc32 } from "../../core/codec/checks.ts";
import { encodedBytesMax } from "../../core/codec/cbor.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { assert } from "../../core/types/errors.ts";
import { checkedInteger } from "../../core/types/ids.ts";
import { decodeBatch, type WalBatch } from "./wal-batch.ts";
import { applyMask, hasUnwrittenPart, isZero, maskWhereNeeded } from "./wal-tear.ts";

export const segmentHeaderBytes = 64;
export const recordHeaderBytes = 32;
export const saltBytes = 8;
/** Of this log's files; a file with another one is none that can be read here. */
export const formatVersion = 2;

const segmentMagic = 0x50435741; // "PCWA"
const recordMagic = 0x5743524c;
/** A record ends with as many ones, or more. */
const trailerBytes = 8;
/** Divides the size of every sector, and holds a header. */
const alignment = recordHeaderBytes;
const sectorBytesMax = 65_536;

export interface SegmentHeader {
  readonly number: number;
  /** Sequence of the first record. */
  readonly firstSequence: number;
  readonly salt: Bytes;
  /** What the disk was taken to write whole when the segment was begun: a multiple of 32. */
  readonly sectorBytes: number;
}

export type DecodedSegmentHeader =
  | { readonly kind: "header"; readonly header: SegmentHeader }
  /** Whole, but of another format. */
  | { readonly kind: "foreign"; readonly version: number }
  | { readonly kind: "damaged" };

export function encodeSegmentHeader(header: SegmentHeader): Bytes {
  assert(header.salt.length === saltBytes, "a salt has its length");
  assert(isSectorSize(header.sectorBytes), "sectors hold whole headers");
  const bytes = new Uint8Array(segmentHeaderBytes);
  const view = viewOf(bytes);
  view.setUint32(0, segmentMagic);
  view.setUint32(4, formatVersion);
  view.setFloat64(8, header.number);
  view.setFloat64(16, header.firstSequence);
  bytes.set(header.salt, 24);
  view.setUint32(32, header.sectorBytes);
  view.setUint32(segmentHeaderBytes - 4, crc32(bytes.subarray(0, segmentHeaderBytes - 4)));
  return bytes;
}

export function decodeSegmentHeader(bytes: Bytes): DecodedSegmentHeader {
  if (bytes.length < segmentHeaderBytes) return { kind: "damaged" };
  const view = viewOf(bytes);
  if (view.getUint32(0) !== segmentMagic) return { kind: "damaged" };
  if (view.getUint32(segmentHeaderBytes - 4) !== crc32(bytes.subarray(0, segmentHeaderBytes - 4))) return { kind: "damaged" };
  const version = view.getUint32(4);
  if (version !== formatVersion) return { kind: "foreign", version };
  const number = checkedInteger(view.getFloat64(8));
  const firstSequence = checkedInteger(view.getFloat64(16));
  const sectorBytes = view.getUint32(32);
  if (number === undefined || firstSequence === undefined || !isSectorSize(sectorBytes)) return { kind: "damaged" };
  return { kind: "header", header: { number, firstSequence, salt: bytes.slice(24, 24 + saltBytes), sectorBytes } };
}

/** Where the first record of a segment goes: what is written beside a header could tear it. */
export function firstRecordAt({ sectorBytes }: Pick<SegmentHeader, "sectorBytes">): number {
  return Math.ceil(segmentHeaderBytes / sectorBytes) * sectorBytes;
}

/** Of the whole record that holds so much payload. */
export function recordBytes(payloadBytes: number): number {
  return Math.ceil((recordHeaderBytes + payloadBytes + trailerBytes) / alignment) * alignment;
}

/** A whole record, to be written at `at`: a multiple of 32. */
export function encodeRecord(payload: Bytes, sequence: number, at: number, { salt, sectorBytes }: SegmentHeader): Bytes {
  assert(at % alignment === 0 && payload.length <= encodedBytesMax, "records begin where no sector ends within their header");
  const end = recordHeaderBytes + payload.length;
  const bytes = new Uint8Array(recordBytes(payload.length));
  bytes.set(payload, recordHeaderBytes);
  bytes.fill(255, end);
  const mask = maskWhereNeeded(bytes, recordHeaderBytes, end, salt, { at, sectorBytes });
  const view = viewOf(bytes);
  view.setUint32(0, recordMagic);
  view.setUint32(4, payload.length);
  view.setUint32(8, crc32(bytes.subarray(recordHeaderBytes, end)));
  view.setUint32(12, mask);
  view.setFloat64(16, sequence);
  view.setUint32(24, headerCheck(bytes, 0, salt));
  return bytes;
}

export type ScannedSegment =
  /** `end`: where the next record goes. `last`: where the last one is; where there is none, it equals `end`. */
  | {
      readonly kind: "whole";
      readonly batches: readonly WalBatch[];
      readonly last: number;
      readonly end: number;
      readonly nextSequence: number;
    }
  /** The last record is incomplete, from `end` on. */
  | { readonly kind: "torn"; readonly batches: readonly WalBatch[]; readonly end: number; readonly nextSequence: number }
  | { readonly kind: "corrupt"; readonly at: number; readonly what: string };

/** Reads all records of a segment. Never throws, whatever the bytes. */
export function scanSegment(bytes: Bytes, header: SegmentHeader): ScannedSegment {
  const batches: WalBatch[] = [];
  let at = firstRecordAt(header);
  let last = at;
  let sequence = header.firstSequence;
  for (;;) {
    const record = headerAt(bytes, at, header.salt);
    const payload = record?.sequence === sequence ? payloadAt(bytes, at, record) : undefined;
    if (payload === undefined) break;
    const batch = decodeBatch(payload);
    if (batch === undefined) return { kind: "corrupt", at, what: "a record with a good checksum cannot be decoded" };
    batches.push(batch);
    last = at;
    at += recordBytes(payload.length);
    sequence++;
  }
  if (isZero(bytes, at, bytes.length)) return { kind: "whole", batches, last, end: at, nextSequence: sequence };
  const what = damageAt(bytes, at, sequence, header);
  return what === undefined ? { kind: "torn", batches, end: at, nextSequence: sequence } : { kind: "corrupt", at, what };
}

interface RecordHeader {
  readonly length: number;
  readonly payloadCheck: number;
  readonly mask: number;
  readonly sequence: number;
}

/** What no tear leaves behind where the record with this sequence does not pass its check; undefined for a torn one. */
function damageAt(bytes: Bytes, at: number, sequence: number, { salt, sectorBytes }: SegmentHeader): string | undefined {
  // From here on, not from behind here: a write that went astray may have put a later record in this one's place. The
  // header alone will do: even if the later record is torn, it was begun after this one was durable.
  for (let later = at; later + recordHeaderBytes <= bytes.length; later += alignment) {
    const found = headerAt(bytes, later, salt)?.sequence;
    if (found !== undefined && (found > sequence || (found === sequence && later > at)))
      return "a record fails its checksum and is not the last one";
  }
  const written = at + recordHeaderBytes;
  if (isZero(bytes, at, written) || isZero(bytes, written, bytes.length)) return undefined;
  const record = headerAt(bytes, at, salt);
  if (record === undefined) return "the header of the last record fails its checksum";
  if (record.sequence !== sequence) return `record ${record.sequence} stands where ${sequence} belongs`;
  const end = at + recordBytes(record.length);
  if (hasUnwrittenPart(bytes, { at, end, sectorBytes }) || isZero(bytes, end - trailerBytes, end)) return undefined;
  return "the last record fails its checksum, and all of it was written";
}

/** The header at `at`; undefined when there is none that passes its check. */
function headerAt(bytes: Bytes, at: number, salt: Bytes): RecordHeader | undefined {
  if (at + recordHeaderBytes > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, recordHeaderBytes);
  if (view.getUint32(0) !== recordMagic || view.getUint32(28) !== 0) return undefined;
  if (view.getUint32(24) !== headerCheck(bytes, at, salt)) return undefined;
  const sequence = checkedInteger(view.getFloat64(16));
  const length = view.getUint32(4);
  if (sequence === undefined || length > encodedBytesMax) return undefined;
  return { length, payloadCheck: view.getUint32(8), mask: view.getUint32(12), sequence };
}

/** A copy of the payload; undefined when it does not pass its check. */
function payloadAt(bytes: Bytes, at: number, { length, payloadCheck, mask }: RecordHeader): Bytes | undefined {
  const from = at + recordHeaderBytes;
  if (from + length > bytes.length) return undefined;
  const payload = new Uint8Array(length); // not `slice`, which gives a view where this is a Buffer
  payload.set(bytes.subarray(from, from + length));
  if (crc32(payload) !== payloadCheck) return undefined;
  if (mask !== 0) applyMask(payload, 0, length, mask);
  return payload;
}

function headerCheck(bytes: Bytes, at: number, salt: Bytes): number {
  const covered = new Uint8Array(24 + saltBytes);
  covered.set(bytes.subarray(at, at + 24));
  covered.set(salt, 24);
  return crc32(covered);
}

function isSectorSize(bytes: number): boolean {
  return bytes >= alignment && bytes <= sectorBytesMax && bytes % alignment === 0;
}

function viewOf(bytes: Bytes): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
