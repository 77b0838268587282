/**
 * The archive of `consul snapshot`: what the servers hold, in one file that says whether it is whole.
 *
 *   gzip( tar( meta.json, state.bin, SHA256SUMS ) )                      Consul 1.8, snapshot/archive.go
 *
 * The frame is Consul's, so that either program can inspect and verify the other's archives; `state.bin` is not: Consul
 * writes its tables in msgpack, we our catalog's stream (core/catalog/snapshot.ts).
 *
 * Everything streams. Compression is the caller's, with what its platform has; here are the bytes inside and the texts of
 * what may be wrong with them, which are Consul's.
 */
import { type Bytes, emptyBytes, equalBytes, concat, fromHex, text, toHex, utf8 } from "../types/bytes.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import { Sha256 } from "./sha256.ts";
import { type TarEntry, tarEnd, tarHeader, TarFault, tarPadding, TarReader } from "./tar.ts";

/** What a file of an archive may measure, compressed: it is held in memory. */
export const archiveBytesMax = 512 * 1024 * 1024;
const metaBytesMax = 1024 * 1024;
/** Consul reads no more of the list either. */
const sumsBytesMax = 10_000;

/** meta.json, as Consul's Raft library writes it. */
export interface ArchiveMeta {
  readonly version: number;
  /** "TERM-INDEX-MILLIS". */
  readonly id: string;
  readonly index: number;
  readonly term: number;
  readonly servers: readonly { readonly id: string; readonly address: string; readonly voter: boolean }[];
  /** Of state.bin. */
  readonly size: number;
}

/**
 * The bytes to compress. `sha256` is of the state, which is why whoever archives reads it twice: a tar file says a
 * content's size before it. Throws when `state` gives another size.
 */
export async function* writeArchive(
  meta: ArchiveMeta,
  sha256: Bytes,
  modified: number,
  state: AsyncIterable<Bytes>,
): AsyncGenerator<Bytes> {
  const metaJson = utf8(formatMeta(meta));
  const sums = utf8(`${toHex(new Sha256().update(metaJson).digest())}  meta.json\n${toHex(sha256)}  state.bin\n`);
  yield concat([
    tarHeader({ name: "meta.json", size: metaJson.length }, modified),
    metaJson,
    tarPadding(metaJson.length),
    tarHeader({ name: "state.bin", size: meta.size }, modified),
  ]);
  let size = 0;
  for await (const piece of state) {
    size += piece.length;
    yield piece;
  }
  if (size !== meta.size)
    throw new AgentError("snapshot-corrupt", { message: "Cannot archive the state: it gave other bytes the second time" });
  yield concat([
    tarPadding(size),
    tarHeader({ name: "SHA256SUMS", size: sums.length }, modified),
    sums,
    tarPadding(sums.length),
    tarEnd,
  ]);
}

export interface ReadArchiveOptions {
  /** The state in pieces, as it passes: not known to be whole before the archive is read to its end. */
  readonly onState?: (piece: Bytes) => void | Promise<void>;
  readonly stateBytesMax?: number;
}

/** Reads an archive to its end. Throws `rejected` with Consul's text when anything is wrong with it, and what `onState` throws. */
export async function readArchive(archive: AsyncIterable<Bytes>, options: ReadArchiveOptions = {}): Promise<ArchiveMeta> {
  const reader = new TarReader(archive);
  try {
    const meta = await readEntries(reader, options).catch((error: unknown) => {
      throw error instanceof ArchiveFault ? rejected(`failed to read snapshot file: ${error.message}`) : error;
    });
    // What comes after the content is the compression's to say, in its own words.
    await inWords(
      (message) => message,
      () => reader.drain(),
    );
    return meta;
  } catch (error) {
    throw error instanceof ArchiveFault || error instanceof GzipFault ? rejected(error.message) : error;
  } finally {
    await reader.close().catch(() => {});
  }
}

async function readEntries(
  reader: TarReader,
  { onState, stateBytesMax = Number.POSITIVE_INFINITY }: ReadArchiveOptions,
): Promise<ArchiveMeta> {
  const digests: Record<string, Bytes> = {};
  const seen = new Set<string>();
  let meta: ArchiveMeta | undefined;
  let sums = emptyBytes;
  for (;;) {
    const entry = await inWords(
      (message) => `failed reading snapshot: ${message}`,
      () => reader.next(),
    );
    if (entry === undefined) break;
    if (seen.has(entry.name)) throw new ArchiveFault(`unexpected file ${JSON.stringify(entry.name)} in snapshot`);
    seen.add(entry.name);
    switch (entry.name) {
      case "meta.json": {
        const json = await inWords(
          (message) => `failed to read snapshot metadata: ${message}`,
          () => readWhole(reader, entry, metaBytesMax),
        );
        digests[entry.name] = new Sha256().update(json).digest();
        meta = parseMeta(json);
        break;
      }
      case "state.bin": {
        const hash = new Sha256();
        const content = reader.content(entry);
        if (entry.size > stateBytesMax)
          throw new ArchiveFault(
            `failed to read or write snapshot data: ${entry.size} bytes exceed the limit of ${stateBytesMax}`,
          );
        for (;;) {
          const piece = await inWords(
            (message) => `failed to read or write snapshot data: ${message}`,
            () => content.next(),
          );
          if (piece.done === true) break;
          hash.update(piece.value);
          await onState?.(piece.value);
        }
        digests[entry.name] = hash.digest();
        break;
      }
      case "SHA256SUMS":
        sums = await inWords(
          (message) => `failed to read snapshot hashes: ${message}`,
          () => readWhole(reader, entry, sumsBytesMax),
        );
        break;
      default:
        throw new ArchiveFault(`unexpected file ${JSON.stringify(entry.name)} in snapshot`);
    }
  }
  const fault = sumsFault(text(sums), digests);
  if (fault !== undefined) throw new ArchiveFault(`failed checking integrity of snapshot: ${fault}`);
  return meta as ArchiveMeta;
}

/** Undefined when the list names both files with their right hashes. */
function sumsFault(sums: string, digests: Readonly<Record<string, Bytes>>): string | undefined {
  const names = ["meta.json", "state.bin"];
  const seen = new Set<string>();
  for (const line of sums.split("\n")) {
    if (line === "") continue;
    const [, hex = "", name = ""] = /^([0-9a-f]+) +(\S+)$/.exec(line) ?? [];
    const listed = fromHex(hex);
    if (name === "" || listed === undefined) return "no hex data for %x string";
    if (!names.includes(name)) return `list missing hash for ${JSON.stringify(name)}`;
    const digest = digests[name];
    if (digest === undefined || !equalBytes(listed, digest)) return `hash check failed for ${JSON.stringify(name)}`;
    seen.add(name);
  }
  const missing = names.find((name) => !seen.has(name));
  return missing === undefined ? undefined : `file missing for ${JSON.stringify(missing)}`;
}

async function readWhole(reader: TarReader, entry: TarEntry, bytesMax: number): Promise<Bytes> {
  if (entry.size > bytesMax) throw new TarFault(`${entry.name} exceeds ${bytesMax} bytes`);
  const pieces: Bytes[] = [];
  for await (const piece of reader.content(entry)) pieces.push(piece.slice());
  return concat(pieces);
}

function formatMeta(meta: ArchiveMeta): string {
  return `${JSON.stringify({
    Version: meta.version,
    ID: meta.id,
    Index: meta.index,
    Term: meta.term,
    // Older than servers' IDs; whoever reads an archive since then takes Configuration.
    Peers: "",
    Configuration: {
      Servers: meta.servers.map(({ id, address, voter }) => ({ Suffrage: voter ? 0 : 1, ID: id, Address: address })),
    },
    ConfigurationIndex: 1,
    Size: meta.size,
  })}\n`;
}

function parseMeta(json: Bytes): ArchiveMeta {
  let value: unknown;
  try {
    value = JSON.parse(text(json));
  } catch (error) {
    const reason =
      /unexpected end|EOF|end of/i.test(messageOf(error)) || json.length === 0
        ? "unexpected end of JSON input"
        : messageOf(error);
    throw new ArchiveFault(`failed to decode snapshot metadata: ${reason}`);
  }
  const fields = (typeof value === "object" && value !== null ? value : {}) as Readonly<Record<string, unknown>>;
  const whole = (name: string): number =>
    Number.isSafeInteger(fields[name]) && (fields[name] as number) >= 0 ? (fields[name] as number) : 0;
  const configuration = fields["Configuration"] as { readonly Servers?: unknown } | null | undefined;
  const servers = Array.isArray(configuration?.Servers)
    ? (configuration.Servers as readonly (Readonly<Record<string, unknown>> | null)[])
    : [];
  return {
    version: whole("Version"),
    id: String(fields["ID"] ?? ""),
    index: whole("Index"),
    term: whole("Term"),
    servers: servers.map((server) => ({
      id: String(server?.["ID"] ?? ""),
      address: String(server?.["Address"] ?? ""),
      voter: server?.["Suffrage"] === 0,
    })),
    size: whole("Size"),
  };
}

/** Something is wrong with an archive; the message is the text for it so far. */
class ArchiveFault extends Error {}

/** The compressed stream itself is broken. Thrown by {@link decompressed}. */
export class GzipFault extends Error {}

async function inWords<Result>(words: (message: string) => string, act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    // A checksum is compared when all has been read, and so is nobody's but the whole's.
    if (error instanceof GzipFault && error.message !== invalidChecksum) throw new ArchiveFault(words(error.message));
    if (error instanceof TarFault) throw new ArchiveFault(words(error.message));
    throw error;
  }
}

const gzipHeaderBytes = 10;
const invalidChecksum = "gzip: invalid checksum";

/**
 * Checks the first bytes of a gzip file and words the failures of the platform's decompression as Go would.
 * Throws `rejected` when it is no gzip file at all.
 */
export async function* decompressed(file: Bytes, gunzip: (file: Bytes) => AsyncIterable<Bytes>): AsyncGenerator<Bytes> {
  const fault = gzipHeaderFault(file);
  if (fault !== undefined) throw rejected(`failed to decompress snapshot: ${fault}`);
  let length = 0;
  try {
    for await (const piece of gunzip(file)) {
      length += piece.length;
      yield piece;
    }
  } catch (error) {
    throw new GzipFault(gzipText(messageOf(error), length === claimedLength(file)));
  }
}

/** Modulo 2^32, what a gzip file's last four bytes say of its content. */
function claimedLength(file: Bytes): number {
  return new DataView(file.buffer, file.byteOffset, file.length).getUint32(file.length - 4, true);
}

function gzipHeaderFault(file: Bytes): string | undefined {
  if (file.length === 0) return "EOF";
  if (file.length < gzipHeaderBytes) return "unexpected EOF";
  return file[0] === 0x1f && file[1] === 0x8b && file[2] === 8 ? undefined : "gzip: invalid header";
}

/** Each platform has words of its own (zlib's, mostly) for the three things that can be wrong. `complete`: all content came. */
function gzipText(message: string, complete: boolean): string {
  if (/incorrect (data|length) check/.test(message) || (complete && message.includes("checksum"))) return invalidChecksum;
  // Of a second file after the first, which trailing bytes look like, the header is missed.
  return /end of file|checksum|header check|whole buffer/.test(message) ? "unexpected EOF" : "flate: corrupt input";
}

function rejected(message: string): AgentError {
  return new AgentError("rejected", { message });
}
