/**
 * Real Serf and Consul agents on loopback, from the folder $PEERS or ~/.peers. Without them the tests here are skipped
 * with a reason; on CI their absence is a failure.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { messageOf } from "../../core/types/errors.ts";
import { freePorts } from "../support/free-ports.ts";
import { insist, patience } from "../support/patience.ts";

export { findPeer } from "../support/peer.ts";

export interface Peer {
  /** Everything printed so far. */
  output(): string;
  /** SIGKILL, as a crash; or another signal. Resolves when it is gone. */
  stop(signal?: "SIGKILL" | "SIGTERM" | "SIGINT"): Promise<void>;
}

/** Nothing outlives the tests. */
const startedHere = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of startedHere) child.kill("SIGKILL");
});

// As the runner ends a file that takes too long; without this there would be no "exit".
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => process.exit(1));

export function startPeer(path: string, args: readonly string[]): Peer {
  const child: ChildProcess = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"] });
  startedHere.add(child);
  let output = "";
  const keep = (chunk: Buffer) => {
    output += chunk.toString();
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
  void gone.then(() => startedHere.delete(child));
  return {
    output: () => output,
    async stop(signal = "SIGKILL") {
      child.kill(signal);
      await gone;
    },
  };
}

/** What a command of the peer prints. Asynchronous, because the command may wait for an answer of ours. */
export async function runPeer(path: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(path, [...args], { encoding: "utf8", timeout: patience });
  return stdout;
}

/** One that only this process uses, on whichever of its addresses. */
export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  return port as number;
}

/**
 * Looks until `holds`, for real agents keep real time; fails with `what`, and with what `tell` says or why it could not be
 * seen at last.
 */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>, tell: () => string): Promise<void> {
  let why: string | undefined;
  await insist(
    async () => {
      why = undefined;
      try {
        return await holds();
      } catch (error) {
        why = messageOf(error);
        return false;
      }
    },
    (held) => held,
    () => `otherwise than: ${what}\n${why ?? ""}\n${tell()}`,
  );
}
