/**
 * One directory of plain files, as an operating system offers it: the port below the log and the snapshots, so that both
 * run unchanged on a real disk (adapters/node-api/directory.ts) and on a simulated one (adapters/sim/sim-directory.ts).
 *
 * What it promises is what POSIX does, and no more. What was written is there for every reader at once, but survives a
 * power failure only after `OpenFile.sync`; that a name was made, changed or removed only after `Directory.sync`. Until
 * then any part of it may be lost, in any order, and a write may be there in part.
 */
import type { Bytes } from "../../core/types/bytes.ts";
import type { AgentError } from "../../core/types/errors.ts";

export interface OpenFile {
  size(): Promise<number>;
  /** Fewer bytes than asked for at the end of the file only. */
  read(at: number, length: number): Promise<Bytes>;
  write(at: number, bytes: Bytes): Promise<void>;
  /** {@link write} and then {@link sync} of all that was written through this file: in one go where it was opened for that. */
  writeSynced(at: number, bytes: Bytes): Promise<void>;
  /** The contents, and how long the file is. After a failure nobody knows what the disk holds. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface Directory {
  /** For messages. */
  readonly path: string;
  /** Makes it durably, unless it is there. */
  make(): Promise<void>;
  /** In no order. */
  list(): Promise<readonly string[]>;
  /**
   * "create": a new and empty file, also when there was one. "change" and "read" fail when there is none. `forSyncedWrites`:
   * most writes will be `writeSynced`, which may then be quicker, and `write` slower.
   */
  open(name: string, how: "create" | "change" | "read", forSyncedWrites?: boolean): Promise<OpenFile>;
  /** Replaces what has the new name. Open files stay open. */
  rename(from: string, to: string): Promise<void>;
  /** Who reads it may go on. */
  remove(name: string): Promise<void>;
  sync(): Promise<void>;
  /** An error of this disk in the words an operator needs: "Cannot write the log …: no space left on device". */
  failed(what: string, cause: unknown): AgentError;
}

/** Ends the names of files that are not finished; they are removed when their directory is opened. */
export const unfinishedSuffix = ".tmp";
