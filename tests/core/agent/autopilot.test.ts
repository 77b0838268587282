/** How servers are judged, what is written for operators, and that all of it survives hostile answers. */
import { fc } from "../../support/property.ts";
import { decodeGroupHealth as decodeTold, decodeRaftStats } from "../../../core/agent/autopilot-codec.ts";
import { decodeRequest, encodeRequest } from "../../../core/agent/forwarding.ts";
import { type HealthView, HealthWatch, judgeHealth, type RaftStats } from "../../../core/agent/server-health.ts";
import { Catalog } from "../../../core/catalog/catalog.ts";
import type { AutopilotSettings } from "../../../core/catalog/records.ts";
import { decode, encode } from "../../../core/codec/cbor.ts";
import { Fields } from "../../../core/codec/fields.ts";
import { decode as unpack, encode as pack, Malformed } from "../../../core/codec/msgpack.ts";
import type { GroupHealth, Member } from "../../../core/plugin/agent-api.ts";
import { decodeAutopilot, decodeGroupHealth, encodeAutopilot, encodeGroupHealth } from "../../../core/rpc/endpoints/autopilot.ts";
import { fromHex, toHex } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { silent } from "../../support/raft-driver.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

const settings: AutopilotSettings = {
  cleanupDeadServers: true,
  lastContactThreshold: 200,
  maxTrailingLogs: 250,
  minQuorum: 0,
  serverStabilizationTime: 10_000,
  redundancyZoneTag: "",
  disableUpgradeMigration: false,
  upgradeVersionTag: "",
};

const memberOf = (id: string, status: Member["status"]): Member => ({
  name: `name of ${id}`,
  address: "10.0.0.1",
  port: 8301,
  tags: { role: "consul", dc: "dc1", id, port: "8300", build: "1.8.7:26eb2b" },
  status,
  protocolMin: 1,
  protocolMax: 5,
  protocolCur: 2,
  delegateMin: 2,
  delegateMax: 5,
  delegateCur: 4,
});

const well: RaftStats = { lastContact: 20, lastTerm: 3, lastIndex: 1000 };

function view(changes: Partial<HealthView> = {}): HealthView {
  return {
    servers: ["a", "b", "c"].map((id) => ({ id, address: `${id}:8300`, voter: true })),
    members: ["a", "b", "c"].map((id) => memberOf(id, "alive")),
    datacenter: "dc1",
    leader: "a",
    lastTerm: 3,
    lastIndex: 1000,
    stats: new Map([
      ["a", { ...well, lastContact: 0 }],
      ["b", well],
      ["c", well],
    ]),
    settings,
    contactGrace: 0,
    before: [],
    now: 5000,
    ...changes,
  };
}

const withStats = (id: string, stats: RaftStats | undefined): Partial<HealthView> => {
  const all = new Map(view().stats);
  if (stats === undefined) all.delete(id);
  else all.set(id, stats);
  return { stats: all };
};

describe("the health of a group", () => {
  it("where all is well tolerates the loss of what is above a majority", () => {
    const { healthy, failureTolerance, servers } = judgeHealth(view());
    assert.deepEqual([healthy, failureTolerance], [true, 1]);
    assert.deepEqual(servers?.[1], {
      id: "b",
      name: "name of b",
      address: "b:8300",
      status: "alive",
      version: "1.8.7",
      leader: false,
      lastContact: 20,
      lastTerm: 3,
      lastIndex: 1000,
      healthy: true,
      voter: true,
      stableSince: 5000,
    });
  });

  for (const [problem, changes] of [
    ["has not heard of the leader for too long", withStats("c", { ...well, lastContact: 201 })],
    ["never heard of the leader", withStats("c", { ...well, lastContact: Number.POSITIVE_INFINITY })],
    ["is of another term", withStats("c", { ...well, lastTerm: 2 })],
    ["is too far behind", withStats("c", { ...well, lastIndex: 749 })],
    ["does not answer", withStats("c", undefined)],
    ["failed", { members: [memberOf("a", "alive"), memberOf("b", "alive"), memberOf("c", "failed")] }],
    ["is not known to gossip", { members: [memberOf("a", "alive"), memberOf("b", "alive")] }],
  ] as const)
    it(`is bad, and tolerates nothing more, where one of three ${problem}`, () => {
      const { healthy, failureTolerance, servers } = judgeHealth(view(changes));
      assert.deepEqual([healthy, failureTolerance, servers?.map((server) => server.healthy)], [false, 0, [true, true, false]]);
    });

  it("counts servers without a vote for health, not for tolerance", () => {
    const servers = view().servers.map((server) => ({ ...server, voter: server.id !== "c" }));
    assert.equal(judgeHealth(view({ servers })).failureTolerance, 0);
    assert.equal(judgeHealth(view({ servers, ...withStats("c", undefined) })).healthy, false);
  });

  it("of a server that is in touch may be older by the time between two heartbeats", () => {
    assert.ok(judgeHealth(view({ ...withStats("c", { ...well, lastContact: 900 }), contactGrace: 1000 })).healthy);
  });

  it("says since when, and begins anew only where it changes", () => {
    const before = judgeHealth(view()).servers ?? [];
    const changes = withStats("c", { ...well, lastTerm: 2 });
    const since = (now: number, changed: Partial<HealthView>) =>
      judgeHealth(view({ before, now, ...changed })).servers?.map(({ stableSince }) => stableSince);
    assert.deepEqual(since(9000, {}), [5000, 5000, 5000]);
    assert.deepEqual(since(9000, changes), [5000, 5000, 9000]);
    assert.deepEqual(since(9000, withStats("c", undefined)), [5000, 5000, undefined]);
  });
});

describe("a leader's watch over the health of its group", () => {
  it("looks at once and then every two seconds, and forgets all when it leads no more", async () => {
    const clock = new VirtualClock();
    let asked = 0;
    const watch = new HealthWatch({
      clock,
      logger: silent,
      view: () => view(),
      statsOf: async (id) => {
        asked++;
        if (id === "c") throw new AgentError("timeout", { message: "late" });
        return well;
      },
    });
    const judged = (): readonly boolean[] | undefined => watch.current.servers?.map(({ healthy }) => healthy);
    assert.equal(judged(), undefined);
    watch.start();
    await settle();
    assert.deepEqual([asked, judged()], [3, [true, true, false]]);
    await clock.advance(2000);
    assert.equal(asked, 6);
    watch.stop();
    assert.equal(judged(), undefined);
    await clock.advance(10_000);
    assert.deepEqual([asked, clock.pending], [6, 0]);
  });

  it("ignores answers that come after it ended", async () => {
    const clock = new VirtualClock();
    let answer: (stats: RaftStats) => void = () => {};
    const watch = new HealthWatch({
      clock,
      logger: silent,
      view: () => view(),
      statsOf: () => new Promise((resolve) => (answer = resolve)),
    });
    watch.start();
    watch.stop();
    answer(well);
    await settle();
    assert.equal(watch.current.servers, undefined);
  });
});

describe("what servers tell one another of their health", () => {
  const health = judgeHealth(view(withStats("c", undefined)));

  it("comes back as it was told, and anything else is refused", () => {
    assert.deepEqual(decodeTold(decode(encode(health))), health);
    const unknown: GroupHealth = { healthy: false, failureTolerance: 0, servers: undefined };
    assert.deepEqual(decodeTold(decode(encode(unknown))), unknown);
    assert.deepEqual(decodeRaftStats({ lastContact: -1, lastTerm: 1, lastIndex: 2 })?.lastContact, Number.POSITIVE_INFINITY);
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const told = decodeTold(value);
        assert.ok(told === undefined || typeof told.healthy === "boolean");
        decodeRaftStats(value);
      }),
    );
    for (const kind of ["raftStats", "groupHealth"] as const) assert.deepEqual(decodeRequest(encodeRequest({ kind })), { kind });
  });
});

describe("what real Consul agents are told", () => {
  const health = judgeHealth(view(withStats("c", undefined)));

  it("comes back as it was told", () => {
    assert.deepEqual(decodeGroupHealth(unpack(pack(encodeGroupHealth(health)))), health);
    const record = { ...settings, maxTrailingLogs: 2n ** 64n - 1n, lastContactThreshold: 0.001, createIndex: 4, modifyIndex: 9 };
    assert.deepEqual(decodeAutopilot(new Fields(unpack(pack(encodeAutopilot(record))))), record);
  });

  it("has times as Go writes them", () => {
    const told = (stableSince: number | undefined): string => {
      const [server] = health.servers ?? [];
      assert.ok(server !== undefined);
      const written = unpack(pack(encodeGroupHealth({ ...health, servers: [{ ...server, stableSince }] })));
      const [first] = new Fields(written).list("Servers");
      return toHex(new Fields(first ?? null).bytes("StableSince") ?? new Uint8Array(0));
    };
    assert.equal(told(undefined), "01000000000000000000000000ffff");
    assert.equal(told(Date.UTC(2026, 10, 20, 16, 38, 7, 987)), "010000000ee2926e6f3ad46cc0ffff");
    const recorded = fromHex("010000000ee2926e6f3af9e19e0000");
    const answer = new Map([["Servers", [new Map([["StableSince", recorded as Uint8Array]])]]]);
    assert.equal(Math.floor((decodeGroupHealth(answer as never).servers?.[0]?.stableSince ?? 0) / 1000), 1_795_192_687);
  });

  it("that is malformed is refused as such", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          decodeGroupHealth(unpack(bytes));
        } catch (error) {
          assert.ok(error instanceof Malformed);
        }
      }),
    );
  });
});

describe("the settings in the catalog", () => {
  it("are replaced as a whole, in any case or where they are of the index that is named", () => {
    const catalog = new Catalog();
    const set = (index: number, expected: number | undefined, minQuorum: number) =>
      catalog.apply(index, { kind: "autopilot", settings: { ...settings, minQuorum }, index: expected });
    assert.equal(catalog.autopilot, undefined);
    assert.deepEqual(set(3, 2, 1), { kind: "took", effect: false });
    assert.deepEqual(set(4, 0, 1), { kind: "took", effect: true });
    assert.deepEqual(set(5, 0, 2), { kind: "took", effect: false });
    assert.deepEqual(set(6, undefined, 3), { kind: "took", effect: true });
    assert.deepEqual(set(7, 6, 4), { kind: "took", effect: true });
    assert.deepEqual(catalog.autopilot, { ...settings, minQuorum: 4, createIndex: 4, modifyIndex: 7 });
  });

  it("are part of a snapshot, and of the state's hash", () => {
    const catalog = new Catalog();
    catalog.apply(1, { kind: "barrier" });
    const empty = catalog.hash();
    catalog.apply(2, { kind: "autopilot", settings: { ...settings, maxTrailingLogs: 2n ** 64n - 1n }, index: undefined });
    assert.notEqual(catalog.hash(), empty);
    const restored = new Catalog();
    const restoring = restored.restore();
    for (const chunk of catalog.snapshot()) restoring.push(chunk);
    restoring.finish();
    assert.deepEqual(restored.autopilot, catalog.autopilot);
    assert.equal(restored.hash(), catalog.hash());
  });
});
