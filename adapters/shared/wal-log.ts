/**
 * The write-ahead log without its disk: what is to be done to which file, in which order, and what files say when they
 * are read again. Pure; adapters/shared/raft-store.ts does it on a directory, the simulator in virtual time.
 *
 *   0000000000000001.wal   full, never written again; deleted as a whole once a snapshot covers its entries
 *   0000000000000002.wal   the last one: a header, records, and zeros up to where the file was extended
 *   durable                how far it was durable when it was last idle or closed: wal-mark.ts
 *
 * A batch is one write and one sync. The file is extended with zeros ahead of the records, so that a sync mostly need not
 * touch the file's metadata. A new segment is made under another name, synced and renamed, so it is there with its header
 * or not at all, and begins with the hard state, so that older ones can go.
 *
 * What is found when the log is opened may have come from a process that was killed before its sync: the operating system
 * shows it, and a power failure would still take it. So opening syncs, before anybody acknowledges what was found. Or the
 * sync failed: then the system may show what it has given up writing, and another sync would do nothing and succeed. So
 * opening writes the last record once more; those before it were synced.
 */
import type { HardState, LogEntry } from "../../core/ports/storage.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError, assert } from "../../core/types/errors.ts";
import type { LogIndex } from "../../core/types/ids.ts";
import { unfinishedSuffix } from "./directory.ts";
import {
  decodeSegmentHeader,
  encodeRecord,
  encodeSegmentHeader,
  firstRecordAt,
  formatVersion,
  recordBytes,
  type ScannedSegment,
  type SegmentHeader,
  scanSegment,
} from "./wal.ts";
import { encodeBatch, type WalBatch, WalContents } from "./wal-batch.ts";
import { decodeMark, encodeMark, markName, missingBefore, type WalMark } from "./wal-mark.ts";

/** One thing to do; each after the one before succeeded. */
export type FileStep =
  /** A new file that holds this. It is then the one that is written. */
  | { readonly kind: "create"; readonly name: string; readonly bytes: Bytes }
  | { readonly kind: "write"; readonly name: string; readonly at: number; readonly bytes: Bytes }
  | { readonly kind: "sync"; readonly name: string }
  | { readonly kind: "rename"; readonly from: string; readonly to: string }
  | { readonly kind: "remove"; readonly name: string }
  /** The beginning of a small file, made when there is none. Nobody waits for it to be durable. */
  | { readonly kind: "note"; readonly name: string; readonly bytes: Bytes }
  /** Makes changes of names durable. */
  | { readonly kind: "syncNames" };

interface Segment {
  readonly name: string;
  readonly header: SegmentHeader;
  /** Of the entries it brought; 0 for none. */
  lastIndex: LogIndex;
}

export interface WalLogOptions {
  /** For messages. */
  readonly path: string;
  readonly salt: () => Bytes;
  /** A segment this long is closed. One batch may make it longer. */
  readonly segmentBytes: number;
  /** The file grows in steps of this. */
  readonly extendBytes: number;
  /** What the disk writes whole at least: see wal-tear.ts. */
  readonly sectorBytes: number;
}

/** What a log said when it was opened. */
export interface WalOpened {
  readonly hardState: HardState;
  readonly entries: readonly LogEntry[];
  /** Everything up to here was dropped, because a snapshot holds it; 0 for nothing. */
  readonly compacted: LogIndex;
  /** To be done before anything of this is relied on. */
  readonly steps: readonly FileStep[];
  /** An incomplete last record is cut off. */
  readonly torn: { readonly name: string; readonly offset: number } | undefined;
}

const segmentPattern = /^[0-9a-f]{16}\.wal$/;
const restore = "Restore the data directory from a backup, or remove it and let this server join its cluster anew";

export class WalLog {
  readonly #options: WalLogOptions;
  /** Oldest first; the last one is open. */
  readonly #segments: Segment[] = [];
  readonly #contents = new WalContents();
  /** Where the next record goes, and up to where the file is zeros. */
  #end = 0;
  #extended = 0;
  #nextSequence = 1;
  #hardState: HardState = { term: 0, votedFor: undefined };
  #tornAt: number | undefined;
  #mark: WalMark | undefined;
  #lastRecord: { readonly at: number; readonly bytes: Bytes } | undefined;

  constructor(options: WalLogOptions) {
    this.#options = options;
  }

  /** Which of the files found in its directory are segments, in the order in which to read them, and which were not finished. */
  static sort(names: readonly string[]): { readonly segments: readonly string[]; readonly unfinished: readonly string[] } {
    return {
      segments: names.filter((name) => segmentPattern.test(name)).sort(),
      unfinished: names.filter((name) => name.endsWith(unfinishedSuffix)),
    };
  }

  /** Reads a segment. Throws `wal-corrupt` for what no crash can have left behind. */
  read(name: string, bytes: Bytes, isLast: boolean): void {
    const decoded = decodeSegmentHeader(bytes);
    if (decoded.kind === "damaged") throw this.corrupt(name, 0, "the header fails its checksum");
    if (decoded.kind === "foreign") throw this.#foreign(name, decoded.version);
    const { header } = decoded;
    const before = this.#segments[this.#segments.length - 1];
    if (nameOf(header.number) !== name) throw this.corrupt(name, 0, `the header belongs to segment ${header.number}`);
    if (before !== undefined && (header.number !== before.header.number + 1 || header.firstSequence !== this.#nextSequence))
      throw this.corrupt(name, 0, `segment ${header.number} does not continue segment ${before.header.number}`);
    const scanned: ScannedSegment = scanSegment(bytes, header);
    if (scanned.kind === "corrupt") throw this.corrupt(name, scanned.at, scanned.what);
    if (scanned.kind === "torn" && !isLast)
      throw this.corrupt(name, scanned.end, "a record fails its checksum and is not the last one");
    const segment: Segment = { name, header, lastIndex: 0 };
    for (const batch of scanned.batches) {
      const fault = this.#contents.apply(batch);
      if (fault !== undefined) throw this.corrupt(name, scanned.end, fault);
      note(segment, batch);
    }
    this.#segments.push(segment);
    this.#nextSequence = scanned.nextSequence;
    this.#end = scanned.end;
    this.#extended = bytes.length;
    if (scanned.kind === "torn") this.#tornAt = scanned.end;
    else if (isLast && scanned.last < scanned.end)
      this.#lastRecord = { at: scanned.last, bytes: bytes.slice(scanned.last, scanned.end) };
  }

  /** The file with the mark, where there is one. */
  readMark(bytes: Bytes): void {
    this.#mark = decodeMark(bytes);
  }

  /** After all was read. Throws `wal-corrupt` when the log ends before its mark. */
  open(): WalOpened {
    const { hardState, entries, compacted } = this.#contents;
    this.#hardState = hardState;
    const last = this.#segments[this.#segments.length - 1];
    const headers = this.#segments.map(({ header }) => header);
    const missing = this.#mark === undefined ? undefined : missingBefore(this.#mark, headers, this.#nextSequence);
    if (missing !== undefined) throw this.corrupt(last?.name ?? markName, this.#end, missing);
    if (last === undefined) return { hardState, entries, compacted, steps: this.#beginSegment(), torn: undefined };
    const { name } = last;
    const offset = this.#tornAt;
    const steps: FileStep[] = [];
    // All of a torn record goes: a later one of the same length must not uncover what it left behind it.
    if (offset !== undefined) steps.push({ kind: "write", name, at: offset, bytes: new Uint8Array(this.#extended - offset) });
    const record = this.#lastRecord;
    this.#lastRecord = undefined;
    if (record !== undefined) steps.push({ kind: "write", name, ...record });
    steps.push({ kind: "sync", name }, { kind: "syncNames" });
    return { hardState, entries, compacted, steps, torn: offset === undefined ? undefined : { name, offset } };
  }

  /** What makes a batch durable: when all is done it is. */
  append(batch: WalBatch): readonly FileStep[] {
    if (batch.hardState !== undefined) this.#hardState = batch.hardState;
    const steps: FileStep[] = [];
    let payload = encodeBatch(batch);
    if (!this.#isFirst() && this.#end + recordBytes(payload.length) > this.#options.segmentBytes)
      steps.push(...this.#beginSegment());
    // The first record of a segment carries the hard state: the ones before may be deleted. Also when it was begun before a
    // crash that took its first record.
    if (this.#isFirst()) payload = encodeBatch({ ...batch, hardState: this.#hardState });
    const segment = this.#last();
    const { name, header } = segment;
    const record = encodeRecord(payload, this.#nextSequence, this.#end, header);
    const end = this.#end + record.length;
    if (end > this.#extended) {
      const { extendBytes } = this.#options;
      const extended = Math.ceil((end + 1) / extendBytes) * extendBytes;
      steps.push({ kind: "write", name, at: end, bytes: new Uint8Array(extended - end) });
      this.#extended = extended;
    }
    steps.push({ kind: "write", name, at: this.#end, bytes: record }, { kind: "sync", name });
    this.#end = end;
    this.#nextSequence++;
    note(segment, batch);
    return steps;
  }

  /** Removes the segments whose entries a snapshot holds: those up to `index`. To be done after that was appended. */
  removeUpTo(index: LogIndex): readonly FileStep[] {
    const steps: FileStep[] = [];
    while (this.#segments.length > 1 && (this.#segments[0] as Segment).lastIndex <= index)
      steps.push({ kind: "remove", name: (this.#segments.shift() as Segment).name });
    if (steps.length > 0) steps.push({ kind: "syncNames" });
    return steps;
  }

  /** Notes how far the log is durable. To be done while nothing is under way, and after all that was planned. */
  mark(): FileStep {
    const { number: segment, salt } = this.#last().header;
    return { kind: "note", name: markName, bytes: encodeMark({ segment, salt, nextSequence: this.#nextSequence }) };
  }

  corrupt(name: string, offset: number, what: string): AgentError {
    return new AgentError("wal-corrupt", {
      message: `Cannot open the log: ${this.#options.path}/${name} is damaged at byte ${offset}: ${what}. ${restore}`,
    });
  }

  #last(): Segment {
    const last = this.#segments[this.#segments.length - 1];
    assert(last !== undefined, "a log is opened before it is written");
    return last;
  }

  /** The next record is the first of its segment. */
  #isFirst(): boolean {
    return this.#end === firstRecordAt(this.#last().header);
  }

  #foreign(name: string, version: number): AgentError {
    const by = version > formatVersion ? "a later" : "an earlier";
    return new AgentError("wal-corrupt", {
      message: `Cannot open the log: ${this.#options.path}/${name} was written by ${by} version of this program, in format ${version}; this one reads and writes ${formatVersion}. Run that version, or remove the data directory and let this server join its cluster anew`,
    });
  }

  #beginSegment(): readonly FileStep[] {
    const { salt, segmentBytes, extendBytes, sectorBytes } = this.#options;
    const before = this.#segments[this.#segments.length - 1];
    const number = (before?.header.number ?? 0) + 1;
    const header: SegmentHeader = { number, firstSequence: this.#nextSequence, salt: salt(), sectorBytes };
    const name = nameOf(number);
    const bytes = new Uint8Array(Math.max(firstRecordAt(header), Math.min(extendBytes, segmentBytes)));
    bytes.set(encodeSegmentHeader(header));
    this.#segments.push({ name, header, lastIndex: 0 });
    this.#end = firstRecordAt(header);
    this.#extended = bytes.length;
    const unfinished = name + unfinishedSuffix;
    return [
      { kind: "create", name: unfinished, bytes },
      { kind: "sync", name: unfinished },
      { kind: "rename", from: unfinished, to: name },
      { kind: "syncNames" },
    ];
  }
}

function note(segment: Segment, batch: WalBatch): void {
  const last = batch.entries[batch.entries.length - 1];
  if (last !== undefined && last.index > segment.lastIndex) segment.lastIndex = last.index;
}

function nameOf(number: number): string {
  return `${number.toString(16).padStart(16, "0")}.wal`;
}
