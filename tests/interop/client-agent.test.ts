/** Our client agent under three real Consul servers: what is done at one is seen at the other, and a server may die. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { assert, describe, it } from "../support/harness.ts";
import { ownGround } from "../support/own-ground.ts";
import { insist } from "../support/patience.ts";
import { needsDig, type Response, run, RunningAgent, temporaryFolder } from "../support/program.ts";
import { until } from "../support/until.ts";
import { findPeer } from "./peers.ts";

const found = findPeer("consul");
const consul = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

const network = `${(await ownGround()).network}.7`;

interface Check {
  readonly CheckID: string;
  readonly Status: string;
}
const serfHealth = (checks: readonly Check[]): string | undefined =>
  checks.find(({ CheckID }) => CheckID === "serfHealth")?.Status;

describe("our client agent under three real Consul servers", { skip }, () => {
  const folder = temporaryFolder();
  const servers: RunningAgent[] = [];
  let client: RunningAgent;
  /** The original's own command line, asking our agent. */
  const theirs = (...args: readonly string[]) => run(consul, args, { env: { CONSUL_HTTP_ADDR: `${client.address}:8500` } });
  const server = (): RunningAgent => servers[0] as RunningAgent;

  before(async () => {
    servers.push(
      ...(await Promise.all(
        [1, 2, 3].map((at) =>
          RunningAgent.start({
            command: consul,
            address: `${network}.${at}`,
            args: [
              "-server",
              "-bootstrap-expect=3",
              `-node=s${at}`,
              `-data-dir=${join(folder, `s${at}`)}`,
              ...(at === 1 ? [] : [`-retry-join=${network}.1`, "-retry-interval=1s"]),
            ],
            ready: /New leader elected/,
          }),
        ),
      )),
    );
    client = await RunningAgent.start({
      address: `${network}.9`,
      args: ["-node=ours", `-data-dir=${join(folder, "ours")}`, `-retry-join=${network}.1`],
      ready: /Synced node info/,
    });
  });
  after(async () => {
    for (const agent of [client, ...servers]) await agent?.stop();
  });

  it("both command lines show all four members at both", async () => {
    const expected = /\nours .* client .*\n(s\d .* server .*\n){3}$|\n(s\d .* server .*\n){3}ours .* client .*\n$/;
    for (const agent of [client, server()])
      await insist(
        async () => {
          const asTheirs = await run(consul, ["members"], { env: { CONSUL_HTTP_ADDR: `${agent.address}:8500` } });
          return [(await agent.consul(["members"])).stdout, asTheirs.stdout] as const;
        },
        ([our, their]) => expected.test(our) && their === our,
      );
  });

  it("a service registered through our HTTP API is seen through theirs, with its check's changes", needsDig, async () => {
    const definition = JSON.stringify({
      Name: "web",
      Port: 80,
      Tags: ["v1"],
      Meta: { a: "b" },
      Check: { CheckID: "alive", TTL: "1h", Status: "passing" },
    });
    assert.equal((await client.request("PUT", "/v1/agent/service/register", definition)).status, 200);
    await until<unknown[]>(server(), "/v1/health/service/web?passing", (instances) => instances.length === 1);
    // DNS may be answered by any server from what it holds: each of them must have heard of it.
    for (const each of servers)
      await until<unknown[]>(each, "/v1/health/service/web?passing&stale", (instances) => instances.length === 1);
    for (const agent of [client, server()])
      assert.equal(await agent.dig("v1.web.service.consul", "SRV", "+short"), "1 1 80 ours.node.dc1.consul.\n");
    assert.equal((await client.request("PUT", "/v1/agent/check/fail/alive?note=down")).status, 200);
    await until<unknown[]>(server(), "/v1/health/service/web?passing", (instances) => instances.length === 0);
    assert.equal((await client.request("PUT", "/v1/agent/check/pass/alive")).status, 200);
    await until<unknown[]>(server(), "/v1/health/service/web?passing", (instances) => instances.length === 1);
  });

  it("what we say of the catalog is what they say, to the byte", async () => {
    for (const path of [
      "/v1/catalog/nodes",
      "/v1/catalog/services",
      "/v1/catalog/service/web",
      "/v1/catalog/node/ours",
      "/v1/health/node/ours",
      "/v1/health/service/web",
      "/v1/health/service/consul",
      "/v1/health/checks/web",
      "/v1/health/state/any",
      "/v1/status/leader",
      "/v1/catalog/datacenters",
      "/v1/operator/raft/configuration",
      "/v1/session/list",
      "/v1/kv/?keys",
    ]) {
      // Between the two questions the catalog may have changed, as while the servers come to rest.
      const shown = ({ status, headers, body }: Response) => [path, status, body, headers["x-consul-index"]];
      await insist(
        async () => [shown(await client.request("GET", path)), shown(await server().request("GET", path))],
        ([our, their]) => isDeepStrictEqual(our, their),
      );
    }
  });

  it("keys, sessions, locks and transactions go through us", async () => {
    assert.equal((await theirs("kv", "put", "a", "1")).stdout, "Success! Data written to: a\n");
    assert.equal((await server().request("GET", "/v1/kv/a?raw")).body, "1");
    const { ID } = JSON.parse((await client.request("PUT", "/v1/session/create", '{"LockDelay": "0s", "TTL": "30s"}')).body);
    assert.equal((await client.request("PUT", `/v1/kv/lock?acquire=${ID}`, "x")).body.trim(), "true");
    const [lock] = (await server().json("/v1/kv/lock")) as { Session: string }[];
    assert.equal(lock?.Session, ID);
    assert.equal((await client.request("PUT", `/v1/session/renew/${ID}`)).status, 200);
    const txn = '[{"KV": {"Verb": "cas", "Index": 0, "Key": "a", "Value": "Mg=="}}]';
    const [our, their] = [await client.request("PUT", "/v1/txn", txn), await server().request("PUT", "/v1/txn", txn)];
    assert.deepEqual([our.status, our.body], [their.status, their.body]);
    assert.equal((await client.request("PUT", `/v1/session/destroy/${ID}`)).status, 200);
  });

  it("a blocking query at us wakes by a write at them", async () => {
    const first = await client.request("GET", "/v1/kv/a");
    const waiting = client.request("GET", `/v1/kv/a?index=${first.headers["x-consul-index"]}&wait=60s`);
    await server().request("PUT", "/v1/kv/a", "9");
    assert.equal(JSON.parse((await waiting).body)[0].Value, "OQ==");
  });

  it("their snapshot is saved through us, and restored through us", async () => {
    const file = join(folder, "backup.snap");
    assert.match((await theirs("snapshot", "save", file)).stdout, /^Saved and verified snapshot to index \d+\n$/);
    assert.match((await client.consul(["snapshot", "inspect", file])).stdout, /^ID {11}\d+-\d+-\d+\n/);
    assert.equal((await client.request("DELETE", "/v1/kv/a")).status, 200);
    assert.equal((await theirs("snapshot", "restore", file)).stdout, "Restored snapshot\n");
    assert.equal((await server().request("GET", "/v1/kv/a?raw")).body, "9");
    const broken = join(folder, "broken.snap");
    writeFileSync(broken, "no archive");
    assert.match((await theirs("snapshot", "restore", broken)).stderr, /failed to decompress snapshot: gzip: invalid header/);
  });

  it("one server dies, the leader: reads and writes through us go on", async () => {
    const leader = await until<string>(client, "/v1/status/leader", (address) => address !== "");
    const at = servers.findIndex(({ address }) => leader === `${address}:8300`);
    const [killed] = servers.splice(at, 1) as [RunningAgent];
    await killed.stop();
    await insist(
      () => client.request("PUT", "/v1/kv/after", "1"),
      ({ status }) => {
        if (status !== 200) assert.equal(status, 500);
        return status === 200;
      },
    );
    const read = await insist(
      () => client.request("GET", "/v1/kv/after?raw"),
      ({ status }) => status !== 500,
    );
    assert.equal(read.body, "1");
    await until<Check[]>(client, `/v1/health/node/s${at + 1}`, (checks) => serfHealth(checks) === "critical");
  });

  it("our client leaves by their command, and is gone from their catalog", async () => {
    assert.equal((await theirs("leave")).stdout, "Graceful leave complete\n");
    await until<{ Node: string }[]>(server(), "/v1/catalog/nodes", (nodes) => nodes.every(({ Node }) => Node !== "ours"));
    assert.equal((await client.ended()).code, 0);
  });
});
