/**
 * One directory of a simulated disk: what processes see of it, and what a power failure would leave.
 *
 *   write ─► seen by everyone ─► sync ─► on the platter
 *   create, rename, remove ─► seen by everyone ─► syncNames ─► on the platter
 *
 * In a power failure each write that was not synced is there, or is not, or is there in some of the file's sectors, whatever
 * came before or after it; of the changes of names a prefix is there, as a journal leaves it. A process that is killed loses
 * nothing that it wrote, and makes nothing durable by that.
 *
 * Besides, a disk may lie: `damage.ts` has it lose a write that it confirmed, put one somewhere else, or turn a bit.
 */
import { below, type Random } from "../../core/ports/random.ts";
import { type Bytes, emptyBytes } from "../../core/types/bytes.ts";
import { AgentError, assert, unreachable } from "../../core/types/errors.ts";
import type { FileStep } from "../shared/wal-log.ts";

/** What is written whole: smaller than on any real disk, so that small records are torn, too. */
export const sectorBytes = 64;

interface Write {
  readonly at: number;
  readonly bytes: Bytes;
}

/** A file, whatever its names. */
export interface SimFile {
  /** Grows from file to file. */
  readonly number: number;
  readonly seen: Content;
  readonly durable: Content;
  unsynced: Write[];
}

interface NameChange {
  readonly name: string;
  /** Undefined: the name is gone. */
  readonly file: SimFile | undefined;
}

/** A confirmed write that is not where it belongs. */
interface Astray extends Write {
  readonly file: SimFile;
}

export class SimFiles {
  /** No file may grow. */
  full = false;
  #names = new Map<string, SimFile>();
  #durableNames = new Map<string, SimFile>();
  #changes: NameChange[] = [];
  /** What becomes of the next record that is synced. */
  #next: "lost" | "misdirected" | undefined;
  #astray: Astray | undefined;
  /** The last record of a log that was synced, in which file. */
  #lastRecord: { readonly file: SimFile; readonly at: number; readonly end: number } | undefined;
  #files = 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  list(): readonly string[] {
    return [...this.#names.keys()].sort();
  }

  /** Undefined when there is none. */
  find(name: string): SimFile | undefined {
    return this.#names.get(name);
  }

  read(name: string): Bytes {
    return this.#at(name).seen.slice(0, this.#at(name).seen.length);
  }

  /** Throws `storage-failed` when the disk is full. */
  perform(step: FileStep): void {
    switch (step.kind) {
      case "create":
        this.create(step.name);
        this.write(this.#at(step.name), 0, step.bytes);
        return;
      case "write":
        this.write(this.#at(step.name), step.at, step.bytes);
        return;
      case "sync":
        this.sync(this.#at(step.name));
        return;
      case "note":
        this.write(this.find(step.name) ?? this.create(step.name), 0, step.bytes);
        return;
      case "rename":
        this.rename(step.from, step.to);
        return;
      case "remove":
        this.remove(step.name);
        return;
      case "syncNames":
        this.syncNames();
        return;
      default:
        unreachable(step);
    }
  }

  create(name: string): SimFile {
    if (this.full) throw noSpace();
    const file: SimFile = { number: ++this.#files, seen: new Content(), durable: new Content(), unsynced: [] };
    this.#change(name, file);
    return file;
  }

  write(file: SimFile, at: number, bytes: Bytes): void {
    if (this.full && at + bytes.length > file.seen.length) throw noSpace();
    file.seen.write(at, bytes);
    file.unsynced.push({ at, bytes: bytes.slice() });
  }

  sync(file: SimFile): void {
    const writes = file.unsynced;
    file.unsynced = [];
    const last = writes[writes.length - 1];
    const record = last !== undefined && last.at > 0 && last.bytes[0] !== 0 ? last : undefined;
    const fate = record === undefined || this.#lastRecord === undefined ? undefined : this.#next;
    const before = this.#lastRecord;
    if (record !== undefined) {
      // A later record is durable: from now on whoever reads the log can tell that one is missing.
      this.#astray = undefined;
      this.#lastRecord = { file, at: record.at, end: record.at + record.bytes.length };
    }
    for (const write of writes) {
      if (write !== record || fate === undefined) file.durable.write(write.at, write.bytes);
      else this.#lead(file, write, fate, before?.file === file ? before.at : undefined);
    }
  }

  rename(from: string, to: string): void {
    const file = this.#at(from);
    this.#change(from, undefined);
    this.#change(to, file);
  }

  remove(name: string): void {
    this.#at(name);
    this.#change(name, undefined);
  }

  syncNames(): void {
    this.#settle(this.#changes.length);
  }

  powerFailure(): void {
    const random = this.#random;
    const mode = below(random, 3);
    // What is missing at the very end cannot be told from what was never written, by nobody; so that one came in time.
    if (this.#astray !== undefined) this.#astray.file.durable.write(this.#astray.at, this.#astray.bytes);
    this.#astray = undefined;
    this.#next = undefined;
    const files = new Set([...this.#durableNames.values(), ...this.#names.values()]);
    for (const file of files) {
      const kept = mode === 0 ? 0 : mode === 1 ? below(random, file.unsynced.length + 1) : file.unsynced.length;
      for (const write of file.unsynced.slice(0, kept))
        if (mode === 1) file.durable.write(write.at, write.bytes);
        else this.#tear(file, write);
      file.unsynced = [];
    }
    this.#settle(mode === 0 ? 0 : below(random, this.#changes.length + 1));
    this.#changes = [];
    this.#names = new Map(this.#durableNames);
    for (const file of this.#names.values()) file.seen.become(file.durable);
  }

  /** The next record is confirmed, and not where it belongs. */
  leadAstray(how: "lost" | "misdirected"): void {
    this.#next = how;
  }

  /**
   * Turns a bit of a file, for everyone who reads it: also in the last record of a log, and in the zeros behind it. False
   * when there is nothing to turn.
   */
  rot(what: "log" | "files"): boolean {
    const random = this.#random;
    const last = what === "log" ? this.#lastRecord : undefined;
    if (what === "log" && last === undefined) return false;
    const names = [...this.#durableNames.keys()].sort();
    const files = names.map((name) => this.#durableNames.get(name) as SimFile);
    const old = files.filter((file) => last === undefined || file.number <= last.file.number);
    const file = old[below(random, Math.max(old.length, 1))];
    const length = file?.durable.length ?? 0;
    if (file === undefined || length === 0) return false;
    // Most of the file that is written is zeros. Records are what is worth hurting.
    const used = file === last?.file ? last.end : length;
    const at = below(random, below(random, 4) === 0 ? length : used);
    const bit = 1 << below(random, 8);
    file.durable.flip(at, bit);
    if (at < file.seen.length) file.seen.flip(at, bit);
    return true;
  }

  /** `before`: where the record before it is, when it is in the same file. */
  #lead(file: SimFile, write: Write, fate: "lost" | "misdirected", before: number | undefined): void {
    this.#next = undefined;
    if (fate === "lost") {
      this.#astray = { file, ...write };
      return;
    }
    const random = this.#random;
    if (before !== undefined && below(random, 3) === 0) {
      // As if it had been given the place of the write before it.
      file.durable.write(before, write.bytes);
      return;
    }
    const victims = [...this.#durableNames.values()];
    const victim = below(random, 2) === 0 ? file : (victims[below(random, victims.length)] ?? file);
    // Elsewhere in its own file it can be found; in another one its absence shows only behind it.
    if (victim !== file) this.#astray = { file, ...write };
    // Whole sectors go astray: what begins within one does so there, too.
    const end = victim === file ? write.at : victim.durable.length;
    const sectors = Math.max(1, Math.floor(end / sectorBytes));
    victim.durable.write(sectorBytes * below(random, sectors) + (write.at % sectorBytes), write.bytes);
  }

  #tear(file: SimFile, { at, bytes }: Write): void {
    const whole = below(this.#random, 3) === 0;
    for (let from = 0, to = sectorBytes - (at % sectorBytes); from < bytes.length; from = to, to += sectorBytes)
      if (whole || below(this.#random, 2) === 0) file.durable.write(at + from, bytes.subarray(from, to));
  }

  #change(name: string, file: SimFile | undefined): void {
    this.#changes.push({ name, file });
    if (file === undefined) this.#names.delete(name);
    else this.#names.set(name, file);
  }

  #settle(count: number): void {
    for (const { name, file } of this.#changes.splice(0, count))
      if (file === undefined) this.#durableNames.delete(name);
      else this.#durableNames.set(name, file);
  }

  #at(name: string): SimFile {
    const file = this.#names.get(name);
    if (file === undefined) throw new AgentError("storage-failed", { message: `${name}: no such file or directory` });
    return file;
  }
}

/** Bytes that grow. */
export class Content {
  length = 0;
  #bytes: Bytes = emptyBytes;

  slice(from: number, to: number): Bytes {
    return this.#bytes.slice(Math.min(from, this.length), Math.min(to, this.length));
  }

  write(at: number, bytes: Bytes): void {
    const end = at + bytes.length;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.#bytes.length * 2, 256));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, at);
    this.length = Math.max(this.length, end);
  }

  flip(at: number, bit: number): void {
    assert(at < this.length, "a bit that is there");
    this.#bytes[at] = (this.#bytes[at] as number) ^ bit;
  }

  become(other: Content): void {
    this.#bytes = other.#bytes.slice();
    this.length = other.length;
  }
}

function noSpace(): AgentError {
  return new AgentError("storage-failed", { message: "no space left on device" });
}
