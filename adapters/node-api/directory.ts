/** A directory on node:fs, which Node, Bun and Deno share. */
import { join } from "node:path";
import type { Bytes } from "../../core/types/bytes.ts";
import type { AgentError } from "../../core/types/errors.ts";
import { assert } from "../../core/types/errors.ts";
import type { Directory, OpenFile } from "../shared/directory.ts";
import {
  type FileHandle,
  type FileSystem,
  makeDirectory,
  nodeFileSystem,
  openFile,
  storageFailed,
  syncDirectory,
  syncedWrites,
} from "./file-system.ts";

export class NodeDirectory implements Directory {
  readonly path: string;
  readonly #root: string;
  readonly #fileSystem: FileSystem;

  /** `root`: the data directory that it is in. */
  constructor(path: string, root = path, fileSystem: FileSystem = nodeFileSystem) {
    this.path = path;
    this.#root = root;
    this.#fileSystem = fileSystem;
  }

  make(): Promise<void> {
    return makeDirectory(this.#fileSystem, this.path, this.#root);
  }
  list(): Promise<readonly string[]> {
    return this.#fileSystem.readdir(this.path);
  }
  async open(name: string, how: "create" | "change" | "read", forSyncedWrites = false): Promise<OpenFile> {
    const writesSync = forSyncedWrites && syncedWrites !== undefined;
    const handle = await openFile(this.#fileSystem, join(this.path, name), how, writesSync ? syncedWrites : 0);
    return new NodeOpenFile(handle, writesSync);
  }
  rename(from: string, to: string): Promise<void> {
    return this.#fileSystem.rename(join(this.path, from), join(this.path, to));
  }
  remove(name: string): Promise<void> {
    return this.#fileSystem.unlink(join(this.path, name));
  }
  sync(): Promise<void> {
    return syncDirectory(this.#fileSystem, this.path);
  }
  failed(what: string, cause: unknown): AgentError {
    return storageFailed(what, cause);
  }
}

class NodeOpenFile implements OpenFile {
  readonly #handle: FileHandle;
  /** What `write` wrote is durable. */
  readonly #writesSync: boolean;

  constructor(handle: FileHandle, writesSync: boolean) {
    this.#handle = handle;
    this.#writesSync = writesSync;
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  async read(at: number, length: number): Promise<Bytes> {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, at + done);
      if (bytesRead === 0) return bytes.subarray(0, done);
      done += bytesRead;
    }
    return bytes;
  }

  async write(at: number, bytes: Bytes): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, at + done);
      assert(bytesWritten > 0, "a write makes progress or fails");
      done += bytesWritten;
    }
  }

  async writeSynced(at: number, bytes: Bytes): Promise<void> {
    await this.write(at, bytes);
    if (!this.#writesSync) await this.sync();
  }

  // The data, and of the metadata what is needed to find them again: their length.
  sync(): Promise<void> {
    return this.#handle.datasync();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}
