/** Founding a group: the promises that it stands on hold when the founder acts, however long it was away. */
import { Bootstrap } from "../../../core/agent/bootstrap.ts";
import type { Member } from "../../../core/plugin/agent-api.ts";
import type { RaftServer } from "../../../core/raft/messages.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { silent } from "../../support/raft-driver.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

function member(id: string): Member {
  const numbers = { protocolMin: 1, protocolMax: 5, protocolCur: 2, delegateMin: 2, delegateMax: 5, delegateCur: 4 };
  const tags = { role: "consul", dc: "dc1", id, port: "8300", expect: "3" };
  return { name: id, address: "10.0.0.1", port: 8301, tags, status: "alive", ...numbers };
}

function founder() {
  const clock = new VirtualClock();
  const founded: (readonly RaftServer[])[] = [];
  const asked: ((answer: unknown) => void)[] = [];
  const bootstrap = new Bootstrap({
    clock,
    logger: silent,
    self: "a",
    expect: 3,
    datacenter: "dc1",
    members: () => [member("a"), member("b"), member("c")],
    hasData: () => false,
    ask: () => new Promise((resolve) => asked.push(resolve)),
    found: (servers) => founded.push(servers),
  });
  bootstrap.start();
  const promise = async (): Promise<void> => {
    for (const answer of asked.splice(0)) answer({ hasData: false, promised: true });
    await settle();
  };
  return { clock, founded, promise, asked, bootstrap };
}

describe("a server that founds a group", () => {
  it("does so with the promise of all others", async () => {
    const { founded, promise } = founder();
    await promise();
    assert.deepEqual(
      founded.map((servers) => servers.map(({ id }) => id)),
      [["a", "b", "c"]],
    );
  });

  it("asks again when it stood still for so long that the promises may have gone to another", async () => {
    const { clock, founded, promise, asked } = founder();
    await clock.advance(10_000);
    await promise();
    assert.deepEqual(founded, []);
    await clock.advance(100);
    assert.equal(asked.length, 2);
    await promise();
    assert.equal(founded.length, 1);
  });
});
