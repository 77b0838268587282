/** Two datacenters as an operator runs them: started with -retry-join-wan and -join-wan, used from the command line, restarted, left. */
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { needsDig, RunningAgent, temporaryFolder } from "../support/program.ts";

const folder = temporaryFolder();
const patience = 20_000;
/** Gossip as quick as in one datacenter: what is watched here is whether it works, not how patient it is. */
const quick =
  '-hcl=performance { raft_multiplier = 1 leave_drain_time = "0s" } ' +
  'gossip_wan { gossip_interval = "100ms" probe_interval = "300ms" probe_timeout = "200ms" suspicion_mult = 3 }';

interface Place {
  readonly name: string;
  readonly datacenter: string;
  readonly address: string;
}

const a1: Place = { name: "a1", datacenter: "dc1", address: "127.0.63.1" };
const a2: Place = { name: "a2", datacenter: "dc1", address: "127.0.63.2" };
const a3: Place = { name: "a3", datacenter: "dc1", address: "127.0.63.3" };
const b1: Place = { name: "b1", datacenter: "dc2", address: "127.0.63.4" };

function start({ name, datacenter, address }: Place, ...flags: readonly string[]): Promise<RunningAgent> {
  const own = [`-node=${name}`, `-datacenter=${datacenter}`, `-data-dir=${join(folder, name)}`];
  return RunningAgent.start({ address, args: [...own, quick, ...flags], ready: /Consul agent running!/ });
}

/** Runs a command until it prints what is wanted. */
async function shows(agent: RunningAgent, args: readonly string[], wanted: RegExp): Promise<string> {
  const deadline = Date.now() + patience;
  for (;;) {
    const { stdout, stderr } = await agent.consul(args);
    if (wanted.test(stdout + stderr)) return stdout;
    assert.ok(Date.now() < deadline, `${args.join(" ")}: ${stdout}${stderr}\n${agent.output.slice(-4000)}`);
  }
}

describe("two datacenters", () => {
  let servers: { a1: RunningAgent; a2: RunningAgent; b1: RunningAgent };
  let client: RunningAgent;

  before(async () => {
    const [first, other] = await Promise.all([
      start(a1, "-server", "-bootstrap"),
      // Nobody answers there at first, perhaps: it tries again.
      start(b1, "-server", "-bootstrap", `-retry-join-wan=${a1.address}`, "-retry-interval-wan=1s"),
    ]);
    const second = await start(a2, "-server", `-join=${a1.address}`);
    servers = { a1: first, a2: second, b1: other };
    client = await start(a3, `-join=${a1.address}`);
  });
  after(async () => {
    for (const agent of [client, servers?.a1, servers?.a2, servers?.b1]) await agent?.stop();
  });

  it("are one pool of servers, the second server of the first brought along by its neighbour", async () => {
    for (const agent of Object.values(servers))
      await shows(agent, ["members", "-wan"], /^a1\.dc1 .*alive.*dc1[\s\S]*^a2\.dc1 .*alive.*dc1[\s\S]*^b1\.dc2 .*alive.*dc2/m);
    assert.equal((await servers.a2.consul(["catalog", "datacenters"])).stdout, "dc1\ndc2\n");
    assert.equal((await servers.b1.consul(["catalog", "datacenters"])).stdout, "dc2\ndc1\n");
  });

  it("hold their own keys, and read and write each other's through any agent, a client too", async () => {
    for (const agent of [servers.a1, servers.a2, client]) {
      await shows(agent, ["kv", "put", "-datacenter=dc2", "k", agent.address], /^Success!/);
      assert.equal((await servers.b1.consul(["kv", "get", "k"])).stdout, `${agent.address}\n`);
      assert.equal((await agent.consul(["kv", "get", "-datacenter=dc2", "k"])).stdout, `${agent.address}\n`);
      assert.match((await agent.consul(["kv", "get", "k"])).stderr, /No key exists at: k/);
    }
    const { stderr } = await client.consul(["kv", "get", "-datacenter=dc9", "k"]);
    assert.match(stderr, /Unexpected response code: 500/);
    assert.equal((await client.request("GET", "/v1/kv/k?dc=dc9")).body, "rpc error making call: No path to datacenter");
  });

  it("find each other's services by DNS, at a client too", needsDig, async () => {
    const service = JSON.stringify({ Name: "web", Port: 80 });
    assert.equal((await servers.b1.request("PUT", "/v1/agent/service/register", service)).status, 200);
    await shows(servers.a1, ["catalog", "services", "-datacenter=dc2"], /^web$/m);
    for (const agent of [servers.a1, servers.a2, client]) {
      assert.equal(await agent.dig("web.service.dc2.consul", "+short"), `${b1.address}\n`);
      assert.equal(await agent.dig("b1.node.dc2.consul", "+short"), `${b1.address}\n`);
      assert.match(await agent.dig("b1.node.dc9.consul"), /status: NXDOMAIN/);
    }
  });

  it("say so at once when the other one is gone, and go on", async () => {
    await servers.b1.stop();
    await shows(servers.a1, ["members", "-wan"], /^b1\.dc2 .*failed/m);
    const deadline = Date.now() + patience;
    let answer = "";
    while (answer !== "Remote DC has no server currently reachable") {
      assert.ok(Date.now() < deadline, answer);
      answer = (await servers.a1.request("GET", "/v1/kv/k?dc=dc2")).body;
    }
    assert.equal((await servers.a1.consul(["kv", "put", "local", "1"])).stdout, "Success! Data written to: local\n");
  });

  it("find each other again when it is back, though nothing tells it where to join", async () => {
    servers.b1 = await start(b1, "-server", "-bootstrap");
    await servers.b1.said(/Re-joined to previously known node/);
    for (const agent of Object.values(servers)) await shows(agent, ["members", "-wan"], /^b1\.dc2 .*alive/m);
    await shows(servers.a2, ["kv", "get", "-datacenter=dc2", "k"], new RegExp(`^${client.address}$`, "m"));
    await shows(servers.b1, ["kv", "get", "-datacenter=dc1", "local"], /^1$/m);
  });

  it("forget a server that failed when an operator names it, with its datacenter or without", async () => {
    await servers.a2.stop();
    await shows(servers.b1, ["members", "-wan"], /^a2\.dc1 .*failed/m);
    await shows(servers.a1, ["members"], /^a2 .*failed/m);
    assert.equal((await servers.a1.consul(["force-leave", "a2"])).code, 0);
    for (const agent of [servers.a1, servers.b1]) await shows(agent, ["members", "-wan"], /^a2\.dc1 .*left/m);
    await shows(servers.a1, ["members"], /^a2 .*left/m);
    assert.match((await servers.a1.consul(["force-leave", "nobody"])).stderr, /agent: No node found with name 'nobody'/);
    assert.equal((await servers.b1.consul(["force-leave", "-prune", "a2.dc1"])).code, 0);
    const deadline = Date.now() + patience;
    while (/^a2\.dc1/m.test((await servers.b1.consul(["members", "-wan"])).stdout)) assert.ok(Date.now() < deadline);
  });

  it("part when the last server of one leaves, which leaves both pools", async () => {
    assert.equal((await servers.b1.consul(["leave"])).stdout, "Graceful leave complete\n");
    await shows(servers.a1, ["members", "-wan"], /^b1\.dc2 .*left/m);
    assert.equal((await servers.a1.request("GET", "/v1/kv/k?dc=dc2")).body, "No path to datacenter");
    assert.equal((await servers.a1.consul(["catalog", "datacenters"])).stdout, "dc1\n");
  });
});

describe("-join-wan", () => {
  it("joins before the agent is ready, and ends it where nobody answers", async () => {
    const first = await start({ ...a1, name: "c1", address: "127.0.63.5" }, "-server", "-bootstrap");
    const second = await start({ ...b1, name: "c2", address: "127.0.63.6" }, "-server", "-bootstrap", "-join-wan=127.0.63.5");
    try {
      assert.match((await second.consul(["members", "-wan"])).stdout, /^c1\.dc1 .*alive/m);
      await assert.rejects(
        start({ ...b1, name: "c3", address: "127.0.63.7" }, "-server", "-bootstrap", "-join-wan=127.0.63.8"),
        /\(WAN\) couldn't join[\s\S]*Failed to join 127\.0\.63\.8/,
      );
    } finally {
      await first.stop();
      await second.stop();
    }
  });
});
