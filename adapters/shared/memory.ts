/**
 * Storage in memory, for dev mode and tests: the same contract as a disk, durable until the process ends.
 */
import type {
  FileStore,
  HardState,
  LogEntry,
  RaftStore,
  RaftWrite,
  SnapshotMeta,
  SnapshotStore,
  Storage,
} from "../../core/ports/storage.ts";
import { type Bytes, concat, emptyBytes } from "../../core/types/bytes.ts";
import { AgentError, assert } from "../../core/types/errors.ts";
import type { LogIndex } from "../../core/types/ids.ts";
import { checkedFileName } from "./file-name.ts";

/** Snapshots kept, the newest ones. Consul 1.8: 2. */
const snapshotsKept = 2;

export function memoryStorage(): Storage {
  const raft = new MemoryRaftStore();
  return {
    raft,
    snapshots: new MemorySnapshotStore(),
    files: new MemoryFileStore(),
    close: () => raft.close(),
  };
}

const done = Promise.resolve();

export class MemoryRaftStore implements RaftStore {
  #hardState: HardState = { term: 0, votedFor: undefined };
  #entries: LogEntry[] = [];
  #closed = false;

  load(): Promise<{ readonly hardState: HardState; readonly entries: readonly LogEntry[] }> {
    return Promise.resolve({ hardState: this.#hardState, entries: this.#entries.slice() });
  }

  write(batch: RaftWrite): Promise<void> {
    if (this.#closed) return Promise.reject(new AgentError("closed", { message: "Cannot write: the log is closed" }));
    const first = this.#entries[0]?.index ?? 0;
    if (batch.truncateFrom !== undefined && this.#entries.length > 0)
      this.#entries.length = Math.max(0, Math.min(this.#entries.length, batch.truncateFrom - first));
    const last = this.#entries[this.#entries.length - 1];
    const next = batch.entries[0];
    assert(next === undefined || last === undefined || next.index === last.index + 1, "entries continue the log");
    for (const entry of batch.entries) this.#entries.push(entry);
    if (batch.hardState !== undefined) this.#hardState = batch.hardState;
    return done;
  }

  compact(index: LogIndex): Promise<void> {
    const first = this.#entries[0]?.index;
    if (first !== undefined && index >= first) this.#entries = this.#entries.slice(index - first + 1);
    return done;
  }

  close(): Promise<void> {
    this.#closed = true;
    return done;
  }
}

export class MemorySnapshotStore implements SnapshotStore {
  /** Oldest first. */
  readonly #kept: { readonly meta: SnapshotMeta; readonly content: Bytes }[] = [];
  #saved = 0;

  latest(): Promise<SnapshotMeta | undefined> {
    return Promise.resolve(this.#kept[this.#kept.length - 1]?.meta);
  }

  async *read(meta: SnapshotMeta): AsyncGenerator<Bytes> {
    const found = this.#kept.find((snapshot) => snapshot.meta.id === meta.id);
    if (found === undefined)
      throw new AgentError("not-found", { message: `Cannot read snapshot ${meta.id}: it is no longer kept` });
    yield found.content;
  }

  async save(meta: Omit<SnapshotMeta, "size" | "id">, content: AsyncIterable<Bytes>): Promise<SnapshotMeta> {
    const parts: Bytes[] = [];
    for await (const part of content) parts.push(part.slice());
    const whole = concat(parts);
    const { index, term, configuration, configurationIndex } = meta;
    const saved: SnapshotMeta = {
      id: `${term}-${index}-${++this.#saved}`,
      index,
      term,
      configuration,
      configurationIndex,
      size: whole.length,
    };
    this.#kept.push({ meta: saved, content: whole });
    this.#kept.sort((left, right) => left.meta.index - right.meta.index);
    if (this.#kept.length > snapshotsKept) this.#kept.splice(0, this.#kept.length - snapshotsKept);
    return saved;
  }
}

export class MemoryFileStore implements FileStore {
  readonly #files = new Map<string, Bytes>();

  async get(name: string): Promise<Bytes | undefined> {
    return this.#files.get(checkedFileName(name))?.slice();
  }
  async put(name: string, content: Bytes): Promise<void> {
    this.#files.set(checkedFileName(name), content.slice());
  }
  async append(name: string, content: Bytes): Promise<void> {
    const checked = checkedFileName(name);
    this.#files.set(checked, concat([this.#files.get(checked) ?? emptyBytes, content]));
  }
  async delete(name: string): Promise<void> {
    this.#files.delete(checkedFileName(name));
  }
  async list(prefix: string): Promise<readonly string[]> {
    return [...this.#files.keys()].filter((name) => name.startsWith(prefix)).sort();
  }
}
