import type { PathLike } from "node:fs";
import type { Clock } from "../../core/ports/clock.ts";
import type { Host } from "../../core/ports/host.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { concat, utf8 } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import { builtin } from "./builtin.ts";
import { errnoOf, goText } from "./go-errors.ts";

const fs = builtin<typeof import("node:fs")>("node:fs");
const os = builtin<typeof import("node:os")>("node:os");

/** `Host` over node:fs, node:os and process. */
export function createHost(clock: Clock): Host {
  return {
    platform: process.platform,
    argv: process.argv.slice(2),
    env: process.env,
    pid: process.pid,
    hostname: () => os().hostname(),
    interfaces,
    fileDescriptorsMax,
    memory() {
      const usage = process.memoryUsage();
      return { residentBytes: usage.rss, heapUsedBytes: usage.heapUsed, heapTotalBytes: usage.heapTotal };
    },

    // Loaded when it is asked for, which is hardly ever.
    report: () => import("./host-report.ts").then(({ hostReport }) => hostReport()),
    readFile: (path) => inGoWords("open", path, async () => plain(await fs().promises.readFile(path))),
    writeFile: (path, content, mode) =>
      inGoWords("open", path, () => fs().promises.writeFile(path, content, mode === undefined ? {} : { mode })),
    removeFile: (path) => inGoWords("remove", path, () => fs().promises.unlink(path)),
    renameFile: (from, to) => inGoWords("rename", from, () => rename(from, to)),
    stat: (path) => inGoWords("stat", path, () => stat(path)),
    readDirectory: (path) => inGoWords("open", path, async () => sortedByBytes(await fs().promises.readdir(path))),
    makeDirectory: (path) =>
      inGoWords("mkdir", path, async () => void (await fs().promises.mkdir(path, { recursive: true, mode: 0o755 }))),
    appendFile: (path, content) => inGoWords("open", path, () => fs().promises.appendFile(path, content)),

    stdout: (written) => writeAll(1, typeof written === "string" ? utf8(written) : written),
    stderr: (written) => writeAll(2, utf8(written)),
    stdin,
    onSignal(signal, receive, cancel) {
      if (cancel?.aborted === true) return;
      process.on(signal, receive);
      cancel?.addEventListener("abort", () => process.off(signal, receive));
    },
    exit: (code) => process.exit(code),
  };

  /** Synchronous, so that nothing is lost at `exit` and lines of one process stay in order, on every runtime and for every kind of output. */
  function writeAll(descriptor: 1 | 2, content: Bytes): void {
    let at = 0;
    while (at < content.length) {
      try {
        at += fs().writeSync(descriptor, content, at);
      } catch (error) {
        // A pipe in non-blocking mode that is full: wait for its reader. Anything else (the reader is gone) cannot be told to anyone.
        if (errnoOf(error) !== "EAGAIN") return;
        pause();
      }
    }
  }

  function stdin(bytesMax: number): Promise<Bytes> {
    return new Promise((resolve, reject) => {
      const parts: Bytes[] = [];
      let length = 0;
      const input = process.stdin;
      input.on("data", (chunk: Bytes) => {
        length += chunk.length;
        parts.push(chunk);
        if (length <= bytesMax) return;
        input.destroy();
        reject(new AgentError("too-large", { message: `Cannot read standard input: more than ${bytesMax} bytes` }));
      });
      input.on("end", () => resolve(concat(parts)));
      input.on("error", (error) =>
        reject(new AgentError("storage-failed", { message: `read /dev/stdin: ${goText(error)}`, cause: error })),
      );
    });
  }

  function pause(): void {
    const until = clock.monotonic() + outputRetryMillis;
    if (typeof Atomics.wait === "function") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, outputRetryMillis);
    while (clock.monotonic() < until);
  }
}

/** How long a full output pipe is left alone before the next try. */
const outputRetryMillis = 1;

function interfaces(): ReturnType<Host["interfaces"]> {
  return Object.entries(os().networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? []).map((each) => ({
      name,
      address: each.address,
      // Node 18.0 to 18.3 gave numbers; Deno and Bun give the name.
      family: String(each.family).endsWith("6") ? (6 as const) : (4 as const),
      internal: each.internal,
    })),
  );
}

/** From /proc, because no runtime offers getrlimit. */
function fileDescriptorsMax(): number | undefined {
  try {
    const limits = fs().readFileSync("/proc/self/limits", "utf8");
    const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}

async function stat(path: string): Promise<Awaited<ReturnType<Host["stat"]>>> {
  try {
    const found = await fs().promises.stat(path);
    return { kind: found.isFile() ? "file" : found.isDirectory() ? "directory" : "other", size: found.size };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** The content is on disk before the name says so: a crash leaves the old file or the new one. */
async function rename(from: string, to: string): Promise<void> {
  const file = await fs().promises.open(from, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  await fs().promises.rename(from, to);
}

/** Runs a file operation; its failure reads as Go's PathError: "open nope.json: no such file or directory". */
async function inGoWords<Result>(verb: string, path: PathLike, act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    const errno = errnoOf(error);
    const code =
      errno === "ENOENT" ? "not-found" : errno === "EACCES" || errno === "EPERM" ? "permission-denied" : "storage-failed";
    // Go opens a directory and fails at reading it.
    const failedAt = errno === "EISDIR" && verb === "open" ? "read" : verb;
    throw new AgentError(code, { message: `${failedAt} ${String(path)}: ${goText(error)}`, cause: error });
  }
}

function sortedByBytes(names: string[]): string[] {
  return names.sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)));
}

function plain(buffer: Uint8Array): Bytes {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
