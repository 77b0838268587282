/**
 * Consul's tutorials of several machines, each machine a loopback address with Consul's own ports: a server and a client,
 * and what becomes of a client that leaves, is killed, or comes back.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { ownGround } from "../support/own-ground.ts";
import { needsDig, RunningAgent, temporaryFolder } from "../support/program.ts";
import { until } from "../support/until.ts";

const folder = temporaryFolder();
/** 127.N.x.y of this process, so that two runs do not meet. */
const { network } = await ownGround();
const running = /Consul agent running!/;

interface Check {
  readonly CheckID: string;
  readonly Status: string;
}
const statusOf = (checks: readonly Check[], id: string): string | undefined =>
  checks.find(({ CheckID }) => CheckID === id)?.Status;

describe("a server with -bootstrap-expect=1 and a client", () => {
  const serverAddress = `${network}.1.2`;
  const clientAddress = `${network}.1.3`;
  let server: RunningAgent;
  let client: RunningAgent;

  const startClient = (): Promise<RunningAgent> =>
    RunningAgent.start({
      address: clientAddress,
      args: ["-node=agent-two", `-data-dir=${join(folder, "two")}`, `-config-dir=${join(folder, "two.d")}`],
      ready: running,
    });

  before(async () => {
    mkdirSync(join(folder, "two.d"));
    writeFileSync(
      join(folder, "two.d/web.json"),
      '{"service": {"name": "web", "tags": ["rails"], "port": 80, "check": {"name": "alive", "ttl": "1h", "status": "passing"}}}',
    );
    server = await RunningAgent.start({
      address: serverAddress,
      args: ["-server", "-bootstrap-expect=1", "-node=agent-one", `-data-dir=${join(folder, "one")}`],
    });
    client = await startClient();
  });
  after(async () => {
    await client?.stop();
    await server?.stop();
  });

  it("know only themselves until one joins the other", async () => {
    assert.match(
      (await client.consul(["members"])).stdout,
      /^Node .*\nagent-two {2}\S+:8301 {2}alive {3}client {2}1\.8\.7 {2}2 {9}dc1 {2}<default>\n$/,
    );
    const refused = await client.request("GET", "/v1/catalog/nodes");
    assert.deepEqual([refused.status, refused.body], [500, "No known Consul servers"]);
    const joined = await server.consul(["join", clientAddress]);
    assert.equal(joined.stdout, "Successfully joined cluster by contacting 1 nodes.\n");
    await client.said(/adding server: server="agent-one/);
  });

  it("both show both members", async () => {
    const rows = [
      `agent-one  ${serverAddress}:8301  alive   server  1.8.7  2         dc1  <all>`,
      `agent-two  ${clientAddress}:8301  alive   client  1.8.7  2         dc1  <default>`,
    ];
    for (const agent of [server, client]) {
      const { stdout } = await agent.consul(["members"]);
      assert.deepEqual(stdout.trimEnd().split("\n").slice(1), rows);
    }
  });

  it("the client's service is in the catalog, and found over the server's DNS and its own", needsDig, async () => {
    await until<Check[]>(server, "/v1/health/node/agent-two", (checks) => statusOf(checks, "service:web") === "passing");
    for (const agent of [server, client]) {
      assert.equal(await agent.dig("agent-two.node.consul", "+short"), `${clientAddress}\n`);
      assert.equal(await agent.dig("rails.web.service.consul", "SRV", "+short"), "1 1 80 agent-two.node.dc1.consul.\n");
    }
  });

  it("what one writes the other reads: keys, sessions, locks, transactions", async () => {
    assert.equal((await client.consul(["kv", "put", "a/b", "1"])).stdout, "Success! Data written to: a/b\n");
    assert.equal((await server.consul(["kv", "get", "a/b"])).stdout, "1\n");
    const { ID } = JSON.parse((await client.request("PUT", "/v1/session/create", '{"TTL": "60s"}')).body) as { ID: string };
    assert.equal((await client.request("PUT", `/v1/kv/lock?acquire=${ID}`, "mine")).body.trim(), "true");
    assert.equal((await server.request("PUT", `/v1/kv/lock?acquire=${ID}x`, "mine")).status, 500);
    const [locked] = (await server.json("/v1/kv/lock")) as { Session: string }[];
    assert.equal(locked?.Session, ID);
    assert.equal((await client.request("PUT", `/v1/session/renew/${ID}`)).status, 200);
    const txn = await client.request("PUT", "/v1/txn", '[{"KV": {"Verb": "set", "Key": "t", "Value": "dHg="}}]');
    assert.equal(txn.status, 200, txn.body);
    assert.equal((await server.request("GET", "/v1/kv/t?raw")).body, "tx");
    assert.equal((await client.request("PUT", `/v1/session/destroy/${ID}`)).status, 200);
  });

  it("a blocking query at the client returns when the server's catalog changes", async () => {
    const { headers } = await client.request("GET", "/v1/kv/wait-for-me");
    const waiting = client.request("GET", `/v1/kv/wait-for-me?index=${headers["x-consul-index"]}&wait=60s`);
    assert.equal((await server.consul(["kv", "put", "wait-for-me", "now"])).code, 0);
    assert.match((await waiting).body, /"Key":"wait-for-me"/);
  });

  it("the client says who leads, who the servers are, and what the datacenters are", async () => {
    await until<string>(client, "/v1/status/leader", (leader) => leader === `${serverAddress}:8300`);
    assert.deepEqual(await client.json("/v1/status/peers"), [`${serverAddress}:8300`]);
    assert.deepEqual(await client.json("/v1/catalog/datacenters"), ["dc1"]);
    assert.match((await client.consul(["operator", "raft", "list-peers"])).stdout, /\nagent-one .* leader {2}true {3}3\n$/);
    assert.match((await client.consul(["info"])).stdout, /\nconsul:\n\tacl = disabled\n\tknown_servers = 1\n\tserver = false\n/);
  });

  it("a snapshot saved at the client is restored at the client", async () => {
    const file = join(folder, "backup.snap");
    assert.match((await client.consul(["snapshot", "save", file])).stdout, /^Saved and verified snapshot to index \d+\n$/);
    assert.equal((await client.consul(["kv", "delete", "a/b"])).code, 0);
    assert.equal((await client.consul(["snapshot", "restore", file])).stdout, "Restored snapshot\n");
    assert.equal((await server.consul(["kv", "get", "a/b"])).stdout, "1\n");
  });

  it("a client that is killed is critical on the server, and its services with it; coming back it is passing again", async () => {
    client.signal("SIGKILL");
    await client.ended();
    await until<Check[]>(server, "/v1/health/node/agent-two", (checks) => statusOf(checks, "serfHealth") === "critical");
    assert.match((await server.consul(["members"])).stdout, /\nagent-two .* failed {2}client/);
    assert.deepEqual(await server.json("/v1/health/service/web?passing"), []);
    client = await startClient();
    // Gossip's snapshot knows whom to rejoin.
    await until<Check[]>(server, "/v1/health/node/agent-two", (checks) => statusOf(checks, "serfHealth") === "passing");
    await until<unknown[]>(client, "/v1/health/service/web?passing", (instances) => instances.length === 1);
  });

  it("a client that is interrupted leaves: it is gone from the catalog, and left among the members", async () => {
    client.signal("SIGINT");
    assert.equal((await client.ended()).code, 0);
    await until<unknown[]>(server, "/v1/catalog/nodes", (nodes) => nodes.length === 1);
    assert.match((await server.consul(["members"])).stdout, /\nagent-two .* left {4}client/);
    assert.deepEqual(await server.json("/v1/catalog/service/web"), []);
  });
});

describe("three servers by hand: one with -bootstrap, two that join it", () => {
  const servers: RunningAgent[] = [];
  const start = (at: number, ...args: readonly string[]): Promise<RunningAgent> =>
    RunningAgent.start({
      address: `${network}.2.${at}`,
      args: ["-server", `-node=server-${at}`, `-data-dir=${join(folder, `manual-${at}`)}`, ...args],
      ready: running,
    });
  const at = (number: number): RunningAgent => servers[number] as RunningAgent;

  after(async () => {
    await Promise.all(servers.map((server) => server.stop()));
  });

  it("the first leads alone; the others have no leader until they join", async () => {
    servers.push(await start(1, "-bootstrap"));
    await at(0).said(/cluster leadership acquired/);
    servers.push(await start(2), await start(3));
    assert.equal(await at(1).json("/v1/status/leader"), "");
    const refused = await at(2).request("GET", "/v1/catalog/nodes?stale");
    assert.deepEqual([refused.status, refused.headers["x-consul-knownleader"]], [200, "false"]);
  });

  it("consul join brings them in, and they become voters", async () => {
    const joined = await at(0).consul(["join", at(1).address, at(2).address]);
    assert.equal(joined.stdout, "Successfully joined cluster by contacting 2 nodes.\n");
    interface Configuration {
      readonly Servers: readonly { readonly Voter: boolean }[];
    }
    await until<Configuration>(
      at(2),
      "/v1/operator/raft/configuration",
      ({ Servers }) => Servers.length === 3 && Servers.every(({ Voter }) => Voter),
    );
    await at(2).insist(["kv", "put", "joined", "yes"]);
    assert.equal((await at(1).insist(["kv", "get", "joined"])).stdout, "yes\n");
  });

  it("the first is started again without -bootstrap, and the group goes on without and with it", async () => {
    at(0).signal("SIGTERM");
    await at(0).ended();
    await until<string>(at(1), "/v1/status/leader", (leader) => leader !== "" && leader !== `${at(0).address}:8300`);
    await at(1).insist(["kv", "put", "alone", "two"]);
    servers[0] = await start(1);
    await until<{ Value: string }[]>(at(0), "/v1/kv/alone?stale", (pairs) => pairs.length === 1);
    assert.equal((await at(0).insist(["kv", "get", "joined"])).stdout, "yes\n");
  });
});
