import { between, type Random } from "../../core/ports/random.ts";
import type { Storage } from "../../core/ports/storage.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import { WalRaftStore } from "../shared/raft-store.ts";
import { SnapshotFiles } from "../shared/snapshot-files.ts";
import type { Machine } from "./ground.ts";
import { type DiskPace, SimDirectory } from "./sim-directory.ts";
import { SimFileStore } from "./sim-file-store.ts";
import { SimFiles, sectorBytes } from "./sim-files.ts";

/** Knobs, drawn by the swarm. */
export interface DiskFaults {
  /** How long a sync takes. */
  latencyMin: Millis;
  latencyMax: Millis;
  /** Until then no sync completes: a disk that hangs. */
  stalledUntil: Millis;
  /** Where a segment of the log ends. */
  segmentBytes: number;
}

/** By how much the log's file grows at once. */
const extendBytes = 4096;

/**
 * One machine's data directory: the log and the snapshots of a real one (adapters/shared), on simulated files. A power
 * failure takes what was not synced, in whole, in part or not at all; `log`, `snapshots` and `files` can be hurt besides.
 */
export class SimDisk {
  readonly faults: DiskFaults = { latencyMin: 0.1, latencyMax: 1, stalledUntil: 0, segmentBytes: 65_536 };
  readonly log: SimFiles;
  readonly snapshots: SimFiles;
  readonly files: SimFiles;
  readonly #host: Machine;
  readonly #random: Random;
  #open = false;

  constructor(host: Machine, random: Random) {
    this.#host = host;
    this.#random = random;
    this.log = new SimFiles(random.fork("log"));
    this.snapshots = new SimFiles(random.fork("snapshots"));
    this.files = new SimFiles(random.fork("files"));
  }

  async open(): Promise<Storage> {
    if (this.#open) {
      throw new AgentError("storage-failed", {
        message: `Cannot open the data directory of ${this.#host.name}: it is in use`,
      });
    }
    this.#open = true;
    const pace = this.#pace();
    const directory = (name: string, files: SimFiles): SimDirectory =>
      new SimDirectory(`${this.#host.name}/${name}`, files, pace);
    const raft = new WalRaftStore({
      directory: directory("wal", this.log),
      randomBytes: (length) => Uint8Array.from({ length }, () => this.#random.uint32() & 255),
      onTornTail: () => {},
      segmentBytes: this.faults.segmentBytes,
      extendBytes,
      sectorBytes,
    });
    const snapshots = new SnapshotFiles({
      directory: directory("snapshots", this.snapshots),
      clock: { wall: () => Math.floor(this.#host.now) },
      onDamaged: () => {},
    });
    const files = new SimFileStore(directory("files", this.files));
    await files.open();
    return {
      raft,
      snapshots,
      files,
      close: async () => {
        await raft.close();
        this.#open = false;
      },
    };
  }

  /** No file on it may grow. */
  set full(full: boolean) {
    for (const files of [this.log, this.snapshots, this.files]) files.full = full;
  }

  crash(how: "power" | "process"): void {
    this.#open = false;
    if (how === "power") for (const files of [this.log, this.snapshots, this.files]) files.powerFailure();
  }

  #pace(): DiskPace {
    const host = this.#host;
    const { life } = host;
    return {
      get alive() {
        return host.up && host.life === life;
      },
      sync: () => {
        const latency = between(this.#random, this.faults.latencyMin, this.faults.latencyMax);
        return new Promise((resolve) => host.plan(Math.max(latency, this.faults.stalledUntil - host.now), () => resolve()));
      },
    };
  }
}
