/**
 * Keeps two agents out of one data directory. The lock file names the process that holds it; a file left by a process
 * that is gone is taken over.
 *
 *   written under another name ─► linked to its own: there with its content, or refused because another one is there
 *
 *   PROCESS-ID BOOT:TICKS NAMESPACE BEACON
 *
 * A process id alone is not enough: after a reboot, or in a container, another process may have the same. Where the
 * system tells when a process began (Linux), that is part of the name. And where ids are of another namespace, which is
 * another container's, or that of ours before it was restarted, they say nothing: then the beacon does (beacon.ts).
 * What nothing tells is whether a process of another machine lives, where a directory is shared over a network.
 */
import { readFileSync, readlinkSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../../core/ports/clock.ts";
import type { Millis } from "../../core/types/ids.ts";
import { AgentError } from "../../core/types/errors.ts";
import { utf8 } from "../../core/types/bytes.ts";
import { clearBeacon, isLit, lightBeacon } from "./beacon.ts";
import { closing, type FileSystem, openFile, storageFailed } from "./file-system.ts";
import { errnoOf } from "./go-errors.ts";

const attemptsMax = 10;
/** How long a lock without its last character, the line break, may be one that is being written. */
const unfinishedWait: Millis = 50;
const unfinishedWaitsMax = 5;
const contentBytesMax = 200;
/** What `link` fails with where the file system has none. */
const noLinks = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EINVAL"]);
/** Locks held by this process: the file alone could not tell us from a predecessor with our process id. */
const held = new Set<string>();
let written = 0;

export interface DirectoryLock {
  release(): Promise<void>;
}

export interface LockOptions {
  readonly clock: Pick<Clock, "after">;
  readonly fileSystem: FileSystem;
  readonly onTakenOver: (holder: string) => void;
}

/** Rejects with `storage-failed` when another process, or this one, has the directory open. */
export async function lockDirectory(path: string, { clock, fileSystem, onTakenOver }: LockOptions): Promise<DirectoryLock> {
  const beacon = await lightBeacon(dirname(path), fileSystem);
  const self = `${process.pid} ${startOf(process.pid) ?? "-"} ${namespace() ?? "-"} ${beacon.name ?? "-"}\n`;
  try {
    await take(path, self, { clock, fileSystem, onTakenOver });
  } catch (error) {
    await beacon.close();
    throw error;
  }
  return {
    release: async () => {
      await release(fileSystem, path, self);
      await beacon.close();
    },
  };
}

async function take(path: string, self: string, { clock, fileSystem, onTakenOver }: LockOptions): Promise<void> {
  let waits = 0;
  for (let attempt = 0; attempt < attemptsMax + unfinishedWaitsMax; attempt++) {
    if (held.has(path)) throw inUse(path, String(process.pid));
    try {
      if (await place(fileSystem, path, self)) {
        held.add(path);
        return;
      }
    } catch (error) {
      throw storageFailed(`lock the data directory with ${path}`, error);
    }
    const holder = await readHolder(fileSystem, path);
    if (holder === undefined) continue; // released just now
    if (!holder.endsWith("\n") && waits++ < unfinishedWaitsMax) {
      await new Promise<void>((resolve) => clock.after(unfinishedWait, resolve));
      continue;
    }
    if (await isAlive(holder.trim(), dirname(path))) throw inUse(path, pidOf(holder));
    if (!(await remove(fileSystem, path, holder))) continue;
    await clearBeacon(dirname(path), holder.trim().split(" ")[3] ?? "", fileSystem);
    onTakenOver(pidOf(holder));
  }
  throw inUse(path, "unknown");
}

/** False when there is a lock. */
async function place(fileSystem: FileSystem, path: string, content: string): Promise<boolean> {
  const aside = `${path}.${process.pid}-${++written}.new`;
  try {
    await write(fileSystem, aside, content);
    try {
      await fileSystem.link(aside, path);
      return true;
    } catch (error) {
      const code = errnoOf(error) ?? "";
      if (code === "EEXIST") return false;
      if (!noLinks.has(code)) throw error;
    }
  } finally {
    await fileSystem.unlink(aside).catch(() => undefined); // not there, or only takes room
  }
  // Here another process may see it before it is whole; it waits a moment then.
  try {
    await write(fileSystem, path, content);
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** Leaves no part behind. */
async function write(fileSystem: FileSystem, path: string, content: string): Promise<void> {
  const handle = await openFile(fileSystem, path, "new");
  try {
    await closing(handle, (file) => file.writeFile(utf8(content)));
  } catch (error) {
    await fileSystem.unlink(path).catch(() => undefined);
    throw error;
  }
}

/** Removes the lock, unless somebody took it for stale and has one of his own there. Never rejects: left, it is stale. */
async function release(fileSystem: FileSystem, path: string, self: string): Promise<void> {
  if (!held.delete(path)) return;
  try {
    if ((await readHolder(fileSystem, path)) === self) await fileSystem.unlink(path);
  } catch {}
}

/** Removes a stale lock, and no other that took its place meanwhile: of several that try, one gets the file. */
async function remove(fileSystem: FileSystem, path: string, holder: string): Promise<boolean> {
  const aside = `${path}.${process.pid}.stale`;
  try {
    await fileSystem.rename(path, aside);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw storageFailed(`take over ${path}`, error);
  }
  const taken = await readHolder(fileSystem, aside);
  try {
    if (taken !== undefined && taken !== holder) {
      await fileSystem.rename(aside, path);
      return false;
    }
    await fileSystem.unlink(aside);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw storageFailed(`take over ${path}`, error);
  }
  return true;
}

async function readHolder(fileSystem: FileSystem, path: string): Promise<string | undefined> {
  try {
    return await closing(await openFile(fileSystem, path, "read"), async (file) => {
      const bytes = new Uint8Array(contentBytesMax);
      const { bytesRead } = await file.read(bytes, 0, contentBytesMax, 0);
      return String.fromCharCode(...bytes.subarray(0, bytesRead));
    });
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw storageFailed(`read ${path}`, error);
  }
}

function pidOf(holder: string): string {
  return holder.trim().split(" ")[0] ?? holder;
}

async function isAlive(holder: string, directory: string): Promise<boolean> {
  const [pid, start, itsNamespace, beacon] = holder.split(" ");
  const number = Number(pid);
  if (!Number.isSafeInteger(number) || number <= 0) return false; // its writer was cut off: it never held anything
  const ours = namespace();
  if (itsNamespace !== undefined && itsNamespace !== "-" && ours !== undefined && itsNamespace !== ours)
    return isLit(directory, beacon ?? "");
  const now = startOf(number);
  // Our own id, and we do not hold it: a predecessor that had the same, unless it began when we did.
  if (number === process.pid) return now !== undefined && now === start;
  if (now !== undefined && start !== undefined && start !== "-") return now === start;
  try {
    process.kill(number, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === "EPERM";
  }
}

/** When a process began, as a text that no two processes with one id share; undefined when it is gone or unknown. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may hold anything; field 22 is the 20th behind it.
    const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
    return ticks === undefined ? undefined : `${boot}:${ticks}`;
  } catch {
    return undefined;
  }
}

/** Whose process ids are meant; undefined where the system does not tell. */
function namespace(): string | undefined {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return undefined;
  }
}

function inUse(path: string, pid: string): AgentError {
  return new AgentError("storage-failed", {
    message: `The data directory is in use by process ${pid} (${path}). Stop that agent, or give this one another data directory`,
  });
}
