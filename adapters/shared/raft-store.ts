/**
 * The log on a directory: does what wal-log.ts plans, one step after the other.
 *
 * After a failed step the store refuses everything: nobody knows what the disk holds until it is read again.
 */
import type { Clock, Timer } from "../../core/ports/clock.ts";
import type { HardState, LogEntry, RaftStore, RaftWrite } from "../../core/ports/storage.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError, assert, unreachable } from "../../core/types/errors.ts";
import type { LogIndex, Millis } from "../../core/types/ids.ts";
import type { Directory, OpenFile } from "./directory.ts";
import { saltBytes } from "./wal.ts";
import { type FileStep, WalLog } from "./wal-log.ts";
import { markName } from "./wal-mark.ts";
import { defaultSectorBytes } from "./wal-tear.ts";

const segmentBytes = 16 * 1024 * 1024;
const extendBytes = 1024 * 1024;
/** So long without a write the log is idle, and how far it is durable is noted. */
const markAfter: Millis = 1000;
/** A file longer than any we write. */
const fileBytesMax = 256 * 1024 * 1024;

export interface WalRaftStoreOptions {
  readonly directory: Directory;
  readonly randomBytes: (length: number) => Bytes;
  /** Told when an incomplete last record was cut off. */
  readonly onTornTail: (path: string, offset: number) => void;
  /** Where there is none, how far the log is durable is noted at its close only. */
  readonly clock?: Pick<Clock, "after">;
  /** Where a segment ends; default 16 MiB. */
  readonly segmentBytes?: number;
  /** By how much the file grows at once; default 1 MiB. */
  readonly extendBytes?: number;
  /** What the disk writes whole; default 512. */
  readonly sectorBytes?: number;
}

/** A write with the sync behind it in one. */
type StoreStep = FileStep | { readonly kind: "writeSynced"; readonly at: number; readonly bytes: Bytes };

export class WalRaftStore implements RaftStore {
  readonly #options: WalRaftStoreOptions;
  readonly #directory: Directory;
  readonly #log: WalLog;
  /** The segment that is written. */
  #file: OpenFile | undefined;
  #loaded = false;
  #broken: AgentError | undefined;
  #busy = false;
  /** Batches written, and how many when the timer was set. */
  #writes = 0;
  #timer: Timer | undefined;
  #noting: Promise<void> = Promise.resolve();

  constructor(options: WalRaftStoreOptions) {
    this.#options = options;
    this.#directory = options.directory;
    this.#log = new WalLog({
      path: options.directory.path,
      salt: () => options.randomBytes(saltBytes),
      segmentBytes: options.segmentBytes ?? segmentBytes,
      extendBytes: options.extendBytes ?? extendBytes,
      sectorBytes: options.sectorBytes ?? defaultSectorBytes,
    });
  }

  async load(): Promise<{ readonly hardState: HardState; readonly entries: readonly LogEntry[]; readonly compacted: LogIndex }> {
    assert(!this.#loaded, "a log is loaded once");
    this.#loaded = true;
    const directory = this.#directory;
    try {
      await directory.make();
      const names = await directory.list();
      const { segments, unfinished } = WalLog.sort(names);
      for (const name of unfinished) await directory.remove(name);
      if (names.includes(markName)) this.#log.readMark(await this.#bytesOf(markName));
      for (const [at, name] of segments.entries()) this.#log.read(name, await this.#bytesOf(name), at === segments.length - 1);
      const opened = this.#log.open();
      const last = segments[segments.length - 1];
      if (last !== undefined) this.#file = await directory.open(last, "change", true);
      await this.#perform(opened.steps);
      if (opened.torn !== undefined) this.#options.onTornTail(`${directory.path}/${opened.torn.name}`, opened.torn.offset);
      this.#markWhenIdle();
      return { hardState: opened.hardState, entries: opened.entries, compacted: opened.compacted };
    } catch (error) {
      throw this.#break(error instanceof AgentError ? error : directory.failed(`open the log in ${directory.path}`, error));
    }
  }

  write(batch: RaftWrite): Promise<void> {
    return this.#do(`write the log in ${this.#directory.path}`, () => joined(this.#log.append(batch)));
  }

  async compact(index: LogIndex): Promise<void> {
    await this.#do(`write the log in ${this.#directory.path}`, () => joined(this.#log.append({ compactTo: index, entries: [] })));
    await this.#do(`delete old segments of the log in ${this.#directory.path}`, () => this.#log.removeUpTo(index));
  }

  async close(): Promise<void> {
    this.#timer?.cancel();
    if (this.#file !== undefined && this.#broken === undefined && !this.#busy) this.#note();
    this.#broken ??= new AgentError("closed", { message: "Cannot write: the log is closed" });
    const file = this.#file;
    this.#file = undefined;
    await this.#noting;
    await file?.close();
  }

  async #do(what: string, plan: () => readonly StoreStep[]): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    assert(this.#file !== undefined, "a log is loaded before it is written");
    assert(!this.#busy, "one write at a time");
    this.#busy = true;
    try {
      await this.#perform(plan());
    } catch (error) {
      throw this.#break(error instanceof AgentError ? error : this.#directory.failed(what, error));
    } finally {
      this.#busy = false;
    }
    this.#writes++;
    this.#markWhenIdle();
  }

  #markWhenIdle(): void {
    const { clock } = this.#options;
    if (clock === undefined || this.#timer !== undefined || this.#broken !== undefined) return;
    const writes = this.#writes;
    this.#timer = clock.after(markAfter, () => {
      this.#timer = undefined;
      if (this.#broken !== undefined) return;
      if (this.#busy || this.#writes !== writes) this.#markWhenIdle();
      else this.#note();
    });
  }

  /** Should it fail, how far the log is durable is not known, and that is all. */
  #note(): void {
    const step = this.#log.mark();
    this.#noting = this.#noting.then(() => this.#perform([step])).catch(() => undefined);
  }

  async #perform(steps: readonly StoreStep[]): Promise<void> {
    const directory = this.#directory;
    for (const step of steps) {
      switch (step.kind) {
        case "create": {
          const before = this.#file;
          this.#file = await directory.open(step.name, "create", true);
          await before?.close();
          await this.#file.write(0, step.bytes);
          break;
        }
        // There is one file that is written and synced: the last that was created, or the last one found.
        case "write":
          await this.#open().write(step.at, step.bytes);
          break;
        case "writeSynced":
          await this.#open().writeSynced(step.at, step.bytes);
          break;
        case "sync":
          await this.#open().sync();
          break;
        case "rename":
          await directory.rename(step.from, step.to);
          break;
        case "remove":
          await directory.remove(step.name);
          break;
        case "note":
          await this.#overwrite(step.name, step.bytes);
          break;
        case "syncNames":
          await directory.sync();
          break;
        default:
          unreachable(step);
      }
    }
  }

  #open(): OpenFile {
    if (this.#file === undefined) throw this.#broken ?? new AgentError("closed", { message: "Cannot write: the log is closed" });
    return this.#file;
  }

  async #overwrite(name: string, bytes: Bytes): Promise<void> {
    const isThere = (await this.#directory.list()).includes(name);
    const file = await this.#directory.open(name, isThere ? "change" : "create");
    try {
      await file.write(0, bytes);
    } finally {
      await file.close();
    }
  }

  async #bytesOf(name: string): Promise<Bytes> {
    const file = await this.#directory.open(name, "read");
    try {
      const size = await file.size();
      if (size > fileBytesMax) throw this.#log.corrupt(name, fileBytesMax, "the file is longer than any segment");
      return await file.read(0, size);
    } finally {
      await file.close();
    }
  }

  #break(error: AgentError): AgentError {
    this.#broken ??= error;
    return error;
  }
}

/** Not for what is done at the opening: that sync is also for what a process wrote that is gone. */
function joined(steps: readonly FileStep[]): readonly StoreStep[] {
  const last = steps[steps.length - 1];
  const before = steps[steps.length - 2];
  if (last?.kind !== "sync" || before?.kind !== "write") return steps;
  return [...steps.slice(0, -2), { kind: "writeSynced", at: before.at, bytes: before.bytes }];
}
