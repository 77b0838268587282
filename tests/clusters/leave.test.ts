/** The last server of a datacenter does not leave its clients by accident: not on command, not by a signal, but when told twice. */
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { RunningAgent, temporaryFolder } from "../support/program.ts";

const folder = temporaryFolder();

describe("the only server of a datacenter with a client", () => {
  let server: RunningAgent;
  let client: RunningAgent;
  const startServer = async (): Promise<RunningAgent> => {
    const data = join(folder, "server");
    const hcl = "-hcl=leave_on_terminate = true performance { raft_multiplier = 1 }";
    const args = ["-server", "-bootstrap", "-bind=127.0.0.1", "-node=only", `-data-dir=${data}`, hcl];
    return RunningAgent.start(server === undefined ? { args } : { args, ports: server.ports });
  };

  before(async () => {
    server = await startServer();
    client = await RunningAgent.start({
      args: [
        "-bind=127.0.0.1",
        "-node=client",
        `-data-dir=${join(folder, "client")}`,
        `-retry-join=127.0.0.1:${server.ports.serfLan}`,
        '-hcl=retry_interval = "1s"',
      ],
      ready: /Synced node info/,
    });
    await server.said(/member joined, marking health alive: member=client/);
  });
  after(() => Promise.all([server.stop(), client.stop()]));

  it("does not leave on command, says why, and goes on", async () => {
    const refused = await server.consul(["leave"]);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /^Error leaving: Unexpected response code: 500 \(Not leaving: this is the only server with a vote, and 1 other member depends on it\. .*-force/,
    );
    assert.equal((await server.request("PUT", "/v1/kv/still", "here")).body.trim(), "true");
  });

  it("stops without leaving where a signal asks for it, and is back with its data", async () => {
    server.signal("SIGTERM");
    assert.deepEqual(await server.ended(), { code: 1, signal: null });
    assert.match(server.output, /Shutting down without leaving: reason="Not leaving: this is the only server with a vote/);
    server = await startServer();
    assert.equal((await server.request("GET", "/v1/kv/still?raw")).body, "here");
    await server.said(/member joined, marking health alive: member=client|EventMemberJoin: client/);
  });

  it("leaves when it is forced to", async () => {
    const left = await server.consul(["leave", "-force"]);
    assert.deepEqual([left.code, left.stdout], [0, "Graceful leave complete\n"]);
    assert.deepEqual(await server.ended(), { code: 0, signal: null });
  });
});
