/**
 * Files that survive a crash, on node:fs.
 *
 * A new file counts as durable when its contents *and* its directory were synced; a replaced one when it was written
 * under another name, synced, renamed over the old one, and the directory was synced. A failed sync is never retried:
 * afterwards nobody knows what the disk holds.
 */
import { promises as fs } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import type { FileStore } from "../../core/ports/storage.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import { unfinishedSuffix } from "../shared/directory.ts";
import { checkedFileName } from "../shared/file-name.ts";
import { errnoOf, goText } from "./go-errors.ts";

const directoryMode = 0o755;
const fileMode = 0o600;
/** What a directory sync fails with where the platform has no such thing. */
const unsupportedSync = new Set(["EPERM", "EACCES", "EISDIR", "EINVAL", "ENOTSUP"]);

/** Bytes in a file; more cannot be a file of ours. */
const fileBytesMax = 64 * 1024 * 1024;

/** Makes additions to and removals from a directory durable. Windows has nothing of the kind, and needs nothing. */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await fs.open(path, "r");
  try {
    await handle.sync();
  } catch (error) {
    if (!unsupportedSync.has(errnoOf(error) ?? "")) throw error;
  } finally {
    await handle.close();
  }
}

/** Creates a directory and its parents below `root`, durably. */
export async function makeDirectory(path: string): Promise<void> {
  const created = await fs.mkdir(path, { recursive: true, mode: directoryMode });
  if (created === undefined) return;
  // Each new directory is an addition to its parent.
  for (let at = path; ; at = dirname(at)) {
    await syncDirectory(dirname(at));
    if (at === created || at === dirname(at)) return;
  }
}

/** Writes a whole file under another name, syncs it, and puts it in place of the old one. */
export async function replaceFile(path: string, content: Bytes): Promise<void> {
  const temporary = `${path}.${process.pid}-${++temporaries}${unfinishedSuffix}`;
  try {
    const handle = await fs.open(temporary, "wx", fileMode);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.rename(temporary, path);
  } catch (error) {
    await fs.rm(temporary, { force: true }).catch(() => undefined); // the first error is the one to tell
    throw error;
  }
  await syncDirectory(dirname(path));
}
let temporaries = 0;

/** An error of the disk in the words an operator needs. */
export function storageFailed(what: string, cause: unknown): AgentError {
  const full = errnoOf(cause) === "ENOSPC" ? ". Free some space and restart the agent" : "";
  return new AgentError("storage-failed", { cause, message: `Cannot ${what}: ${goText(cause)}${full}` });
}

/** Small files below a directory. */
export class NodeFileStore implements FileStore {
  readonly #root: string;
  /** Files and folders that are not ours to list or change. */
  readonly #reserved: ReadonlySet<string>;
  /** The last change of each name that is under way: changes of one name follow one another. */
  readonly #pending = new Map<string, Promise<void>>();

  constructor(root: string, reserved: readonly string[]) {
    this.#root = root;
    this.#reserved = new Set(reserved);
  }

  async get(name: string): Promise<Bytes | undefined> {
    const path = this.#path(name);
    await this.#pending.get(name);
    try {
      const { size } = await fs.stat(path);
      if (size > fileBytesMax)
        throw new AgentError("too-large", { message: `Cannot read ${path}: ${size} bytes exceed the limit of ${fileBytesMax}` });
      const content = await fs.readFile(path);
      return new Uint8Array(content.buffer, content.byteOffset, content.length);
    } catch (error) {
      const code = errnoOf(error);
      if (code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR") return undefined;
      throw error instanceof AgentError ? error : storageFailed(`read ${path}`, error);
    }
  }

  put(name: string, content: Bytes): Promise<void> {
    // Taken now: the caller may change its bytes while earlier changes of this name are still under way.
    const copy = content.slice();
    return this.#inTurn(name, "write", async (path) => {
      await makeDirectory(dirname(path));
      await replaceFile(path, copy);
    });
  }

  delete(name: string): Promise<void> {
    return this.#inTurn(name, "remove", async (path) => {
      try {
        await fs.unlink(path);
      } catch (error) {
        const code = errnoOf(error);
        if (code === "ENOENT" || code === "ENOTDIR") return;
        throw error;
      }
      await syncDirectory(dirname(path));
    });
  }

  async list(prefix: string): Promise<readonly string[]> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    if (folder !== "") checkedFileName(folder.slice(0, -1));
    await Promise.all(this.#pending.values());
    const names: string[] = [];
    await this.#collect(join(this.#root, folder), names);
    return names.filter((name) => name.startsWith(prefix)).sort();
  }

  /** Waits for every change under way. */
  async close(): Promise<void> {
    await Promise.all(this.#pending.values());
  }

  async #collect(directory: string, names: string[]): Promise<void> {
    let found: Awaited<ReturnType<typeof readTyped>>;
    try {
      found = await readTyped(directory);
    } catch (error) {
      const code = errnoOf(error);
      if (code === "ENOENT" || code === "ENOTDIR") return;
      throw storageFailed(`list ${directory}`, error);
    }
    for (const entry of found) {
      const path = join(directory, entry.name);
      const name = relative(this.#root, path).split(sep).join("/");
      if (this.#reserved.has(name)) continue;
      if (entry.isDirectory()) await this.#collect(path, names);
      else if (!entry.name.endsWith(unfinishedSuffix)) names.push(name);
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

function readTyped(directory: string) {
  return fs.readdir(directory, { withFileTypes: true });
}
