/** A cluster of both: our server, and a real Consul agent in client mode under it, each asked through its own surfaces. */
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { insist } from "../support/patience.ts";
import { consulPath, needsDig, run, RunningAgent, temporaryFolder } from "../support/program.ts";
import { until } from "../support/until.ts";
import { findPeer } from "./peers.ts";

const found = findPeer("consul");
const consul = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

describe("a real Consul client agent under our server", { skip }, () => {
  let ours: RunningAgent;
  let real: RunningAgent;
  /** Both run what others ask them to. */
  const willing = "-hcl=disable_remote_exec = false";

  before(async () => {
    ours = await RunningAgent.start({
      args: ["-server", "-bootstrap", "-bind=127.0.0.1", "-node=ours", `-data-dir=${join(temporaryFolder(), "d")}`, willing],
    });
    real = await RunningAgent.start({
      command: consul,
      args: [
        "-node=real",
        "-bind=127.0.0.1",
        `-data-dir=${join(temporaryFolder(), "d")}`,
        `-retry-join=127.0.0.1:${ours.ports.serfLan}`,
        willing,
      ],
      ready: /Synced node info/,
    });
    // Its leader registers a node's health behind the node's own entry.
    for (const node of ["ours", "real"])
      await until<{ CheckID: string }[]>(ours, `/v1/health/node/${node}`, (checks) =>
        checks.some(({ CheckID }) => CheckID === "serfHealth"),
      );
  });
  after(async () => {
    await real?.stop();
    await ours?.stop();
  });

  it("both list both members", async () => {
    for (const agent of [ours, real]) {
      const both = /\nours +127\.0\.0\.1:\d+ +alive +server +1\.8\.7 .*\nreal +127\.0\.0\.1:\d+ +alive +client +1\.8\.7 /;
      await insist(
        () => agent.consul(["members"]),
        ({ stdout }) => both.test(stdout),
      );
    }
  });

  it("a service registered at the real client is found through us", needsDig, async () => {
    const definition = JSON.stringify({ Name: "web", Port: 80, Tags: ["v1"], Check: { TTL: "1h", Status: "passing" } });
    assert.equal((await real.request("PUT", "/v1/agent/service/register", definition)).status, 200);
    await until<unknown[]>(ours, "/v1/health/service/web?passing", (instances) => instances.length > 0);
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

  it("an event fired at either is heard at both, in one order", async () => {
    const fired = await run(consul, ["event", `-http-addr=127.0.0.1:${real.ports.http}`, "-name=news", "from real"]);
    assert.match(fired.stdout, /^Event ID: /);
    const heard = (agent: RunningAgent, count: number) =>
      until<readonly { Payload: string; LTime: number }[]>(agent, "/v1/event/list?name=news", ({ length }) => length >= count);
    await heard(ours, 1);
    await ours.consul(["event", "-name=news", "-node=^(ours|real)$", "from ours"]);
    const [here, there] = [await heard(ours, 2), await heard(real, 2)];
    assert.deepEqual(here, there);
    assert.deepEqual(
      here.map(({ Payload }) => atob(Payload)),
      ["from real", "from ours"],
    );
  });

  it("a command is run on both, whichever program asks which agent", async () => {
    for (const command of [consul, consulPath])
      for (const agent of [ours, real]) {
        const args = ["exec", "-wait=2s", `-http-addr=127.0.0.1:${agent.ports.http}`, "echo at work; echo aloud >&2; exit 3"];
        // Whoever has not acknowledged when all others are done is not waited for: on a machine that stands still it is asked again.
        const { stdout, code } = await insist(
          () => run(command, args),
          (done) => done.stdout.endsWith("2 / 2 node(s) completed / acknowledged\n"),
        );
        for (const node of ["ours", "real"]) {
          const told = stdout.split("\n").filter((line) => line.startsWith(`    ${node}:`));
          // What is written in two pieces is shown as two, each with an empty line. The end may be told before the output:
          // who asks finds both at one time, in the order of their names.
          assert.deepEqual(
            told.map((line) => line.trim()).filter((line) => line !== `${node}:`),
            [`${node}: at work`, `${node}: aloud`],
            stdout,
          );
          assert.match(stdout, new RegExp(`^==> ${node}: finished with exit code 3$`, "m"));
        }
        assert.equal(code, 2);
      }
  });

  it("both programs hold slots of one semaphore, and a third waits for either", async () => {
    const folder = temporaryFolder();
    const lock = (command: string, agent: RunningAgent, script: string) =>
      run(command, ["lock", `-http-addr=127.0.0.1:${agent.ports.http}`, "-n=2", "slots", script]);
    // Each holds its slot until the other is there: they can only end together.
    const meet = (own: string, other: string) =>
      `touch ${join(folder, own)}; while [ ! -e ${join(folder, other)} ]; do sleep 0.05; done; echo ${own}`;
    const results = await Promise.all([
      lock(consul, ours, meet("a", "b")),
      lock(consulPath, real, meet("b", "a")),
      lock(consulPath, ours, "echo c"),
      lock(consul, real, "echo d"),
    ]);
    assert.deepEqual(
      results.map(({ stdout, code }) => `${stdout.trim()} ${code}`),
      ["a 0", "b 0", "c 0", "d 0"],
    );
    await insist(
      () => ours.request("GET", "/v1/kv/slots?keys"),
      ({ status }) => status === 404,
    );
  });

  it("the real client leaves, and its node goes from our catalog", async () => {
    const left = await run(consul, ["leave", `-http-addr=127.0.0.1:${real.ports.http}`]);
    assert.equal(left.stdout, "Graceful leave complete\n");
    await until<{ Node: string }[]>(ours, "/v1/catalog/nodes", (nodes) => nodes.map(({ Node }) => Node).join() === "ours");
  });
});
