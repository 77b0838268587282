/**
 * Writes to a cluster of three servers on this machine: requests per second, half-way and slowest latencies, and processor
 * time per write, through the leader and through a follower. Real Consul takes its turn in the same run where it is
 * installed (scripts/peers), since only figures of one machine at one time can be compared.
 *
 *   this process: 64 connections, one request after the other on each ──► 3 servers, one process each ──► a disk each
 *
 * Run: bun tests/bench/cluster.ts [--runtimes node,bun] [--seconds 5] [--rounds 3] [--connections 64],
 * or deno run -A …, or node (22.18 and later) …; with Node 20 bundle it first, as raft.ts says. From the repository's root.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findPeer } from "../support/peer.ts";

const option = (name: string, otherwise: string): string => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : (process.argv[at + 1] ?? otherwise);
};
const seconds = Number(option("seconds", "5"));
const rounds = Number(option("rounds", "3"));
const connections = Number(option("connections", "64"));
/** Not measured: engines compile what they run often. */
const warmUpSeconds = 2;
const keys = 10_000;
const startMax = 60_000;

interface Subject {
  readonly name: string;
  readonly command: string;
  readonly environment: Readonly<Record<string, string>>;
}

interface Server {
  readonly name: string;
  readonly bind: string;
  readonly http: number;
  readonly rpc: number;
  readonly gossip: number;
  readonly child: ChildProcess;
}

interface Figures {
  readonly perSecond: number;
  readonly halfway: number;
  readonly slowest: number;
  readonly failed: number;
  /** Microseconds per write, of all three servers. */
  readonly processor: number | undefined;
}

const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));
let portNext = 15_000 + (process.pid % 400) * 30;

function start(subject: Subject, folder: string, number: number, join0: readonly string[]): Server {
  const [http, dns, rpc, gossip, wan] = Array.from({ length: 5 }, () => portNext++) as [number, number, number, number, number];
  const bind = `127.0.0.${20 + number}`;
  const name = `server-${number}`;
  const home = join(folder, name);
  mkdirSync(home);
  const configuration = {
    server: true,
    bootstrap_expect: 3,
    node_name: name,
    bind_addr: bind,
    client_addr: "127.0.0.1",
    data_dir: join(home, "data"),
    retry_join: join0,
    retry_interval: "1s",
    log_level: "error",
    disable_update_check: true,
    performance: { raft_multiplier: 1 },
    connect: { enabled: false },
    ports: { http, dns, server: rpc, serf_lan: gossip, serf_wan: wan, grpc: -1 },
  };
  const file = join(home, "agent.json");
  writeFileSync(file, JSON.stringify(configuration));
  const child = spawn(subject.command, ["agent", "-config-file", file], {
    stdio: "ignore",
    detached: true,
    env: { ...process.env, ...subject.environment },
  });
  return { name, bind, http, rpc, gossip, child };
}

async function ask(port: number, method: string, path: string, body?: string): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    ...(body === undefined ? {} : { body }),
    signal: AbortSignal.timeout(5000),
  });
  return answer.text();
}

/** The leader and a follower, once writes are accepted. */
async function leaderOf(servers: readonly Server[]): Promise<readonly [leader: Server, follower: Server]> {
  const end = performance.now() + startMax;
  while (performance.now() < end) {
    try {
      for (const server of servers) if ((await ask(server.http, "PUT", "/v1/kv/ready", "x")).trim() !== "true") throw new Error();
      const address = JSON.parse(await ask((servers[0] as Server).http, "GET", "/v1/status/leader")) as string;
      const leader = servers.find(({ bind, rpc }) => address === `${bind}:${rpc}`);
      const follower = servers.find((server) => server !== leader);
      if (leader !== undefined && follower !== undefined) return [leader, follower];
    } catch {
      // Not yet.
    }
    await pause(100);
  }
  throw new Error("the servers found no leader");
}

/** One request after the other on one connection, until `end`. */
function client(port: number, number: number, end: () => number, took: (millis: number, ok: boolean) => void): Promise<void> {
  return new Promise((resolve) => {
    const socket: Socket = connect({ host: "127.0.0.1", port, noDelay: true });
    let count = number;
    let began = 0;
    let received = "";
    const next = (): void => {
      if (performance.now() >= end()) {
        socket.destroy();
        resolve();
        return;
      }
      count += connections;
      began = performance.now();
      const value = `value-${count}`;
      socket.write(`PUT /v1/kv/bench/${count % keys} HTTP/1.1\r\nHost: bench\r\nContent-Length: ${value.length}\r\n\r\n${value}`);
    };
    socket.setEncoding("latin1");
    socket.on("connect", next);
    socket.on("data", (chunk) => {
      received += chunk;
      const head = received.indexOf("\r\n\r\n");
      if (head < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(received.slice(0, head))?.[1] ?? Number.NaN);
      if (received.length < head + 4 + length) return;
      took(performance.now() - began, received.startsWith("HTTP/1.1 200"));
      received = "";
      next();
    });
    socket.on("error", () => took(0, false));
    socket.on("close", () => resolve());
  });
}

/** Seconds of processor time that the servers have used, with what they started; undefined where the system does not tell. */
function processorSeconds(servers: readonly Server[]): number | undefined {
  try {
    let ticks = 0;
    for (const { child } of servers) {
      const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      ticks += Number(fields[11]) + Number(fields[12]);
    }
    return ticks / 100;
  } catch {
    return undefined;
  }
}

async function load(port: number, servers: readonly Server[]): Promise<Figures> {
  const latencies: number[] = [];
  let failed = 0;
  let measuring = false;
  const measureFrom = performance.now() + warmUpSeconds * 1000;
  const end = measureFrom + seconds * 1000;
  const clients = Array.from({ length: connections }, (_, number) =>
    client(
      port,
      number,
      () => end,
      (millis, ok) => {
        if (!measuring) return;
        if (ok) latencies.push(millis);
        else failed++;
      },
    ),
  );
  await pause(warmUpSeconds * 1000);
  const used = processorSeconds(servers);
  measuring = true;
  const began = performance.now();
  await Promise.all(clients);
  const lasted = (performance.now() - began) / 1000;
  const usedNow = processorSeconds(servers);
  latencies.sort((left, right) => left - right);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? Number.NaN;
  const processor = used === undefined || usedNow === undefined ? undefined : ((usedNow - used) / latencies.length) * 1e6;
  return { perSecond: latencies.length / lasted, halfway: at(0.5), slowest: at(0.99), failed, processor };
}

async function measure(subject: Subject): Promise<{ readonly leader: Figures; readonly follower: Figures }> {
  const folder = mkdtempSync(join(tmpdir(), "proconsul-bench-"));
  const servers: Server[] = [];
  try {
    servers.push(start(subject, folder, 0, []));
    const { bind, gossip } = servers[0] as Server;
    for (const number of [1, 2]) servers.push(start(subject, folder, number, [`${bind}:${gossip}`]));
    const [leader, follower] = await leaderOf(servers);
    return { leader: await load(leader.http, servers), follower: await load(follower.http, servers) };
  } finally {
    for (const { child } of servers) {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      try {
        process.kill(-(child.pid as number), "SIGKILL");
        await gone;
      } catch {
        // It has ended already.
      }
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

const subjects: Subject[] = option("runtimes", "node,bun")
  .split(",")
  .map((runtime) => ({ name: runtime, command: option("command", "scripts/consul"), environment: { CONSUL_RUNTIME: runtime } }));
const peer = findPeer("consul");
if ("path" in peer) subjects.push({ name: "Consul", command: peer.path, environment: {} });
else console.log(`not compared: ${peer.missing}`);

const median = (values: readonly number[]): number =>
  [...values].sort((left, right) => left - right)[(values.length - 1) >> 1] ?? Number.NaN;
const measured = new Map<string, { readonly leader: Figures; readonly follower: Figures }[]>();
for (let round = 0; round < rounds; round++) {
  for (const subject of subjects) measured.set(subject.name, [...(measured.get(subject.name) ?? []), await measure(subject)]);
}

for (const through of ["leader", "follower"] as const) {
  console.log(`\nwrites through the ${through}, ${connections} connections, median of ${rounds} rounds`);
  const of = (name: string, figure: keyof Figures): number =>
    median((measured.get(name) ?? []).map((figures) => figures[through][figure] ?? Number.NaN));
  for (const { name } of subjects) {
    const ratio =
      name === "Consul" || !("path" in peer)
        ? ""
        : `   against Consul: ${(of(name, "perSecond") / of("Consul", "perSecond")).toFixed(2)} × writes, ${(of("Consul", "slowest") / of(name, "slowest")).toFixed(2)} × p99, ${(of("Consul", "processor") / of(name, "processor")).toFixed(2)} × processor`;
    console.log(
      `${name.padEnd(8)} ${of(name, "perSecond").toFixed(0).padStart(6)} /s   p50 ${of(name, "halfway").toFixed(1).padStart(6)} ms   p99 ${of(name, "slowest").toFixed(1).padStart(6)} ms   ${of(name, "processor").toFixed(0).padStart(4)} µs of processor   ${of(name, "failed")} failed${ratio}`,
    );
  }
}
