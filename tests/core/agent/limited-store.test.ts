import { LimitedStore } from "../../../core/agent/limited-store.ts";
import type { StoreApi } from "../../../core/plugin/agent-api.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualClock } from "../../support/virtual-clock.ts";

const refusal = { code: "rate-limited", message: "RPC rate limit exceeded" };

function setUp(rpcRate: number, rpcMaxBurst: number) {
  const asked: string[] = [];
  const answer = { meta: { index: 1, knownLeader: true, lastContact: 0 }, answer: [], rendered: {} };
  const store = {
    read: () => Promise.resolve(asked.push("read") && answer),
    readNow: () => asked.push("readNow") && answer,
    readShared: () => Promise.resolve(asked.push("readShared") && answer),
    sharedNow: () => asked.push("sharedNow") && answer,
    write: () => Promise.resolve(asked.push("write") && { kind: "done" }),
    renewSession: () => Promise.resolve(asked.push("renewSession") > 0),
    now: () => 7,
  } as unknown as StoreApi;
  const clock = new VirtualClock();
  const limits = { rpcRate, rpcMaxBurst } as never;
  return { asked, clock, limited: new LimitedStore(store, clock, () => limits) };
}

describe("an agent's requests to the catalog", () => {
  const query = { kind: "nodes" } as const;

  it("that are unlimited go through, also by the short way", async () => {
    const { asked, limited } = setUp(Number.POSITIVE_INFINITY, 0);
    limited.readNow(query, "default");
    limited.sharedNow("key", "default");
    await limited.read(query, { consistency: "default" });
    await limited.readShared({ key: "k", query, options: { consistency: "default" }, render: () => ({}) });
    await limited.write({ kind: "barrier" });
    await limited.renewSession("id");
    assert.deepEqual(asked, ["readNow", "sharedNow", "read", "readShared", "write", "renewSession"]);
  });

  it("that are limited are counted once each, and refused beyond the burst until time has passed", async () => {
    const { asked, clock, limited } = setUp(1, 2);
    assert.equal(limited.readNow(query, "default"), undefined);
    assert.equal(limited.sharedNow("key", "default"), undefined);
    await limited.read(query, { consistency: "default" });
    await limited.write({ kind: "barrier" });
    await assert.rejects(limited.write({ kind: "barrier" }), refusal);
    await assert.rejects(limited.renewSession("id"), refusal);
    await assert.rejects(limited.read(query, { consistency: "stale" }), refusal);
    await clock.advance(1000);
    await limited.readShared({ key: "k", query, options: { consistency: "default" }, render: () => ({}) });
    assert.deepEqual(asked, ["read", "write", "readShared"]);
  });
});
