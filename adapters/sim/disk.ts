import { between, type Random } from "../../core/ports/random.ts";
import type { FileStore, RaftStore, SnapshotStore, Storage } from "../../core/ports/storage.ts";
import type { Millis } from "../../core/types/ids.ts";
import { AgentError } from "../../core/types/errors.ts";
import { memoryStorage } from "../shared/memory.ts";
import type { Machine } from "./ground.ts";

/** Knobs, drawn by the swarm. */
export interface DiskFaults {
  /** How long until a write is durable. */
  latencyMin: Millis;
  latencyMax: Millis;
  /** Until then no write completes: a disk that hangs. */
  stalledUntil: Millis;
}

/**
 * One machine's data directory. What has been written is durable when its latency is over; a crash before loses it whole,
 * or, by chance, keeps it whole although nobody was told: both are what a real disk may do, and each batch is all or nothing.
 */
export class SimDisk {
  readonly faults: DiskFaults = { latencyMin: 0.1, latencyMax: 2, stalledUntil: 0 };
  readonly #host: Machine;
  readonly #random: Random;
  readonly #durable = memoryStorage();
  #pending = new Set<() => void>();
  #open = false;

  constructor(host: Machine, random: Random) {
    this.#host = host;
    this.#random = random;
  }

  open(): Promise<Storage> {
    if (this.#open) {
      return Promise.reject(
        new AgentError("storage-failed", { message: `Cannot open the data directory of ${this.#host.name}: it is in use` }),
      );
    }
    this.#open = true;
    const { raft, snapshots, files } = this.#durable;
    return Promise.resolve({
      raft: {
        load: () => raft.load(),
        write: (batch) => this.#durably(() => raft.write(batch)),
        compact: (index) => this.#durably(() => raft.compact(index)),
        close: () => Promise.resolve(),
      } satisfies RaftStore,
      snapshots: {
        latest: () => snapshots.latest(),
        read: (meta) => snapshots.read(meta),
        save: (meta, content) => this.#durably(() => snapshots.save(meta, content)),
      } satisfies SnapshotStore,
      files: {
        get: (name) => files.get(name),
        put: (name, content) => this.#durably(() => files.put(name, content)),
        delete: (name) => this.#durably(() => files.delete(name)),
        list: (prefix) => files.list(prefix),
      } satisfies FileStore,
      close: () => {
        this.#open = false;
        return Promise.resolve();
      },
    });
  }

  crash(): void {
    this.#open = false;
    for (const write of this.#pending) if (this.#random.uint32() % 4 === 0) write();
    this.#pending = new Set();
  }

  #durably<Result>(write: () => Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      const late = (): void => void write();
      this.#pending.add(late);
      const latency = between(this.#random, this.faults.latencyMin, this.faults.latencyMax);
      this.#host.plan(Math.max(latency, this.faults.stalledUntil - this.#host.now), () => {
        this.#pending.delete(late);
        write().then(resolve, reject);
      });
    });
  }
}
