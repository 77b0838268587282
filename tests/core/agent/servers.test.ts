/** Decisions about servers, each a table of what is seen and what follows: founding, care, who may be in the pool. */
import { decideFounding } from "../../../core/agent/founding-set.ts";
import { belongs, deadServers, leavesQuorum, nextChange } from "../../../core/agent/server-care.ts";
import { poolRules, refuseInLan, refuseInWan, serverOf } from "../../../core/agent/servers.ts";
import type { Member } from "../../../core/plugin/agent-api.ts";
import type { RaftServer } from "../../../core/raft/messages.ts";
import { assert, describe, it } from "../../support/harness.ts";

/** "b", "b:failed", "b:alive:expect=3" … A server with ID and name b, at 10.0.0.98:8300. */
function member(text: string): Member {
  const [name = "", status = "alive", ...tags] = text.split(":");
  const numbers = { protocolMin: 1, protocolMax: 5, protocolCur: 2, delegateMin: 2, delegateMax: 5, delegateCur: 4 };
  return {
    name,
    address: `10.0.0.${name.charCodeAt(0)}`,
    port: 8301,
    tags: { role: "consul", dc: "dc1", id: name, port: "8300", ...Object.fromEntries(tags.map((tag) => tag.split("="))) },
    status: status as Member["status"],
    ...numbers,
  };
}
const members = (text: string): Member[] => text.split(" ").filter(Boolean).map(member);
/** "a", "b?" (a learner). */
const servers = (text: string): RaftServer[] =>
  text
    .split(" ")
    .filter(Boolean)
    .map((word) => {
      const id = word.replace("?", "");
      return { id, address: `10.0.0.${id.charCodeAt(0)}:8300`, voter: !word.endsWith("?") };
    });

describe("founding", () => {
  const cases: readonly (readonly [string, string, Partial<{ self: string; hasData: boolean }>, string])[] = [
    ["one of three", "a:alive:expect=3", {}, "wait"],
    ["two of three", "a:alive:expect=3 b:alive:expect=3", {}, "wait"],
    ["three, ours the lowest ID", "c:alive:expect=3 a:alive:expect=3 b:alive:expect=3", {}, "ask a b c"],
    ["three, ours not the lowest", "a:alive:expect=3 b:alive:expect=3 c:alive:expect=3", { self: "b" }, "follow"],
    ["more than expected", "a:alive:expect=3 b:alive:expect=3 c:alive:expect=3 d:alive:expect=3", {}, "ask a b c d"],
    ["one of three has failed", "a:alive:expect=3 b:alive:expect=3 c:failed:expect=3", {}, "wait"],
    ["one without an expectation counts, but does not found", "a b:alive:expect=3 c:alive:expect=3", { self: "b" }, "ask a b c"],
    ["a client does not count", "a:alive:expect=3 b:alive:expect=3 c:alive:role=node", {}, "wait"],
    ["another datacenter does not count", "a:alive:expect=3 b:alive:expect=3 c:alive:expect=3:dc=dc2", {}, "wait"],
    ["a conflicting expectation", "a:alive:expect=3 b:alive:expect=3 c:alive:expect=5", {}, "wait conflicting expect value: c"],
    ["one that founds alone", "a:alive:expect=3 b:alive:bootstrap=1 c:alive:expect=3", {}, "wait bootstrap mode: b"],
    ["data already", "a:alive:expect=3 b:alive:expect=3 c:alive:expect=3", { hasData: true }, "never"],
  ];
  for (const [name, seen, more, expected] of cases)
    it(`${name}: ${expected}`, () => {
      const decision = decideFounding({
        self: "a",
        expect: 3,
        hasData: false,
        datacenter: "dc1",
        members: members(seen),
        ...more,
      });
      const rest =
        decision.kind === "ask"
          ? ` ${decision.servers.map(({ id }) => id).join(" ")}`
          : decision.kind === "wait" && decision.problem !== undefined
            ? ` ${/conflicting expect value|bootstrap mode/.exec(decision.problem.message)?.[0]}: ${decision.problem.member}`
            : "";
      assert.equal(decision.kind + rest, expected);
    });
});

const autopilot = {
  cleanupDeadServers: true,
  lastContactThreshold: 200,
  maxTrailingLogs: 250,
  minQuorum: 0,
  serverStabilizationTime: 10_000,
};

describe("care for the servers", () => {
  const cases: readonly (readonly [string, string, string, Readonly<Record<string, number>>, string])[] = [
    ["all is well", "a b c", "a b c", {}, "nothing"],
    ["a new server learns first", "a b", "a b c", {}, "joined add c?"],
    ["a client is none", "a b", "a b c:alive:role=node", {}, "nothing"],
    ["a server with another port moved", "a b", "a b:alive:port=9300", {}, "moved add b"],
    ["a learner that is not healthy waits", "a b c?", "a b c", {}, "nothing"],
    ["a learner healthy for 9 s waits", "a b c?", "a b c", { c: 91_000 }, "nothing"],
    ["a learner healthy for 10 s gets its vote", "a b c?", "a b c", { c: 90_000 }, "stable add c"],
    ["one that left is removed", "a b c", "a b c:left", {}, "left remove c"],
    ["one that left stays when the rest is no quorum", "a b c", "a b:failed c:left", {}, "nothing"],
    ["the leader never removes itself", "a b c", "a:left b c", {}, "nothing"],
    ["one that failed stays for now", "a b c", "a b c:failed", {}, "nothing"],
  ];
  for (const [name, raft, seen, healthy, expected] of cases)
    it(name, () => {
      const step = nextChange({
        now: 100_000,
        self: "a",
        datacenter: "dc1",
        autopilot,
        servers: servers(raft),
        members: members(seen),
        healthySince: new Map(Object.entries(healthy)),
      });
      const { change } = step ?? {};
      const shown =
        change === undefined
          ? "nothing"
          : change.kind === "add"
            ? `${step?.why} add ${change.server.id}${change.server.voter ? "" : "?"}`
            : `${step?.why} ${change.kind} ${change.id}`;
      assert.equal(shown, expected);
    });

  it("takes in a server without data, or of the same group, and no other", () => {
    assert.equal(belongs([], "c", servers("a b")), true);
    assert.equal(belongs(["a", "b", "c"], "c", servers("a b")), true);
    assert.equal(belongs(["b", "x"], "c", servers("a b")), true);
    assert.equal(belongs(["c"], "c", servers("a b")), false);
    assert.equal(belongs(["c"], "c", servers("a c")), false);
    const strangers = new Set(["c"]);
    const view = { now: 0, self: "a", datacenter: "dc1", autopilot, healthySince: new Map<string, number>(), strangers };
    assert.equal(nextChange({ ...view, servers: servers("a b"), members: members("a b c") }), undefined);
  });

  it("counts a quorum from who is alive", () => {
    const view = (raft: string, seen: string) => ({
      servers: servers(raft),
      members: members(seen),
      datacenter: "dc1",
      self: "a",
    });
    assert.equal(leavesQuorum(view("a b c", "a b c"), ["c"]), true);
    assert.equal(leavesQuorum(view("a b", "a b"), ["b"]), true);
    assert.equal(leavesQuorum(view("a", "a"), ["a"]), false);
    assert.equal(leavesQuorum(view("a b c d", "a b:failed c:failed d"), ["d"]), false);
  });

  const dead: readonly (readonly [string, string, number, string])[] = [
    ["a b c", "a b c", 0, "- - go"],
    ["a b c", "a b c:failed", 0, "c - go"],
    ["a b c", "a b", 0, "- c go"],
    ["a b c", "a b:failed c:failed", 0, "b,c - stay"],
    ["a b c d e", "a b c d:failed", 0, "d e go"],
    ["a b c", "a b c:failed", 3, "c - stay"],
    ["a b", "a b:failed", 0, "b - stay"],
  ];
  for (const [raft, seen, minQuorum, expected] of dead)
    it(`cleans up: ${raft} with ${seen}, min_quorum ${minQuorum}: ${expected}`, () => {
      const found = deadServers({
        self: "a",
        datacenter: "dc1",
        autopilot: { ...autopilot, minQuorum },
        servers: servers(raft),
        members: members(seen),
      });
      assert.equal(
        `${found.failed.join() || "-"} ${found.unknown.join() || "-"} ${found.keep === undefined ? "go" : "stay"}`,
        expected,
      );
    });
});

describe("members of the LAN pool", () => {
  const self = { name: "a", id: "a", datacenter: "dc1" };
  const cases: readonly (readonly [string, string | undefined])[] = [
    ["a b c", undefined],
    ["b c:alive:role=node", undefined],
    ["b:alive:dc=dc2", "Member 'b' part of wrong datacenter 'dc2'"],
    ["b:alive:id=a", "Member 'b' has conflicting node ID 'a' with this agent's ID"],
    ["b c:alive:id=b", "Member 'c' has conflicting node ID 'b' with member 'b'"],
    ["b:alive:role=other", "Member 'b' is not a Consul agent"],
  ];
  for (const [seen, refusal] of cases)
    it(`${seen}: ${refusal ?? "welcome"}`, () => {
      assert.equal(refuseInLan(members(seen), self), refusal);
    });

  it("are servers only with tags that make sense", () => {
    assert.deepEqual(serverOf(member("b:alive:expect=3"), "dc1")?.address, { host: "10.0.0.98", port: 8300 });
    for (const bad of [
      "b:alive:port=x",
      "b:alive:port=0",
      "b:alive:port=70000",
      "b:alive:id=",
      "b:alive:role=node",
      "b:alive:dc=dc2",
    ])
      assert.equal(serverOf(member(bad), "dc1"), undefined, bad);
    assert.equal(serverOf(member("b:alive:expect=-1"), "dc1")?.expect, 0);
  });
});

describe("members of the WAN pool", () => {
  const cases: readonly (readonly [string, string | undefined])[] = [
    ["a b:alive:dc=dc2", undefined],
    ["a b:left:dc=dc2", undefined],
    ["a b:alive:role=node", "Member 'b' is not a server"],
    ["b:alive:port=x", "Member 'b' is not a server"],
  ];
  for (const [seen, refusal] of cases)
    it(`${seen}: ${refusal ?? "welcome"}`, () => {
      assert.equal(refuseInWan(members(seen)), refusal);
    });
});

describe("the networks of a pool", () => {
  const rules = (serfLanAllowedCidrs: readonly string[], reconnectTimeoutLan = 0) =>
    poolRules({ serfLanAllowedCidrs, serfWanAllowedCidrs: ["9.0.0.0/8"], reconnectTimeoutLan } as never, "lan");

  it("admit any address when there are none, and only theirs when there are", () => {
    assert.equal(rules([]).refuseAddress("10.1.2.3"), undefined);
    const { refuseAddress } = rules(["10.0.0.0/8", "fd00::/8"]);
    assert.equal(refuseAddress("10.1.2.3"), undefined);
    assert.equal(refuseAddress("fd00::1"), undefined);
    assert.equal(refuseAddress("192.168.0.1"), "IP 192.168.0.1 is not allowed");
    assert.equal(refuseAddress("nonsense"), "IP nonsense is not allowed");
  });

  it("leave Consul's patience with failed members, unless the configuration has another", () => {
    assert.deepEqual([rules([]).reconnectTimeout, rules([], 5000).reconnectTimeout], [undefined, 5000]);
  });
});
