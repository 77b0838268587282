/** A cluster of both: our server, and a real Consul agent in client mode under it, each asked through its own surfaces. */
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { needsDig, run, RunningAgent, temporaryFolder } from "../support/program.ts";
import { findPeer } from "./peers.ts";

const found = findPeer("consul");
const consul = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

describe("a real Consul client agent under our server", { skip }, () => {
  let ours: RunningAgent;
  let real: RunningAgent;

  before(async () => {
    ours = await RunningAgent.start({
      args: ["-server", "-bootstrap", "-bind=127.0.0.1", "-node=ours", `-data-dir=${join(temporaryFolder(), "d")}`],
    });
    real = await RunningAgent.start({
      command: consul,
      args: [
        "-node=real",
        "-bind=127.0.0.1",
        `-data-dir=${join(temporaryFolder(), "d")}`,
        `-retry-join=127.0.0.1:${ours.ports.serfLan}`,
      ],
      ready: /Synced node info/,
    });
  });
  after(async () => {
    await real?.stop();
    await ours?.stop();
  });

  it("both list both members", async () => {
    for (const agent of [ours, real]) {
      const { stdout } = await agent.consul(["members"]);
      assert.match(
        stdout,
        /\nours +127\.0\.0\.1:\d+ +alive +server +1\.8\.7 .*\nreal +127\.0\.0\.1:\d+ +alive +client +1\.8\.7 /,
      );
    }
  });

  it("a service registered at the real client is found through us", needsDig, async () => {
    const definition = JSON.stringify({ Name: "web", Port: 80, Tags: ["v1"], Check: { TTL: "1h", Status: "passing" } });
    assert.equal((await real.request("PUT", "/v1/agent/service/register", definition)).status, 200);
    let index = "0";
    for (let instances: unknown[] = []; instances.length === 0; ) {
      const { headers, body } = await ours.request("GET", `/v1/health/service/web?passing&index=${index}&wait=20s`);
      index = String(headers["x-consul-index"]);
      instances = JSON.parse(body);
    }
    assert.equal(await ours.dig("v1.web.service.consul", "SRV", "+short"), "1 1 80 real.node.dc1.consul.\n");
    assert.equal(await real.dig("v1.web.service.consul", "SRV", "+short"), "1 1 80 real.node.dc1.consul.\n");
  });

  it("keys written at either are read at the other", async () => {
    const put = await run(consul, ["kv", "put", `-http-addr=127.0.0.1:${real.ports.http}`, "from/real", "1"]);
    assert.equal(put.stdout, "Success! Data written to: from/real\n");
    await ours.consul(["kv", "put", "from/ours", "2"]);
    for (const agent of [ours, real]) {
      assert.equal((await agent.consul(["kv", "get", "-recurse", "from/"])).stdout, "from/ours:2\nfrom/real:1\n");
    }
  });

  it("a blocking query at the real client wakes by a write at us", async () => {
    const first = await real.request("GET", "/v1/kv/from/ours");
    const waiting = real.request("GET", `/v1/kv/from/ours?index=${first.headers["x-consul-index"]}&wait=30s`);
    await ours.request("PUT", "/v1/kv/from/ours", "3");
    assert.equal(JSON.parse((await waiting).body)[0].Value, "Mw==");
  });

  it("a lock taken through the real client holds against us", async () => {
    const { ID: held } = JSON.parse((await real.request("PUT", "/v1/session/create", '{"LockDelay":"0s"}')).body);
    const { ID: other } = JSON.parse((await ours.request("PUT", "/v1/session/create", '{"LockDelay":"0s"}')).body);
    assert.equal((await real.request("PUT", `/v1/kv/lead?acquire=${held}`, "a")).body.trim(), "true");
    assert.equal((await ours.request("PUT", `/v1/kv/lead?acquire=${other}`, "b")).body.trim(), "false");
    assert.equal((await real.request("PUT", `/v1/session/destroy/${held}`)).body.trim(), "true");
    assert.equal((await ours.request("PUT", `/v1/kv/lead?acquire=${other}`, "b")).body.trim(), "true");
  });

  it("the real client leaves, and its node goes from our catalog", async () => {
    const nodes = await ours.request("GET", "/v1/catalog/nodes");
    const left = await run(consul, ["leave", `-http-addr=127.0.0.1:${real.ports.http}`]);
    assert.equal(left.stdout, "Graceful leave complete\n");
    const after = await ours.request("GET", `/v1/catalog/nodes?index=${nodes.headers["x-consul-index"]}&wait=20s`);
    assert.deepEqual(
      (JSON.parse(after.body) as { Node: string }[]).map(({ Node }) => Node),
      ["ours"],
    );
  });
});
