/** Two datacenters, one of ours and one of real Consul servers: joined from either side, each asked for the other's. */
import { join } from "node:path";
import { after, before } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { assert, describe, it } from "../support/harness.ts";
import { ownGround } from "../support/own-ground.ts";
import { insist, patience } from "../support/patience.ts";
import { needsDig, type Response, run, RunningAgent, temporaryFolder } from "../support/program.ts";
import { until } from "../support/until.ts";
import { eventually, findPeer } from "./peers.ts";

/** Of this process alone. */
const { network } = await ownGround();

const found = findPeer("consul");
const consul = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

interface Datacenter {
  readonly agent: RunningAgent;
  readonly name: string;
  readonly server: string;
}

async function startDatacenter(kind: "ours" | "real", network: string): Promise<Datacenter> {
  const real = kind === "real";
  const server = real ? "b1" : "a1";
  const name = real ? "dc2" : "dc1";
  const agent = await RunningAgent.start({
    ...(real ? { command: consul } : {}),
    address: `${network}.${real ? 2 : 1}`,
    // Without -dev nothing is pretty-printed; elections are as quick as there, and gossip nearly so.
    args: [
      "-server",
      "-bootstrap",
      `-node=${server}`,
      `-datacenter=${name}`,
      `-data-dir=${join(temporaryFolder(), "d")}`,
      '-hcl=performance { raft_multiplier = 1 } gossip_wan { gossip_interval = "100ms" probe_interval = "1s" probe_timeout = "500ms" }',
    ],
    ready: /New leader elected/,
  });
  await until<{ CheckID: string }[]>(agent, `/v1/health/node/${server}`, (checks) =>
    checks.some(({ CheckID }) => CheckID === "serfHealth"),
  );
  return { agent, name, server };
}

/** The real program's output, asked of whichever agent. */
async function cli(agent: RunningAgent, ...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run(consul, args, { env: { CONSUL_HTTP_ADDR: `${agent.address}:8500` } });
  return stdout + stderr;
}

async function body(response: Promise<Response>): Promise<string> {
  return (await response).body.trim();
}

/** What it logged, apart from the requests it answered. */
function log({ output }: RunningAgent): string {
  const lines = output.split("\n").filter((line) => !line.includes(" agent.http: "));
  return lines.slice(-40).join("\n");
}

/** Waits until a command prints what is wanted. */
async function shows(agent: RunningAgent, args: readonly string[], wanted: RegExp): Promise<void> {
  let shown = "";
  await eventually(
    `${args.join(" ")} shows ${wanted}`,
    async () => {
      shown = await cli(agent, ...args);
      return wanted.test(shown);
    },
    () => `${shown}\n${log(agent)}`,
  );
}

const bothAlive = /^a1\.dc1 .* alive .* dc1 [\s\S]*^b1\.dc2 .* alive .* dc2 /m;

describe("a datacenter of ours and one of real Consul servers", { skip }, () => {
  let ours: Datacenter;
  let real: Datacenter;
  /** Each is asked for the other's. */
  const directions = (): readonly (readonly [from: Datacenter, to: Datacenter])[] => [
    [ours, real],
    [real, ours],
  ];

  before(async () => {
    [ours, real] = await Promise.all([startDatacenter("ours", `${network}.61`), startDatacenter("real", `${network}.61`)]);
    assert.equal(
      await cli(ours.agent, "join", "-wan", real.agent.address),
      "Successfully joined cluster by contacting 1 nodes.\n",
    );
    for (const { agent } of [ours, real]) await shows(agent, ["members", "-wan"], bothAlive);
  });
  after(async () => {
    await real?.agent.stop();
    await ours?.agent.stop();
  });

  it("list each other, themselves first", async () => {
    for (const [{ agent, name }, other] of directions()) {
      assert.equal(await cli(agent, "catalog", "datacenters"), `${name}\n${other.name}\n`);
      assert.match((await agent.consul(["members", "-wan"])).stdout, bothAlive);
    }
  });

  it("know where each other's servers are", async () => {
    for (const { agent } of [ours, real]) {
      await shows(
        agent,
        ["rtt", "-wan", "a1.dc1", "b1.dc2"],
        /^Estimated a1\.dc1 <-> b1\.dc2 rtt: .* ms \(using WAN coordinates\)$/m,
      );
      const maps = (await agent.json("/v1/coordinate/datacenters")) as {
        Datacenter: string;
        AreaID: string;
        Coordinates: { Node: string }[];
      }[];
      assert.deepEqual(
        maps.map(({ Datacenter, AreaID, Coordinates }) => [Datacenter, AreaID, ...Coordinates.map(({ Node }) => Node)]).sort(),
        [
          ["dc1", "wan", "a1"],
          ["dc2", "wan", "b1"],
        ],
      );
    }
  });

  it("write and read each other's keys", async () => {
    for (const [{ agent }, to] of directions()) {
      assert.equal(await body(agent.request("GET", `/v1/kv/none?dc=${to.name}`)), "");
      assert.equal(
        await cli(agent, "kv", "put", `-datacenter=${to.name}`, "a/b", `for ${to.name}`),
        "Success! Data written to: a/b\n",
      );
      assert.equal(await cli(agent, "kv", "get", `-datacenter=${to.name}`, "a/b"), `for ${to.name}\n`);
      assert.equal(await body(to.agent.request("GET", "/v1/kv/a/b?raw")), `for ${to.name}`);
      assert.deepEqual(JSON.parse(await body(agent.request("GET", `/v1/kv/a/?keys&dc=${to.name}`))), ["a/b"]);
    }
    for (const [{ agent }, to] of directions()) {
      assert.equal(await body(agent.request("DELETE", `/v1/kv/a/b?dc=${to.name}`)), "true");
      assert.equal((await to.agent.request("GET", "/v1/kv/a/b")).status, 404);
    }
  });

  it("wake blocking queries across", async () => {
    for (const [{ agent }, to] of directions()) {
      await to.agent.request("PUT", "/v1/kv/wake", "1");
      const first = await agent.request("GET", `/v1/kv/wake?dc=${to.name}`);
      const began = performance.now();
      const waiting = agent.request("GET", `/v1/kv/wake?dc=${to.name}&index=${first.headers["x-consul-index"]}&wait=10m`);
      await to.agent.request("PUT", "/v1/kv/wake", "2");
      assert.equal(JSON.parse((await waiting).body)[0].Value, "Mg==");
      assert.ok(performance.now() - began < patience);
    }
  });

  it("lock and run transactions across", async () => {
    for (const [{ agent }, to] of directions()) {
      const where = `dc=${to.name}`;
      const create = JSON.stringify({ Node: to.server, LockDelay: "0s", TTL: "60s" });
      const { ID: held } = JSON.parse(await body(agent.request("PUT", `/v1/session/create?${where}`, create)));
      const { ID: other } = JSON.parse(await body(to.agent.request("PUT", "/v1/session/create", create)));
      assert.equal(await body(agent.request("PUT", `/v1/kv/lead?acquire=${held}&${where}`, "x")), "true");
      assert.equal(await body(to.agent.request("PUT", `/v1/kv/lead?acquire=${other}`, "y")), "false");
      assert.equal(JSON.parse(await body(agent.request("PUT", `/v1/session/renew/${held}?${where}`)))[0].ID, held);
      assert.equal(await body(agent.request("PUT", `/v1/session/destroy/${held}?${where}`)), "true");
      assert.equal(await body(to.agent.request("PUT", `/v1/kv/lead?acquire=${other}`, "y")), "true");
      const ops = JSON.stringify([{ KV: { Verb: "set", Key: "t", Value: "dA==" } }, { KV: { Verb: "get", Key: "t" } }]);
      const { Results, Errors } = JSON.parse(await body(agent.request("PUT", `/v1/txn?${where}`, ops)));
      assert.equal(Errors, null);
      assert.equal(Results[1].KV.Value, "dA==");
    }
  });

  it("find each other's services, over HTTP and DNS", needsDig, async () => {
    for (const [{ agent }, to] of directions()) {
      const service = { Name: "web", Port: 80, Tags: ["v1"], Check: { TTL: "1h", Status: "passing" } };
      assert.equal((await to.agent.request("PUT", "/v1/agent/service/register", JSON.stringify(service))).status, 200);
      await eventually(
        "the service is found",
        async () => JSON.parse(await body(agent.request("GET", `/v1/health/service/web?passing&dc=${to.name}`))).length === 1,
        () => log(agent),
      );
      assert.equal(await agent.dig(`${to.server}.node.${to.name}.consul`, "+short"), `${to.agent.address}\n`);
      assert.equal(
        await agent.dig(`v1.web.service.${to.name}.consul`, "SRV", "+short"),
        `1 1 80 ${to.server}.node.${to.name}.consul.\n`,
      );
      assert.match(await agent.dig(`${to.server}.node.dc9.consul`), /status: NXDOMAIN/);
      assert.match(
        await cli(agent, "catalog", "nodes", `-datacenter=${to.name}`),
        new RegExp(`^${to.server} .* ${to.name}$`, "m"),
      );
    }
  });

  it("register nodes in each other's catalog", async () => {
    for (const [{ agent }, to] of directions()) {
      const node = JSON.stringify({ Datacenter: to.name, Node: "outside", Address: "192.0.2.9" });
      assert.equal(await body(agent.request("PUT", "/v1/catalog/register", node)), "true");
      const [seen] = JSON.parse(await body(to.agent.request("GET", "/v1/catalog/nodes?filter=Node==outside")));
      assert.deepEqual([seen.Node, seen.Address, seen.Datacenter], ["outside", "192.0.2.9", to.name]);
    }
  });

  it("show each other's catalog as it shows itself, to the byte", async () => {
    for (const [{ agent }, to] of directions()) {
      const { server } = to;
      for (const path of [
        "/v1/catalog/nodes",
        `/v1/catalog/nodes?near=${server}`,
        "/v1/catalog/nodes?filter=Node==outside",
        "/v1/catalog/services",
        "/v1/catalog/service/web",
        "/v1/catalog/service/web?tag=v1",
        "/v1/catalog/service/consul",
        "/v1/catalog/node/outside",
        `/v1/catalog/node/${server}`,
        `/v1/catalog/node-services/${server}`,
        "/v1/health/service/web",
        "/v1/health/service/web?passing&stale",
        "/v1/health/service/consul?consistent",
        `/v1/health/node/${server}`,
        "/v1/health/checks/web",
        "/v1/health/state/any",
        "/v1/kv/?recurse",
        "/v1/kv/?keys",
        "/v1/session/list",
        `/v1/session/node/${server}`,
        "/v1/internal/ui/nodes",
        "/v1/internal/ui/services",
        `/v1/internal/ui/node/${server}`,
        "/v1/operator/raft/configuration",
        "/v1/operator/autopilot/configuration",
        "/v1/status/leader",
        "/v1/status/peers",
      ]) {
        const shown = ({ status, headers, body }: Response) => [path, status, body.trim(), headers["x-consul-index"]];
        // Between the two questions the catalog may have changed, as while its server comes to rest.
        await insist(
          () =>
            Promise.all([
              agent.request("GET", `${path}${path.includes("?") ? "&" : "?"}dc=${to.name}`).then(shown),
              to.agent.request("GET", path).then(shown),
            ]),
          ([across, there]) => isDeepStrictEqual(across, there),
        );
      }
    }
  });

  it("say who leads each other, and fire events there", async () => {
    for (const [{ agent }, to] of directions()) {
      const address = `${to.agent.address}:8300`;
      assert.equal(await agent.json(`/v1/status/leader?dc=${to.name}`), address);
      assert.deepEqual(await agent.json(`/v1/status/peers?dc=${to.name}`), [address]);
      assert.match(
        await cli(agent, "operator", "raft", "list-peers", `-datacenter=${to.name}`),
        new RegExp(`^${to.server} .* ${address} +leader +true +3$`, "m"),
      );
      assert.equal((await agent.request("PUT", `/v1/event/fire/hello?dc=${to.name}`)).status, 200);
      await eventually(
        "the event is there",
        async () => /"hello"/.test(await body(to.agent.request("GET", "/v1/event/list"))),
        () => log(to.agent),
      );
    }
  });

  it("make snapshots of each other", async () => {
    for (const [{ agent }, to] of directions()) {
      const file = join(temporaryFolder(), "s");
      assert.match(
        await cli(agent, "snapshot", "save", `-datacenter=${to.name}`, file),
        /^Saved and verified snapshot to index \d+\n$/,
      );
    }
  });

  it("refuse in the same words", async () => {
    const asked: readonly (readonly [method: string, path: string, body?: string])[] = [
      ["GET", "/v1/kv/x?dc=dc9"],
      ["PUT", "/v1/kv/x?dc=dc9", "x"],
      ["GET", "/v1/catalog/nodes?dc=dc9"],
      ["GET", "/v1/status/leader?dc=dc9"],
      ["PUT", "/v1/event/fire/x?dc=dc9"],
      ["GET", "/v1/snapshot?dc=dc9"],
      ["GET", "/v1/operator/raft/configuration?dc=dc9"],
      ["DELETE", "/v1/operator/raft/peer?id=nobody&dc=OTHER"],
      ["DELETE", "/v1/operator/raft/peer?address=192.0.2.1:8300&dc=OTHER"],
      ["GET", "/v1/operator/autopilot/configuration?dc=dc9"],
      ["GET", "/v1/kv/?dc=OTHER"],
      ["GET", "/v1/health/service/nothing?dc=OTHER"],
      ["GET", "/v1/catalog/node/nobody?dc=OTHER"],
      ["PUT", "/v1/txn?dc=dc9", '[{"KV":{"Verb":"set","Key":"k","Value":""}}]'],
      ["GET", "/v1/coordinate/node/nobody?dc=OTHER"],
      ["GET", "/v1/session/node/nobody?dc=OTHER"],
      ["GET", "/v1/catalog/nodes?dc=OTHER&filter=bad"],
      ["PUT", "/v1/session/create?dc=OTHER", '{"Node":"a1","TTL":"1s"}'],
      ["PUT", "/v1/session/create?dc=OTHER", '{"Node":"nobody"}'],
      ["PUT", "/v1/session/renew/7e086e16-812b-910a-cc11-5333bcd2dbfb?dc=OTHER"],
    ];
    for (const [method, path, content] of asked) {
      const [first, second] = await Promise.all(
        directions().map(async ([{ agent }, to]) => {
          const answer = await agent.request(method, path.replace("OTHER", to.name), content);
          return [path, answer.status, answer.body];
        }),
      );
      assert.deepEqual(first, second);
    }
  });

  it("forget one whose servers leave", async () => {
    assert.equal(await cli(real.agent, "leave"), "Graceful leave complete\n");
    await shows(ours.agent, ["members", "-wan"], /^b1\.dc2 .* left /m);
    await insist(
      () => body(ours.agent.request("GET", "/v1/kv/x?dc=dc2")),
      (said) => said === "No path to datacenter",
    );
    assert.deepEqual(await ours.agent.json("/v1/catalog/datacenters"), ["dc1"]);
  });
});

describe("a real Consul server that joins a datacenter of ours", { skip }, () => {
  let ours: Datacenter;
  let real: Datacenter;

  before(async () => {
    [ours, real] = await Promise.all([startDatacenter("ours", `${network}.62`), startDatacenter("real", `${network}.62`)]);
  });
  after(async () => {
    await real?.agent.stop();
    await ours?.agent.stop();
  });

  it("is joined with, and each answers for the other", async () => {
    assert.equal(
      await cli(real.agent, "join", "-wan", ours.agent.address),
      "Successfully joined cluster by contacting 1 nodes.\n",
    );
    for (const { agent } of [ours, real]) await shows(agent, ["members", "-wan"], bothAlive);
    for (const [{ agent }, { agent: other, name }] of [
      [ours, real],
      [real, ours],
    ] as const)
      await eventually(
        `who leads ${name} is known`,
        async () => (await agent.json(`/v1/status/leader?dc=${name}`)) === `${other.address}:8300`,
        () => log(agent),
      );
  });

  it("is out of reach within seconds when it dies, and answers when it is back", async () => {
    process.kill(real.agent.pid, "SIGSTOP");
    await shows(ours.agent, ["members", "-wan"], /^b1\.dc2 .* failed /m);
    let last = "";
    await eventually(
      "nobody waits for it",
      async () => {
        last = await body(ours.agent.request("GET", "/v1/kv/x?dc=dc2"));
        return last === "Remote DC has no server currently reachable";
      },
      () => last,
    );
    assert.equal(await body(ours.agent.request("PUT", "/v1/kv/local", "1")), "true");
    process.kill(real.agent.pid, "SIGCONT");
    await eventually(
      "it answers again",
      async () => (await ours.agent.request("GET", "/v1/kv/none?dc=dc2")).status === 404,
      () => log(ours.agent),
    );
  });

  it("may not bring a client into the pool of servers", async () => {
    const client = await RunningAgent.start({
      command: consul,
      address: `${network}.62.3`,
      args: ["-node=c1", "-datacenter=dc1", `-data-dir=${join(temporaryFolder(), "d")}`, `-retry-join=${ours.agent.address}`],
      ready: /Synced node info/,
    });
    try {
      const refused = await cli(ours.agent, "join", "-wan", `${network}.62.3:8301`);
      assert.match(refused, new RegExp(`Member 'c1' is not a server|Failed to join ${network}.62.3`));
      assert.doesNotMatch(await cli(ours.agent, "members", "-wan"), /^c1/m);
      assert.match(await cli(client, "join", "-wan", real.agent.address), /Must be a server to join WAN cluster/);
      // It asks its server, which passes on what is for the other datacenter.
      assert.equal(
        await cli(client, "kv", "put", "-datacenter=dc2", "from/client", "1"),
        "Success! Data written to: from/client\n",
      );
      assert.equal(await body(real.agent.request("GET", "/v1/kv/from/client?raw")), "1");
      assert.equal(await cli(client, "catalog", "datacenters"), "dc1\ndc2\n");
    } finally {
      await client.stop();
    }
  });
});
