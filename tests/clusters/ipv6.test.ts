/** A server and a client that know only IPv6. */
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { digPatience, needsDig, request, run, RunningAgent, temporaryFolder } from "../support/program.ts";

describe("a server and a client on ::1", () => {
  const folder = temporaryFolder();
  const own = ["-bind=::1", "-client=::1"];
  let server: RunningAgent;
  let client: RunningAgent;

  before(async () => {
    server = await RunningAgent.start({
      args: ["-server", "-bootstrap", "-node=six", `-data-dir=${join(folder, "a")}`, ...own],
    });
    client = await RunningAgent.start({
      args: ["-node=half-dozen", `-data-dir=${join(folder, "b")}`, `-join=[::1]:${server.ports.serfLan}`, ...own],
      ready: /Synced node info/,
    });
  });
  after(async () => {
    await client?.stop();
    await server?.stop();
  });

  it("see one another, with their addresses in brackets", async () => {
    for (const { ports } of [server, client]) {
      const { stdout } = await run(join(process.env["TEST_ROOT"] as string, "scripts/consul"), [
        "members",
        `-http-addr=[::1]:${ports.http}`,
      ]);
      assert.match(stdout, /\nhalf-dozen +\[::1\]:\d+ +alive +client /);
      assert.match(stdout, /\nsix +\[::1\]:\d+ +alive +server /);
    }
  });

  it("keep keys for one another", async () => {
    assert.equal((await request(client.ports.http, "PUT", "/v1/kv/a", "1", {}, "::1")).status, 200);
    assert.equal((await request(server.ports.http, "GET", "/v1/kv/a?raw", undefined, {}, "::1")).body, "1");
  });

  it("answer with AAAA, over UDP and TCP, and have no A", needsDig, async () => {
    const dig = async (...args: readonly string[]): Promise<string> =>
      (await run("dig", ["@::1", "-p", String(client.ports.dns), ...digPatience, ...args])).stdout;
    assert.equal(await dig("six.node.consul", "AAAA", "+short"), "::1\n");
    assert.equal(await dig("consul.service.consul", "AAAA", "+short", "+tcp"), "::1\n");
    assert.equal(await dig("six.node.consul", "A", "+short"), "");
  });
});
