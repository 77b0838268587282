/** When a server may leave, and what an operator cannot take out of the group. */
import { ServerCare } from "../../../core/agent/server-care.ts";
import { leaveFault } from "../../../core/agent/server-leave.ts";
import type { Member } from "../../../core/plugin/agent-api.ts";
import type { MembershipChange, RaftServer } from "../../../core/raft/messages.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { silent } from "../../support/raft-driver.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

/** "a b?": a votes, b does not. */
const servers = (text: string): RaftServer[] =>
  text
    .split(" ")
    .map((word) => ({ id: word.replace("?", ""), address: `${word.replace("?", "")}:8300`, voter: !word.endsWith("?") }));

/** "b:failed"; a name in capitals is a client. */
const members = (text: string): Member[] =>
  text.split(" ").map((word) => {
    const [name = "", status = "alive"] = word.split(":");
    const role = name === name.toUpperCase() ? "node" : "consul";
    return {
      name,
      address: "10.0.0.1",
      port: 8301,
      tags: { role, dc: "dc1", id: name, port: "8300" },
      status: status as Member["status"],
      protocolMin: 1,
      protocolMax: 5,
      protocolCur: 2,
      delegateMin: 2,
      delegateMax: 5,
      delegateCur: 4,
    };
  });

describe("a server that is told to leave", () => {
  const cases: readonly (readonly [string, string, string, string | undefined])[] = [
    ["one of three leaves two", "a b c", "a b c", undefined],
    ["one of two leaves one", "a b", "a b", undefined],
    [
      "one of three where another failed stays: one of two is no quorum",
      "a b c",
      "a b c:failed",
      "of the 2 other servers with a vote 1 is alive",
    ],
    ["one of two where the other failed stays", "a b", "a b:failed", "of the 1 other servers with a vote 0 are alive"],
    ["one of two where gossip does not know the other stays", "a b", "a", "of the 1 other servers with a vote 0 are alive"],
    [
      "one of five where two failed stays: two of four are no quorum",
      "a b c d e",
      "a b c d:failed e:failed",
      "of the 4 other servers with a vote 2 are alive",
    ],
    ["one of five where one failed goes", "a b c d e", "a b c d e:failed", undefined],
    [
      "the only one with a vote stays while a client depends on it",
      "a",
      "a X",
      "this is the only server with a vote, and 1 other member depends on it",
    ],
    [
      "the only one with a vote stays while servers learn from it",
      "a b?",
      "a b X",
      "this is the only server with a vote, and 2 other members depend on it",
    ],
    ["the only one with a vote goes when all others went", "a", "a b:left X:left", undefined],
    ["the only one of all goes", "a", "a", undefined],
    ["one without a vote goes", "a? b", "a b", undefined],
    ["one that is in no group goes", "b c", "a b:failed c", undefined],
  ];
  for (const [name, raft, seen, reason] of cases)
    it(name, () => {
      const fault = leaveFault({ self: "a", servers: servers(raft), members: members(seen), datacenter: "dc1" });
      if (reason === undefined) assert.equal(fault, undefined);
      else {
        assert.ok(fault?.startsWith(`Not leaving: ${reason}`) === true, fault);
        assert.match(fault ?? "", /leave with -force \(\?force\)/);
      }
    });
});

describe("an operator who takes a server out", () => {
  /** The first `busy` changes meet another one under way. */
  function care(raft: string, busy = 0) {
    const changes: MembershipChange[] = [];
    const clock = new VirtualClock();
    let asked = 0;
    const unused = () => Promise.reject(new Error("not asked"));
    return {
      changes,
      clock,
      care: new ServerCare({
        clock,
        logger: silent,
        self: "a",
        datacenter: "dc1",
        autopilot: () => assert.fail("not asked"),
        members: () => [],
        servers: () => servers(raft),
        lastIndex: () => 0,
        progressOf: () => undefined,
        heartbeatInterval: 100,
        change: async (change) => {
          if (asked++ < busy) throw new AgentError("rate-limited", { message: "Another change is under way" });
          changes.push(change);
        },
        belonging: unused,
        forceLeave: unused,
      }),
    };
  }

  it("is refused the last one with a vote, in Consul's words", async () => {
    const { care: looking, changes } = care("a b?");
    await assert.rejects(looking.remove("a"), {
      code: "rejected",
      message: "Need at least one voter in configuration: {[{Nonvoter b b:8300}]}",
    });
    await assert.rejects(care("a").care.remove("a"), { message: "Need at least one voter in configuration: {[]}" });
    assert.deepEqual(changes, []);
  });

  it("is refused one that is not there, and given any other", async () => {
    const { care: looking, changes } = care("a b");
    await assert.rejects(looking.remove("c"), { message: 'id "c" was not found in the Raft configuration' });
    await looking.remove("b");
    assert.deepEqual(changes, [{ kind: "remove", id: "b" }]);
  });

  it("waits its turn while another change is under way, for four seconds", async () => {
    const soon = care("a b", 3);
    const removed = soon.care.remove("b");
    await settle();
    await soon.clock.advance(100);
    await removed;
    assert.deepEqual(soon.changes, [{ kind: "remove", id: "b" }]);
    const never = care("a b", Number.POSITIVE_INFINITY);
    const refused = assert.rejects(never.care.remove("b"), { code: "rejected", message: "Another change is under way" });
    await settle();
    await never.clock.advance(4100);
    await refused;
  });
});
