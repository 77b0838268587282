/**
 * The bytes of the write-ahead log: how a batch becomes a record, how records are found again, and how a torn end is
 * told from corruption. Pure; wal-log.ts says what is written where.
 *
 *   segment:  header (64) │ record │ record │ … │ zeros up to where the file was extended
 *   record:   magic 4 │ length 4 │ crc 4 │ 0 4 │ sequence 8 │ payload, CBOR │ zeros to a multiple of 8
 *
 * One batch is one record, so a batch is there as a whole or not at all. The checksum covers the segment's salt, the
 * sequence number, the length and the payload. Sequence numbers rise by one through all segments.
 *
 * Torn or corrupt? A batch is written only after the one before it is durable, so a crash can damage none but the last
 * record. A record that fails its check and has a good one of a higher sequence behind it was good once: corruption.
 * The random salt keeps log contents from being taken for records, whatever a client stores.
 */
import { decodeInPlace, encode } from "../../core/codec/cbor.ts";
import { crc32 } from "../../core/codec/checks.ts";
import type { HardState, LogEntry, RaftWrite } from "../../core/ports/storage.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError, assert } from "../../core/types/errors.ts";
import { checkedInteger, type LogIndex } from "../../core/types/ids.ts";

export const segmentHeaderBytes = 64;
export const recordHeaderBytes = 24;
export const saltBytes = 8;

const segmentMagic = 0x50435741; // "PCWA"
const recordMagic = 0x5743524c;
const version = 1;
/** One payload; core/codec/cbor.ts encodes no more. */
const payloadBytesMax = 64 * 1024 * 1024;

export interface SegmentHeader {
  readonly number: number;
  /** Sequence of the first record. */
  readonly firstSequence: number;
  readonly salt: Bytes;
}

/** What one record says. */
export interface WalBatch extends RaftWrite {
  /** Everything up to here was dropped. */
  readonly compactTo?: LogIndex;
}

export function encodeSegmentHeader(header: SegmentHeader): Bytes {
  assert(header.salt.length === saltBytes, "a salt has its length");
  const bytes = new Uint8Array(segmentHeaderBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, segmentMagic);
  view.setUint32(4, version);
  view.setFloat64(8, header.number);
  view.setFloat64(16, header.firstSequence);
  bytes.set(header.salt, 24);
  view.setUint32(segmentHeaderBytes - 4, crc32(bytes.subarray(0, segmentHeaderBytes - 4)));
  return bytes;
}

/** Undefined when the bytes are no header of a version we know. */
export function decodeSegmentHeader(bytes: Bytes): SegmentHeader | undefined {
  if (bytes.length < segmentHeaderBytes) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(0) !== segmentMagic || view.getUint32(4) !== version) return undefined;
  if (view.getUint32(segmentHeaderBytes - 4) !== crc32(bytes.subarray(0, segmentHeaderBytes - 4))) return undefined;
  const number = checkedInteger(view.getFloat64(8));
  const firstSequence = checkedInteger(view.getFloat64(16));
  if (number === undefined || firstSequence === undefined) return undefined;
  return { number, firstSequence, salt: bytes.slice(24, 24 + saltBytes) };
}

/** A whole record, padded. */
export function encodeRecord(batch: WalBatch, sequence: number, salt: Bytes): Bytes {
  const payload = encodeBatch(batch);
  const bytes = new Uint8Array(padded(recordHeaderBytes + payload.length));
  const view = viewOf(bytes);
  view.setUint32(0, recordMagic);
  view.setUint32(4, payload.length);
  view.setFloat64(16, sequence);
  bytes.set(payload, recordHeaderBytes);
  // Until it is replaced by the checksum itself, its place holds the salt: all of the record is covered in one pass.
  bytes.set(salt, 8);
  view.setUint32(8, crc32(bytes.subarray(0, recordHeaderBytes + payload.length)));
  view.setUint32(12, 0);
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
  let at = segmentHeaderBytes;
  let last = at;
  let sequence = header.firstSequence;
  for (;;) {
    const payload = payloadAt(bytes, at, sequence, header.salt);
    if (payload === undefined) break;
    const batch = decodeBatch(payload);
    if (batch === undefined) return { kind: "corrupt", at, what: "a record with a good checksum cannot be decoded" };
    batches.push(batch);
    last = at;
    at = padded(at + recordHeaderBytes + payload.length);
    sequence++;
  }
  const rest = firstNonZero(bytes, at);
  if (rest === undefined) return { kind: "whole", batches, last, end: at, nextSequence: sequence };
  // From here on, not from behind here: a write that went astray may have put a later record in this one's place.
  for (let later = at; later + recordHeaderBytes <= bytes.length; later += 8) {
    if (followsLater(bytes, later, sequence, header.salt)) {
      return { kind: "corrupt", at, what: "a record fails its checksum and is not the last one" };
    }
  }
  return { kind: "torn", batches, end: at, nextSequence: sequence };
}

/** The payload of the record at `at` with this sequence; undefined when there is none that passes its check. */
function payloadAt(bytes: Bytes, at: number, sequence: number, salt: Bytes): Bytes | undefined {
  if (at + recordHeaderBytes > bytes.length) return undefined;
  const view = viewOf(bytes);
  const length = view.getUint32(at + 4);
  if (view.getUint32(at) !== recordMagic || length > payloadBytesMax || view.getFloat64(at + 16) !== sequence) return undefined;
  const end = at + recordHeaderBytes + length;
  if (end > bytes.length || view.getUint32(at + 12) !== 0) return undefined;
  // A copy, whatever class of array this is: the checksum was made with the salt in its own place.
  const record = new Uint8Array(end - at);
  record.set(bytes.subarray(at, end));
  record.set(salt, 8);
  return crc32(record) === view.getUint32(at + 8) ? record.subarray(recordHeaderBytes) : undefined;
}

function followsLater(bytes: Bytes, at: number, sequence: number, salt: Bytes): boolean {
  const view = viewOf(bytes);
  if (view.getUint32(at) !== recordMagic) return false;
  const found = view.getFloat64(at + 16);
  return found > sequence && payloadAt(bytes, at, found, salt) !== undefined;
}

function firstNonZero(bytes: Bytes, from: number): number | undefined {
  for (let at = from; at < bytes.length; at++) if (bytes[at] !== 0) return at;
  return undefined;
}

/** Entries lie flat, four items each: arrays of arrays would cost twice the time. */
function encodeBatch(batch: WalBatch): Bytes {
  const { hardState, truncateFrom, compactTo } = batch;
  const flat: unknown[] = [];
  for (const entry of batch.entries) flat.push(entry.index, entry.term, entry.type, entry.data);
  return encode([
    hardState === undefined ? null : [hardState.term, hardState.votedFor ?? null],
    truncateFrom ?? null,
    compactTo ?? null,
    flat,
  ]);
}

/** Undefined for a value that no version of ours wrote. */
function decodeBatch(payload: Bytes): WalBatch | undefined {
  let value: unknown;
  try {
    value = decodeInPlace(payload, "a log record"); // payloadAt made a copy of its own
  } catch (error) {
    if (error instanceof AgentError) return undefined;
    throw error;
  }
  if (!Array.isArray(value) || value.length !== 4) return undefined;
  const [hard, truncate, compact, flat] = value as readonly unknown[];
  const hardState = hard === null ? null : decodeHardState(hard);
  const truncateFrom = truncate === null ? null : checkedInteger(truncate);
  const compactTo = compact === null ? null : checkedInteger(compact);
  const entries = decodeEntries(flat);
  if (hardState === undefined || truncateFrom === undefined || compactTo === undefined || entries === undefined) return undefined;
  return {
    ...(hardState === null ? undefined : { hardState }),
    ...(truncateFrom === null ? undefined : { truncateFrom }),
    ...(compactTo === null ? undefined : { compactTo }),
    entries,
  };
}

function decodeHardState(value: unknown): HardState | undefined {
  if (!Array.isArray(value) || value.length !== 2) return undefined;
  const [term, votedFor] = value as readonly unknown[];
  const checked = checkedInteger(term);
  if (checked === undefined || (votedFor !== null && typeof votedFor !== "string")) return undefined;
  return { term: checked, votedFor: votedFor ?? undefined };
}

function decodeEntries(flat: unknown): readonly LogEntry[] | undefined {
  if (!Array.isArray(flat) || flat.length % 4 !== 0) return undefined;
  const entries: LogEntry[] = [];
  for (let at = 0; at < flat.length; at += 4) {
    const index = checkedInteger(flat[at]);
    const term = checkedInteger(flat[at + 1]);
    const type = checkedInteger(flat[at + 2]);
    const data = flat[at + 3] as unknown;
    if (index === undefined || term === undefined || type === undefined || !(data instanceof Uint8Array)) return undefined;
    entries.push({ index, term, type, data });
  }
  return entries;
}

/** What batches add up to: the state that survives them. */
export class WalContents {
  hardState: HardState = { term: 0, votedFor: undefined };
  entries: LogEntry[] = [];
  compacted: LogIndex = 0;

  /** A sentence saying what is wrong when the batch does not continue what came before. */
  apply(batch: WalBatch): string | undefined {
    if (batch.hardState !== undefined) this.hardState = batch.hardState;
    if (batch.compactTo !== undefined) this.compact(batch.compactTo);
    if (batch.truncateFrom !== undefined) this.#truncate(batch.truncateFrom);
    for (const entry of batch.entries) {
      // Segments that held earlier entries may be gone; then the first one met begins the log.
      const last = this.entries[this.entries.length - 1];
      if (last !== undefined && entry.index !== last.index + 1) return `entry ${entry.index} follows entry ${last.index}`;
      if (entry.index > this.compacted) this.entries.push(entry);
    }
    return undefined;
  }

  compact(index: LogIndex): void {
    const first = this.entries[0];
    if (index > this.compacted) this.compacted = index;
    if (first !== undefined && index >= first.index) this.entries = this.entries.slice(index - first.index + 1);
  }

  #truncate(from: LogIndex): void {
    const first = this.entries[0];
    if (first !== undefined) this.entries.length = Math.max(0, Math.min(this.entries.length, from - first.index));
  }
}

function padded(length: number): number {
  return Math.ceil(length / 8) * 8;
}

function viewOf(bytes: Bytes): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
