/**
 * Files that survive a crash, on node:fs.
 *
 * A new file counts as durable when its contents *and* its directory were synced; a replaced one when it was written
 * under another name, synced, renamed over the old one, and the directory was synced. A failed sync is never retried:
 * afterwards nobody knows what the disk holds.
 */
import { dirname, join, relative, sep } from "node:path";
import type { FileStore } from "../../core/ports/storage.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import { unfinishedSuffix } from "../shared/directory.ts";
import { checkedFileName } from "../shared/file-name.ts";
import { isBeaconName } from "./beacon.ts";
import {
  closing,
  type FileHandle,
  type FileSystem,
  makeDirectory,
  nodeFileSystem,
  openFile,
  storageFailed,
  syncDirectory,
} from "./file-system.ts";
import { errnoOf } from "./go-errors.ts";

/** Bytes in a file; more cannot be a file of ours. */
const fileBytesMax = 64 * 1024 * 1024;
/** What replaceFile leaves behind when its process is killed. */
const unfinishedPattern = /\.\d+-\d+\.tmp$/;

/** Writes a whole file under another name, syncs it, and puts it in place of the old one. */
async function replaceFile(fileSystem: FileSystem, path: string, content: Bytes): Promise<void> {
  const temporary = `${path}.${process.pid}-${++temporaries}${unfinishedSuffix}`;
  try {
    await closing(await openFile(fileSystem, temporary, "new"), async (handle) => {
      await writeAll(handle, content);
      await handle.sync();
    });
    await fileSystem.rename(temporary, path);
  } catch (error) {
    await fileSystem.unlink(temporary).catch(() => undefined); // the first error is the one to tell
    throw error;
  }
  await syncDirectory(fileSystem, dirname(path));
}
let temporaries = 0;

async function writeAll(handle: FileHandle, content: Bytes): Promise<void> {
  for (let done = 0; done < content.length; )
    done += (await handle.write(content, done, content.length - done, null)).bytesWritten;
}

/** Small files below a directory. */
export class NodeFileStore implements FileStore {
  readonly #root: string;
  readonly #fileSystem: FileSystem;
  /** Folders that are there for good. */
  readonly #made = new Set<string>();
  /** Files and folders that are not ours to list or change. */
  readonly #reserved: ReadonlySet<string>;
  /** The last change of each name that is under way: changes of one name follow one another. */
  readonly #pending = new Map<string, Promise<void>>();

  constructor(root: string, reserved: readonly string[], fileSystem: FileSystem = nodeFileSystem) {
    this.#root = root;
    this.#fileSystem = fileSystem;
    this.#reserved = new Set(reserved);
  }

  async get(name: string): Promise<Bytes | undefined> {
    const path = this.#path(name);
    await this.#pending.get(name);
    try {
      return await closing(await openFile(this.#fileSystem, path, "read"), (handle) => readAll(handle, path));
    } catch (error) {
      const code = errnoOf(error);
      if (code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR") return undefined;
      throw storageFailed(`read ${path}`, error);
    }
  }

  put(name: string, content: Bytes): Promise<void> {
    // Taken now: the caller may change its bytes while earlier changes of this name are still under way.
    const copy = content.slice();
    return this.#inTurn(name, "write", async (path) => {
      await this.#makeFolderOf(path);
      await replaceFile(this.#fileSystem, path, copy);
    });
  }

  append(name: string, content: Bytes, { sync = false }: { readonly sync?: boolean } = {}): Promise<void> {
    const copy = content.slice();
    return this.#inTurn(name, "write", async (path) => {
      await this.#makeFolderOf(path);
      await closing(await openFile(this.#fileSystem, path, "append"), async (handle) => {
        await writeAll(handle, copy);
        if (sync) await handle.sync();
      });
      if (sync) await syncDirectory(this.#fileSystem, dirname(path));
    });
  }

  delete(name: string): Promise<void> {
    return this.#inTurn(name, "remove", async (path) => {
      try {
        await this.#fileSystem.unlink(path);
      } catch (error) {
        const code = errnoOf(error);
        if (code === "ENOENT" || code === "ENOTDIR") return;
        throw error;
      }
      await syncDirectory(this.#fileSystem, dirname(path));
    });
  }

  async list(prefix: string): Promise<readonly string[]> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    if (folder !== "") checkedFileName(folder.slice(0, -1));
    await Promise.all(this.#pending.values());
    const names: string[] = [];
    await this.#collect(join(this.#root, folder), names, (name) => !name.endsWith(unfinishedSuffix));
    return names.filter((name) => name.startsWith(prefix)).sort();
  }

  /** Removes what processes that were killed had not finished. Harmless when it cannot be: it only takes room. */
  async sweep(): Promise<void> {
    const names: string[] = [];
    await this.#collect(this.#root, names, (name) => unfinishedPattern.test(name));
    for (const name of names) await this.#fileSystem.unlink(join(this.#root, name)).catch(() => undefined);
  }

  /** Waits for every change under way. */
  async close(): Promise<void> {
    await Promise.all(this.#pending.values());
  }

  /** What is mounted or linked from elsewhere is a name, and is not gone into. */
  async #collect(directory: string, names: string[], wanted: (name: string) => boolean): Promise<void> {
    let found: Awaited<ReturnType<typeof readTyped>>;
    try {
      found = await readTyped(this.#fileSystem, directory);
    } catch (error) {
      const code = errnoOf(error);
      if (code === "ENOENT" || code === "ENOTDIR") return;
      throw storageFailed(`list ${directory}`, error);
    }
    for (const entry of found) {
      const path = join(directory, entry.name);
      const name = relative(this.#root, path).split(sep).join("/");
      if (this.#reserved.has(name)) continue;
      if (entry.isDirectory()) await this.#collect(path, names, wanted);
      else if (!isBeaconName(entry.name) && wanted(entry.name)) names.push(name);
    }
  }

  async #inTurn(name: string, act: string, change: (path: string) => Promise<void>): Promise<void> {
    const path = this.#path(name);
    const before = this.#pending.get(name);
    const done = (async () => {
      await before?.catch(() => undefined); // told to its own caller
      try {
        await change(path);
      } catch (error) {
        throw storageFailed(`${act} ${path}`, error);
      }
    })();
    const settled = done.catch(() => undefined);
    this.#pending.set(name, settled);
    await settled;
    if (this.#pending.get(name) === settled) this.#pending.delete(name);
    return done;
  }

  async #makeFolderOf(path: string): Promise<void> {
    const folder = dirname(path);
    if (this.#made.has(folder)) return;
    await makeDirectory(this.#fileSystem, folder, this.#root);
    this.#made.add(folder);
  }

  #path(name: string): string {
    const checked = checkedFileName(name);
    for (const reserved of this.#reserved) {
      const clashes = checked === reserved || checked.startsWith(`${reserved}/`) || reserved.startsWith(`${checked}/`);
      if (!clashes) continue;
      throw new AgentError("bad-request", { message: `Not for files: ${JSON.stringify(name)} belongs to the log` });
    }
    return join(this.#root, checked);
  }
}

function readTyped(fileSystem: FileSystem, directory: string) {
  return fileSystem.readdir(directory, { withFileTypes: true });
}

async function readAll(handle: FileHandle, path: string): Promise<Bytes> {
  const { size } = await handle.stat();
  if (size > fileBytesMax)
    throw new AgentError("too-large", { message: `Cannot read ${path}: ${size} bytes exceed the limit of ${fileBytesMax}` });
  const bytes = new Uint8Array(size);
  for (let done = 0; done < size; ) {
    const { bytesRead } = await handle.read(bytes, done, size - done, done);
    if (bytesRead === 0) return bytes.slice(0, done);
    done += bytesRead;
  }
  return bytes;
}
