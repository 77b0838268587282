/**
 * Keeps two agents out of one data directory. The lock file names the process that holds it; a file left by a process
 * that is gone is taken over.
 *
 * A process id alone is not enough: after a reboot, or in a container, another process may have the same. Where the
 * system tells when a process began (Linux), that is part of the name.
 */
import { promises as fs, readFileSync } from "node:fs";
import { AgentError } from "../../core/types/errors.ts";
import { storageFailed } from "./files.ts";
import { errnoOf } from "./go-errors.ts";

const attemptsMax = 5;
/** Locks held by this process: the file alone could not tell us from a predecessor with our process id. */
const held = new Set<string>();

export interface DirectoryLock {
  release(): Promise<void>;
}

/** Rejects with `storage-failed` when another process, or this one, has the directory open. */
export async function lockDirectory(path: string, onTakenOver: (holder: string) => void): Promise<DirectoryLock> {
  const self = `${process.pid} ${startOf(process.pid) ?? "-"}\n`;
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    if (held.has(path)) throw inUse(path, String(process.pid));
    try {
      await fs.writeFile(path, self, { flag: "wx", mode: 0o600 });
      held.add(path);
      return {
        release: async () => {
          if (held.delete(path)) await fs.rm(path, { force: true });
        },
      };
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw storageFailed(`lock the data directory with ${path}`, error);
    }
    const holder = await readHolder(path);
    if (holder === undefined) continue; // released just now
    if (isAlive(holder)) throw inUse(path, holder.split(" ")[0] ?? holder);
    if (await remove(path, holder)) onTakenOver(holder.split(" ")[0] ?? holder);
  }
  throw inUse(path, "unknown");
}

/** Removes a stale lock, and no other that took its place meanwhile: of several that try, one gets the file. */
async function remove(path: string, holder: string): Promise<boolean> {
  const aside = `${path}.${process.pid}.stale`;
  try {
    await fs.rename(path, aside);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw storageFailed(`take over ${path}`, error);
  }
  const taken = await readHolder(aside);
  if (taken !== undefined && taken !== holder) {
    await fs.rename(aside, path);
    return false;
  }
  await fs.rm(aside, { force: true });
  return true;
}

async function readHolder(path: string): Promise<string | undefined> {
  try {
    return (await fs.readFile(path, "utf8")).slice(0, 200).trim();
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw storageFailed(`read ${path}`, error);
  }
}

function isAlive(holder: string): boolean {
  const [pid, start] = holder.split(" ");
  const number = Number(pid);
  if (!Number.isSafeInteger(number) || number <= 0) return false; // its writer was cut off: it never held anything
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

function inUse(path: string, pid: string): AgentError {
  return new AgentError("storage-failed", {
    message: `The data directory is in use by process ${pid} (${path}). Stop that agent, or give this one another data directory`,
  });
}
