/**
 * One server's disk: the real log and real snapshot files (adapters/shared/wal-log.ts, snapshot-file.ts) on simulated
 * files, their steps done one by one in virtual time.
 *
 *   batch ─► steps ─► write ─► … sync takes its time … ─► next step ─► durable: others may be told
 *
 * What it has told to be durable (`hardState`, `entries`, `last`) is kept apart from the bytes, for the checkers; a
 * restart reads the bytes.
 */
import { between, type Random } from "../../core/ports/random.ts";
import type { HardState, LogEntry } from "../../core/ports/storage.ts";
import type { TakenWrite } from "../../core/raft/disk.ts";
import type { SnapshotPoint } from "../../core/raft/messages.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { LogIndex, Millis } from "../../core/types/ids.ts";
import { unfinishedSuffix } from "../shared/directory.ts";
import { decodeSnapshot, encodeSnapshot, snapshotName, snapshotNames, snapshotsKept } from "../shared/snapshot-file.ts";
import { saltBytes } from "../shared/wal.ts";
import { type WalBatch, WalContents } from "../shared/wal-batch.ts";
import { type FileStep, WalLog } from "../shared/wal-log.ts";
import type { Damage } from "./damage.ts";
import { SimFiles, sectorBytes } from "./sim-files.ts";
import { check } from "./violation.ts";

/** A saved state machine. */
export interface StoredSnapshot {
  readonly point: SnapshotPoint;
  readonly content: Bytes;
}

/** What a restart found. */
export interface DiskLoaded {
  readonly hardState: HardState;
  readonly entries: readonly LogEntry[];
  readonly compacted: LogIndex;
  readonly snapshot: StoredSnapshot | undefined;
}

/** How a server waits for its disk, and is told how that ended. */
export interface DiskWork {
  /** Calls it when a sync that takes this long is over; not at all when the server is gone by then. */
  wait(duration: Millis, act: () => void): void;
  /** Undefined: as long as a sync takes. */
  readonly first?: Millis;
  /** The log has a new file, with nothing in it yet. */
  begun?(): void;
  done(): void;
  /** Nobody knows what was stored. */
  failed(error: AgentError): void;
}

export interface DiskLimits {
  readonly segmentBytes: number;
  readonly extendBytes: number;
  /** A sync takes up to this long. */
  readonly syncMax: Millis;
}

export class GroupDisk {
  readonly #limits: DiskLimits;
  readonly #random: Random;
  readonly #log: SimFiles;
  readonly #snapshots: SimFiles;
  #wal: WalLog;
  /** What others were, or may have been, told of. */
  #durable = new WalContents();
  #newest: LogIndex = 0;
  #saved = 0;

  constructor(random: Random, limits: DiskLimits) {
    this.#random = random;
    this.#limits = limits;
    this.#log = new SimFiles(random.fork("log"));
    this.#snapshots = new SimFiles(random.fork("snapshots"));
    this.#wal = this.#newLog();
  }

  get hardState(): HardState {
    return this.#durable.hardState;
  }
  get entries(): readonly LogEntry[] {
    return this.#durable.entries;
  }
  /** The highest index that a restart would find here. */
  get last(): LogIndex {
    return Math.max(this.#durable.entries[this.#durable.entries.length - 1]?.index ?? 0, this.#newest);
  }

  set full(full: boolean) {
    this.#log.full = full;
    this.#snapshots.full = full;
  }

  /** Reads everything, as a server that starts does. Throws `wal-corrupt` or `snapshot-corrupt`. */
  load(): DiskLoaded {
    const snapshot = this.#openSnapshots();
    const log = this.#readLog();
    for (const name of WalLog.sort(this.#log.list()).unfinished) this.#log.remove(name);
    const { hardState, entries, compacted, steps } = log.open();
    for (const step of steps) this.#log.perform(step);
    this.#wal = log;
    this.#durable = new WalContents();
    this.#durable.hardState = hardState;
    this.#durable.compacted = compacted;
    this.#durable.entries = entries.slice();
    this.#newest = snapshot?.point.index ?? 0;
    return { hardState, entries, compacted, snapshot };
  }

  /**
   * The entries that a restart would find: more than was told to be durable, when a process ended before its sync. Nothing
   * is changed by looking; of a log that is damaged what was told.
   */
  get found(): readonly LogEntry[] {
    try {
      return this.#readLog().open().entries;
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      return this.entries;
    }
  }

  /** Stores a write, and drops what a snapshot made superfluous. */
  write({ write, compactTo }: TakenWrite, work: DiskWork): void {
    const compacted = (): void => {
      this.#tell({ compactTo: compactTo ?? 0, entries: [] });
      this.#perform(this.#log, this.#wal.removeUpTo(compactTo ?? 0), { ...work, first: 0 });
    };
    const appended = (): void => {
      this.#tell(write);
      if (compactTo === undefined) work.done();
      else this.#append({ compactTo, entries: [] }, { ...work, first: this.#syncTime(), done: compacted });
    };
    this.#append(write, { ...work, done: appended });
  }

  save({ point, content }: StoredSnapshot, work: DiskWork): void {
    const name = snapshotName(point, ++this.#saved);
    const unfinished = name + unfinishedSuffix;
    const steps: readonly FileStep[] = [
      { kind: "create", name: unfinished, bytes: encodeSnapshot(point, content) },
      { kind: "sync", name: unfinished },
      { kind: "rename", from: unfinished, to: name },
      { kind: "syncNames" },
    ];
    const files = this.#snapshots;
    this.#perform(files, steps, {
      ...work,
      done: () => {
        if (point.index > this.#newest) this.#newest = point.index;
        for (const old of snapshotNames(files.list()).slice(snapshotsKept)) files.remove(old);
        work.done();
      },
      failed: (error) => {
        if (files.find(unfinished) !== undefined) files.remove(unfinished);
        work.failed(error);
      },
    });
  }

  /** The newest snapshot as it is on the disk now. Undefined when there is none; throws `snapshot-corrupt` when it is damaged. */
  readSnapshot(): StoredSnapshot | undefined {
    const [name] = snapshotNames(this.#snapshots.list());
    return name === undefined ? undefined : this.#decode(name);
  }

  /** "process": what was written is there. "power": of what was not synced anything may be. */
  crash(how: "process" | "power"): void {
    if (how === "process") return;
    this.#log.powerFailure();
    this.#snapshots.powerFailure();
  }

  /** False: there is nothing yet that could be hurt. */
  damage(damage: Damage): boolean {
    switch (damage) {
      case "rotten log":
        return this.#log.rot("log");
      case "rotten snapshot":
        return this.#snapshots.rot("files");
      case "lost write":
        this.#log.leadAstray("lost");
        return true;
      case "misdirected write":
        this.#log.leadAstray("misdirected");
        return true;
    }
  }

  #newLog(): WalLog {
    const { segmentBytes, extendBytes } = this.#limits;
    return new WalLog({ path: "wal", salt: () => this.#salt(), segmentBytes, extendBytes, sectorBytes });
  }

  #readLog(): WalLog {
    const log = this.#newLog();
    const { segments } = WalLog.sort(this.#log.list());
    for (const [at, name] of segments.entries()) log.read(name, this.#log.read(name), at === segments.length - 1);
    return log;
  }

  #salt(): Bytes {
    return Uint8Array.from({ length: saltBytes }, () => this.#random.uint32() & 255);
  }

  #syncTime(): Millis {
    return between(this.#random, 0, this.#limits.syncMax);
  }

  #append(batch: WalBatch, work: DiskWork): void {
    this.#perform(this.#log, this.#wal.append(batch), work);
  }

  /** Step by step; whatever makes something durable takes its time. */
  #perform(files: SimFiles, steps: readonly FileStep[], work: DiskWork): void {
    let at = 0;
    let waited = 0;
    const attempt = (step: FileStep): boolean => {
      try {
        files.perform(step);
        return true;
      } catch (error) {
        if (!(error instanceof AgentError)) throw error;
        // Whoever asked goes on first, as it would with a promise.
        work.wait(0, () => work.failed(error));
        return false;
      }
    };
    const next = (): void => {
      for (let step = steps[at++]; step !== undefined; step = steps[at++]) {
        const now = step;
        if (step.kind === "sync" || step.kind === "syncNames") {
          const duration = waited++ === 0 && work.first !== undefined ? work.first : this.#syncTime();
          work.wait(duration, () => {
            if (!attempt(now)) return;
            if (now.kind === "syncNames" && at < steps.length) work.begun?.();
            next();
          });
          return;
        }
        if (!attempt(step)) return;
      }
      work.done();
    };
    next();
  }

  #tell(batch: WalBatch): void {
    const fault = this.#durable.apply(batch);
    check(fault === undefined, "a stored log has no gaps", () => fault ?? "");
  }

  #openSnapshots(): StoredSnapshot | undefined {
    const files = this.#snapshots;
    for (const name of files.list()) if (name.endsWith(unfinishedSuffix)) files.remove(name);
    files.syncNames();
    const names = snapshotNames(files.list());
    for (const name of names) {
      try {
        return this.#decode(name);
      } catch (error) {
        // The one before may still serve, with what the log holds behind it.
        if (!(error instanceof AgentError)) throw error;
      }
    }
    if (names.length === 0) return undefined;
    throw new AgentError("snapshot-corrupt", { message: `all ${names.length} snapshots are damaged` });
  }

  #decode(name: string): StoredSnapshot {
    const decoded = decodeSnapshot(this.#snapshots.read(name));
    if (decoded === undefined) throw new AgentError("snapshot-corrupt", { message: `${name} is damaged` });
    return { point: decoded.head, content: decoded.content };
  }
}
