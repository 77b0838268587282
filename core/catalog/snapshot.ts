/**
 * The whole catalog to bytes and back.
 *
 *   frame = length (4 bytes, big-endian) and a CBOR value
 *   ["proconsul-catalog", 1, lastIndex, kvIndex, offset]  [table, rows]…  ["end", frames before this one]
 *
 * `lastIndex` is the one that clients see: the log's, plus `offset` (restoring.ts).
 *
 * Taking one is O(1): ordered tables are cloned copy-on-write and keys keep their old records in an overlay, so that
 * serving and applying go on while the frames are made one by one. Frames are cut by size, rows are in key order, so
 * equal states give equal bytes. What can be derived (orders, who holds which key) is not stored.
 */
import { decodeInPlace, encode } from "../codec/cbor.ts";
import { type Bytes, concat } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import type { LogIndex } from "../types/ids.ts";
import type { CoordinateEntry } from "./queries.ts";
import type { AutopilotRecord, CheckRecord, KvRecord, NodeRecord, ServiceRecord, SessionRecord } from "./records.ts";
import { checksOf } from "./sessions.ts";
import { faultOf } from "./snapshot-rows.ts";
import type { Tables } from "./tables.ts";

/** The first word of every snapshot: by it an archive's content is known for one. */
export const snapshotFormat = "proconsul-catalog";
export const snapshotVersion = 1;
/** A frame is closed when its rows reach this size: large enough to be cheap, small enough not to stall the loop. */
export const frameBytesAim = 64 * 1024;
export const frameRowsMax = 512;
/** What a reader accepts: one row may be as large as a request. */
const frameBytesMax = 64 * 1024 * 1024;
/** Beyond any log: an operator's snapshot that claims more would use up the whole numbers. */
const untrustedIndexMax = 2 ** 48;
const lengthBytes = 4;

/** Read once. Ends itself when read to its end or when the reading loop is left; otherwise call `release`. */
export interface CatalogSnapshot extends Iterable<Bytes> {
  readonly lastIndex: LogIndex;
  /** Harmless when repeated. */
  release(): void;
}

type Header = readonly [name: string, version: unknown, lastIndex: unknown, kvIndex: unknown, offset?: unknown];
type KvRow = readonly [
  key: string,
  value: Bytes,
  flags: number | bigint,
  lockIndex: number,
  session: string | undefined,
  create: LogIndex,
  modify: LogIndex,
];

/** What a snapshot carries besides the tables. */
export interface SnapshotExtras {
  readonly lastIndex: LogIndex;
  readonly offset: number;
  /** Of an operator's snapshot that is on its way in. */
  readonly restoring: readonly RestoringRow[];
}
export type RestoringRow = readonly [id: string, bytes: Bytes];

export function takeSnapshot(tables: Tables, extras: SnapshotExtras, onRelease: () => void): CatalogSnapshot {
  const { lastIndex, offset, restoring } = extras;
  const { kvIndex, indexes } = tables.freezeIndexes();
  const kv = tables.kv.freeze();
  const lockDelays = tables.lockDelays.entries();
  const plain = [
    ["nodes", tables.nodes.freeze()],
    ["services", tables.services.freeze()],
    ["checks", tables.checks.freeze()],
    ["sessions", tables.sessions.freeze()],
    ["coordinates", tables.coordinates.freeze()],
    ["autopilot", tables.autopilot.freeze()],
  ] as const;
  let open = true;
  const release = (): void => {
    if (!open) return;
    open = false;
    kv.release();
    onRelease();
  };

  function* frames(): Generator<Bytes> {
    try {
      yield frame([snapshotFormat, snapshotVersion, lastIndex, kvIndex, offset]);
      let count = 1;
      const rows = function* (): Generator<Bytes> {
        yield* batches("indexes", indexes.entries());
        for (const [name, table] of plain) yield* batches(name, table.values());
        yield* batches("lockDelays", lockDelays.values());
        yield* batches("tombstones", kv.tombstones.entries());
        yield* batches("kv", kvRows(kv.records()));
        yield* batches("restoring", restoring);
      };
      for (const bytes of rows()) {
        count++;
        yield bytes;
      }
      yield frame(["end", count]);
    } finally {
      release();
    }
  }
  return { lastIndex, release, [Symbol.iterator]: frames };
}

function* kvRows(records: Iterable<KvRecord>): Generator<KvRow> {
  for (const { key, value, flags, lockIndex, session, createIndex, modifyIndex } of records) {
    yield [key, value, flags, lockIndex, session, createIndex, modifyIndex];
  }
}

function* batches(table: string, rows: Iterable<unknown>): Generator<Bytes> {
  let batch: unknown[] = [];
  let size = 0;
  for (const row of rows) {
    batch.push(row);
    size += sizeOf(row);
    if (size < frameBytesAim && batch.length < frameRowsMax) continue;
    yield frame([table, batch]);
    batch = [];
    size = 0;
  }
  if (batch.length > 0) yield frame([table, batch]);
}

/** Only values of keys are large enough to matter. */
function sizeOf(row: unknown): number {
  const value: unknown = Array.isArray(row) ? row[1] : undefined;
  return value instanceof Uint8Array ? value.length : 0;
}

/** A value as it stands in a snapshot. */
export function frame(value: unknown): Bytes {
  const encoded = encode(value);
  const bytes = new Uint8Array(lengthBytes + encoded.length);
  new DataView(bytes.buffer).setUint32(0, encoded.length);
  bytes.set(encoded, lengthBytes);
  return bytes;
}

/** What a snapshot held, as {@link takeSnapshot} was given it. */
export interface ReadSnapshot extends SnapshotExtras {
  readonly tables: Tables;
}

/** Fills empty tables from the bytes of a snapshot, cut anywhere. Throws `snapshot-corrupt`. */
export class SnapshotReader {
  readonly #tables: Tables;
  readonly #trusted: boolean;
  #parts: Bytes[] = [];
  #size = 0;
  /** Bytes needed before anything can be read. */
  #needed = lengthBytes;
  #frames = 0;
  #lastIndex: LogIndex = 0;
  #kvIndex: LogIndex = 0;
  #offset = 0;
  readonly #restoring: RestoringRow[] = [];
  readonly #indexes: [string, LogIndex][] = [];
  readonly #tombstones: [string, LogIndex][] = [];
  #ended = false;

  /** `trusted`: written by a server for itself. Otherwise each row is looked at. */
  constructor(emptyTables: Tables, source: "trusted" | "untrusted") {
    this.#tables = emptyTables;
    this.#trusted = source === "trusted";
  }

  push(chunk: Bytes): void {
    this.#parts.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#needed) return;
    const bytes = this.#parts.length === 1 ? chunk : concat(this.#parts);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    this.#needed = lengthBytes;
    while (bytes.length - at >= lengthBytes) {
      const length = view.getUint32(at);
      if (length > frameBytesMax) throw corrupt(`a frame of ${length} bytes exceeds the limit of ${frameBytesMax}`);
      if (bytes.length - at < lengthBytes + length) {
        this.#needed = lengthBytes + length;
        break;
      }
      this.#readFrame(bytes.subarray(at + lengthBytes, at + lengthBytes + length));
      at += lengthBytes + length;
    }
    this.#parts = at < bytes.length ? [bytes.slice(at)] : [];
    this.#size = bytes.length - at;
  }

  finish(): ReadSnapshot {
    if (!this.#ended || this.#size > 0) throw corrupt("it ends too early or too late");
    // Reaping goes by age.
    this.#tombstones.sort(([, left], [, right]) => left - right);
    for (const [key, index] of this.#tombstones) this.#tables.kv.bury(key, index);
    this.#tables.restoreIndexes(this.#kvIndex, this.#indexes);
    return { tables: this.#tables, lastIndex: this.#lastIndex, offset: this.#offset, restoring: this.#restoring };
  }

  #readFrame(bytes: Bytes): void {
    if (this.#ended) throw corrupt("a frame follows the end");
    try {
      const value = decodeInPlace(bytes, `frame ${this.#frames} of a catalog snapshot`) as Header;
      if (this.#frames === 0) this.#readHeader(value);
      else if (value[0] === "end") {
        if (value[1] !== this.#frames) throw corrupt("frames are missing");
        this.#ended = true;
      } else this.#readRows(value[0], value[1]);
    } catch (cause) {
      if (cause instanceof AgentError && cause.code === "snapshot-corrupt") throw cause;
      throw corrupt(`frame ${this.#frames} cannot be read`, cause);
    }
    this.#frames++;
  }

  #readHeader([name, found, lastIndex, kvIndex, offset = 0]: Header): void {
    if (name !== snapshotFormat) throw corrupt("it is not a catalog snapshot");
    if (found !== snapshotVersion) throw corrupt(`its version ${String(found)} is not ${snapshotVersion}`);
    this.#lastIndex = wholeNumber(lastIndex);
    this.#kvIndex = wholeNumber(kvIndex);
    this.#offset = wholeNumber(offset);
    if (this.#trusted) return;
    if (this.#lastIndex > untrustedIndexMax || this.#kvIndex > this.#lastIndex) throw corrupt("its index is out of range");
  }

  #readRows(table: string, value: unknown): void {
    if (!Array.isArray(value)) throw corrupt("rows are not a list");
    const tables = this.#tables;
    if (!this.#trusted) {
      for (const row of value) {
        const fault = faultOf(table, row, this.#lastIndex, tables);
        if (fault !== undefined) throw corrupt(fault);
      }
    }
    switch (table) {
      case "indexes":
        for (const [topic, index] of value as [string, LogIndex][]) this.#indexes.push([String(topic), wholeNumber(index)]);
        return;
      case "nodes":
        for (const row of value as NodeRecord[]) tables.nodes.put(row);
        return;
      case "services":
        for (const row of value as ServiceRecord[]) tables.services.put(row);
        return;
      case "checks":
        for (const row of value as CheckRecord[]) tables.checks.put(row);
        return;
      case "sessions":
        for (const row of value as SessionRecord[]) {
          tables.sessions.put(row);
          for (const checkId of checksOf(row)) tables.sessionChecks.put({ node: row.node, checkId, session: row.id });
        }
        return;
      case "coordinates":
        for (const row of value as CoordinateEntry[]) tables.coordinates.put(row);
        return;
      case "autopilot":
        for (const row of value as AutopilotRecord[]) tables.autopilot.put(row);
        return;
      case "lockDelays":
        for (const [key, until] of value as [string, number][]) tables.lockDelays.set(String(key), Number(until));
        return;
      case "tombstones":
        for (const [key, index] of value as [string, LogIndex][]) this.#tombstones.push([String(key), wholeNumber(index)]);
        return;
      case "kv":
        for (const row of value as KvRow[]) tables.kv.put(kvRecord(row));
        return;
      case "restoring":
        // Of all rows only these keep their bytes, and the frame is no one's to keep.
        for (const [id, bytes] of value as RestoringRow[]) this.#restoring.push([id, bytes.slice()]);
        return;
      default:
        throw corrupt(`table ${table} is unknown: it was made by a later version`);
    }
  }
}

function kvRecord([key, value, flags, lockIndex, session, createIndex, modifyIndex]: KvRow): KvRecord {
  if (typeof key !== "string" || !(value instanceof Uint8Array)) throw corrupt("a key is malformed");
  return { key, value, flags, lockIndex, session, createIndex: wholeNumber(createIndex), modifyIndex: wholeNumber(modifyIndex) };
}

function wholeNumber(value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw corrupt("an index is malformed");
  return value;
}

function corrupt(what: string, cause?: unknown): AgentError {
  return new AgentError("snapshot-corrupt", { message: `Cannot restore the catalog: ${what}. Use another snapshot`, cause });
}

/** 64 bits over the bytes of a snapshot, apart from its last index; as 16 hex digits. Finds divergence, not malice. */
export function stateHash(tables: Tables, extras: Omit<SnapshotExtras, "lastIndex">): string {
  let low = 0x811c9dc5;
  let high = 0x9e3779b9;
  for (const bytes of takeSnapshot(tables, { ...extras, lastIndex: 0 }, () => {})) {
    for (const byte of bytes) {
      low = Math.imul(low ^ byte, 0x01000193);
      high = Math.imul(high ^ byte, 0x85ebca6b);
      high ^= low >>> 15;
    }
  }
  const hex = (lane: number): string => (lane >>> 0).toString(16).padStart(8, "0");
  return hex(high) + hex(low);
}
