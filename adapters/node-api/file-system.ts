/**
 * The calls of node:fs that storage makes, and what storage makes of them. Tests hand in others, which fail one call after
 * the other (tests/contract/disk-faults.ts).
 */
import { constants, promises as fs } from "node:fs";
import { dirname } from "node:path";
import { AgentError } from "../../core/types/errors.ts";
import { errnoOf, goText } from "./go-errors.ts";

export type FileSystem = Pick<typeof fs, "link" | "mkdir" | "open" | "readdir" | "rename" | "unlink">;
export type FileHandle = Awaited<ReturnType<FileSystem["open"]>>;

export const nodeFileSystem: FileSystem = fs;

const directoryMode = 0o755;
export const fileMode = 0o600;

/**
 * What the sync of a directory fails with where the file system has no such thing (FAT, some that are mounted over a
 * network): names are then as durable as it makes them. An error of the disk is not among them.
 */
const unsupportedSync = new Set(["EPERM", "EACCES", "EISDIR", "EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EBADF"]);

const openFlags = {
  read: constants.O_RDONLY,
  change: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC,
  append: constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND,
  new: constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL,
} as const;

/**
 * On Linux a write to a file opened with this does what a write and fdatasync do: one trip to a thread instead of two, a
 * seventh of the time it takes to make a small record durable. Elsewhere it promises less than fdatasync.
 */
export const syncedWrites: number | undefined = process.platform === "linux" ? constants.O_DSYNC : undefined;

/**
 * Opens a plain file. Whatever else has its name is refused: a pipe would keep us waiting for ever, a device never end.
 * "new" fails with EEXIST when there is something, "read" and "change" with ENOENT when there is nothing.
 */
export async function openFile(
  fileSystem: FileSystem,
  path: string,
  how: keyof typeof openFlags,
  moreFlags = 0,
): Promise<FileHandle> {
  // Without O_NONBLOCK opening a pipe waits for its other end.
  const handle = await fileSystem.open(path, openFlags[how] | moreFlags | (constants.O_NONBLOCK ?? 0), fileMode);
  try {
    const stat = await handle.stat();
    if (stat.isDirectory()) throw Object.assign(new Error("is a directory"), { code: "EISDIR" });
    if (!stat.isFile()) throw storageFailed(`open ${path}`, new Error("it is no plain file"));
    return handle;
  } catch (error) {
    await handle.close().catch(() => undefined); // the first error is the one to tell
    throw error;
  }
}

/** Runs `use`, and closes. Of two errors the first is thrown. */
export async function closing<Result>(handle: FileHandle, use: (handle: FileHandle) => Promise<Result>): Promise<Result> {
  let result: Result;
  try {
    result = await use(handle);
  } catch (error) {
    await handle.close().catch(() => undefined);
    throw error;
  }
  await handle.close();
  return result;
}

/** Makes additions to and removals from a directory durable. Windows has nothing of the kind, and needs nothing. */
export async function syncDirectory(fileSystem: FileSystem, path: string): Promise<void> {
  if (process.platform === "win32") return;
  try {
    await closing(await fileSystem.open(path, "r"), (handle) => handle.sync());
  } catch (error) {
    if (!unsupportedSync.has(errnoOf(error) ?? "")) throw error;
  }
}

/**
 * Makes sure that there is a directory, and that a power failure leaves it there. Those above it up to `root` (itself, when
 * not given) are synced also when all are there: who made them may have been killed before it did so.
 */
export async function makeDirectory(fileSystem: FileSystem, path: string, root = path): Promise<void> {
  const created = await fileSystem.mkdir(path, { recursive: true, mode: directoryMode });
  const top = created === undefined || created.length > root.length ? root : created;
  // Each directory is an addition to its parent.
  for (let at = path; ; at = dirname(at)) {
    await syncDirectory(fileSystem, dirname(at));
    if (at === top || at === dirname(at)) return;
  }
}

/** An error of the disk in the words an operator needs. */
export function storageFailed(what: string, cause: unknown): AgentError {
  if (cause instanceof AgentError) return cause;
  const full = errnoOf(cause) === "ENOSPC" ? ". Free some space and restart the agent" : "";
  return new AgentError("storage-failed", { cause, message: `Cannot ${what}: ${goText(cause)}${full}` });
}
