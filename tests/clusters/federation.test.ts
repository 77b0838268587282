/** Two datacenters as an operator runs them: started with -retry-join-wan and -join-wan, used from the command line, restarted, left. */
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { ownGround } from "../support/own-ground.ts";
import { insist } from "../support/patience.ts";
import { needsDig, RunningAgent, temporaryFolder } from "../support/program.ts";

const folder = temporaryFolder();
/** 127.N.63.x of this process, so that two runs do not meet. */
const network = `${(await ownGround()).network}.63`;
/** Gossip as quick as in one datacenter: what is watched here is whether it works, not how patient it is. */
const quick =
  '-hcl=performance { raft_multiplier = 1 leave_drain_time = "0s" } ' +
  'gossip_wan { gossip_interval = "100ms" probe_interval = "300ms" probe_timeout = "200ms" suspicion_mult = 3 }';

interface Place {
  readonly name: string;
  readonly datacenter: string;
  readonly address: string;
}

const a1: Place = { name: "a1", datacenter: "dc1", address: `${network}.1` };
const a2: Place = { name: "a2", datacenter: "dc1", address: `${network}.2` };
const a3: Place = { name: "a3", datacenter: "dc1", address: `${network}.3` };
const b1: Place = { name: "b1", datacenter: "dc2", address: `${network}.4` };

function start({ name, datacenter, address }: Place, ...flags: readonly string[]): Promise<RunningAgent> {
  const own = [`-node=${name}`, `-datacenter=${datacenter}`, `-data-dir=${join(folder, name)}`];
  return RunningAgent.start({ address, args: [...own, quick, ...flags], ready: /Consul agent running!/ });
}

/**
 * Runs a command until it prints what is wanted. Gossip as quick as this takes a server for failed that stood still for a
 * second, and then for alive again.
 */
async function shows(agent: RunningAgent, args: readonly string[], wanted: RegExp): Promise<string> {
  const { stdout } = await insist(
    () => agent.consul(args),
    (shown) => wanted.test(shown.stdout + shown.stderr),
    (shown) => `${args.join(" ")}: ${shown.stdout}${shown.stderr}\n${agent.output.slice(-4000)}`,
  );
  return stdout;
}

/** Asks until the body is as wanted. */
async function answers(agent: RunningAgent, path: string, wanted: string): Promise<void> {
  await insist(
    async () => (await agent.request("GET", path)).body,
    (body) => body === wanted,
  );
}

async function digs(agent: RunningAgent, name: string, wanted: RegExp): Promise<void> {
  await insist(
    () => agent.dig(name),
    (shown) => wanted.test(shown),
  );
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
    await shows(servers.a2, ["catalog", "datacenters"], /^dc1\ndc2\n$/);
    await shows(servers.b1, ["catalog", "datacenters"], /^dc2\ndc1\n$/);
  });

  it("hold their own keys, and read and write each other's through any agent, a client too", async () => {
    for (const agent of [servers.a1, servers.a2, client]) {
      await shows(agent, ["kv", "put", "-datacenter=dc2", "k", agent.address], /^Success!/);
      assert.equal((await servers.b1.insist(["kv", "get", "k"])).stdout, `${agent.address}\n`);
      assert.equal((await agent.insist(["kv", "get", "-datacenter=dc2", "k"])).stdout, `${agent.address}\n`);
      await shows(agent, ["kv", "get", "k"], /No key exists at: k/);
    }
    const { stderr } = await client.consul(["kv", "get", "-datacenter=dc9", "k"]);
    assert.match(stderr, /Unexpected response code: 500/);
    await answers(client, "/v1/kv/k?dc=dc9", "rpc error making call: No path to datacenter");
  });

  it("find each other's services by DNS, at a client too", needsDig, async () => {
    const service = JSON.stringify({ Name: "web", Port: 80 });
    assert.equal((await servers.b1.request("PUT", "/v1/agent/service/register", service)).status, 200);
    await shows(servers.a1, ["catalog", "services", "-datacenter=dc2"], /^web$/m);
    for (const agent of [servers.a1, servers.a2, client]) {
      await digs(agent, "web.service.dc2.consul", new RegExp(`^web\\.service\\.dc2\\.consul\\.\\s.*\\s${b1.address}$`, "m"));
      await digs(agent, "b1.node.dc2.consul", new RegExp(`^b1\\.node\\.dc2\\.consul\\.\\s.*\\s${b1.address}$`, "m"));
      await digs(agent, "b1.node.dc9.consul", /status: NXDOMAIN/);
    }
  });

  it("say so at once when the other one is gone, and go on", async () => {
    await servers.b1.stop();
    await shows(servers.a1, ["members", "-wan"], /^b1\.dc2 .*failed/m);
    await answers(servers.a1, "/v1/kv/k?dc=dc2", "Remote DC has no server currently reachable");
    assert.equal((await servers.a1.insist(["kv", "put", "local", "1"])).stdout, "Success! Data written to: local\n");
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
    await shows(servers.b1, ["members", "-wan"], /^(?![\s\S]*^a2\.dc1)Node /m);
  });

  it("part when the last server of one leaves, which leaves both pools", async () => {
    assert.equal((await servers.b1.consul(["leave"])).stdout, "Graceful leave complete\n");
    await shows(servers.a1, ["members", "-wan"], /^b1\.dc2 .*left/m);
    await answers(servers.a1, "/v1/kv/k?dc=dc2", "No path to datacenter");
    await shows(servers.a1, ["catalog", "datacenters"], /^dc1\n$/);
  });
});

describe("-join-wan", () => {
  it("joins before the agent is ready, and ends it where nobody answers", async () => {
    const first = await start({ ...a1, name: "c1", address: `${network}.5` }, "-server", "-bootstrap");
    const second = await start({ ...b1, name: "c2", address: `${network}.6` }, "-server", "-bootstrap", `-join-wan=${network}.5`);
    try {
      await shows(second, ["members", "-wan"], /^c1\.dc1 .*alive/m);
      await assert.rejects(
        start({ ...b1, name: "c3", address: `${network}.7` }, "-server", "-bootstrap", `-join-wan=${network}.8`),
        /\(WAN\) couldn't join[\s\S]*Failed to join 127\.\d+\.63\.8/,
      );
    } finally {
      await first.stop();
      await second.stop();
    }
  });
});
