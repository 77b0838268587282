/** Servers of one LAN bring each other into the WAN pool: whom, under which address, when, and how often. */
import { FloodJoin } from "../../../core/agent/flood-join.ts";
import type { Member } from "../../../core/plugin/agent-api.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualClock } from "../../support/virtual-clock.ts";
import { recordingLogger } from "./rpc-pair.ts";

/** "b", "b:failed", "b:alive:wan_join_port=9"; at 10.0.0.98, with the port 8302 for the WAN. */
function member(described: string): Member {
  const [name = "", status = "alive", ...tags] = described.split(":");
  const versions = { protocolMin: 1, protocolMax: 5, protocolCur: 2, delegateMin: 2, delegateMax: 5, delegateCur: 4 };
  const standard = { role: "consul", dc: "dc1", id: name, port: "8300", wan_join_port: "8302" };
  return {
    name,
    address: name === "v" ? "fd00::1" : `10.0.0.${name.charCodeAt(0)}`,
    port: 8301,
    tags: { ...standard, ...Object.fromEntries(tags.map((tag) => tag.split("="))) },
    status: status as Member["status"],
    ...versions,
  };
}

function flood(pools: { lan: string; wan: string }, join: () => Promise<number> = async () => 1) {
  const clock = new VirtualClock();
  const joined: string[] = [];
  const lines: string[] = [];
  const members = (described: string): Member[] => described.split(" ").filter(Boolean).map(member);
  const flooding = new FloodJoin({
    clock,
    logger: recordingLogger(lines),
    datacenter: "dc1",
    lan: () => members(pools.lan),
    wan: () => members(pools.wan),
    join: (address) => {
      joined.push(address);
      return join();
    },
  });
  flooding.start();
  return { flooding, clock, joined, lines, pools };
}

describe("flood join", () => {
  const cases: readonly (readonly [string, string, string, string])[] = [
    ["nobody while all are in the WAN pool", "a b", "a.dc1 b.dc1", ""],
    ["a server that is missing there, at the port its tags name", "a b:alive:wan_join_port=9", "a.dc1", "b.dc1/10.0.0.98:9"],
    ["a server at an IPv6 address", "v", "", "v.dc1/[fd00::1]:8302"],
    ["one that has failed there and is alive here", "a b", "a.dc1 b.dc1:failed", "b.dc1/10.0.0.98:8302"],
    ["one that left there and is back here", "b", "b.dc1:left", "b.dc1/10.0.0.98:8302"],
    ["none that has failed or left here", "a b:failed c:left", "a.dc1", ""],
    ["no client", "a b:alive:role=node", "a.dc1", ""],
    ["none of another datacenter", "a b:alive:dc=dc2", "a.dc1", ""],
    ["none without a WAN pool", "b:alive:wan_join_port=-1 c:alive:wan_join_port=0 d:alive:wan_join_port=", "", ""],
    ["none of the same name elsewhere instead", "b", "b.dc2", "b.dc1/10.0.0.98:8302"],
  ];
  for (const [whom, lan, wan, expected] of cases)
    it(`joins ${whom}`, async () => {
      const { joined, clock, flooding } = flood({ lan, wan });
      await clock.advance(1);
      assert.equal(joined.join(" "), expected);
      flooding.stop();
    });

  it("tries again after a minute, also without news, and says what failed", async () => {
    const { joined, clock, lines, flooding } = flood({ lan: "b", wan: "" }, () => Promise.reject(new Error("refused")));
    await clock.advance(1);
    await clock.advance(59_000);
    assert.equal(joined.length, 1);
    await clock.advance(2000);
    assert.equal(joined.length, 2);
    assert.deepEqual([...new Set(lines)], ["debug: Failed to flood-join server at address (refused)"]);
    flooding.stop();
    await clock.advance(120_000);
    assert.equal(joined.length, 2);
  });

  it("goes round once more for news that come while it joins, and not once for each", async () => {
    const waiting: (() => void)[] = [];
    const { joined, clock, flooding, pools } = flood(
      { lan: "b", wan: "" },
      () => new Promise((resolve) => waiting.push(() => resolve(1))),
    );
    for (let news = 0; news < 5; news++) flooding.look();
    await clock.advance(1);
    assert.deepEqual(joined, ["b.dc1/10.0.0.98:8302"]);
    pools.lan = "b c";
    pools.wan = "b.dc1";
    flooding.look();
    waiting.shift()?.();
    await clock.advance(1);
    assert.deepEqual(joined.slice(1), ["c.dc1/10.0.0.99:8302"]);
    pools.wan = "b.dc1 c.dc1";
    waiting.shift()?.();
    await clock.advance(1);
    assert.equal(joined.length, 2);
    flooding.stop();
  });
});
