/**
 * How a write that was cut short is told from damage.
 *
 *   sectors:        │   s0    │   s1    │   s2    │   s3    │
 *   record:              ▐▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▌             three parts, one in each of s0, s1, s2
 *   power failure:       ▐▀▀▀▀                ▀▌             s1 was never written: its part is zeros
 *
 * A disk writes sectors whole, and those of one write in any order. Where a record is to come there are zeros. So after a
 * power failure each part of a record is as it was written, or zeros. If all parts are there the record is whole, and
 * passes its check. A record that does not pass, and has no part of zeros, was written to its end, may have been
 * acknowledged, and was damaged later: that is never cut off.
 *
 * A process that ends, or a disk that fills up, in the middle of a write leaves a beginning of it, cut at any byte, and
 * zeros behind. So a record ends with ones, and zeros in their place say the same.
 *
 * For this to hold no part may look unwritten when it is not, whatever clients store. Where the content has a part of
 * (nearly) nothing but zeros, all of it is masked: exclusive-or with four bytes for which that is not so. And a turned bit
 * must not make a part look unwritten, so each part has several bytes that are not zero.
 *
 * What no single copy can tell: a disk that gives zeros for a sector it had confirmed, in the last record. The mark of
 * wal-log.ts narrows this to the last second's.
 */
import { crc32 } from "../../core/codec/checks.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { assert } from "../../core/types/errors.ts";

/** The least that a disk writes whole. Larger sectors consist of such. */
export const defaultSectorBytes = 512;

/** Bytes besides zero in each part: so many turned bits pass for damage, and not for an unwritten sector. */
const nonZeroMin = 8;
/** A mask fails for a part that resembles it, which is for clients, who do not know the salt, to guess: 1 in 2^28. */
const masksMax = 64;

/** Where the sector ends that `at` is in. */
function sectorEnd(at: number, sectorBytes: number): number {
  return (Math.floor(at / sectorBytes) + 1) * sectorBytes;
}

export interface Placed {
  /** Where it goes in its file. */
  readonly at: number;
  readonly sectorBytes: number;
}

/**
 * Masks a record from `from` on up to `to`, if one of its sectors would look unwritten. The part with the record's first
 * byte has a header, and needs no look. Gives the mask; 0 for none.
 */
export function maskWhereNeeded(record: Bytes, from: number, to: number, salt: Bytes, placed: Placed): number {
  if (allLookWritten(record, placed)) return 0;
  for (let attempt = 1; attempt <= masksMax; attempt++) {
    const mask = maskOf(salt, attempt);
    applyMask(record, from, to, mask);
    if (allLookWritten(record, placed)) return mask;
    applyMask(record, from, to, mask);
  }
  assert(false, "some mask leaves no sector empty");
}

/** Twice the same is as before. */
export function applyMask(bytes: Bytes, from: number, to: number, mask: number): void {
  for (let at = from, shift = 24; at < to; at++, shift = shift === 0 ? 24 : shift - 8)
    bytes[at] = (bytes[at] as number) ^ ((mask >>> shift) & 255);
}

/** Was a part of the record from `at` to `end` never written, except the one it begins in? Behind the file's end nothing was. */
export function hasUnwrittenPart(bytes: Bytes, { at, end, sectorBytes }: Placed & { readonly end: number }): boolean {
  if (end > bytes.length) return true;
  for (let from = sectorEnd(at, sectorBytes); from < end; from += sectorBytes)
    if (isZero(bytes, from, Math.min(end, from + sectorBytes))) return true;
  return false;
}

export function isZero(bytes: Bytes, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (bytes[at] !== 0) return false;
  return true;
}

function allLookWritten(record: Bytes, { at, sectorBytes }: Placed): boolean {
  for (let from = sectorEnd(at, sectorBytes) - at; from < record.length; from += sectorBytes)
    if (!looksWritten(record, from, Math.min(record.length, from + sectorBytes))) return false;
  return true;
}

function looksWritten(bytes: Bytes, from: number, to: number): boolean {
  let found = 0;
  for (let at = from; at < to; at++) if (bytes[at] !== 0 && ++found === nonZeroMin) return true;
  return false;
}

/** Four bytes, none of them zero. */
function maskOf(salt: Bytes, attempt: number): number {
  const seed = new Uint8Array(salt.length + 1);
  seed.set(salt);
  seed[salt.length] = attempt;
  return (crc32(seed) | 0x01010101) >>> 0;
}
