/** What servers say of one another's health, and that the settings in the log are what the leader goes by. */
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { Group, type Server } from "../support/group.ts";

interface Health {
  readonly Healthy: boolean;
  readonly FailureTolerance: number;
  readonly Servers:
    | readonly {
        readonly ID: string;
        readonly Name: string;
        readonly Healthy: boolean;
        readonly SerfStatus: string;
        readonly LastTerm: number;
      }[]
    | null;
}

const path = "/v1/operator/autopilot/";
const patience = 90_000;

describe("the health of three servers", () => {
  let group: Group;
  before(async () => {
    // In its configuration dead servers stay.
    group = await Group.start();
  });
  after(() => group.stop());

  const healthAt = async (server: Server): Promise<{ readonly status: number; readonly health: Health }> => {
    const { status, body } = await server.agent.request("GET", `${path}health`);
    assert.ok(status === 200 || status === 429, body);
    return { status, health: JSON.parse(body) as Health };
  };

  /** Asks until it holds: the leader looks every two seconds. */
  async function until(server: Server, holds: (health: Health) => boolean): Promise<Health> {
    const deadline = Date.now() + patience;
    for (;;) {
      const { status, health } = await healthAt(server);
      assert.equal(status, health.Healthy ? 200 : 429);
      if (holds(health)) return health;
      assert.ok(Date.now() < deadline, JSON.stringify(health));
      await server.agent.request("GET", "/v1/kv/nothing?index=1&wait=200ms");
    }
  }

  it("is the same whoever is asked, and one may be lost", async () => {
    const tolerated = (health: Health): boolean => health.Healthy && health.FailureTolerance === 1;
    const answers = await Promise.all(group.servers.map((server) => until(server, tolerated)));
    const ids = answers.map(({ Servers }) => Servers?.map(({ ID }) => ID));
    for (const answer of ids) assert.deepEqual(answer, ids[0]);
    assert.deepEqual(answers[0]?.Servers?.map(({ Name }) => Name).sort(), group.servers.map(({ name }) => name).sort());
    assert.equal(new Set(answers.flatMap(({ Servers }) => Servers?.map(({ LastTerm }) => LastTerm))).size, 1);
  });

  it("has the settings of the first leader's configuration until someone changes them, at any server", async () => {
    const [one, other] = group.servers as [Server, Server, Server];
    const shown = async (server: Server): Promise<string> =>
      (await server.agent.consul(["operator", "autopilot", "get-config"])).stdout;
    assert.match(await shown(one), /^CleanupDeadServers = false\nLastContactThreshold = 200ms\nMaxTrailingLogs = 250\n/);
    const set = await other.agent.consul(["operator", "autopilot", "set-config", "-max-trailing-logs=500"]);
    assert.deepEqual([set.code, set.stdout], [0, "Configuration updated!\n"]);
    assert.match(await shown(one), /^CleanupDeadServers = false\nLastContactThreshold = 200ms\nMaxTrailingLogs = 500\n/);
    const { ModifyIndex } = (await one.agent.json(`${path}configuration`)) as { ModifyIndex: number };
    const late = await one.agent.request("PUT", `${path}configuration?cas=${ModifyIndex - 1}`, "{}");
    assert.equal(late.body.trim(), "false");
  });

  it("is bad while one is dead, and good again once that one is taken out, which the settings allow at run time", async () => {
    const leader = await group.leader();
    const dead = group.servers.find((server) => server !== leader) as Server;
    const rest = group.servers.filter((server) => server !== dead);
    await group.kill(dead);
    for (const server of rest) {
      const { Servers, FailureTolerance } = await until(server, ({ Healthy }) => !Healthy);
      assert.deepEqual(
        Servers?.filter(({ Healthy }) => !Healthy).map(({ Name }) => Name),
        [dead.name],
      );
      assert.equal(FailureTolerance, 0);
    }
    assert.equal(((await leader.agent.json("/v1/status/peers")) as string[]).length, 3);
    const set = await leader.agent.consul(["operator", "autopilot", "set-config", "-cleanup-dead-servers=true"]);
    assert.equal(set.code, 0);
    for (const server of rest) await until(server, ({ Healthy, Servers }) => Healthy && Servers?.length === 2);
    assert.equal(((await leader.agent.json("/v1/status/peers")) as string[]).length, 2);
  });
});
