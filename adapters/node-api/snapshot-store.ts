/**
 * Snapshots on disk: one file each, written under another name, synced and renamed, so a snapshot is there as a whole
 * or not at all; read to the end and checked before it is trusted.
 *
 *   snapshots/2-16386-1600000000000.snap    term, index, time of writing
 *
 * The newest two are kept, as Consul does: should the newest not pass its check, the one before may still serve,
 * together with what the log holds behind it.
 */
import { promises as fs } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../core/ports/clock.ts";
import type { SnapshotMeta, SnapshotStore } from "../../core/ports/storage.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError, assert } from "../../core/types/errors.ts";
import {
  decodeHead,
  encodeHead,
  FrameReader,
  FrameWriter,
  frameBytesMax,
  frameHeaderBytes,
  hasSnapshotMagic,
  headBytesMax,
  type SnapshotHead,
  snapshotMagic,
} from "../shared/snapshot-file.ts";
import { makeDirectory, storageFailed, syncDirectory, temporarySuffix } from "./files.ts";

const snapshotsKept = 2;
const namePattern = /^(\d{1,16})-(\d{1,16})-(\d{1,16})\.snap$/;

export interface NodeSnapshotStoreOptions {
  readonly directory: string;
  readonly clock: Clock;
  /** Told of a snapshot that was passed over, because it is damaged. */
  readonly onDamaged: (path: string, error: AgentError) => void;
}

export class NodeSnapshotStore implements SnapshotStore {
  readonly #options: NodeSnapshotStoreOptions;
  /** Checked to the end since this store was opened. */
  readonly #checked = new Map<string, SnapshotMeta>();
  #saved = 0;
  #opened: Promise<void> | undefined;

  constructor(options: NodeSnapshotStoreOptions) {
    this.#options = options;
  }

  /** Makes the directory and removes what was left unfinished; at the first use, because a client agent has no use for it. */
  #open(): Promise<void> {
    this.#opened ??= this.#prepare();
    return this.#opened;
  }

  async #prepare(): Promise<void> {
    const { directory } = this.#options;
    await makeDirectory(directory);
    for (const name of await fs.readdir(directory)) if (name.endsWith(temporarySuffix)) await fs.unlink(join(directory, name));
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
        this.#options.onDamaged(join(this.#options.directory, name), error);
      }
    }
    if (names.length === 0) return undefined;
    throw new AgentError("snapshot-corrupt", {
      message: `Cannot read any snapshot in ${this.#options.directory}: all ${names.length} are damaged. Restore one from a backup, or remove the data directory and let this server join its cluster anew`,
    });
  }

  async *read(meta: SnapshotMeta): AsyncGenerator<Bytes> {
    const reader = await SnapshotReader.open(join(this.#options.directory, meta.id));
    try {
      for (let content = await reader.next(); content !== undefined; content = await reader.next()) yield content;
    } finally {
      await reader.close();
    }
  }

  async save(head: SnapshotHead, content: AsyncIterable<Bytes>): Promise<SnapshotMeta> {
    await this.#open();
    const { directory, clock } = this.#options;
    // Two in one millisecond differ by the count.
    const stamp = Math.max(clock.wall(), this.#saved + 1);
    this.#saved = stamp;
    const name = `${head.term}-${head.index}-${stamp}.snap`;
    const path = join(directory, name);
    let size: number;
    try {
      size = await writeSnapshot(path + temporarySuffix, head, content);
      await fs.rename(path + temporarySuffix, path);
      await syncDirectory(directory);
    } catch (error) {
      await fs.rm(path + temporarySuffix, { force: true }).catch(() => undefined); // the first error is the one to tell
      throw error instanceof AgentError ? error : storageFailed(`save a snapshot in ${directory}`, error);
    }
    const { index, term, configuration, configurationIndex } = head;
    const meta: SnapshotMeta = { id: name, index, term, configuration: configuration.slice(), configurationIndex, size };
    this.#checked.set(name, meta);
    await this.#removeOld();
    return meta;
  }

  async #check(name: string): Promise<SnapshotMeta> {
    const reader = await SnapshotReader.open(join(this.#options.directory, name));
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

  /** Newest first: by index, then by time of writing. */
  async #names(): Promise<readonly string[]> {
    const found: { readonly name: string; readonly index: number; readonly stamp: number }[] = [];
    for (const name of await fs.readdir(this.#options.directory)) {
      const match = namePattern.exec(name);
      if (match !== null) found.push({ name, index: Number(match[2]), stamp: Number(match[3]) });
    }
    found.sort((left, right) => right.index - left.index || right.stamp - left.stamp);
    return found.map(({ name }) => name);
  }

  async #removeOld(): Promise<void> {
    for (const name of (await this.#names()).slice(snapshotsKept)) {
      this.#checked.delete(name);
      // Left behind, it takes room and does no harm; the next save tries again.
      await fs.unlink(join(this.#options.directory, name)).catch(() => undefined);
    }
  }
}

/** Gives the number of content bytes. */
async function writeSnapshot(path: string, head: SnapshotHead, content: AsyncIterable<Bytes>): Promise<number> {
  const file = await fs.open(path, "wx", 0o600);
  try {
    const frames = new FrameWriter();
    const put = async (bytes: Bytes): Promise<void> => {
      await file.appendFile(frames.header(bytes));
      if (bytes.length > 0) await file.appendFile(bytes);
    };
    await file.appendFile(snapshotMagic);
    const encoded = encodeHead(head);
    assert(encoded.length <= headBytesMax, "a head is small");
    await put(encoded);
    let size = 0;
    for await (const part of content) {
      for (let at = 0; at < part.length; at += frameBytesMax) await put(part.subarray(at, at + frameBytesMax));
      size += part.length;
    }
    await put(new Uint8Array(0));
    await file.sync();
    return size;
  } finally {
    await file.close();
  }
}

/** Reads frames in order and checks each before handing it out. */
class SnapshotReader {
  readonly head: SnapshotHead;
  readonly #file: fs.FileHandle;
  readonly #path: string;
  readonly #frames: FrameReader;
  #at: number;

  constructor(file: fs.FileHandle, path: string, frames: FrameReader, head: SnapshotHead, at: number) {
    this.#file = file;
    this.#path = path;
    this.#frames = frames;
    this.head = head;
    this.#at = at;
  }

  static async open(path: string): Promise<SnapshotReader> {
    const file = await fs.open(path, "r").catch((error: unknown) => {
      throw storageFailed(`open the snapshot ${path}`, error);
    });
    try {
      const frames = new FrameReader();
      if (!hasSnapshotMagic(await readAt(file, path, 0, snapshotMagic.length)))
        throw damaged(path, 0, "it does not begin as a snapshot");
      const encoded = await frameAt(file, path, frames, snapshotMagic.length, headBytesMax);
      const head = decodeHead(encoded);
      if (head === undefined) throw damaged(path, snapshotMagic.length, "its head cannot be decoded");
      return new SnapshotReader(file, path, frames, head, snapshotMagic.length + frameHeaderBytes + encoded.length);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The next content, or undefined at the end. Throws `snapshot-corrupt`. */
  async next(): Promise<Bytes | undefined> {
    const content = await frameAt(this.#file, this.#path, this.#frames, this.#at, frameBytesMax);
    this.#at += frameHeaderBytes + content.length;
    if (content.length > 0) return content;
    const { size } = await this.#file.stat();
    if (size !== this.#at) throw damaged(this.#path, this.#at, "something follows its end");
    return undefined;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

async function frameAt(file: fs.FileHandle, path: string, frames: FrameReader, at: number, bytesMax: number): Promise<Bytes> {
  const header = await readAt(file, path, at, frameHeaderBytes);
  const length = frames.length(header, bytesMax);
  if (length === undefined) throw damaged(path, at, "a frame is too long");
  const content = await readAt(file, path, at + frameHeaderBytes, length);
  if (!frames.accepts(header, content)) throw damaged(path, at, "a frame fails its checksum");
  return content;
}

async function readAt(file: fs.FileHandle, path: string, at: number, length: number): Promise<Bytes> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, at + done).catch((error: unknown) => {
      throw storageFailed(`read the snapshot ${path}`, error);
    });
    if (bytesRead === 0) throw damaged(path, at + done, "it is incomplete");
    done += bytesRead;
  }
  return bytes;
}

function damaged(path: string, offset: number, what: string): AgentError {
  return new AgentError("snapshot-corrupt", { message: `Cannot read the snapshot ${path}: damaged at byte ${offset}: ${what}` });
}
