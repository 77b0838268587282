/**
 * Tar (POSIX ustar) as far as a few plain files in a row need it: written with sizes known beforehand, read as a stream.
 *
 *   header (512 bytes) content, padded to 512 … two blocks of zeros
 *
 * The reader is strict: a header's checksum must be right, padding must be zero, and what follows the end must be too. So no
 * byte of an archive of ours can change unnoticed but for those that content is made of. Texts of faults are Go's.
 */
import { type Bytes, text, utf8 } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";

const blockBytes = 512;
const nameBytes = 100;
/** What eleven octal digits can say. */
const sizeMax = 8 ** 11 - 1;
/** GNU tar fills its last record, 10 KiB, with zeros; more than a few of those is no archive of ours. */
const trailingBytesMax = 1024 * 1024;
const checksumAt = 148;

export interface TarEntry {
  readonly name: string;
  readonly size: number;
}

/** A regular file's header, mode 0600. `modified`: seconds since 1970. */
export function tarHeader({ name, size }: TarEntry, modified: number): Bytes {
  const header = new Uint8Array(blockBytes);
  const put = (at: number, value: string): void => header.set(utf8(value), at);
  const octal = (value: number, digits: number): string => Math.floor(value).toString(8).padStart(digits, "0");
  if (utf8(name).length > nameBytes || size > sizeMax)
    throw new AgentError("too-large", { message: `Cannot archive ${name}: it is too large` });
  put(0, name);
  put(100, `${octal(0o600, 7)}\0`);
  put(108, `${octal(0, 7)}\0`);
  put(116, `${octal(0, 7)}\0`);
  put(124, `${octal(size, 11)}\0`);
  put(136, `${octal(modified, 11)}\0`);
  put(156, "0");
  put(257, "ustar\u000000");
  put(checksumAt, checksumField(header));
  return header;
}

/** What follows content of this size. */
export function tarPadding(size: number): Bytes {
  return new Uint8Array((blockBytes - (size % blockBytes)) % blockBytes);
}

export const tarEnd: Bytes = new Uint8Array(2 * blockBytes);

/** A fault of the archive, or of what it is read from. */
export class TarFault extends Error {}

/** Reads entry by entry. Each entry's content must be read to its end before the next. */
export class TarReader {
  readonly #source: AsyncIterator<Bytes>;
  #chunk: Bytes = new Uint8Array(0);
  #at = 0;

  constructor(source: AsyncIterable<Bytes>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Undefined at the end of the archive. Throws {@link TarFault}, or what the source throws. */
  async next(): Promise<TarEntry | undefined> {
    const header = await this.#block();
    if (header === undefined) return undefined;
    if (header.every((byte) => byte === 0)) {
      // One block of zeros and the end of the file is an end as well, for Go.
      const second = await this.#block();
      if (second === undefined || second.every((byte) => byte === 0)) return undefined;
      throw invalidHeader();
    }
    const type = header[156];
    if (text(header.subarray(checksumAt, checksumAt + 8)) !== checksumField(header) || (type !== 0 && type !== 48))
      throw invalidHeader();
    const size = octalAt(header, 124, 12);
    if (size === undefined) throw invalidHeader();
    const end = header.indexOf(0);
    return { name: text(header.subarray(0, end < 0 || end > nameBytes ? nameBytes : end)), size };
  }

  /** The content of the entry that `next` returned, in pieces, and past its padding. */
  async *content({ size }: TarEntry): AsyncGenerator<Bytes> {
    let left = size;
    while (left > 0) {
      if (!(await this.#fill())) throw unexpectedEnd();
      const piece = this.#chunk.subarray(this.#at, Math.min(this.#chunk.length, this.#at + left));
      this.#at += piece.length;
      left -= piece.length;
      yield piece;
    }
    const padding = await this.#take((blockBytes - (size % blockBytes)) % blockBytes);
    if (padding === undefined) throw unexpectedEnd();
    if (padding.some((byte) => byte !== 0)) throw invalidHeader();
  }

  /** After the end of the archive: to the end of the source. */
  async drain(): Promise<void> {
    for (let drained = 0; await this.#fill(); ) {
      const rest = this.#chunk.subarray(this.#at);
      this.#at = this.#chunk.length;
      drained += rest.length;
      if (drained > trailingBytesMax || rest.some((byte) => byte !== 0)) throw new TarFault("data follows the archive");
    }
  }

  /** Lets go of the source. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async #block(): Promise<Bytes | undefined> {
    return (await this.#fill()) ? ((await this.#take(blockBytes)) ?? Promise.reject(unexpectedEnd())) : undefined;
  }

  /** Undefined when the source ends before. */
  async #take(length: number): Promise<Bytes | undefined> {
    const taken = new Uint8Array(length);
    for (let filled = 0; filled < length; ) {
      if (!(await this.#fill())) return undefined;
      const piece = this.#chunk.subarray(this.#at, this.#at + length - filled);
      taken.set(piece, filled);
      filled += piece.length;
      this.#at += piece.length;
    }
    return taken;
  }

  /** Whether there are bytes to take. */
  async #fill(): Promise<boolean> {
    while (this.#at >= this.#chunk.length) {
      const { done, value } = await this.#source.next();
      if (done === true) return false;
      this.#chunk = value;
      this.#at = 0;
    }
    return true;
  }
}

/** The sum of a header's bytes, with its own field taken as spaces; as every tar writes it. */
function checksumField(header: Bytes): string {
  let sum = 0;
  for (let at = 0; at < blockBytes; at++) sum += at >= checksumAt && at < checksumAt + 8 ? 32 : (header[at] as number);
  return `${sum.toString(8).padStart(6, "0")}\0 `;
}

/** Octal digits, ended by NUL or space; undefined for anything else. */
function octalAt(header: Bytes, at: number, length: number): number | undefined {
  const found = /^ *([0-7]+)[ \0]*$/.exec(text(header.subarray(at, at + length)));
  return found === null ? undefined : Number.parseInt(found[1] as string, 8);
}

function invalidHeader(): TarFault {
  return new TarFault("archive/tar: invalid tar header");
}

function unexpectedEnd(): TarFault {
  return new TarFault("unexpected EOF");
}
