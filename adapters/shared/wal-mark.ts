/**
 * How far the log was durable at some time, in a file of its own: what no record can say of the last one.
 *
 *   raft/wal/durable:   magic 4 │ version 4 │ segment 8 │ next sequence 8 │ salt of the segment 8 │ crc 4
 *
 * Written without a sync when the log has been idle for a while, and when it is closed, so that it costs no write anything.
 * It is true whenever it is whole: a mark that is lost, old or damaged says less, and never too much. A log that ends before
 * it has lost what was acknowledged: to a disk that gave zeros for it, or that never wrote what it confirmed.
 */
import { crc32 } from "../../core/codec/checks.ts";
import { type Bytes, equalBytes } from "../../core/types/bytes.ts";
import { checkedInteger } from "../../core/types/ids.ts";
import { type SegmentHeader, saltBytes } from "./wal.ts";

export const markName = "durable";
/** Less than a sector: it is written as a whole or not at all. */
export const markBytes = 36;

const magic = 0x5043574d; // "PCWM"
const version = 1;

export interface WalMark {
  readonly segment: number;
  readonly salt: Bytes;
  /** All records before this one were durable. */
  readonly nextSequence: number;
}

export function encodeMark({ segment, salt, nextSequence }: WalMark): Bytes {
  const bytes = new Uint8Array(markBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic);
  view.setUint32(4, version);
  view.setFloat64(8, segment);
  view.setFloat64(16, nextSequence);
  bytes.set(salt, 24);
  view.setUint32(24 + saltBytes, crc32(bytes.subarray(0, 24 + saltBytes)));
  return bytes;
}

/** Undefined for what is no mark, or is not whole. */
export function decodeMark(bytes: Bytes): WalMark | undefined {
  if (bytes.length < markBytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== magic || view.getUint32(4) !== version) return undefined;
  if (view.getUint32(24 + saltBytes) !== crc32(bytes.subarray(0, 24 + saltBytes))) return undefined;
  const segment = checkedInteger(view.getFloat64(8));
  const nextSequence = checkedInteger(view.getFloat64(16));
  if (segment === undefined || nextSequence === undefined) return undefined;
  return { segment, salt: bytes.slice(24, 24 + saltBytes), nextSequence };
}

/** What is missing of a log with these segments, oldest first, that ends before `nextSequence`. Undefined: nothing. */
export function missingBefore(mark: WalMark, segments: readonly SegmentHeader[], nextSequence: number): string | undefined {
  const last = segments[segments.length - 1];
  if (last === undefined || mark.segment > last.number) return `segment ${mark.segment} is missing, and was durable`;
  const marked = segments.find(({ number }) => number === mark.segment);
  // Of an older segment that is gone, or of another log: it says nothing of this one.
  if (marked === undefined || !equalBytes(marked.salt, mark.salt) || mark.nextSequence <= nextSequence) return undefined;
  return `it ends before record ${nextSequence}, and all up to ${mark.nextSequence - 1} were durable`;
}
