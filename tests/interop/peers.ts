/**
 * Real Serf and Consul agents on loopback, from the folder $PEERS or ~/.peers. Without them the tests here are skipped
 * with a reason; on CI their absence is a failure.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createServer } from "node:net";
import { promisify } from "node:util";

export { findPeer } from "../support/peer.ts";

export interface Peer {
  /** Everything printed so far. */
  output(): string;
  /** SIGKILL, as a crash; or another signal. Resolves when it is gone. */
  stop(signal?: "SIGKILL" | "SIGTERM" | "SIGINT"): Promise<void>;
}

export function startPeer(path: string, args: readonly string[]): Peer {
  const child: ChildProcess = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-1_000_000);
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
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
  const { stdout } = await promisify(execFile)(path, [...args], { encoding: "utf8", timeout: 15_000 });
  return stdout;
}

/** A port nothing listens on now. */
export async function freePort(host: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Looks until `holds`, for real agents keep real time; fails with `what` and what `tell` says. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  tell: () => string,
  seconds = 20,
): Promise<void> {
  const until = Date.now() + seconds * 1000;
  while (!(await holds())) {
    if (Date.now() > until) throw new Error(`not within ${seconds} s: ${what}\n${tell()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
