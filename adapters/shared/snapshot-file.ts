/**
 * The bytes of a snapshot file. Pure; snapshot-files.ts reads and writes, piece by piece.
 *
 *   file:   magic 8 │ frame: CBOR head │ frame: content │ frame: content │ … │ end frame
 *   frame:  length 4 │ crc 4 │ bytes
 *
 * Each frame's checksum begins with the one before, so frames cannot be lost, doubled or swapped unseen. The end frame
 * has length 0: without it the file is incomplete.
 */
import { encode, tryDecode } from "../../core/codec/cbor.ts";
import { crc32 } from "../../core/codec/checks.ts";
import type { SnapshotMeta } from "../../core/ports/storage.ts";
import { type Bytes, concat, emptyBytes, equalBytes, utf8 } from "../../core/types/bytes.ts";
import { assert } from "../../core/types/errors.ts";
import { checkedInteger } from "../../core/types/ids.ts";

export const snapshotMagic = utf8("PCSNAP\u0001\n");
export const frameHeaderBytes = 8;
/** Content bytes in one frame. */
export const frameBytesMax = 256 * 1024;
/** The head names the configuration: at most 255 servers. */
export const headBytesMax = 1024 * 1024;

/** The newest ones stay. Consul 1.8: 2. */
export const snapshotsKept = 2;

/** Of heads, and of what follows them. */
export const snapshotVersion = 1;
const namePattern = /^(\d{1,16})-(\d{1,16})-(\d{1,16})\.snap$/;

export type SnapshotHead = Omit<SnapshotMeta, "id" | "size">;

export function encodeHead(head: SnapshotHead): Bytes {
  const { index, term, configuration, configurationIndex } = head;
  return encode({ version: snapshotVersion, index, term, configuration, configurationIndex });
}

/** The version of a head; undefined for bytes that are none. Whoever does not know it must not pass the snapshot over. */
export function headVersion(bytes: Bytes): number | undefined {
  const value = tryDecode(bytes)?.value;
  if (typeof value !== "object" || value === null) return undefined;
  return checkedInteger((value as Readonly<Record<string, unknown>>)["version"]);
}

/** Undefined for bytes that are no head of a version we know. */
export function decodeHead(bytes: Bytes): SnapshotHead | undefined {
  const value = tryDecode(bytes)?.value;
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Readonly<Record<string, unknown>>;
  const index = checkedInteger(fields["index"]);
  const term = checkedInteger(fields["term"]);
  const configurationIndex = checkedInteger(fields["configurationIndex"]);
  const configuration = fields["configuration"];
  if (fields["version"] !== snapshotVersion || index === undefined || term === undefined || configurationIndex === undefined)
    return undefined;
  return configuration instanceof Uint8Array ? { index, term, configuration, configurationIndex } : undefined;
}

/** Makes frames, one after the other. */
export class FrameWriter {
  #chain = 0;

  /** The frame's header; `content` is to follow it. Empty content ends the file. */
  header(content: Bytes): Bytes {
    const bytes = new Uint8Array(frameHeaderBytes);
    const view = new DataView(bytes.buffer);
    this.#chain = chained(this.#chain, content);
    view.setUint32(0, content.length);
    view.setUint32(4, this.#chain);
    return bytes;
  }
}

/** Checks frames, one after the other. */
export class FrameReader {
  #chain = 0;

  /** The length the header announces, undefined when it is beyond `bytesMax`. */
  length(header: Bytes, bytesMax: number): number | undefined {
    const length = new DataView(header.buffer, header.byteOffset, header.byteLength).getUint32(0);
    return length <= bytesMax ? length : undefined;
  }

  /** True when the content is what was written after this header. */
  accepts(header: Bytes, content: Bytes): boolean {
    this.#chain = chained(this.#chain, content);
    return new DataView(header.buffer, header.byteOffset, header.byteLength).getUint32(4) === this.#chain;
  }
}

/** `stamp`, an integer of up to 16 digits, tells two of one index apart. */
export function snapshotName({ term, index }: Pick<SnapshotHead, "term" | "index">, stamp: number): string {
  const name = `${term}-${index}-${stamp}.snap`;
  assert(namePattern.test(name), "a snapshot is found by its name");
  return name;
}

/** Is it the name of a snapshot with this head? Files that were renamed, or put in each other's place, are none. */
export function belongsTo(name: string, { term, index }: SnapshotHead): boolean {
  return name.startsWith(`${term}-${index}-`);
}

/** Those of the names that are a snapshot's, newest first: by index, then by time of writing. */
export function snapshotNames(names: readonly string[]): readonly string[] {
  const found: { readonly name: string; readonly index: number; readonly stamp: number }[] = [];
  for (const name of names) {
    const match = namePattern.exec(name);
    if (match !== null) found.push({ name, index: Number(match[2]), stamp: Number(match[3]) });
  }
  found.sort((left, right) => right.index - left.index || right.stamp - left.stamp);
  return found.map(({ name }) => name);
}

/** A whole file, for who has the content in memory. */
export function encodeSnapshot(head: SnapshotHead, content: Bytes): Bytes {
  const frames = new FrameWriter();
  const parts: Bytes[] = [snapshotMagic];
  const put = (bytes: Bytes): void => void parts.push(frames.header(bytes), bytes);
  put(encodeHead(head));
  for (let at = 0; at < content.length; at += frameBytesMax) put(content.subarray(at, at + frameBytesMax));
  put(emptyBytes);
  return concat(parts);
}

/** Undefined for a file that is damaged or incomplete. Never throws. */
export function decodeSnapshot(bytes: Bytes): { readonly head: SnapshotHead; readonly content: Bytes } | undefined {
  if (!hasSnapshotMagic(bytes)) return undefined;
  const frames = new FrameReader();
  const parts: Bytes[] = [];
  let head: SnapshotHead | undefined;
  for (let at = snapshotMagic.length; ; ) {
    const header = bytes.subarray(at, at + frameHeaderBytes);
    if (header.length < frameHeaderBytes) return undefined;
    const length = frames.length(header, head === undefined ? headBytesMax : frameBytesMax);
    const content = bytes.subarray(at + frameHeaderBytes, at + frameHeaderBytes + (length ?? 0));
    if (length === undefined || content.length < length || !frames.accepts(header, content)) return undefined;
    at += frameHeaderBytes + length;
    if (head === undefined) {
      head = decodeHead(content);
      if (head === undefined) return undefined;
    } else if (length > 0) parts.push(content);
    else return at === bytes.length ? { head, content: concat(parts) } : undefined;
  }
}

export function hasSnapshotMagic(bytes: Bytes): boolean {
  return equalBytes(bytes.subarray(0, snapshotMagic.length), snapshotMagic);
}

function chained(chain: number, content: Bytes): number {
  const link = new Uint8Array(8);
  const view = new DataView(link.buffer);
  view.setUint32(0, chain);
  view.setUint32(4, crc32(content));
  return crc32(link);
}
