import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import type { Logger } from "../../../core/ports/telemetry.ts";
import { createPool, parseJoinAddress, type Pool, type PoolEvent, type PoolOptions } from "../../../core/serf/pool.ts";
import { Keyring } from "../../../core/swim/keyring.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import { CountedMetrics } from "../../support/counted.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualWorld } from "../../support/virtual.ts";
import { platformCrypto } from "../swim/support.ts";

interface Agent {
  readonly pool: Pool;
  readonly events: PoolEvent[];
  readonly log: string[];
  readonly port: number;
}

async function agent(world: VirtualWorld, name: string, host: string, options: Partial<PoolOptions> = {}): Promise<Agent> {
  const events: PoolEvent[] = [];
  const log: string[] = [];
  const logger = (prefix: string): Logger => ({
    log: (level, message) => void log.push(`${level} ${prefix}: ${message}`),
    enabled: () => true,
    child: (child) => logger(`${prefix}.${child}`),
  });
  const pool = createPool({
    clock: world.clock,
    random: createRandom(seedOf(name)),
    crypto: platformCrypto,
    datagrams: world.datagrams(),
    streams: world.streams(host),
    logger: logger("agent"),
    kind: "lan",
    name,
    bind: { host, port: 8301 },
    tags: { role: "node" },
    gossip: { gossipNodes: 3, gossipInterval: 200, probeInterval: 1000, probeTimeout: 500, suspicionMult: 4, retransmitMult: 4 },
    onEvent: (event) => events.push(event),
    ...options,
  });
  const { port } = await pool.start();
  return { pool, events, log, port };
}

const status = (pool: Pool, name: string) => pool.members().find((member) => member.name === name)?.status;

describe("a gossip pool", () => {
  it("is a pool of one after it started, and says who it is", async () => {
    const world = new VirtualWorld();
    const { pool, events, log } = await agent(world, "a", "10.0.0.1");
    assert.deepEqual(pool.self(), {
      name: "a",
      address: "10.0.0.1",
      port: 8301,
      tags: { role: "node" },
      status: "alive",
      protocolMin: 1,
      protocolMax: 5,
      protocolCur: 2,
      delegateMin: 2,
      delegateMax: 5,
      delegateCur: 4,
    });
    assert.deepEqual(
      events.map((event) => event.kind),
      ["join"],
    );
    assert.deepEqual(log, ["info agent.serf.lan: serf: EventMemberJoin: a 10.0.0.1"]);
    assert.deepEqual(pool.stats(), {
      coordinate_resets: "0",
      encrypted: "false",
      event_queue: "0",
      event_time: "1",
      failed: "0",
      health_score: "0",
      intent_queue: "0",
      left: "0",
      member_time: "1",
      members: "1",
      query_queue: "0",
      query_time: "1",
    });
    await pool.stop();
  });

  it("joins by address with and without port, and both sides know at once", async () => {
    const world = new VirtualWorld();
    const first = await agent(world, "a", "10.0.0.1");
    const second = await agent(world, "b", "10.0.0.2");
    const third = await agent(world, "c", "10.0.0.3");
    assert.equal(await world.settle(second.pool.join(["10.0.0.1"])), 1);
    assert.equal(await world.settle(third.pool.join(["a/10.0.0.1:8301", "10.0.0.9:1"])), 1);
    assert.deepEqual([status(first.pool, "b"), status(second.pool, "a")], ["alive", "alive"]);
    await world.pass(5000);
    assert.equal(second.pool.members().length, 3);
  });

  it("joins all that a name stands for, and counts each", async () => {
    const world = new VirtualWorld();
    const names: Readonly<Record<string, readonly string[]>> = { "servers.test": ["10.0.0.1", "10.0.0.2", "10.0.0.9"] };
    const resolve = async (name: string): Promise<readonly string[]> => {
      const found = names[name];
      if (found === undefined) throw new Error(`lookup ${name}: no such host`);
      return found;
    };
    await agent(world, "a", "10.0.0.1");
    await agent(world, "b", "10.0.0.2");
    const streams = { ...world.streams("10.0.0.3"), resolve };
    const { pool, log } = await agent(world, "c", "10.0.0.3", { streams });
    assert.equal(await world.settle(pool.join(["c/servers.test:8301"])), 2);
    assert.equal(pool.members().length, 3);
    assert.equal(await world.settle(pool.join(["servers.test", "10.0.0.1", "gone.test"])), 3);
    const failed = log.filter((line) => line.includes("Failed"));
    const unreachable = "Failed to join 10.0.0.9: dial tcp 10.0.0.9:8301: connect: connection refused";
    assert.deepEqual(failed, [
      `debug agent.memberlist.lan: memberlist: ${unreachable}`,
      `debug agent.memberlist.lan: memberlist: ${unreachable}`,
      "warn agent.memberlist.lan: memberlist: Failed to resolve gone.test: lookup gone.test: no such host",
    ]);
    await assert.rejects(world.settle(pool.join(["x/[fd00::1"])), /: address \[fd00::1: missing '\]' in address/);
    await assert.rejects(world.settle(pool.join(["/10.0.0.1"])), /Failed to resolve \/10\.0\.0\.1: empty node name provided/);
  });

  it("joining nobody is refused in Consul's words, one line per address", async () => {
    const world = new VirtualWorld();
    const { pool } = await agent(world, "a", "10.0.0.1");
    await assert.rejects(world.settle(pool.join(["10.0.0.8:1"])), {
      code: "rejected",
      message: "1 error occurred:\n\t* Failed to join 10.0.0.8: dial tcp 10.0.0.8:1: connect: connection refused\n\n",
    });
    await assert.rejects(
      world.settle(pool.join(["10.0.0.8:1", "10.0.0.9:2"])),
      /^AgentError: 2 errors occurred:\n\t\* Failed.*\n\t\* Failed/,
    );
    assert.equal(await pool.join([]), 0);
  });

  it("a crash is failed, a goodbye is left, each told once and in order", async () => {
    const world = new VirtualWorld();
    const a = await agent(world, "a", "10.0.0.1");
    const b = await agent(world, "b", "10.0.0.2");
    const c = await agent(world, "c", "10.0.0.3");
    await world.settle(b.pool.join(["10.0.0.1"]));
    await world.settle(c.pool.join(["10.0.0.1"]));
    await world.pass(2000);
    await b.pool.stop();
    await world.pass(60_000);
    assert.deepEqual([status(a.pool, "b"), status(c.pool, "b")], ["failed", "failed"]);
    await world.settle(c.pool.leave());
    await c.pool.stop();
    await world.pass(60_000);
    assert.equal(status(a.pool, "c"), "left");
    const told = a.events.flatMap((event) => ("member" in event ? [`${event.kind} ${event.member.name}`] : []));
    assert.deepEqual(told, ["join a", "join b", "join c", "failed b", "leave c"]);
  });

  it("tells on what evidence a member was declared failed, in wall time", async () => {
    const world = new VirtualWorld();
    const agents = [];
    for (const [name, host] of [
      ["a", "10.0.0.1"],
      ["b", "10.0.0.2"],
      ["c", "10.0.0.3"],
    ] as const)
      agents.push(await agent(world, name, host));
    const [a, b] = agents as [Agent, Agent, Agent];
    for (const { pool } of agents.slice(1)) await world.settle(pool.join(["10.0.0.1"]));
    await world.pass(5000);
    const before = world.clock.wall();
    world.isolate("10.0.0.3");
    await world.pass(40_000);
    for (const { pool } of [a, b]) {
      const [accusation] = pool.evidence("c").accusations;
      assert.ok(accusation !== undefined);
      assert.equal(accusation.outcome, "dead");
      assert.ok(accusation.at >= before && accusation.at <= world.clock.wall());
      assert.ok((accusation.settledAt ?? 0) >= accusation.at);
      assert.deepEqual(pool.evidence("nobody").accusations, []);
    }
    const probes = [a, b].flatMap(({ pool }) => pool.evidence("c").accusations.map(({ grounds }) => grounds));
    const probe = probes.find(({ kind }) => kind === "probe");
    assert.ok(probe?.kind === "probe" && probe.helpers.length === 1 && probe.stream !== "unasked", JSON.stringify(probes));
  });

  it("counts what it does while it does not trust itself: longer probes, the dead without confirmation, their return", async () => {
    const world = new VirtualWorld();
    const metrics = new CountedMetrics();
    const cut = await agent(world, "a", "10.0.0.1", { metrics });
    for (const at of [2, 3, 4, 5]) {
      const other = await agent(world, String(at), `10.0.0.${at}`);
      await world.settle(other.pool.join(["10.0.0.1"]));
    }
    await world.pass(20_000);
    const counted = () =>
      ["memberlist.degraded.probe", "memberlist.degraded.timeout", "serf.member.flap"].map(
        (name) => metrics.told.get(`Counters ${name} `) as number,
      ) as [number, number, number];
    assert.deepEqual(counted(), [0, 0, 0]);
    world.isolate("10.0.0.1");
    const failed = () => cut.pool.members().filter(({ status }) => status === "failed").length;
    await world.pass(120_000, () => failed() === 4);
    const [degradedProbes, ...others] = counted();
    assert.ok(degradedProbes > 0);
    assert.deepEqual(others, [4, 0]);
    world.heal("10.0.0.1");
    await world.pass(50_000, () => failed() === 0);
    const back = cut.events.filter(({ kind }) => kind === "join").length - 5;
    assert.equal(back, 4);
    assert.equal(counted()[2], back);
  });

  it("of a process that stood still tells the length, and accuses nobody for it", async () => {
    const world = new VirtualWorld();
    let stalledUntil = 0;
    // Timers fire when the process runs again.
    const clock: typeof world.clock = {
      ...world.clock,
      after: (delay, fire) =>
        world.clock.after(delay, () => {
          if (world.now < stalledUntil) world.clock.after(stalledUntil - world.now, fire);
          else fire();
        }),
    };
    const a = await agent(world, "a", "10.0.0.1", { clock });
    const b = await agent(world, "b", "10.0.0.2");
    await world.settle(b.pool.join(["10.0.0.1"]));
    await world.pass(5000);
    assert.deepEqual(a.pool.evidence().stalls, []);
    // What comes meanwhile is lost here, as in a socket that is full.
    world.isolate("10.0.0.1");
    stalledUntil = world.now + 3000;
    await world.pass(3000);
    world.heal("10.0.0.1");
    await world.pass(1000);
    const { stalls, accusations } = a.pool.evidence();
    assert.equal(stalls.length, 1);
    assert.ok((stalls[0]?.late ?? 0) > 2500 && (stalls[0]?.late ?? 0) <= 3000, JSON.stringify(stalls));
    assert.deepEqual(
      accusations.filter(({ grounds }) => grounds.kind === "probe"),
      [],
    );
    assert.ok(a.log.some((line) => /stood still for \d+ms/.test(line)));
    await a.pool.stop();
    await b.pool.stop();
  });

  it("lives at IPv6 addresses, and is joined by them with and without brackets", async () => {
    const world = new VirtualWorld();
    const a = await agent(world, "a", "fd00::1");
    const b = await agent(world, "b", "fd00::2", { advertise: "fd00:0:0::2" });
    const c = await agent(world, "c", "fd00::3");
    assert.equal(await world.settle(b.pool.join(["[fd00::1]:8301"])), 1);
    assert.equal(await world.settle(c.pool.join(["fd00::1"])), 1);
    await world.pass(3000);
    for (const { pool } of [a, b, c]) {
      const addresses = pool.members().map(({ name, address, status }) => `${name} ${address} ${status}`);
      assert.deepEqual(addresses.sort(), ["a fd00::1 alive", "b fd00::2 alive", "c fd00::3 alive"]);
    }
    await world.pass(60_000);
    assert.equal(status(a.pool, "b"), "alive");
    for (const { pool } of [a, b, c]) await pool.stop();
  });

  it("leaving takes its propagation delay when there are others, and no time alone", async () => {
    const world = new VirtualWorld();
    const a = await agent(world, "a", "10.0.0.1");
    const b = await agent(world, "b", "10.0.0.2");
    await world.settle(b.pool.join(["10.0.0.1"]));
    const before = world.now;
    await world.settle(b.pool.leave());
    assert.ok(world.now - before >= 3000 && world.now - before < 6000, `${world.now - before}`);
    const alone = await agent(world, "c", "10.0.0.3");
    const start = world.now;
    await world.settle(alone.pool.leave());
    assert.equal(world.now, start);
    await a.pool.stop();
  });

  it("user events reach everyone; one too long is refused", async () => {
    const world = new VirtualWorld();
    const a = await agent(world, "a", "10.0.0.1");
    const b = await agent(world, "b", "10.0.0.2");
    await world.settle(b.pool.join(["10.0.0.1"]));
    await a.pool.userEvent("deploy", utf8("v1"), false);
    await world.pass(2000);
    const heard = b.events.flatMap((event) => (event.kind === "user" ? [`${event.name} ${text(event.payload)}`] : []));
    assert.deepEqual(heard, ["deploy v1"]);
    await assert.rejects(a.pool.userEvent("deploy", new Uint8Array(600), false), { code: "too-large" });
  });

  it("whom the agent refuses does not get in, by joining or by announcing itself", async () => {
    const world = new VirtualWorld();
    const refuse: NonNullable<PoolOptions["serf"]>["refuse"] = (members) => {
      const stranger = members.find((member) => member.tags["dc"] !== "dc1");
      return stranger === undefined ? undefined : `Member '${stranger.name}' part of wrong datacenter '${stranger.tags["dc"]}'`;
    };
    const a = await agent(world, "a", "10.0.0.1", { tags: { dc: "dc1" }, serf: { refuse: refuse as never } });
    const b = await agent(world, "b", "10.0.0.2", { tags: { dc: "dc2" } });
    await world.settle(b.pool.join(["10.0.0.1"]));
    await world.pass(30_000);
    assert.equal(status(a.pool, "b"), undefined);
    await assert.rejects(
      world.settle(a.pool.join(["10.0.0.2"])),
      /Failed to join 10\.0\.0\.2: Member 'b' part of wrong datacenter 'dc2'/,
    );
  });

  it("members with the same key talk, one with another key hears nothing", async () => {
    const world = new VirtualWorld();
    const ring = (fill: number) => ({ keyring: new Keyring([new Uint8Array(32).fill(fill)]) });
    const a = await agent(world, "a", "10.0.0.1", ring(1));
    const b = await agent(world, "b", "10.0.0.2", ring(1));
    const c = await agent(world, "c", "10.0.0.3", ring(2));
    assert.equal(await world.settle(b.pool.join(["10.0.0.1"])), 1);
    await assert.rejects(world.settle(c.pool.join(["10.0.0.1"])), /No installed keys could decrypt the message/);
    await world.pass(30_000);
    assert.deepEqual([status(a.pool, "b"), status(a.pool, "c")], ["alive", undefined]);
    assert.equal(a.pool.stats()["encrypted"], "true");
  });

  it("tags beyond what others accept are refused before anything starts", async () => {
    const world = new VirtualWorld();
    await assert.rejects(agent(world, "a", "10.0.0.1", { tags: { long: "x".repeat(600) } }), { code: "config-invalid" });
    await agent(world, "a", "10.0.0.1");
  });

  it("a taken port is refused; port 0 finds one that is free for datagrams and streams", async () => {
    const world = new VirtualWorld();
    const a = await agent(world, "a", "10.0.0.1");
    await assert.rejects(agent(world, "b", "10.0.0.1"), { code: "address-in-use" });
    const c = await agent(world, "c", "10.0.0.1", { bind: { host: "10.0.0.1", port: 0 } });
    assert.ok(c.port !== a.port && c.pool.self().port === c.port);
  });

  it("an exchange that stalls is cut off after its time, and the port goes on serving", async () => {
    const world = new VirtualWorld();
    const a = await agent(world, "a", "10.0.0.1");
    const silent = await world.settle(world.streams("10.0.0.7").connect({ host: "10.0.0.1", port: 8301 }, { timeout: 1000 }));
    await assert.rejects(world.settle(silent.read(), 10_100));
    const b = await agent(world, "b", "10.0.0.2");
    assert.equal(await world.settle(b.pool.join(["10.0.0.1"])), 1);
    assert.ok(a.log.some((line) => line.includes("i/o timeout")));
  });

  it("an address that cannot be one is refused in memberlist's words", async () => {
    const world = new VirtualWorld();
    const { pool } = await agent(world, "a", "10.0.0.1");
    for (const [address, reason] of [
      ["", "lookup : no such host"],
      [":8301", "lookup : no such host"],
      ["10.0.0.2:", 'strconv.ParseUint: parsing "": invalid syntax'],
      ["10.0.0.2:-1", 'strconv.ParseUint: parsing "-1": invalid syntax'],
      ["[::1]:99999", 'strconv.ParseUint: parsing "99999": value out of range'],
    ] as const)
      await assert.rejects(pool.join([address]), {
        code: "rejected",
        message: `1 error occurred:\n\t* Failed to resolve ${address}: ${reason}\n\n`,
      });
  });

  it("addresses to join are read as memberlist reads them", () => {
    const read = (address: string) => Object.values(parseJoinAddress(address, 8301)).join(" ");
    assert.equal(read("10.0.0.1"), "10.0.0.1 8301");
    assert.equal(read("consul.local:99"), "consul.local 99");
    assert.equal(read("name/10.0.0.1:99"), "10.0.0.1 99");
    assert.equal(read("::1"), "::1 8301");
    assert.equal(read("[::1]"), "::1 8301");
    assert.equal(read("[::1]:99"), "::1 99");
  });
});
