/** Servers that stand still for a while, as under a debugger or on a starved machine: what they believed is over when they go on. */
import { after, before } from "node:test";
import { below } from "../../core/ports/random.ts";
import { Group, type Server } from "../support/group.ts";
import { assert, describe, it } from "../support/harness.ts";
import { Load, seededRandom } from "../support/load.ts";
import { insist } from "../support/patience.ts";

const rounds = Number(process.env["CLUSTER_ROUNDS"] ?? 3);
const between = 150;
/** Clients by that number are the test itself. */
const self = 100;

describe("three servers under load, some of which stand still again and again", () => {
  const random = seededRandom("pauses");
  let group: Group;

  before(async () => {
    group = await Group.start();
  });
  after(() => group.stop());

  it("choose another leader, and the old one tells nothing stale when it goes on", async () => {
    const load = new Load(group, "leader", random);
    for (let round = 0; round < rounds; round++) {
      await load.acknowledged(between);
      const old = await group.leader();
      const key = load.freshKey();
      const put = (server: Server): Promise<unknown> =>
        insist(
          () => load.put(self, server, key),
          (output) => output?.kind === "took",
        );
      await put(old);
      group.pause(old);
      await put(await group.leader());
      // Asked while it stands still: it reads them first thing when it goes on, before it hears of the new leader.
      const answers = (["", "consistent", "", "consistent"] as const).map((mode, at) => load.read(self + at, old, key, mode));
      await load.acknowledged(between);
      group.resume(old);
      assert.equal((await Promise.all(answers)).length, 4);
      await group.fresh();
    }
    await load.finish();
  });

  it("go on while followers stand still in turns, and take them back", async () => {
    const load = new Load(group, "followers", random);
    for (let round = 0; round < rounds; round++) {
      await load.acknowledged(between);
      const followers = group.others(await group.leader());
      const paused = followers[below(random, followers.length)] as Server;
      group.pause(paused);
      await load.acknowledged(between);
      group.resume(paused);
      await group.fresh();
    }
    await load.finish();
  });

  it("acknowledge nothing while two of them stand still, and go on when one is back", async () => {
    const load = new Load(group, "two", random);
    await load.acknowledged(between);
    const leader = await group.leader();
    const [first, second] = group.others(leader) as [Server, Server];
    group.pause(first);
    group.pause(second);
    // It cannot know at once that it is alone: whatever it takes in, it must not acknowledge.
    const output = await load.put(self, leader, load.freshKey());
    assert.notEqual(output?.kind, "took");
    group.resume(second);
    await load.acknowledged(between);
    group.resume(first);
    await load.finish();
  });
});
