/** A simulated directory as the port below log and snapshots: what it makes durable takes its time. */
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../core/types/errors.ts";
import type { Directory, OpenFile } from "../shared/directory.ts";
import type { SimFile, SimFiles } from "./sim-files.ts";

/** What a directory needs of the machine it is in. */
export interface DiskPace {
  /** Resolves when a sync would be over; never for a machine that was down meanwhile. */
  sync(): Promise<void>;
  /** False: the process that opened it is gone, and nothing it does happens any more. */
  readonly alive: boolean;
}

export class SimDirectory implements Directory {
  readonly path: string;
  readonly #files: SimFiles;
  readonly #pace: DiskPace;

  constructor(path: string, files: SimFiles, pace: DiskPace) {
    this.path = path;
    this.#files = files;
    this.#pace = pace;
  }

  make(): Promise<void> {
    return this.#now(() => {});
  }
  list(): Promise<readonly string[]> {
    return this.#now(() => this.#files.list());
  }
  open(name: string, how: "create" | "change" | "read"): Promise<OpenFile> {
    return this.#now(() => {
      const file = how === "create" ? this.#files.create(name) : this.#files.find(name);
      if (file === undefined) throw new AgentError("storage-failed", { message: `${name}: no such file or directory` });
      return this.#opened(file);
    });
  }
  rename(from: string, to: string): Promise<void> {
    return this.#now(() => this.#files.rename(from, to));
  }
  remove(name: string): Promise<void> {
    return this.#now(() => this.#files.remove(name));
  }
  sync(): Promise<void> {
    return this.#late(() => this.#files.syncNames());
  }
  failed(what: string, cause: unknown): AgentError {
    return new AgentError("storage-failed", { cause, message: `Cannot ${what}: ${messageOf(cause)}` });
  }

  #opened(file: SimFile): OpenFile {
    return {
      size: () => this.#now(() => file.seen.length),
      read: (at, length) => this.#now((): Bytes => file.seen.slice(at, at + length)),
      write: (at, bytes) => this.#now(() => this.#files.write(file, at, bytes)),
      writeSynced: async (at, bytes) => {
        await this.#now(() => this.#files.write(file, at, bytes));
        await this.#late(() => this.#files.sync(file));
      },
      sync: () => this.#late(() => this.#files.sync(file)),
      close: () => Promise.resolve(),
    };
  }

  #now<Result>(act: () => Result): Promise<Result> {
    return new Promise((resolve) => {
      if (this.#pace.alive) resolve(act());
    });
  }

  async #late(act: () => void): Promise<void> {
    if (!this.#pace.alive) return new Promise(() => {});
    await this.#pace.sync();
    act();
  }
}
