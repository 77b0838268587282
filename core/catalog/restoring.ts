/**
 * An operator's snapshot on its way into the catalog, command by command of the log.
 *
 *   restoreBegin ──► restoreChunk… ──► restoreEnd: the tables are swapped
 *        ▲                 │
 *        └── another begin ┴── anything wrong, restoreDiscard: forgotten
 *
 * Each chunk is read into tables of its own as it is applied, so that no single command takes long; the old tables serve
 * meanwhile. The chunks are kept as well: the servers take their own snapshots at different times, and one that falls
 * in between must carry what has come so far, or a server that starts from it would end the restore differently.
 * The price is that an unfinished restore is held twice; `restoreBytesMax` bounds it, and there is only one at a time.
 */
import { type Bytes, emptyBytes } from "../types/bytes.ts";
import { messageOf } from "../types/errors.ts";
import { type ReadSnapshot, type RestoringRow, SnapshotReader } from "./snapshot.ts";
import type { Tables } from "./tables.ts";

/** The state that can be restored, as bytes of a snapshot. */
export const restoreBytesMax = 1024 * 1024 * 1024;
/** What one `restoreChunk` may hold. */
export const restoreChunkBytesMax = 256 * 1024;
const idLengthMax = 128;

export class Restoring {
  readonly id: string;
  readonly #reader: SnapshotReader;
  readonly #chunks: Bytes[] = [];
  #length = 0;

  constructor(id: string, emptyTables: Tables) {
    this.id = String(id).slice(0, idLengthMax);
    this.#reader = new SnapshotReader(emptyTables, "untrusted");
  }

  /** As it was when {@link rows} were taken of it. Undefined for no rows. */
  static resume(rows: readonly RestoringRow[], emptyTables: Tables): Restoring | undefined {
    const [first, ...chunks] = rows;
    if (first === undefined) return undefined;
    const restoring = new Restoring(first[0], emptyTables);
    for (const [, bytes] of chunks) restoring.push(restoring.#length, bytes);
    return restoring;
  }

  /** Takes the next bytes. What is wrong with them, if anything: then it is of no more use. */
  push(at: number, bytes: Bytes): string | undefined {
    if (!(bytes instanceof Uint8Array) || at !== this.#length) return "Cannot restore: a part of the snapshot is missing";
    if (bytes.length > restoreChunkBytesMax) return `Cannot restore: a part exceeds ${restoreChunkBytesMax} bytes`;
    if (this.#length + bytes.length > restoreBytesMax) return `Cannot restore: the snapshot exceeds ${restoreBytesMax} bytes`;
    try {
      this.#reader.push(bytes);
    } catch (error) {
      return messageOf(error);
    }
    this.#chunks.push(bytes);
    this.#length += bytes.length;
    return undefined;
  }

  finish(length: number): ReadSnapshot | { readonly fault: string } {
    if (length !== this.#length) return { fault: "Cannot restore: a part of the snapshot is missing" };
    try {
      return this.#reader.finish();
    } catch (error) {
      return { fault: messageOf(error) };
    }
  }

  /** For a server's snapshot: first the restore itself, then what has come of it. */
  rows(): readonly RestoringRow[] {
    return [[this.id, emptyBytes], ...this.#chunks.map((bytes): RestoringRow => [this.id, bytes])];
  }
}
