/** Other datacenters as a server reaches them: who is asked, what is said when nobody can be, and how far they are. */
import { Datacenters } from "../../../core/agent/datacenters.ts";
import { Fields } from "../../../core/codec/fields.ts";
import { decode, encode } from "../../../core/codec/msgpack.ts";
import type { Coordinate } from "../../../core/catalog/records.ts";
import type { Member } from "../../../core/plugin/agent-api.ts";
import type { MemberEventKind } from "../../../core/serf/members.ts";
import type { Pool } from "../../../core/serf/pool.ts";
import type { RpcServer } from "../../../core/rpc/server.ts";
import { text } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { constantRandom } from "../../support/virtual-clock.ts";
import { recordingLogger, type ServedCatalog, servedCatalog, startServer, testConfig } from "./rpc-pair.ts";

/** "b1.dc2" is a server of dc2 at 10.0.2.1. */
function member(name: string, status: Member["status"] = "alive", tags: Readonly<Record<string, string>> = {}): Member {
  const [short = "", dc = ""] = name.split(".");
  const versions = { protocolMin: 1, protocolMax: 5, protocolCur: 2, delegateMin: 2, delegateMax: 5, delegateCur: 4 };
  return {
    name,
    address: `10.0.${dc.slice(2)}.${short.slice(1)}`,
    port: 8302,
    tags: { role: "consul", dc, id: name, port: "8300", ...tags },
    status,
    ...versions,
  };
}

/** `away` seconds from the origin. */
function at(away: number): Coordinate {
  return { vec: [away, 0, 0, 0, 0, 0, 0, 0], error: 1, adjustment: 0, height: 0 };
}

/** A server of dc1, and the members its WAN pool shows. */
class Federation {
  readonly members = new Map<string, Member>();
  readonly coordinates = new Map<string, Coordinate>();
  readonly lines: string[] = [];
  readonly served: ServedCatalog;
  readonly datacenters: Datacenters;

  private constructor(served: ServedCatalog, config: Awaited<ReturnType<typeof testConfig>>) {
    this.served = served;
    const pool: Pick<Pool, "members" | "coordinate" | "coordinateOf"> = {
      members: () => [...this.members.values()],
      coordinate: () => at(0),
      coordinateOf: (name) => this.coordinates.get(name),
    };
    this.datacenters = new Datacenters({
      streams: served.world.streams("10.0.1.1"),
      clock: served.world.clock,
      random: constantRandom(),
      logger: recordingLogger(this.lines),
      config: () => config,
      pool: () => pool as Pool,
    });
    this.hear("join", member("a1.dc1"));
  }

  static async create(): Promise<Federation> {
    return new Federation(await servedCatalog(), await testConfig());
  }

  hear(change: MemberEventKind, about: Member): void {
    if (change === "reap") this.members.delete(about.name);
    else this.members.set(about.name, about);
    this.datacenters.onMember(change, about);
  }

  /** A server that answers for dc2. Its catalog calls itself dc1, which nobody minds here. */
  async serve(name: string): Promise<RpcServer> {
    const { address } = member(name);
    const handlers = new Map([...this.served.handlers, ["Test.Echo", async (args: Fields) => args.map] as const]);
    const server = await startServer({ ...this.served, handlers }, address);
    this.hear("join", member(name));
    return server;
  }

  leader(datacenter: string): Promise<string> {
    return this.served.world.settle(
      (async () =>
        text((await this.datacenters.call(datacenter, { method: "Status.Leader", args: {}, isRead: true })) as Uint8Array))(),
    );
  }
}

const noPath = { code: "no-datacenter", message: "No path to datacenter" };
const unreachable = { code: "rejected", message: "Remote DC has no server currently reachable" };

describe("another datacenter", () => {
  it("that no server is known of has no path, for a store, a call and a snapshot alike", async () => {
    const { datacenters } = await Federation.create();
    assert.throws(() => datacenters.store("dc2"), noPath);
    assert.throws(() => datacenters.snapshots("dc2"), noPath);
    await assert.rejects(datacenters.call("dc2", { method: "Status.Leader", args: {}, isRead: true }), noPath);
  });

  it("is asked through a server that joined, and not any more when the last one left or was reaped", async () => {
    for (const change of ["leave", "reap"] as const) {
      const federation = await Federation.create();
      await federation.serve("b1.dc2");
      assert.equal(await federation.leader("dc2"), "127.0.0.1:8300");
      federation.hear(change, member("b1.dc2", "left"));
      await assert.rejects(federation.leader("dc2"), noPath);
    }
  });

  it("is asked through the next server when one does not answer", async () => {
    const federation = await Federation.create();
    await federation.serve("b2.dc2");
    federation.hear("join", member("b1.dc2"));
    assert.equal(await federation.leader("dc2"), "127.0.0.1:8300");
    assert.deepEqual(federation.datacenters.names(), ["dc1", "dc2"]);
  });

  it("is asked though gossip holds its server for failed, as long as that one answers", async () => {
    const federation = await Federation.create();
    await federation.serve("b1.dc2");
    federation.hear("failed", member("b1.dc2", "failed"));
    await federation.served.world.pass(10_000);
    assert.equal(await federation.leader("dc2"), "127.0.0.1:8300");
  });

  it("is out of reach at once when gossip holds its servers for failed and none answers, and back when one joins again", async () => {
    const federation = await Federation.create();
    const { world } = federation.served;
    await federation.serve("b1.dc2");
    world.isolate("10.0.2.1");
    federation.hear("failed", member("b1.dc2", "failed"));
    await world.pass(20_000);
    const before = world.now;
    await assert.rejects(federation.leader("dc2"), unreachable);
    assert.throws(() => federation.datacenters.store("dc2"), unreachable);
    assert.equal(world.now, before);
    world.heal("10.0.2.1");
    federation.hear("join", member("b1.dc2"));
    assert.equal(await federation.leader("dc2"), "127.0.0.1:8300");
  });

  it("tells who is waiting that it is out of reach, when a connection that was cut off would not", async () => {
    const federation = await Federation.create();
    const { world } = federation.served;
    await federation.serve("b1.dc2");
    const query = { kind: "kvGet", key: "k" } as const;
    const options = { consistency: "default" } as const;
    federation.served.set("k", "v");
    const store = federation.datacenters.store("dc2");
    const { meta } = await world.settle(store.read<"kvGet">(query, options));
    const request = { key: "k", query, options, render: () => ({}) };
    const waiting = store.readShared<"kvGet", object>(request, { minIndex: meta.index, wait: 300_000 });
    const told = waiting.then(
      () => "answered",
      (error: unknown) => `${(error as Error).message} after ${world.now - began}`,
    );
    const began = world.now;
    await world.pass(1000);
    world.isolate("10.0.2.1");
    federation.hear("failed", member("b1.dc2", "failed"));
    assert.match(await world.settle(told), /^Remote DC has no server currently reachable after (\d{1,4}|1\d{4})(\.|$)/);
  });

  it("is passed a call as it came, with what is not known here, and its answer comes back so", async () => {
    const federation = await Federation.create();
    await federation.serve("b1.dc2");
    const request = encode({
      AllowStale: true,
      Datacenter: "dc2",
      Unheard: [1, null, "x", new Map([["b", true]])],
      Z: 2n ** 63n,
    });
    const args = new Fields(decode(request));
    const answer = await federation.served.world.settle(federation.datacenters.forward("dc2", "Test.Echo", args));
    assert.deepEqual(encode(answer), request);
  });

  it("is no affair of members that are no servers, nor is this one's own", async () => {
    const federation = await Federation.create();
    federation.hear("join", member("c1.dc2", "alive", { role: "node" }));
    federation.hear("join", member("d1.dc2", "alive", { port: "x" }));
    assert.deepEqual(federation.datacenters.names(), ["dc1"]);
    assert.throws(() => federation.datacenters.store("dc2"), noPath);
    assert.throws(() => federation.datacenters.store("dc1"), noPath);
    assert.deepEqual(federation.lines, [
      "info: Handled event for server in area",
      "warn: Non-server in server-only area",
      "warn: Non-server in server-only area",
      "warn: RPC request for DC is currently failing as no path was found",
      "warn: RPC request for DC is currently failing as no path was found",
    ]);
  });

  it("does not grow in number without bound", async () => {
    const federation = await Federation.create();
    for (let dc = 2; dc < 700; dc++) federation.hear("join", member(`b1.dc${dc}`));
    assert.doesNotThrow(() => federation.datacenters.store("dc513"));
    assert.throws(() => federation.datacenters.store("dc514"), noPath);
    await federation.datacenters.stop();
  });

  it("is closed with the agent: whoever waits is told so", async () => {
    const federation = await Federation.create();
    const { world } = federation.served;
    await federation.serve("b1.dc2");
    const query = { kind: "kvGet", key: "k" } as const;
    const options = { consistency: "default" } as const;
    const store = federation.datacenters.store("dc2");
    const { meta } = await world.settle(store.read<"kvGet">(query, options));
    const waiting = store.readShared<"kvGet", object>(
      { key: "k", query, options, render: () => ({}) },
      { minIndex: meta.index, wait: 0 },
    );
    const refused = assert.rejects(waiting, { code: "closed" });
    await world.pass(100);
    await federation.datacenters.stop();
    await refused;
    assert.throws(() => federation.datacenters.store("dc2"), noPath);
  });
});

describe("the datacenters by distance", () => {
  const cases: readonly (readonly [string, Readonly<Record<string, number | undefined>>, readonly string[]])[] = [
    ["alone", {}, ["dc1"]],
    ["the nearer one first, whatever its name", { "b1.dc2": 0.2, "b1.dc3": 0.1 }, ["dc1", "dc3", "dc2"]],
    ["by the median of each", { "b1.dc2": 0.01, "b2.dc2": 0.3, "b3.dc2": 0.4, "b1.dc3": 0.2 }, ["dc1", "dc3", "dc2"]],
    ["of two servers the farther one counts", { "b1.dc2": 0.01, "b2.dc2": 0.3, "b1.dc3": 0.2 }, ["dc1", "dc3", "dc2"]],
    ["unknown distances last, by name", { "b1.dc4": undefined, "b1.dc3": undefined, "b1.dc5": 9 }, ["dc1", "dc5", "dc3", "dc4"]],
    ["equal distances by name", { "b1.dc3": 0.1, "b1.dc2": 0.1 }, ["dc1", "dc2", "dc3"]],
    ["at no distance beside this one, by name", { "b1.dc0": 0 }, ["dc0", "dc1"]],
  ];
  for (const [name, distances, expected] of cases)
    it(name, async () => {
      const federation = await Federation.create();
      for (const [server, away] of Object.entries(distances)) {
        federation.hear("join", member(server));
        if (away !== undefined) federation.coordinates.set(server, at(away));
      }
      assert.deepEqual(federation.datacenters.byDistance(), expected);
    });

  it("leave out servers that left, and keep those that failed", async () => {
    const federation = await Federation.create();
    federation.hear("join", member("b1.dc2"));
    federation.hear("failed", member("b1.dc2", "failed"));
    assert.deepEqual(federation.datacenters.byDistance(), ["dc1", "dc2"]);
    federation.hear("leave", member("b1.dc2", "left"));
    assert.deepEqual(federation.datacenters.byDistance(), ["dc1"]);
  });
});

describe("the map of datacenters", () => {
  it("names servers as their own datacenter does, and leaves out those whose place is not known", async () => {
    const federation = await Federation.create();
    for (const name of ["b1.dc2", "b2.dc2", "c1.dc3"]) federation.hear("join", member(name));
    federation.coordinates.set("a1.dc1", at(0));
    federation.coordinates.set("b2.dc2", at(1));
    assert.deepEqual(federation.datacenters.maps(), [
      { datacenter: "dc1", areaId: "wan", coordinates: [{ node: "a1", coordinate: at(0) }] },
      { datacenter: "dc2", areaId: "wan", coordinates: [{ node: "b2", coordinate: at(1) }] },
    ]);
  });
});
