/** Several servers as an operator runs them: they form a group, lose members, take them back, and forget nothing they acknowledged. */
import { after, before } from "node:test";
import { join } from "node:path";
import { assert, describe, it } from "../support/harness.ts";
import { freePorts, type Ports, type Response, RunningAgent, request, temporaryFolder } from "../support/program.ts";

interface Server {
  readonly name: string;
  readonly ports: Ports;
  agent: RunningAgent;
}

const folder = temporaryFolder();
const running = /Consul agent running!/;
/** For what the group does by itself: elections, gossip, an operator's patience. */
const patience = 15_000;

async function portsFor(count: number): Promise<Ports[]> {
  const free = await freePorts(5 * count);
  return Array.from({ length: count }, (_, at) => {
    const [http, dns, server, serfLan, serfWan] = free.slice(5 * at) as [number, number, number, number, number];
    return { http, dns, server, serfLan, serfWan };
  });
}

function start(name: string, ports: Ports, extra: readonly string[] = []): Promise<RunningAgent> {
  const own = ["-server", "-bind=127.0.0.1", `-node=${name}`, `-data-dir=${join(folder, name)}`];
  // Short timeouts: what is measured here is whether it works, not how patient it is.
  const hcl = 'performance { raft_multiplier = 1 } autopilot { server_stabilization_time = "1s" cleanup_dead_servers = false }';
  return RunningAgent.start({ args: [...own, `-hcl=${hcl}`, ...extra], ports, ready: running });
}

/** Asks with blocking queries until the answer satisfies; one question is out at a time. */
async function until<Body>(port: number, path: string, holds: (body: Body) => boolean): Promise<Body> {
  const deadline = Date.now() + patience;
  let index = "0";
  for (;;) {
    const separator = path.includes("?") ? "&" : "?";
    const answer = await request(port, "GET", `${path}${separator}index=${index}&wait=1s`);
    if (answer.status === 200) {
      const body = JSON.parse(answer.body) as Body;
      if (holds(body)) return body;
    }
    assert.ok(Date.now() < deadline, `${path}: ${answer.status} ${answer.body}`);
    index = String(answer.headers["x-consul-index"] ?? "0");
  }
}

/** Until the write is acknowledged. Which failures it may meet on the way is checked. */
async function write(port: number, key: string, value: string): Promise<void> {
  const deadline = Date.now() + patience;
  for (;;) {
    const answer = await request(port, "PUT", `/v1/kv/${key}`, value);
    if (answer.status === 200 && answer.body.trim() === "true") return;
    assert.equal(answer.status, 500, answer.body);
    assert.ok(Date.now() < deadline, answer.body);
  }
}

const statusOf = (checks: readonly { CheckID: string; Status: string }[]): string | undefined =>
  checks.find(({ CheckID }) => CheckID === "serfHealth")?.Status;

describe("three servers with -bootstrap-expect=3", () => {
  const servers: Server[] = [];
  let spare: Ports;
  let extra: RunningAgent | undefined;
  const joinFirst = (): string[] => [`-retry-join=127.0.0.1:${(servers[0] as Server).ports.serfLan}`];
  const byAddress = (address: string): Server => {
    const server = servers.find(({ ports }) => address === `127.0.0.1:${ports.server}`);
    assert.ok(server !== undefined, `${address} is one of ours`);
    return server;
  };
  const leader = async (): Promise<Server> => {
    const [first] = servers;
    const known = JSON.parse((await request((first as Server).ports.http, "GET", "/v1/status/leader")).body) as string;
    return byAddress(known);
  };

  before(async () => {
    const ports = await portsFor(4);
    spare = ports.pop() as Ports;
    const first = ports[0] as Ports;
    const agents = await Promise.all(
      ports.map((own, at) => start(`s${at}`, own, ["-bootstrap-expect=3", `-retry-join=127.0.0.1:${first.serfLan}`])),
    );
    for (const [at, agent] of agents.entries()) servers.push({ name: `s${at}`, ports: ports[at] as Ports, agent });
    await Promise.all(servers.map(({ ports, name }) => write(ports.http, `ready/${name}`, "yes")));
  });
  after(async () => {
    await Promise.all([...servers.map(({ agent }) => agent.stop()), extra?.stop()]);
  });

  it("form one group, of which every server says the same", async () => {
    const answers = await Promise.all(
      servers.map(async ({ agent }) => [await agent.json("/v1/status/leader"), await agent.json("/v1/status/peers")]),
    );
    for (const answer of answers) assert.deepEqual(answer, answers[0]);
    assert.deepEqual(
      [...((answers[0] as readonly unknown[])[1] as string[])].sort(),
      servers.map(({ ports }) => `127.0.0.1:${ports.server}`).sort(),
    );
    const { stdout } = await (servers[1] as Server).agent.consul(["operator", "raft", "list-peers"]);
    assert.equal(stdout.match(/follower {2}true/g)?.length, 2);
    assert.equal(stdout.match(/leader {4}true/g)?.length, 1);
  });

  it("take a write at any of them, and show it at once at every other", async () => {
    for (const { ports, name } of servers) {
      await write(ports.http, "round", name);
      for (const other of servers)
        for (const mode of ["", "&consistent"]) {
          const answer = await request(other.ports.http, "GET", `/v1/kv/round?raw${mode}`);
          assert.deepEqual([answer.body, answer.headers["x-consul-knownleader"]], [name, "true"]);
        }
    }
  });

  it("have every server in the catalog, healthy, with the service consul", async () => {
    const entries = await until<{ Node: { Node: string } }[]>(
      (servers[2] as Server).ports.http,
      "/v1/health/service/consul?passing",
      (found) => found.length === 3,
    );
    assert.deepEqual(entries.map(({ Node }) => Node.Node).sort(), ["s0", "s1", "s2"]);
  });

  it("wake a blocking query at a follower, and renew a session there", async () => {
    const leading = await leader();
    const follower = servers.find((server) => server !== leading) as Server;
    const before = await request(follower.ports.http, "GET", "/v1/kv/round");
    const waiting: Promise<Response> = request(
      follower.ports.http,
      "GET",
      `/v1/kv/round?raw&wait=10s&index=${before.headers["x-consul-index"]}`,
    );
    await write(leading.ports.http, "round", "woken");
    assert.equal((await waiting).body, "woken");

    const made = await follower.agent.request("PUT", "/v1/session/create", JSON.stringify({ TTL: "10s", Node: follower.name }));
    assert.equal(made.status, 200, made.body);
    const { ID } = JSON.parse(made.body) as { ID: string };
    assert.equal((await follower.agent.request("PUT", `/v1/session/renew/${ID}`)).status, 200);
    assert.equal((await follower.agent.request("PUT", `/v1/session/renew/${nobody}`)).status, 404);
  });

  it("register a follower's own service in the catalog", async () => {
    const leading = await leader();
    const follower = servers.find((server) => server !== leading) as Server;
    await follower.agent.request("PUT", "/v1/agent/service/register", JSON.stringify({ Name: "web", Port: 80 }));
    const found = await until<{ Node: string }[]>(leading.ports.http, "/v1/catalog/service/web", ({ length }) => length === 1);
    assert.equal(found[0]?.Node, follower.name);
  });

  it("go on without the leader after kill -9, lose nothing acknowledged, and show it as critical", async () => {
    const killed = await leader();
    const survivors = servers.filter((server) => server !== killed);
    const acknowledged: string[] = [];
    let stop = false;
    const writer = (async () => {
      for (let at = 0; !stop; at++) {
        const key = `kept/${at}`;
        const answer = await request((survivors[0] as Server).ports.http, "PUT", `/v1/kv/${key}`, "x");
        if (answer.status === 200 && answer.body.trim() === "true") acknowledged.push(key);
      }
    })();
    while (acknowledged.length < 50) await write((survivors[1] as Server).ports.http, "beside", "x");
    killed.agent.signal("SIGKILL");
    await killed.agent.ended();
    await write((survivors[1] as Server).ports.http, "after", "x");
    stop = true;
    await writer;

    for (const { ports } of survivors) {
      const kept = new Set(JSON.parse((await request(ports.http, "GET", "/v1/kv/kept/?keys")).body) as string[]);
      assert.deepEqual(
        acknowledged.filter((key) => !kept.has(key)),
        [],
      );
    }
    const [survivor] = survivors as [Server, Server];
    await until<{ CheckID: string; Status: string }[]>(
      survivor.ports.http,
      `/v1/health/node/${killed.name}`,
      (checks) => statusOf(checks) === "critical",
    );

    killed.agent = await start(killed.name, killed.ports, ["-bootstrap-expect=3"]);
    assert.match(killed.agent.output, /Raft data found, disabling bootstrap mode/);
    await until<{ CheckID: string; Status: string }[]>(
      survivor.ports.http,
      `/v1/health/node/${killed.name}`,
      (checks) => statusOf(checks) === "passing",
    );
    const kept = new Set(JSON.parse((await request(killed.ports.http, "GET", "/v1/kv/kept/?keys")).body) as string[]);
    for (const key of acknowledged) assert.ok(kept.has(key), key);
  });

  it("take back a follower that was stopped, with its data and its place", async () => {
    const leading = await leader();
    const follower = servers.find((server) => server !== leading) as Server;
    follower.agent.signal("SIGTERM");
    await follower.agent.ended();
    await write(leading.ports.http, "meanwhile", "written");
    follower.agent = await start(follower.name, follower.ports);
    assert.equal((await request(follower.ports.http, "GET", "/v1/kv/meanwhile?raw")).body, "written");
    assert.equal(((await follower.agent.json("/v1/status/peers")) as string[]).length, 3);
  });

  it("let a fourth join, learn and then vote, and let it leave again", async () => {
    extra = await start("s3", spare, joinFirst());
    const peers = (): Promise<{ Servers: { Node: string; Voter: boolean }[] }> =>
      (servers[0] as Server).agent.json("/v1/operator/raft/configuration") as never;
    await extra.said(/Join cluster completed/);
    const deadline = Date.now() + patience;
    while (!(await peers()).Servers.some(({ Node, Voter }) => Node === "s3" && Voter)) {
      await request(spare.http, "GET", "/v1/kv/none?index=1&wait=100ms");
      assert.ok(Date.now() < deadline, JSON.stringify(await peers()));
    }
    await write(spare.http, "from/s3", "x");
    assert.equal((await request((servers[1] as Server).ports.http, "GET", "/v1/kv/from/s3?raw")).body, "x");

    const left = await extra.consul(["leave"]);
    assert.equal(left.stdout, "Graceful leave complete\n");
    assert.deepEqual(await extra.ended(), { code: 0, signal: null });
    assert.deepEqual((await peers()).Servers.map(({ Node }) => Node).sort(), ["s0", "s1", "s2"]);
    assert.equal((await request((servers[1] as Server).ports.http, "GET", "/v1/catalog/node/s3")).body.trim(), "null");
  });

  it("refuse an agent of another datacenter, and one with a member's ID", async () => {
    const [first] = servers as [Server];
    const { Config } = (await first.agent.json("/v1/agent/self")) as { Config: { NodeID: string } };
    const [ports] = (await portsFor(1)) as [Ports];
    const join = ["-bootstrap", `-join=127.0.0.1:${first.ports.serfLan}`];
    await assert.rejects(start("far", ports, [...join, "-datacenter=dc2"]), /part of wrong datacenter 'dc/);
    await assert.rejects(start("twin", ports, [...join, `-node-id=${Config.NodeID}`]), /conflicting node ID/);
  });

  it("do not take in a server that has a group of its own, whose data they would overwrite", async () => {
    const [first] = servers as [Server];
    const [ports] = (await portsFor(1)) as [Ports];
    const lone = await start("lone", ports, ["-bootstrap"]);
    await write(ports.http, "its/own", "x");
    const leading = await leader();
    assert.equal((await lone.consul(["join", `127.0.0.1:${first.ports.serfLan}`])).code, 0);
    await leading.agent.said(/not adding Raft peer: its data belongs to another group/);
    assert.equal(((await leading.agent.json("/v1/status/peers")) as string[]).length, 3);
    assert.equal((await request(ports.http, "GET", "/v1/kv/its/own?raw")).body, "x");
    await lone.stop();
  });
});

const nobody = "00000000-0000-0000-0000-000000000000";
