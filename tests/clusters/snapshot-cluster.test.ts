/** Snapshots of a group of three: asked of any server, restored on all of them, and none the worse for one that was away. */
import { after, before } from "node:test";
import { join } from "node:path";
import { assert, describe, it } from "../support/harness.ts";
import { freePorts, type Ports, RunningAgent, request, temporaryFolder } from "../support/program.ts";

const patience = 15_000;

describe("consul snapshot with three servers", () => {
  const folder = temporaryFolder();
  const file = join(folder, "backup.snap");
  const agents: RunningAgent[] = [];
  let ports: Ports[] = [];

  const start = (at: number): Promise<RunningAgent> => {
    const hcl = "performance { raft_multiplier = 1 }";
    const args = ["-server", "-bind=127.0.0.1", `-node=s${at}`, `-data-dir=${join(folder, `s${at}`)}`, `-hcl=${hcl}`];
    const group = ["-bootstrap-expect=3", `-retry-join=127.0.0.1:${(ports[0] as Ports).serfLan}`];
    return RunningAgent.start({ args: [...args, ...group], ports: ports[at] as Ports, ready: /Consul agent running!/ });
  };
  /** Asks with blocking queries until the answer is that: an election or a server that catches up may lie between. */
  const until = async (at: number, path: string, holds: (status: number, body: string) => boolean): Promise<void> => {
    const deadline = Date.now() + patience;
    for (let index = "0"; ; ) {
      const target = `${path}${path.includes("?") ? "&" : "?"}index=${index}&wait=1s`;
      const { status, body, headers } = await request((ports[at] as Ports).http, "GET", target);
      if (holds(status, body)) return;
      assert.ok(Date.now() < deadline, `${path} of s${at}: ${status} ${body.slice(0, 100)}`);
      index = String(headers["x-consul-index"] ?? "0");
    }
  };
  const follower = async (): Promise<number> => {
    const leader = JSON.parse((await request((ports[0] as Ports).http, "GET", "/v1/status/leader")).body) as string;
    return ports.findIndex(({ server }) => leader !== `127.0.0.1:${server}`);
  };

  before(async () => {
    const free = await freePorts(15);
    ports = [0, 5, 10].map((from) => {
      const [http, dns, server, serfLan, serfWan] = free.slice(from) as [number, number, number, number, number];
      return { http, dns, server, serfLan, serfWan };
    });
    agents.push(...(await Promise.all([0, 1, 2].map(start))));
    await until(0, "/v1/catalog/nodes", (status, body) => status === 200 && (JSON.parse(body) as unknown[]).length === 3);
  });
  after(() => Promise.all(agents.map((agent) => agent.stop())));

  it("a follower saves what the leader has acknowledged, and restores it on every server", async () => {
    const port = (ports[await follower()] as Ports).http;
    for (let at = 0; at < 10; at++)
      assert.equal((await request(port, "PUT", `/v1/kv/big/${at}`, String(at).repeat(200_000))).status, 200);
    const agent = agents[await follower()] as RunningAgent;
    const saved = await agent.consul(["snapshot", "save", file]);
    assert.equal(saved.code, 0, saved.stderr);
    await request(port, "PUT", "/v1/kv/big/0", "changed");
    await request(port, "PUT", "/v1/kv/late", "x");
    const restored = await agent.consul(["snapshot", "restore", file]);
    assert.deepEqual([restored.stdout, restored.stderr], ["Restored snapshot\n", ""]);
    for (const at of [0, 1, 2]) {
      await until(at, "/v1/kv/late?stale", (status) => status === 404);
      await until(at, "/v1/kv/big/9?stale&raw", (status, body) => status === 200 && body === "9".repeat(200_000));
      await until(at, "/v1/kv/big/0?stale&raw", (_status, body) => body === "0".repeat(200_000));
    }
  });

  it("a server that was away meanwhile comes back to the restored state, and the group goes on", async () => {
    const away = await follower();
    agents[away]?.signal("SIGKILL");
    await agents[away]?.ended();
    const asked = [0, 1, 2].find((at) => at !== away) as number;
    const restored = await (agents[asked] as RunningAgent).consul(["snapshot", "restore", file]);
    assert.equal(restored.code, 0, restored.stderr);
    assert.equal((await request((ports[asked] as Ports).http, "PUT", "/v1/kv/after", "1")).status, 200);
    agents[away] = await start(away);
    await until(away, "/v1/kv/after?stale&raw", (status, body) => status === 200 && body === "1");
    await until(away, "/v1/kv/big/0?stale&raw", (_status, body) => body === "0".repeat(200_000));
  });

  it("without a leader a stale snapshot can be saved, and no other", async () => {
    const [first, second, third] = agents as [RunningAgent, RunningAgent, RunningAgent];
    for (const agent of [second, third]) {
      agent.signal("SIGKILL");
      await agent.ended();
    }
    const stale = await first.consul(["snapshot", "save", "-stale", join(folder, "stale.snap")]);
    assert.equal(stale.code, 0, stale.stderr);
    const refused = await first.consul(["snapshot", "save", join(folder, "none.snap")]);
    assert.match(refused.stderr, /^Error saving snapshot: Unexpected response code: 500 \(/);
  });
});
