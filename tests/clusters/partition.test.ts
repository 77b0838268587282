/** A datacenter on machines of their own network stacks, cut in two by a real partition, and healed. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { read } from "../support/group.ts";
import { Network } from "../support/network.ts";
import { insist } from "../support/patience.ts";
import { needsDig, type Response, run, RunningAgent, temporaryFolder } from "../support/program.ts";
import { until } from "../support/until.ts";

const missing = Network.missing();
// Not every machine lets its processes have networks of their own; the rest of this folder cuts nobody off by other means.
if (missing !== undefined) console.log(`NOT AVAILABLE: ${missing}`);

interface Check {
  readonly CheckID: string;
  readonly Node: string;
  readonly Status: string;
}
interface Member {
  readonly Name: string;
  readonly Status: number;
}
const alive = 1;
const failed = 4;

if (missing === undefined) {
  describe("three servers and two clients, each on a machine of its own", () => {
    const folder = temporaryFolder();
    let network: Network;
    /** s0, s1, s2, c3, c4. */
    const agents: RunningAgent[] = [];
    /** By number: cut off with the leader, and the others. */
    let few: number[] = [];
    let many: number[] = [];
    const at = (number: number): RunningAgent => agents[number] as RunningAgent;
    const nameOf = (number: number): string => `${number < 3 ? "s" : "c"}${number}`;

    const leaderOf = async (agent: RunningAgent): Promise<number> => {
      const leader = await until<string>(agent, "/v1/status/leader", (known) => known !== "");
      return network.machines.findIndex(({ address }) => leader === `${address}:8300`);
    };
    const reads = (agent: RunningAgent, key: string): Promise<Response> => read(agent.ports.http, `/v1/kv/${key}`, agent.address);
    const writes = (agent: RunningAgent, key: string, value: string): Promise<Response> =>
      insist(
        () => agent.request("PUT", `/v1/kv/${key}`, value),
        ({ status }) => status === 200,
      );
    const sees = (agent: RunningAgent, status: number, numbers: readonly number[]): Promise<Member[]> =>
      until<Member[]>(agent, "/v1/agent/members", (members) =>
        numbers.every((number) => members.find(({ Name }) => Name === nameOf(number))?.Status === status),
      );

    before(async () => {
      network = await Network.create(5);
      const first = (network.machines[0] as { address: string }).address;
      await Promise.all(
        network.machines.map(async ({ address, command }, number) => {
          const isServer = number < 3;
          const files = join(folder, `${number}.d`);
          mkdirSync(files);
          const service = { name: "web", port: 80, check: { ttl: "1h", status: "passing" } };
          writeFileSync(join(files, "web.json"), isServer ? "{}" : JSON.stringify({ service }));
          agents[number] = await RunningAgent.start({
            address,
            command,
            args: [
              ...(isServer ? ["-server", "-bootstrap-expect=3"] : []),
              `-node=${nameOf(number)}`,
              `-data-dir=${join(folder, String(number))}`,
              `-config-dir=${files}`,
              `-retry-join=${first}`,
              "-retry-interval=1s",
              "-hcl=performance { raft_multiplier = 1 } autopilot { cleanup_dead_servers = false }",
            ],
            ready: isServer ? /New leader elected/ : /Synced service: service=web/,
          });
        }),
      );
      for (const agent of agents) await sees(agent, alive, [0, 1, 2, 3, 4]);
    });
    after(async () => {
      await Promise.all(agents.map((agent) => agent.stop()));
      network?.remove();
    });

    it("are cut in two: the larger side goes on with a leader of its own, the smaller one refuses what it cannot keep", async () => {
      await writes(at(3), "before", "1");
      const leader = await leaderOf(at(0));
      few = [leader, 3];
      many = [0, 1, 2, 4].filter((number) => number !== leader);
      network.cut(few);

      const [follower] = many as [number];
      await writes(at(follower), "during", "2");
      assert.notEqual(await leaderOf(at(follower)), leader);
      assert.equal((await reads(at(4), "during?raw")).body, "2");

      // It may have taken in the first one before it knew that it is alone.
      const lost = await insist(
        () => at(leader).request("PUT", "/v1/kv/lost", "3"),
        ({ status, body }) => status !== 500 || body === "No cluster leader",
      );
      assert.deepEqual([lost.status, lost.body], [500, "No cluster leader"]);
      assert.equal((await at(leader).request("GET", "/v1/kv/before?raw&consistent")).status, 500);
      assert.equal((await at(leader).request("GET", "/v1/kv/before?raw&stale")).body, "1");
      assert.equal((await at(leader).request("GET", "/v1/kv/during?raw&stale")).status, 404);

      // An operator sees who belongs to the group where nobody leads it, when that is asked for.
      assert.equal((await at(leader).request("GET", "/v1/operator/raft/configuration")).status, 500);
      assert.equal((await at(leader).request("GET", "/v1/operator/raft/configuration?stale")).status, 200);
      // What is found may be old in a cache and in DNS: they answer all the same.
      assert.equal((await at(leader).request("GET", "/v1/health/service/web?cached")).status, 200);
      const server = `@${network.machines[leader]?.address}`;
      const dig = ["+short", server, "-p", String(at(leader).ports.dns), "web.service.consul"];
      if (needsDig.skip === false) assert.notEqual((await run("dig", dig)).stdout, "");
    });

    it("each side takes the other for failed, and the catalog says so", async () => {
      await sees(at(many[0] as number), failed, few);
      await sees(at(few[0] as number), failed, many);
      await until<Check[]>(at(4), "/v1/health/state/critical", (checks) =>
        few.every((number) => checks.some(({ Node, CheckID }) => Node === nameOf(number) && CheckID === "serfHealth")),
      );
      await until<{ Node: { Node: string } }[]>(
        at(4),
        "/v1/health/service/web?passing",
        (instances) => instances.map(({ Node }) => Node.Node).join() === "c4",
      );
    });

    it("are joined again: everyone is alive, one leader is followed, and what was acknowledged is everywhere", async () => {
      network.heal();
      for (const agent of agents) await sees(agent, alive, [0, 1, 2, 3, 4]);
      await until<Check[]>(at(3), "/v1/health/state/critical", (checks) => checks.length === 0);
      await until<unknown[]>(at(3), "/v1/health/service/web?passing", (instances) => instances.length === 2);
      for (const agent of agents) {
        for (const [key, value] of [
          ["before", "1"],
          ["during", "2"],
        ] as const)
          assert.equal((await reads(agent, `${key}?raw`)).body, value);
        assert.equal((await reads(agent, "lost")).status, 404);
      }
      const leaders = await insist(
        () => Promise.all(agents.map(leaderOf)),
        (told) => new Set(told).size === 1,
      );
      assert.ok([0, 1, 2].includes(leaders[0] as number));
    });
  });
}
