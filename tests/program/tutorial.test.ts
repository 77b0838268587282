/** The getting-started tutorial, typed by a program: one agent in development mode, its command line, HTTP and DNS. */
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { needsDig, run, RunningAgent, temporaryFolder } from "../support/program.ts";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

describe("consul agent -dev", () => {
  let agent: RunningAgent;
  before(async () => {
    agent = await RunningAgent.start({ args: ["-dev", "-node=armon"] });
  });
  after(() => agent?.stop());

  it("prints Consul's banner, then log lines, then that it runs", () => {
    const { http, dns, serfLan, serfWan } = agent.ports;
    assert.match(
      agent.output,
      /^==> Starting Consul agent\.\.\.\n {11}Version: '1\.8\.7'\n {11}Node ID: '[0-9a-f-]{36}'\n {9}Node name: 'armon'\n {8}Datacenter: 'dc1' \(Segment: '<all>'\)\n {12}Server: true \(Bootstrap: false\)\n/m,
    );
    assert.ok(agent.output.includes(`Client Addr: [127.0.0.1] (HTTP: ${http}, HTTPS: -1, gRPC: -1, DNS: ${dns})`), agent.output);
    assert.ok(agent.output.includes(`Cluster Addr: 127.0.0.1 (LAN: ${serfLan}, WAN: ${serfWan})`));
    assert.match(
      agent.output,
      /\n==> Log data will now stream in as it occurs:\n\n {4}\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[(INFO|WARN|DEBUG)\] {1,2}agent/,
    );
    assert.match(agent.output, /\[INFO\] {2}agent\.server: cluster leadership acquired/);
  });

  it("members lists the agent as an alive server", async () => {
    const { stdout, code } = await agent.consul(["members"]);
    assert.match(
      stdout,
      /^Node {3,}Address {10,}Status {2}Type {4}Build {2}Protocol {2}DC {3}Segment\narmon {2}127\.0\.0\.1:\d+ {2}alive {3}server {2}1\.8\.7 {2}2 {9}dc1 {2}<all>\n$/,
    );
    assert.equal(code, 0);
  });

  it("members -detailed shows the tags a Consul server has", async () => {
    const { stdout } = await agent.consul(["members", "-detailed"]);
    assert.match(
      stdout,
      /acls=0,build=1\.8\.7:,dc=dc1,ft_fs=1,id=[0-9a-f-]{36},port=\d+,raft_vsn=3,role=consul,segment=<all>,vsn=2,vsn_max=3,vsn_min=2,wan_join_port=\d+/,
    );
  });

  it("catalog nodes over HTTP and the command line name the node", async () => {
    const [node] = (await agent.json("/v1/catalog/nodes")) as Record<string, unknown>[];
    assert.equal(node?.["Node"], "armon");
    assert.equal(node?.["Address"], "127.0.0.1");
    const { stdout } = await agent.consul(["catalog", "nodes"]);
    assert.match(stdout, /^Node {3}ID {8}Address {4}DC\narmon {2}[0-9a-f]{8} {2}127\.0\.0\.1 {2}dc1\n$/);
  });

  it("catalog services and datacenters list consul and dc1", async () => {
    assert.equal((await agent.consul(["catalog", "services"])).stdout, "consul\n");
    assert.equal((await agent.consul(["catalog", "datacenters"])).stdout, "dc1\n");
  });

  it("dig finds the node, with and without the datacenter", needsDig, async () => {
    assert.equal(await agent.dig("armon.node.consul", "+short"), "127.0.0.1\n");
    assert.equal(await agent.dig("armon.node.dc1.consul", "+short", "+tcp"), "127.0.0.1\n");
    assert.match(
      await agent.dig("nobody.node.consul"),
      /status: NXDOMAIN[\s\S]*consul\.\s+0\s+IN\s+SOA\s+ns\.consul\. hostmaster\.consul\./,
    );
  });

  it("a key is put, read, listed, exported, imported and deleted", async () => {
    assert.deepEqual(await agent.consul(["kv", "put", "redis/config/minconns", "1"]), {
      code: 0,
      signal: null,
      stdout: "Success! Data written to: redis/config/minconns\n",
      stderr: "",
    });
    assert.equal((await agent.consul(["kv", "get", "redis/config/minconns"])).stdout, "1\n");
    assert.equal((await agent.consul(["kv", "put", "-flags=42", "redis/config/users/admin", "abcd1234"])).code, 0);
    assert.match(
      (await agent.consul(["kv", "get", "-detailed", "redis/config/users/admin"])).stdout,
      /^CreateIndex {6}\d+\nFlags {12}42\nKey {14}redis\/config\/users\/admin\nLockIndex {8}0\nModifyIndex {6}\d+\nSession {10}-\nValue {12}abcd1234\n$/,
    );
    assert.equal(
      (await agent.consul(["kv", "get", "-recurse"])).stdout,
      "redis/config/minconns:1\nredis/config/users/admin:abcd1234\n",
    );
    const exported = (await agent.consul(["kv", "export", "redis/"])).stdout;
    assert.equal(
      (await agent.consul(["kv", "delete", "-recurse", "redis"])).stdout,
      "Success! Deleted keys with prefix: redis\n",
    );
    const missing = await agent.consul(["kv", "get", "redis/config/minconns"]);
    assert.deepEqual([missing.code, missing.stderr], [1, "Error! No key exists at: redis/config/minconns\n"]);
    assert.equal(
      (await agent.consul(["kv", "import", "-"], exported)).stdout,
      "Imported: redis/config/minconns\nImported: redis/config/users/admin\n",
    );
    assert.equal((await agent.consul(["kv", "get", "redis/config/users/admin"])).stdout, "abcd1234\n");
  });

  it("a service registered from a file is found by HTTP and DNS, and goes again", needsDig, async () => {
    const file = join(temporaryFolder(), "web.json");
    writeFileSync(file, JSON.stringify({ service: { name: "web", tags: ["rails"], port: 80 } }));
    assert.equal((await agent.consul(["services", "register", file])).stdout, "Registered service: web\n");
    const [instance] = (await agent.json("/v1/health/service/web?passing")) as { Service: Record<string, unknown> }[];
    assert.equal(instance?.Service["Port"], 80);
    assert.equal(await agent.dig("web.service.consul", "+short"), "127.0.0.1\n");
    assert.equal(await agent.dig("rails.web.service.consul", "SRV", "+short"), "1 1 80 armon.node.dc1.consul.\n");
    assert.equal(await agent.dig("_web._rails.service.consul", "SRV", "+short"), "1 1 80 armon.node.dc1.consul.\n");
    assert.equal((await agent.consul(["services", "deregister", file])).stdout, "Deregistered service: web\n");
    assert.match(await agent.dig("web.service.consul"), /status: NXDOMAIN/);
  });

  it("info shows the groups of a server", async () => {
    const { stdout, code } = await agent.consul(["info"]);
    for (const line of [
      "agent:",
      "build:",
      "\tversion = 1.8.7",
      "consul:",
      "\tleader = true",
      "\tserver = true",
      "raft:",
      "\tstate = Leader",
      "runtime:",
      "serf_lan:",
      "serf_wan:",
    ]) {
      assert.ok(stdout.split("\n").includes(line), `${line} is missing in\n${stdout}`);
    }
    assert.equal(code, 0);
  });

  it("reload answers, and leave ends the agent with code 0", async () => {
    assert.deepEqual(await agent.consul(["reload"]), {
      code: 0,
      signal: null,
      stdout: "Configuration reload triggered\n",
      stderr: "",
    });
    const left = await agent.consul(["leave"]);
    assert.deepEqual([left.code, left.stdout], [0, "Graceful leave complete\n"]);
    assert.deepEqual(await agent.ended(), { code: 0, signal: null });
  });
});

describe("consul on its own", () => {
  it("version names the release whose behaviour it keeps", async () => {
    const { consulPath } = await import("../support/program.ts");
    const { stdout, code } = await run(consulPath, ["version"]);
    assert.match(stdout, /^Consul v1\.8\.7\n/);
    assert.equal(code, 0);
  });
});
