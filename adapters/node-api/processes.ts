import type { ChildProcess } from "node:child_process";
import type { Readable } from "node:stream";
import type { Clock } from "../../core/ports/clock.ts";
import type {
  Command,
  CommandEnd,
  CommandResult,
  LiveCommand,
  ProcessRunner,
  RunningCommand,
} from "../../core/ports/process-runner.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import { builtin } from "./builtin.ts";
import { errnoOf, goText } from "./go-errors.ts";
import { OutputTail } from "./output-tail.ts";

const childProcess = builtin<typeof import("node:child_process")>("node:child_process");

/** After the command ended, output of children it left behind is cut off when twice in a row nothing came for this long. */
const strayQuietMillis = 1_000;

/** `ProcessRunner` over node:child_process. The command leads a process group of its own, so that what it started dies with it. */
export function createProcesses(clock: Clock): ProcessRunner {
  return { run: (command, cancel) => run(clock, command, cancel), start: (command) => start(clock, command) };
}

function run(clock: Clock, command: Command, cancel: Cancel | undefined): Promise<CommandResult> {
  if (cancel?.aborted === true) return Promise.resolve(cancelled(cancel));
  const [file, ...args] = command.argv;
  let child: ChildProcess;
  try {
    child = childProcess().spawn(file, args, {
      env: { ...process.env, ...command.env },
      detached: true,
      stdio: [command.stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
  } catch (error) {
    return Promise.resolve({ kind: "failed", error: startError(file, error) });
  }
  return new Promise((resolve) => {
    const output = new OutputTail(command.outputBytesMax);
    let killedFor: "timeout" | "cancel" | undefined;
    const kill = (why: "timeout" | "cancel"): void => {
      killedFor ??= why;
      killGroup(child);
    };
    const timer = clock.after(command.timeout, () => kill("timeout"));
    const onCancel = (): void => kill("cancel");
    cancel?.addEventListener("abort", onCancel);
    const finish = (result: CommandResult): void => {
      timer.cancel();
      cancel?.removeEventListener("abort", onCancel);
      resolve(result);
    };
    child.stdout?.on("data", (chunk: Bytes) => output.add(chunk));
    child.stderr?.on("data", (chunk: Bytes) => output.add(chunk));
    child.on("error", (error) => finish({ kind: "failed", error: startError(file, error) }));
    feed(child, command.stdin);
    cutStrayOutput(clock, child, () => output.bytesTotal);
    child.on("close", (code, signal) => {
      const said = { output: output.bytes(), outputBytesTotal: output.bytesTotal };
      if (killedFor === "timeout") finish({ kind: "timeout", ...said });
      else if (killedFor === "cancel") finish(cancelled(cancel));
      else if (signal !== null) finish({ kind: "signalled", signal, ...said });
      else finish({ kind: "exited", code: code ?? -1, ...said });
    });
  });
}

function start(clock: Clock, { argv, env, stdin, output }: LiveCommand): RunningCommand {
  const [file, ...args] = argv;
  const out = output === "inherit" ? "inherit" : "pipe";
  let child: ChildProcess;
  try {
    child = childProcess().spawn(file, args, {
      env: { ...process.env, ...env },
      stdio: [stdin === "inherit" ? "inherit" : "ignore", out, out],
    });
  } catch (error) {
    return { pid: undefined, signal: () => {}, ended: Promise.resolve({ kind: "failed", error: startError(file, error) }) };
  }
  let piecesPassed = 0;
  const passing = async (piece: Bytes): Promise<void> => {
    if (output !== "inherit") await output(piece);
    piecesPassed++;
  };
  const closed = new Promise<CommandEnd>((resolve) => {
    child.on("error", (error) => resolve({ kind: "failed", error: startError(file, error) }));
    cutStrayOutput(clock, child, () => piecesPassed);
    child.on("close", (code, signal) =>
      resolve(signal === null ? { kind: "exited", code: code ?? -1 } : { kind: "signalled", signal }),
    );
  });
  const passed = output === "inherit" ? [] : [child.stdout, child.stderr].map((stream) => passOn(stream, passing));
  const ended = Promise.all([closed, ...passed]).then(([end]) => end);
  let over = false;
  child.once("exit", () => {
    over = true;
  });
  // Not child.kill: after it Deno calls every end one by that signal, whatever the command made of it.
  const signal: RunningCommand["signal"] = (name) => {
    if (child.pid === undefined || over) return;
    try {
      process.kill(child.pid, name);
    } catch {
      // It ended just now.
    }
  };
  return { pid: child.pid, signal, ended };
}

/** One piece after the other; never rejects. */
async function passOn(stream: Readable | null, output: (piece: Bytes) => Promise<void>): Promise<void> {
  try {
    for await (const chunk of stream ?? []) await output(new Uint8Array(chunk as Uint8Array));
  } catch {
    // Cut off: what it printed is known, and how it ended is told elsewhere.
  }
}

/**
 * Output of children that an ended command left behind is not waited for without end. The command's own is all read, also
 * where this process stood still meanwhile, or whoever takes the output is slow: between two looks the system was asked.
 * `moved` grows with all that came.
 */
function cutStrayOutput(clock: Clock, child: ChildProcess, moved: () => number): void {
  child.on("exit", () => {
    let seen = -1;
    const look = (): void => {
      const now = moved();
      const waiting = [child.stdout, child.stderr].some((stream) => stream !== null && stream.readableLength > 0);
      if (now === seen && !waiting) {
        child.stdout?.destroy();
        child.stderr?.destroy();
        return;
      }
      seen = now;
      stray = clock.after(strayQuietMillis, look);
    };
    let stray = clock.after(strayQuietMillis, look);
    child.once("close", () => stray.cancel());
  });
}

function cancelled(cancel: Cancel | undefined): CommandResult {
  return { kind: "failed", error: new AgentError("cancelled", { message: "context canceled", cause: cancel?.reason }) };
}

/** A negative process id names the group. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    child.kill("SIGKILL");
  }
}

function feed(child: ChildProcess, stdin: Bytes | undefined): void {
  if (stdin === undefined || child.stdin === null) return;
  // A command that does not read its input breaks the pipe: that is its right.
  child.stdin.on("error", () => {});
  child.stdin.end(stdin);
}

/** Go's os/exec: a bare name is looked up in $PATH, a path is started as it stands. */
function startError(file: string, cause: unknown): Error {
  const missing = errnoOf(cause) === "ENOENT";
  const message = file.includes("/")
    ? `fork/exec ${file}: ${goText(cause)}`
    : missing
      ? `exec: "${file}": executable file not found in $PATH`
      : `exec: "${file}": ${goText(cause)}`;
  return new AgentError(missing ? "not-found" : "permission-denied", { message, cause });
}
