import type { Bytes } from "../types/bytes.ts";
import type { LogIndex, NodeId, Term } from "../types/ids.ts";

/** What Raft must remember besides the log. */
export interface HardState {
  readonly term: Term;
  readonly votedFor: NodeId | undefined;
}

/** One entry. `type` says who reads `data`: see core/raft/messages.ts. */
export interface LogEntry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly type: number;
  readonly data: Bytes;
}

export interface RaftWrite {
  readonly hardState?: HardState;
  /** Remove this index and all after it, before appending. 1 empties the log, which may then go on at any index. */
  readonly truncateFrom?: LogIndex;
  readonly entries: readonly LogEntry[];
}

/** Vote and log behind one interface, because their order matters: a vote must not overtake an entry. */
export interface RaftStore {
  /**
   * Everything needed to resume. Read once, at start. A torn tail is cut here; corruption before the tail rejects with
   * `wal-corrupt`. `compacted`: up to where entries were dropped for a snapshot, so that an empty log is not taken for a
   * new one; a store that cannot lose a snapshot may leave it out.
   */
  load(): Promise<{ readonly hardState: HardState; readonly entries: readonly LogEntry[]; readonly compacted?: LogIndex }>;
  /** Resolves when durable. All or nothing across a crash. Never called again before it settled. */
  write(batch: RaftWrite): Promise<void>;
  /** Drops entries up to and including `index`, now held by a snapshot. */
  compact(index: LogIndex): Promise<void>;
  close(): Promise<void>;
}

export interface SnapshotMeta {
  readonly id: string;
  readonly index: LogIndex;
  readonly term: Term;
  /** The membership at `index`, encoded by core/raft/membership.ts. */
  readonly configuration: Bytes;
  readonly configurationIndex: LogIndex;
  readonly size: number;
}

export interface SnapshotStore {
  latest(): Promise<SnapshotMeta | undefined>;
  /** Rejects with `snapshot-corrupt` when the checksum fails. */
  read(meta: SnapshotMeta): AsyncIterable<Bytes>;
  /** Visible only after all of it was stored and synced; a failed save leaves no trace. */
  save(meta: Omit<SnapshotMeta, "size" | "id">, content: AsyncIterable<Bytes>): Promise<SnapshotMeta>;
}

/** Small files below the data directory. Names are relative, with `/`; no `..`. */
export interface FileStore {
  get(name: string): Promise<Bytes | undefined>;
  /** Atomic and durable: after it resolves a crash leaves the new content, before that the old. */
  put(name: string, content: Bytes): Promise<void>;
  /**
   * Adds to the end of a file; makes it when there is none. With `sync` all of the file is durable when it resolves;
   * without, a power failure may take any part of what was added since the last `sync` or `put`. A process that is killed,
   * or a disk that is full, may leave a beginning of `content`.
   */
  append(name: string, content: Bytes, options?: { readonly sync?: boolean }): Promise<void>;
  /** Harmless when missing. */
  delete(name: string): Promise<void>;
  /** Names that start with `prefix`, sorted. */
  list(prefix: string): Promise<readonly string[]>;
}

/** The three stores of one data directory. Opening twice is refused: a lock file guards it. */
export interface Storage {
  readonly raft: RaftStore;
  readonly snapshots: SnapshotStore;
  readonly files: FileStore;
  close(): Promise<void>;
}
