/** Checksums that stand on a wire or a disk. */
import type { Bytes } from "../types/bytes.ts";

const polynomial = 0xedb88320;
const table = new Uint32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ polynomial : remainder >>> 1;
  table[byte] = remainder;
}

/** CRC-32 (IEEE 802.3, reflected), as Go's `crc32.ChecksumIEEE`: unsigned, in [0, 2^32). */
export function crc32(content: Bytes): number {
  let remainder = 0xffffffff;
  for (let at = 0; at < content.length; at++) {
    remainder = (table[(remainder ^ (content[at] as number)) & 255] as number) ^ (remainder >>> 8);
  }
  return (remainder ^ 0xffffffff) >>> 0;
}
