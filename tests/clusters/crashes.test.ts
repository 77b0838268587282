/** Servers that are killed as by a power cut, under load: nothing acknowledged is lost, and nobody is told anything untrue. */
import { after, before } from "node:test";
import { below } from "../../core/ports/random.ts";
import { Group, type Server } from "../support/group.ts";
import { assert, describe, it } from "../support/harness.ts";
import { Load, seededRandom } from "../support/load.ts";

/** How often each is killed. */
const rounds = Number(process.env["CLUSTER_ROUNDS"] ?? 3);
/** Writes acknowledged between two faults. */
const between = 150;

describe("three servers under load, some of which are killed again and again", () => {
  const random = seededRandom("crashes");
  let group: Group;

  before(async () => {
    group = await Group.start();
  });
  after(() => group.stop());

  it("go on after kill -9 of the leader", async () => {
    const load = new Load(group, "leader", random);
    for (let round = 0; round < rounds; round++) {
      await load.acknowledged(between);
      const leader = await group.leader();
      await group.kill(leader);
      await load.acknowledged(between);
      await group.restart(leader);
    }
    const { failedReads } = await load.finish();
    assert.equal(failedReads, 0, "a read is held until there is a leader");
  });

  it("go on after kill -9 of a follower", async () => {
    const load = new Load(group, "follower", random);
    for (let round = 0; round < rounds; round++) {
      await load.acknowledged(between);
      const followers = group.others(await group.leader());
      const killed = followers[below(random, followers.length)] as Server;
      await group.kill(killed);
      await load.acknowledged(between);
      await group.restart(killed);
    }
    const { failedReads } = await load.finish();
    assert.equal(failedReads, 0);
  });

  it("are restarted one after the other in good order, and no read at the others fails", async () => {
    const load = new Load(group, "rolling", random);
    for (const server of group.servers) {
      await load.acknowledged(between);
      await group.terminate(server);
      await load.acknowledged(between);
      await group.restart(server);
    }
    const { failedReads } = await load.finish();
    assert.equal(failedReads, 0);
  });

  it("come back after kill -9 of all three at once, with all that was acknowledged", async () => {
    const load = new Load(group, "all", random);
    for (let round = 0; round < rounds; round++) {
      await load.acknowledged(between);
      await Promise.all(group.servers.map((server) => group.kill(server)));
      await Promise.all(group.servers.map((server) => group.begin(server)));
      await group.fresh();
      for (const { agent } of group.servers) assert.match(agent.output, /Raft data found, disabling bootstrap mode/);
    }
    await load.acknowledged(between);
    await load.finish();
  });
});
