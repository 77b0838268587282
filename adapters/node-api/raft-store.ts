/**
 * The write-ahead log on disk: segments of adapters/shared/wal.ts in one directory.
 *
 *   wal/0000000000000001.wal   full, never written again; deleted as a whole once a snapshot covers its entries
 *   wal/0000000000000002.wal   the last one: a header, records, and zeros up to where the file was extended
 *
 * A batch is one write and one fdatasync. The file is extended with zeros ahead of the records, so that a sync mostly
 * need not touch the file's metadata. A new segment is made under another name, synced and renamed, so it is there with
 * its header or not at all, and begins with the hard state, so that older ones can go.
 *
 * After a failed write or sync the store refuses everything: nobody knows what the disk holds until it is read again.
 */
import { promises as fs } from "node:fs";
import { join } from "node:path";
import type { HardState, LogEntry, RaftStore, RaftWrite } from "../../core/ports/storage.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError, assert } from "../../core/types/errors.ts";
import type { LogIndex } from "../../core/types/ids.ts";
import {
  decodeSegmentHeader,
  encodeRecord,
  encodeSegmentHeader,
  type ScannedSegment,
  type SegmentHeader,
  saltBytes,
  scanSegment,
  segmentHeaderBytes,
  type WalBatch,
  WalContents,
} from "../shared/wal.ts";
import { makeDirectory, storageFailed, syncDirectory, temporarySuffix } from "./files.ts";

/** A segment this long is closed. One batch may make it longer. */
const segmentBytes = 16 * 1024 * 1024;
/** The file grows in steps of this. */
const extendBytes = 1024 * 1024;
/** A file longer than any we write. */
const fileBytesMax = 256 * 1024 * 1024;

const restore = "Restore the data directory from a backup, or remove it and let this server join its cluster anew";

interface Segment {
  readonly path: string;
  readonly header: SegmentHeader;
  /** Of the entries it brought; 0 for none. */
  lastIndex: LogIndex;
}

export interface NodeRaftStoreOptions {
  readonly directory: string;
  readonly randomBytes: (length: number) => Bytes;
  /** Told when an incomplete last record was cut off. */
  readonly onTornTail: (path: string, offset: number) => void;
  /** For tests. */
  readonly segmentBytes?: number;
}

export class NodeRaftStore implements RaftStore {
  readonly #options: NodeRaftStoreOptions;
  readonly #segmentBytes: number;
  /** Oldest first; the last one is open. */
  readonly #segments: Segment[] = [];
  #file: fs.FileHandle | undefined;
  /** Where the next record goes, and up to where the file is zeros. */
  #end = 0;
  #extended = 0;
  #nextSequence = 1;
  #hardState: HardState = { term: 0, votedFor: undefined };
  #broken: AgentError | undefined;
  #busy = false;

  constructor(options: NodeRaftStoreOptions) {
    this.#options = options;
    this.#segmentBytes = options.segmentBytes ?? segmentBytes;
  }

  async load(): Promise<{ readonly hardState: HardState; readonly entries: readonly LogEntry[] }> {
    assert(this.#file === undefined, "a log is loaded once");
    const contents = new WalContents();
    try {
      await makeDirectory(this.#options.directory);
      const names = await this.#segmentNames();
      for (const [at, name] of names.entries()) await this.#loadSegment(name, at === names.length - 1, contents);
      this.#hardState = contents.hardState;
      if (this.#segments.length === 0) await this.#beginSegment();
    } catch (error) {
      throw error instanceof AgentError ? error : storageFailed(`open the log in ${this.#options.directory}`, error);
    }
    return { hardState: contents.hardState, entries: contents.entries };
  }

  write(batch: RaftWrite): Promise<void> {
    return this.#append(batch);
  }

  async compact(index: LogIndex): Promise<void> {
    await this.#append({ compactTo: index, entries: [] });
    try {
      let deleted = false;
      while (this.#segments.length > 1 && (this.#segments[0] as Segment).lastIndex <= index) {
        await fs.unlink((this.#segments[0] as Segment).path);
        this.#segments.shift();
        deleted = true;
      }
      if (deleted) await syncDirectory(this.#options.directory);
    } catch (error) {
      throw this.#break(storageFailed(`delete old segments of the log in ${this.#options.directory}`, error));
    }
  }

  async close(): Promise<void> {
    this.#broken ??= new AgentError("closed", { message: "Cannot write: the log is closed" });
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #append(batch: WalBatch): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    assert(this.#file !== undefined, "a log is loaded before it is written");
    assert(!this.#busy, "one write at a time");
    this.#busy = true;
    try {
      if (batch.hardState !== undefined) this.#hardState = batch.hardState;
      let record = this.#encode(batch);
      if (this.#end > segmentHeaderBytes && this.#end + record.length > this.#segmentBytes) {
        await this.#beginSegment();
        // The first record of a segment carries the hard state: the ones before may be deleted.
        record = this.#encode({ ...batch, hardState: this.#hardState });
      }
      await this.#put(record);
      this.#nextSequence++;
      const last = batch.entries[batch.entries.length - 1];
      const segment = this.#segments[this.#segments.length - 1] as Segment;
      if (last !== undefined && last.index > segment.lastIndex) segment.lastIndex = last.index;
    } catch (error) {
      throw this.#break(
        error instanceof AgentError ? error : storageFailed(`write the log in ${this.#options.directory}`, error),
      );
    } finally {
      this.#busy = false;
    }
  }

  #encode(batch: WalBatch): Bytes {
    return encodeRecord(batch, this.#nextSequence, (this.#segments[this.#segments.length - 1] as Segment).header.salt);
  }

  async #put(record: Bytes): Promise<void> {
    const file = this.#file as fs.FileHandle;
    const end = this.#end + record.length;
    if (end > this.#extended) {
      const extended = Math.ceil((end + 1) / extendBytes) * extendBytes;
      await writeAll(file, new Uint8Array(extended - end), end);
      this.#extended = extended;
    }
    await writeAll(file, record, this.#end);
    await file.datasync();
    this.#end = end;
  }

  async #beginSegment(): Promise<void> {
    const { directory, randomBytes } = this.#options;
    const before = this.#segments[this.#segments.length - 1];
    const header: SegmentHeader = {
      number: (before?.header.number ?? 0) + 1,
      firstSequence: this.#nextSequence,
      salt: randomBytes(saltBytes),
    };
    const path = join(directory, `${header.number.toString(16).padStart(16, "0")}.wal`);
    const file = await fs.open(path + temporarySuffix, "w+", 0o600);
    try {
      const bytes = new Uint8Array(Math.min(extendBytes, this.#segmentBytes));
      bytes.set(encodeSegmentHeader(header));
      await writeAll(file, bytes, 0);
      await file.sync();
      await fs.rename(path + temporarySuffix, path);
      await syncDirectory(directory);
      this.#extended = bytes.length;
    } catch (error) {
      await file.close();
      throw error;
    }
    await this.#file?.close();
    this.#file = file;
    this.#end = segmentHeaderBytes;
    this.#segments.push({ path, header, lastIndex: 0 });
  }

  async #segmentNames(): Promise<readonly string[]> {
    const { directory } = this.#options;
    const names: string[] = [];
    for (const name of await fs.readdir(directory)) {
      if (name.endsWith(temporarySuffix)) await fs.unlink(join(directory, name));
      else if (/^[0-9a-f]{16}\.wal$/.test(name)) names.push(name);
    }
    return names.sort();
  }

  async #loadSegment(name: string, isLast: boolean, contents: WalContents): Promise<void> {
    const path = join(this.#options.directory, name);
    const { size } = await fs.stat(path);
    if (size > fileBytesMax) throw corrupt(path, fileBytesMax, "the file is longer than any segment");
    const bytes = await fs.readFile(path);
    const header = decodeSegmentHeader(bytes);
    if (header === undefined) throw corrupt(path, 0, "the header fails its checksum");
    const before = this.#segments[this.#segments.length - 1];
    if (`${header.number.toString(16).padStart(16, "0")}.wal` !== name)
      throw corrupt(path, 0, `the header belongs to segment ${header.number}`);
    if (before !== undefined && (header.number !== before.header.number + 1 || header.firstSequence !== this.#nextSequence)) {
      throw corrupt(path, 0, `segment ${header.number} does not continue segment ${before.header.number}`);
    }
    const scanned = scanSegment(bytes, header);
    if (scanned.kind === "corrupt") throw corrupt(path, scanned.at, scanned.what);
    if (scanned.kind === "torn" && !isLast)
      throw corrupt(path, scanned.end, "a record fails its checksum and is not the last one");
    const segment: Segment = { path, header, lastIndex: 0 };
    for (const batch of scanned.batches) {
      const fault = contents.apply(batch);
      if (fault !== undefined) throw corrupt(path, scanned.end, fault);
      const last = batch.entries[batch.entries.length - 1];
      if (last !== undefined && last.index > segment.lastIndex) segment.lastIndex = last.index;
    }
    this.#segments.push(segment);
    this.#nextSequence = scanned.nextSequence;
    if (isLast) await this.#resume(path, scanned, bytes.length);
  }

  /** Opens the last segment for writing behind its last good record. */
  async #resume(path: string, scanned: Exclude<ScannedSegment, { kind: "corrupt" }>, length: number): Promise<void> {
    const file = await fs.open(path, "r+");
    this.#file = file;
    this.#end = scanned.end;
    this.#extended = length;
    if (scanned.kind !== "torn") return;
    this.#options.onTornTail(path, scanned.end);
    // All of it goes: a later record of the same length must not uncover what the torn one left behind it.
    await writeAll(file, new Uint8Array(length - scanned.end), scanned.end);
    await file.datasync();
  }

  #break(error: AgentError): AgentError {
    this.#broken ??= error;
    return error;
  }
}

function corrupt(path: string, offset: number, what: string): AgentError {
  return new AgentError("wal-corrupt", {
    message: `Cannot open the log: ${path} is damaged at byte ${offset}: ${what}. ${restore}`,
  });
}

async function writeAll(file: fs.FileHandle, bytes: Bytes, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    assert(bytesWritten > 0, "a write makes progress or fails");
    done += bytesWritten;
  }
}
