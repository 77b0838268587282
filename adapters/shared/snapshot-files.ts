/**
 * Snapshots in a directory: one file each, written under another name, synced and renamed, so a snapshot is there as a whole
 * or not at all; read to the end and checked before it is trusted.
 *
 *   snapshots/2-16386-1600000000000.snap    term, index, time of writing
 *
 * The newest two are kept, as Consul does: should the newest not pass its check, the one before may still serve,
 * together with what the log holds behind it. Opening syncs the directory: a process that was killed may have left a name
 * that a power failure would still take.
 */
import type { Clock } from "../../core/ports/clock.ts";
import type { SnapshotMeta, SnapshotStore } from "../../core/ports/storage.ts";
import { type Bytes, concat, emptyBytes } from "../../core/types/bytes.ts";
import { AgentError, assert } from "../../core/types/errors.ts";
import { type Directory, type OpenFile, unfinishedSuffix } from "./directory.ts";
import {
  decodeHead,
  encodeHead,
  FrameReader,
  FrameWriter,
  belongsTo,
  headVersion,
  snapshotVersion,
  frameBytesMax,
  frameHeaderBytes,
  hasSnapshotMagic,
  headBytesMax,
  type SnapshotHead,
  snapshotMagic,
  snapshotName,
  snapshotNames,
  snapshotsKept,
} from "./snapshot-file.ts";

/**
 * Read and written at once. A frame alone is too little for a trip to the disk and back; more, and nothing else would get
 * its turn while the frames of one stretch are made or read, a millisecond or two each.
 */
const stretchBytes = 256 * 1024;

/** Below it there is room for the count. */
const stampMax = 999_999_999_999_999;

export interface SnapshotFilesOptions {
  readonly directory: Directory;
  readonly clock: Pick<Clock, "wall">;
  /** Told of a snapshot that was passed over, because it is damaged. */
  readonly onDamaged: (path: string, error: AgentError) => void;
}

export class SnapshotFiles implements SnapshotStore {
  readonly #options: SnapshotFilesOptions;
  /** Checked to the end since this store was opened. */
  readonly #checked = new Map<string, SnapshotMeta>();
  #saved = 0;
  #opened: Promise<void> | undefined;

  constructor(options: SnapshotFilesOptions) {
    this.#options = options;
  }

  /** Makes the directory and removes what was left unfinished; at the first use, because a client agent has no use for it. */
  #open(): Promise<void> {
    this.#opened ??= this.#prepare();
    return this.#opened;
  }

  async #prepare(): Promise<void> {
    const { directory } = this.#options;
    try {
      await directory.make();
      for (const name of await directory.list()) if (name.endsWith(unfinishedSuffix)) await directory.remove(name);
      await directory.sync();
    } catch (error) {
      throw error instanceof AgentError ? error : directory.failed(`open the snapshots in ${directory.path}`, error);
    }
  }

  async latest(): Promise<SnapshotMeta | undefined> {
    await this.#open();
    const names = await this.#names();
    for (const name of names) {
      const known = this.#checked.get(name);
      if (known !== undefined) return known;
      try {
        return await this.#check(name);
      } catch (error) {
        if (!(error instanceof AgentError) || error.code !== "snapshot-corrupt") throw error;
        this.#options.onDamaged(`${this.#options.directory.path}/${name}`, error);
      }
    }
    if (names.length === 0) return undefined;
    throw new AgentError("snapshot-corrupt", {
      message: `Cannot read any snapshot in ${this.#options.directory.path}: all ${names.length} are damaged. Restore one from a backup, or remove the data directory and let this server join its cluster anew`,
    });
  }

  async *read(meta: SnapshotMeta): AsyncGenerator<Bytes> {
    const reader = await SnapshotReader.open(this.#options.directory, meta.id);
    try {
      for (let content = await reader.next(); content !== undefined; content = await reader.next()) yield content;
    } finally {
      await reader.close();
    }
  }

  async save(head: SnapshotHead, content: AsyncIterable<Bytes>): Promise<SnapshotMeta> {
    await this.#open();
    const { directory, clock } = this.#options;
    // Two in one millisecond differ by the count. A clock may say anything; a name has digits.
    const stamp = Math.max(Math.min(Math.floor(clock.wall()), stampMax) || 0, this.#saved + 1);
    this.#saved = stamp;
    const name = snapshotName(head, stamp);
    let size: number;
    let written = name + unfinishedSuffix;
    try {
      size = await writeSnapshot(directory, written, head, content);
      await directory.rename(written, name);
      written = name;
      await directory.sync();
    } catch (error) {
      await directory.remove(written).catch(() => undefined); // the first error is the one to tell
      throw error instanceof AgentError ? error : directory.failed(`save a snapshot in ${directory.path}`, error);
    }
    const { index, term, configuration, configurationIndex } = head;
    const meta: SnapshotMeta = { id: name, index, term, configuration: configuration.slice(), configurationIndex, size };
    this.#checked.set(name, meta);
    await this.#removeOld();
    return meta;
  }

  async #check(name: string): Promise<SnapshotMeta> {
    const reader = await SnapshotReader.open(this.#options.directory, name);
    try {
      let size = 0;
      for (let content = await reader.next(); content !== undefined; content = await reader.next()) size += content.length;
      const meta: SnapshotMeta = { ...reader.head, id: name, size };
      this.#checked.set(name, meta);
      return meta;
    } finally {
      await reader.close();
    }
  }

  /** Newest first. */
  async #names(): Promise<readonly string[]> {
    const { directory } = this.#options;
    try {
      return snapshotNames(await directory.list());
    } catch (error) {
      throw error instanceof AgentError ? error : directory.failed(`list the snapshots in ${directory.path}`, error);
    }
  }

  async #removeOld(): Promise<void> {
    // Left behind, they take room and do no harm; the next save tries again.
    const names = await this.#names().catch(() => []);
    for (const name of names.slice(snapshotsKept)) {
      this.#checked.delete(name);
      await this.#options.directory.remove(name).catch(() => undefined);
    }
  }
}

/** Gives the number of content bytes. */
async function writeSnapshot(
  directory: Directory,
  name: string,
  head: SnapshotHead,
  content: AsyncIterable<Bytes>,
): Promise<number> {
  const file = await directory.open(name, "create");
  try {
    const frames = new FrameWriter();
    let at = 0;
    let waiting: Bytes[] = [];
    let waitingBytes = 0;
    const flush = async (): Promise<void> => {
      const bytes = concat(waiting);
      waiting = [];
      waitingBytes = 0;
      await file.write(at, bytes);
      at += bytes.length;
    };
    const frame = async (bytes: Bytes): Promise<void> => {
      waiting.push(frames.header(bytes), bytes);
      waitingBytes += bytes.length;
      if (waitingBytes >= stretchBytes) await flush();
    };
    waiting.push(snapshotMagic);
    const encoded = encodeHead(head);
    assert(encoded.length <= headBytesMax, "a head is small");
    await frame(encoded);
    let size = 0;
    for await (const part of content) {
      for (let from = 0; from < part.length; from += frameBytesMax) await frame(part.subarray(from, from + frameBytesMax));
      size += part.length;
    }
    await frame(new Uint8Array(0));
    await flush();
    await file.sync();
    return size;
  } finally {
    await file.close();
  }
}

/** Reads frames in order and checks each before handing it out. */
class SnapshotReader {
  readonly head: SnapshotHead;
  readonly #frames: FrameFile;

  constructor(frames: FrameFile, head: SnapshotHead) {
    this.#frames = frames;
    this.head = head;
  }

  static async open(directory: Directory, name: string): Promise<SnapshotReader> {
    const path = `${directory.path}/${name}`;
    const file = await directory.open(name, "read").catch((error: unknown) => {
      throw directory.failed(`open the snapshot ${path}`, error);
    });
    const frames = new FrameFile(file, path, directory);
    try {
      if (!hasSnapshotMagic(await frames.take(snapshotMagic.length))) throw damaged(path, 0, "it does not begin as a snapshot");
      const encoded = await frames.next(headBytesMax);
      const head = decodeHead(encoded);
      const version = headVersion(encoded);
      if (head === undefined && version !== undefined && version !== snapshotVersion) throw foreign(path, version);
      if (head === undefined) throw damaged(path, snapshotMagic.length, "its head cannot be decoded");
      if (!belongsTo(name, head)) throw damaged(path, 0, `it is the snapshot of term ${head.term} up to index ${head.index}`);
      return new SnapshotReader(frames, head);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The next content, or undefined at the end. Throws `snapshot-corrupt`. */
  async next(): Promise<Bytes | undefined> {
    const content = await this.#frames.next(frameBytesMax);
    if (content.length > 0) return content;
    await this.#frames.end();
    return undefined;
  }

  close(): Promise<void> {
    return this.#frames.file.close();
  }
}

/** A file that is read frame by frame. */
class FrameFile {
  readonly file: OpenFile;
  readonly #path: string;
  readonly #directory: Directory;
  readonly #frames = new FrameReader();
  #at = 0;
  /** What was read and not taken yet: it begins at `#at`. */
  #ahead: Bytes = emptyBytes;

  constructor(file: OpenFile, path: string, directory: Directory) {
    this.file = file;
    this.#path = path;
    this.#directory = directory;
  }

  /** A view. */
  async take(length: number): Promise<Bytes> {
    if (this.#ahead.length < length) await this.#readOn(length);
    const bytes = this.#ahead.subarray(0, length);
    this.#ahead = this.#ahead.subarray(length);
    this.#at += length;
    return bytes;
  }

  async #readOn(needed: number): Promise<void> {
    const held = this.#ahead;
    const from = this.#at + held.length;
    const more = await this.file.read(from, Math.max(stretchBytes, needed - held.length)).catch((error: unknown) => {
      throw this.#directory.failed(`read the snapshot ${this.#path}`, error);
    });
    if (held.length + more.length < needed) throw damaged(this.#path, from + more.length, "it is incomplete");
    this.#ahead = held.length === 0 ? more : concat([held, more]);
  }

  async next(bytesMax: number): Promise<Bytes> {
    const at = this.#at;
    const header = await this.take(frameHeaderBytes);
    const length = this.#frames.length(header, bytesMax);
    if (length === undefined) throw damaged(this.#path, at, "a frame is too long");
    const content = await this.take(length);
    if (!this.#frames.accepts(header, content)) throw damaged(this.#path, at, "a frame fails its checksum");
    return content;
  }

  async end(): Promise<void> {
    if ((await this.file.size()) !== this.#at) throw damaged(this.#path, this.#at, "something follows its end");
  }
}

/** Not `snapshot-corrupt`: an older snapshot must not be taken in its place. */
function foreign(path: string, version: number): AgentError {
  const by = version > snapshotVersion ? "a later" : "an earlier";
  return new AgentError("storage-failed", {
    message: `Cannot read the snapshot ${path}: it was written by ${by} version of this program, in format ${version}; this one reads and writes ${snapshotVersion}. Run that version, or remove the data directory and let this server join its cluster anew`,
  });
}

function damaged(path: string, offset: number, what: string): AgentError {
  return new AgentError("snapshot-corrupt", { message: `Cannot read the snapshot ${path}: damaged at byte ${offset}: ${what}` });
}
