/**
 * The command `consul` as a user types it, on the runtime that CONSUL_RUNTIME names.
 * Each agent gets a folder and ports of its own on 127.0.0.1; everything started here is gone when the test ends.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { freePorts } from "./free-ports.ts";
import { insist } from "./patience.ts";

export { freePorts };

export const root = process.env["TEST_ROOT"] as string;
export const consulPath = join(root, "scripts/consul");

// Before anything is started: a program that finds the sources changed builds in the middle of a test, and says so.
if (process.env["CONSUL_AS_BUILT"] === undefined) {
  const runtime = process.env["CONSUL_RUNTIME"] ?? "node";
  execFileSync(join(root, "scripts/prepare"), [runtime], { stdio: ["ignore", "ignore", "pipe"] });
  process.env["CONSUL_AS_BUILT"] = "1";
}

/** For tests that ask with `dig`: skipped with a reason where it is missing, failed there with CI=true. */
export const needsDig: { readonly skip: string | false } = { skip: missingProgram("dig", "bind9-dnsutils") };

function missingProgram(name: string, debianPackage: string): string | false {
  const there = (process.env["PATH"] ?? "").split(delimiter).some((folder) => existsSync(join(folder, name)));
  if (there) return false;
  const reason = `${name} is missing (Debian: ${debianPackage})`;
  if (process.env["CI"] === "true") throw new Error(reason);
  console.log(`SKIPPED: ${reason}`);
  return reason;
}

/** An agent that stands still answers when it goes on. */
export const digPatience: readonly string[] = ["+time=60", "+tries=2"];

export interface Ports {
  readonly http: number;
  readonly dns: number;
  readonly server: number;
  readonly serfLan: number;
  readonly serfWan: number;
}

export interface Finished {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Response {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** Runs a command to its end. */
export function run(
  command: string,
  args: readonly string[],
  options: { readonly stdin?: string; readonly env?: Record<string, string>; readonly cwd?: string } = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: options.cwd ?? tmpdir(), env: { ...process.env, ...options.env } });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => (stdout += chunk));
    child.stderr.on("data", (chunk) => (stderr += chunk));
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
    // It may have ended without reading.
    child.stdin.on("error", () => {});
    child.stdin.end(options.stdin ?? "");
  });
}

export interface StartOptions {
  /** Default: ["-dev"]. */
  readonly args?: readonly string[];
  readonly command?: string;
  readonly env?: Record<string, string>;
  readonly ports?: Ports;
  /** A loopback address of its own, on which it has Consul's own ports as a machine would. Default: free ports of 127.0.0.1. */
  readonly address?: string;
  /** What it says when it is ready. Default: that there is a leader, in whose catalog all members are. */
  readonly ready?: RegExp;
}

/** Nothing outlives the tests. */
const startedHere = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of startedHere) child.kill("SIGKILL");
});
// As the runner ends a file that takes too long; without this there would be no "exit".
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => process.exit(1));

/** Consul's own. */
const consulPorts: Ports = { http: 8500, dns: 8600, server: 8300, serfLan: 8301, serfWan: 8302 };

export class RunningAgent {
  readonly ports: Ports;
  readonly address: string;
  readonly #child: ChildProcess;
  readonly #exit: Promise<{ code: number | null; signal: string | null }>;
  #output = "";
  #watchers: { readonly pattern: RegExp; readonly from: number; readonly resolve: () => void }[] = [];

  constructor(child: ChildProcess, ports: Ports, address = "127.0.0.1") {
    this.ports = ports;
    this.address = address;
    this.#child = child;
    const take = (chunk: Buffer): void => {
      this.#output += chunk.toString();
      this.#watchers = this.#watchers.filter((watcher) => {
        if (!watcher.pattern.test(this.#output.slice(watcher.from))) return true;
        watcher.resolve();
        return false;
      });
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    this.#exit = new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal })));
  }

  /** Resolves when the agent said that it runs and is ready. */
  static async start(options: StartOptions = {}): Promise<RunningAgent> {
    const { address } = options;
    const [http, dns, server, serfLan, serfWan] = (await freePorts(5)) as [number, number, number, number, number];
    const ports = address === undefined ? (options.ports ?? { http, dns, server, serfLan, serfWan }) : consulPorts;
    const flags =
      address === undefined
        ? [
            `-http-port=${ports.http}`,
            `-dns-port=${ports.dns}`,
            `-server-port=${ports.server}`,
            `-serf-lan-port=${ports.serfLan}`,
            `-serf-wan-port=${ports.serfWan}`,
          ]
        : [`-bind=${address}`, `-client=${address}`];
    const child = spawn(options.command ?? consulPath, ["agent", ...(options.args ?? ["-dev"]), ...flags], {
      cwd: tmpdir(),
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const agent = new RunningAgent(child, ports, address);
    startedHere.add(child);
    child.once("close", () => startedHere.delete(child));
    await Promise.race([
      agent.said(/Consul agent running!/).then(() => agent.said(options.ready ?? /New leader elected/)),
      agent.#exit.then(({ code }) => {
        throw new Error(`the agent ended with code ${code} before it ran:\n${agent.output}`);
      }),
    ]);
    return agent;
  }

  get output(): string {
    return this.#output;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Resolves when the output so far matches, from a place in it on. */
  said(pattern: RegExp, from = 0): Promise<void> {
    if (pattern.test(this.#output.slice(from))) return Promise.resolve();
    return new Promise((resolve) => this.#watchers.push({ pattern, from, resolve }));
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  ended(): Promise<{ code: number | null; signal: string | null }> {
    return this.#exit;
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exit;
  }

  consul(args: readonly string[], stdin?: string): Promise<Finished> {
    return run(consulPath, args, {
      ...(stdin === undefined ? {} : { stdin }),
      env: { CONSUL_HTTP_ADDR: `${this.address}:${this.ports.http}` },
    });
  }

  /** As {@link consul}, again until it succeeds: in a group with quick elections one may come between at any time. */
  insist(args: readonly string[]): Promise<Finished> {
    return insist(
      () => this.consul(args),
      ({ code }) => code === 0,
      ({ stdout, stderr }) => `${args.join(" ")}: ${stdout}${stderr}\n${this.#output.slice(-4000)}`,
    );
  }

  request(method: string, path: string, body?: string, headers: Record<string, string> = {}): Promise<Response> {
    return request(this.ports.http, method, path, body, headers, this.address);
  }

  async json(path: string): Promise<unknown> {
    const { status, body } = await this.request("GET", path);
    if (status !== 200) throw new Error(`${path}: ${status} ${body}`);
    return JSON.parse(body);
  }

  async dig(...args: readonly string[]): Promise<string> {
    return (await run("dig", [`@${this.address}`, "-p", String(this.ports.dns), ...digPatience, ...args])).stdout;
  }
}

export function request(
  port: number,
  method: string,
  path: string,
  body?: string,
  headers: Record<string, string> = {},
  host = "127.0.0.1",
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const sent = http.request(
      {
        host,
        port,
        method,
        path,
        headers: { ...headers, ...(body === undefined ? {} : { "content-length": Buffer.byteLength(body) }) },
        agent: false,
      },
      (answer) => {
        let text = "";
        answer.on("data", (chunk) => (text += chunk));
        answer.on("end", () => resolve({ status: answer.statusCode as number, headers: answer.headers, body: text }));
        answer.on("error", reject);
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

/** A folder that is removed when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "proconsul-"));
  process.once("exit", () => {
    try {
      // An agent that was just killed may still write.
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
    } catch (error) {
      console.log(`${folder} is left behind: ${error}`);
    }
  });
  return folder;
}
