import type { Bytes } from "../types/bytes.ts";
import type { LogIndex } from "../types/ids.ts";
import { frame, frameBytesAim, frameRowsMax, snapshotFormat, snapshotVersion } from "./snapshot.ts";

/** Makes a catalog snapshot from rows that came from elsewhere. Rows of one table in a row share frames. */
export class SnapshotWriter {
  #table = "";
  #rows: unknown[] = [];
  #size = 0;
  #frames = 0;

  begin(head: { readonly lastIndex: LogIndex; readonly kvIndex: LogIndex }): Bytes {
    return this.#frame([snapshotFormat, snapshotVersion, head.lastIndex, head.kvIndex, 0]);
  }

  /** Takes a row of about so many bytes, and gives the frames that are complete. */
  row(table: string, row: unknown, bytes: number): readonly Bytes[] {
    const complete = this.#table === table ? [] : this.#flush();
    this.#table = table;
    this.#rows.push(row);
    this.#size += bytes;
    return this.#size < frameBytesAim && this.#rows.length < frameRowsMax ? complete : [...complete, ...this.#flush()];
  }

  end(): readonly Bytes[] {
    return [...this.#flush(), this.#frame(["end", this.#frames])];
  }

  #flush(): Bytes[] {
    if (this.#rows.length === 0) return [];
    const complete = this.#frame([this.#table, this.#rows]);
    this.#rows = [];
    this.#size = 0;
    return [complete];
  }

  #frame(value: unknown): Bytes {
    this.#frames++;
    return frame(value);
  }
}
