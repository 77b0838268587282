/** What servers say of one another's health, and that the settings in the log are what the leader goes by. */
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { Group, readJson, type Server } from "../support/group.ts";
import { insist } from "../support/patience.ts";

interface Health {
  readonly Healthy: boolean;
  readonly FailureTolerance: number;
  readonly Servers: readonly Shown[] | null;
}

interface Shown {
  readonly ID: string;
  readonly Name: string;
  readonly Healthy: boolean;
  readonly LastTerm: number;
}

const path = "/v1/operator/autopilot/";

describe("the health of three servers", () => {
  let group: Group;
  before(async () => {
    // In its configuration dead servers stay.
    group = await Group.start();
  });
  after(() => group.stop());

  /** Undefined while nobody leads. */
  const healthAt = async (server: Server): Promise<Health | undefined> => {
    const { status, body } = await server.agent.request("GET", `${path}health`);
    if (status === 500) return undefined;
    const health = JSON.parse(body) as Health;
    assert.equal(status, health.Healthy ? 200 : 429);
    return health;
  };

  /** Asks all of them until it holds for their answers together: the leader looks every two seconds. */
  async function until(servers: readonly Server[], holds: (answers: readonly Health[]) => boolean): Promise<readonly Health[]> {
    const answers = await insist(
      () => Promise.all(servers.map(healthAt)),
      (asked) => asked.every((health) => health !== undefined) && holds(asked),
    );
    return answers as readonly Health[];
  }

  const names = (health: Health, wanted: (server: Shown) => boolean = () => true): string =>
    (health.Servers ?? [])
      .filter(wanted)
      .map(({ Name }) => Name)
      .sort()
      .join();

  it("is the same whoever is asked, and one may be lost", async () => {
    const answers = await until(group.servers, (asked) => {
      const terms = new Set(asked.flatMap(({ Servers }) => (Servers ?? []).map(({ LastTerm }) => LastTerm)));
      return asked.every(({ Healthy, FailureTolerance }) => Healthy && FailureTolerance === 1) && terms.size === 1;
    });
    const ids = answers.map(({ Servers }) => Servers?.map(({ ID }) => ID).sort());
    for (const answer of ids) assert.deepEqual(answer, ids[0]);
    assert.equal(names(answers[0] as Health), group.servers.map(({ name }) => name).join());
  });

  it("has the settings of the first leader's configuration until someone changes them, at any server", async () => {
    const [one, other] = group.servers as [Server, Server, Server];
    const shown = async (server: Server): Promise<string> =>
      (await server.agent.insist(["operator", "autopilot", "get-config"])).stdout;
    assert.match(await shown(one), /^CleanupDeadServers = false\nLastContactThreshold = 200ms\nMaxTrailingLogs = 250\n/);
    const set = await other.agent.insist(["operator", "autopilot", "set-config", "-max-trailing-logs=500"]);
    assert.equal(set.stdout, "Configuration updated!\n");
    assert.match(await shown(one), /^CleanupDeadServers = false\nLastContactThreshold = 200ms\nMaxTrailingLogs = 500\n/);
    const { ModifyIndex } = await readJson<{ ModifyIndex: number }>(one.ports.http, `${path}configuration`);
    const late = await insist(
      () => one.agent.request("PUT", `${path}configuration?cas=${ModifyIndex - 1}`, "{}"),
      ({ status }) => status === 200,
    );
    assert.equal(late.body.trim(), "false");
  });

  it("is bad while one is dead, and good again once that one is taken out, which the settings allow at run time", async () => {
    const leader = await group.leader();
    const dead = group.servers.find((server) => server !== leader) as Server;
    const rest = group.servers.filter((server) => server !== dead);
    await group.kill(dead);
    const bad = (health: Health): boolean =>
      !health.Healthy && health.FailureTolerance === 0 && names(health, ({ Healthy }) => !Healthy) === dead.name;
    await until(rest, (asked) => asked.every(bad));
    assert.equal(((await leader.agent.json("/v1/status/peers")) as string[]).length, 3);
    await leader.agent.insist(["operator", "autopilot", "set-config", "-cleanup-dead-servers=true"]);
    const good = (health: Health): boolean => health.Healthy && names(health) === rest.map(({ name }) => name).join();
    await until(rest, (asked) => asked.every(good));
    await group.fresh();
    assert.equal(((await leader.agent.json("/v1/status/peers")) as string[]).length, 2);
  });
});
