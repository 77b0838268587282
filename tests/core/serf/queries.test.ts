import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import { applyKeyRequest, encodeKeyRequest, encodeKeyResponse, summarise } from "../../../core/serf/keys.ts";
import { createPool, type Pool, type PoolEvent } from "../../../core/serf/pool.ts";
import { type Query, responseFlags } from "../../../core/serf/messages.ts";
import { passesFilters, QueryRing } from "../../../core/serf/query-ring.ts";
import { consulVersion, serfDefaults } from "../../../core/serf/config.ts";
import { SerfMachine } from "../../../core/serf/serf.ts";
import { decodeSerf, encodeSerf } from "../../../core/serf/wire.ts";
import { lanDefaults } from "../../../core/swim/config.ts";
import { Keyring } from "../../../core/swim/keyring.ts";
import { openPacket } from "../../../core/swim/packets.ts";
import { emptyBytes, toBase64, toHex, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualWorld } from "../../support/virtual.ts";
import { bytesOf, keysOf, platformCrypto, vectors } from "../swim/support.ts";

const key = (fill: number) => new Uint8Array(16).fill(fill);

const question: Query = {
  kind: "query",
  time: 5,
  id: 1,
  address: new Uint8Array(4),
  port: 1,
  sourceNode: "a",
  filters: undefined,
  flags: 0,
  relayFactor: 0,
  timeout: 1,
  name: "load",
  payload: undefined,
};

const gossip = {
  gossipNodes: 3,
  gossipInterval: 200,
  probeInterval: 1000,
  probeTimeout: 500,
  suspicionMult: 4,
  retransmitMult: 4,
} as const;

async function agents(count: number, keys: (number: number) => readonly Uint8Array[]) {
  const world = new VirtualWorld();
  const silent = { log() {}, enabled: () => false, child: () => silent };
  const all: { pool: Pool; events: PoolEvent[] }[] = [];
  for (let number = 1; number <= count; number++) {
    const host = `10.0.0.${number}`;
    const events: PoolEvent[] = [];
    const pool = createPool({
      clock: world.clock,
      random: createRandom(seedOf(host)),
      crypto: platformCrypto,
      datagrams: world.datagrams(),
      streams: world.streams(host),
      logger: silent,
      kind: "lan",
      name: `n${number}`,
      bind: { host, port: 8301 },
      tags: {},
      gossip,
      keyring: new Keyring(keys(number)),
      onEvent: (event) => events.push(event),
    });
    await pool.start();
    if (number > 1) await world.settle(pool.join(["10.0.0.1"]));
    all.push({ pool, events });
  }
  await world.pass(5000);
  return { world, all };
}

describe("queries", () => {
  it("reach everyone, who may leave them to others", async () => {
    const { world, all } = await agents(4, () => []);
    const [first] = all as [(typeof all)[0]];
    const answers = await world.settle(first.pool.query("load", utf8("now")));
    assert.deepEqual(answers, []);
    for (const { events } of all)
      assert.equal(events.filter((event) => event.kind === "query" && event.name === "load").length, 1);
  });

  it("one that is too large is answered by nobody, at once", async () => {
    const { world, all } = await agents(1, () => []);
    const before = world.now;
    assert.deepEqual(await world.settle((all[0] as (typeof all)[0]).pool.query("load", new Uint8Array(2000))), []);
    assert.equal(world.now, before);
  });

  it("are admitted once, and old ones not at all", () => {
    const ring = new QueryRing();
    assert.equal(ring.admit(question, 6), true);
    assert.equal(ring.admit(question, 6), false);
    assert.equal(ring.admit({ ...question, id: 2 }, 6), true);
    assert.equal(ring.admit({ ...question, id: 3 }, 1000), false);
  });

  it("of times whose place a later one took are not admitted again: nobody remembers whether they were seen", () => {
    const ring = new QueryRing();
    assert.equal(ring.admit(question, 517), true);
    assert.equal(ring.admit({ ...question, time: 517 }, 517), true);
    assert.equal(ring.admit(question, 517), false);
    assert.equal(ring.admit({ ...question, time: 517 }, 517), false);
  });

  it("of an earlier life are not answered again: a change of keys that still goes round must not be made twice", () => {
    const resume = { clock: 9, eventClock: 9, queryClock: 9 };
    const machine = new SerfMachine({
      random: createRandom(seedOf("resumed")),
      swim: { ...lanDefaults, ...gossip, name: "a", address: Uint8Array.of(10, 0, 0, 1), port: 8301, version: consulVersion },
      serf: { ...serfDefaults, name: "a", tags: {}, gossipInterval: 200 },
      keyring: new Keyring([key(1), key(2)]),
      resume,
    });
    machine.step(0, { kind: "start" });
    const receive = (time: number) => {
      const payload = encodeSerf({ ...question, time, id: time, name: "_serf_use-key", payload: encodeKeyRequest(key(2)) });
      machine.step(1, {
        kind: "datagram",
        from: { host: "10.0.0.2", port: 8301 },
        message: { kind: "user", payload },
        receivedAt: 1,
      });
      return machine.takeEvents().filter((event) => event.kind === "keys").length;
    };
    assert.deepEqual([receive(8), receive(9), receive(10)], [0, 0, 1]);
  });

  it("take one acknowledgement and one answer of each member, until their time is up", () => {
    const ring = new QueryRing();
    ring.asked(question, 100);
    const answer = { kind: "queryResponse", time: 5, id: 1, from: "b", flags: 0, payload: undefined } as const;
    const heard = (response: typeof answer | { flags: number }) => ring.answered({ ...answer, ...response }, 9) !== undefined;
    assert.deepEqual([heard(answer), heard(answer), heard({ flags: responseFlags.ack })], [true, false, true]);
    assert.equal(ring.wakeAt, 100);
    assert.equal(ring.expire(100).length, 1);
    assert.equal(ring.answered({ ...answer, from: "c" }, 9), undefined);
  });

  it("filters: by name, by tag with Go's expressions; what is not understood does not pass", () => {
    const passes = (filters: Query["filters"], tags = { role: "db" }) => passesFilters({ ...question, filters }, "a", tags);
    assert.equal(passes(undefined), true);
    assert.equal(passes([{ kind: "nodes", nodes: ["b", "a"] }]), true);
    assert.equal(passes([{ kind: "nodes", nodes: ["b"] }]), false);
    assert.equal(passes([{ kind: "tag", tag: "role", expression: "d.*" }]), true);
    assert.equal(passes([{ kind: "tag", tag: "role", expression: "^web$" }]), false);
    assert.equal(passes([{ kind: "tag", tag: "none", expression: "^$" }]), true);
    assert.equal(passes([{ kind: "tag", tag: "role", expression: "(" }]), false);
    assert.equal(passes([{ kind: "tag", tag: "role", expression: "(a+)+$" }], { role: "a".repeat(500) + "!" }), false);
    assert.equal(passes([{ kind: "unknown", encoded: emptyBytes }]), false);
  });
});

describe("the keys of a pool", () => {
  it("rotate while everyone goes on talking", async () => {
    const { world, all } = await agents(3, () => [key(1)]);
    const [first] = all as [(typeof all)[0]];
    const { pool } = first;
    assert.deepEqual((await world.settle(pool.keys("list"))).keys, { [toBase64(key(1))]: 3 });
    await world.settle(pool.keys("install", key(2)));
    await world.settle(pool.keys("use", key(2)));
    await world.settle(pool.keys("remove", key(1)));
    const summary = await world.settle(pool.keys("list"));
    assert.deepEqual([summary.keys, summary.primaryKeys], [{ [toBase64(key(2))]: 3 }, { [toBase64(key(2))]: 3 }]);
    await world.pass(30_000);
    for (const { pool, events } of all) {
      assert.deepEqual(pool.ownKeys(), [toBase64(key(2))]);
      assert.equal(events.filter((event) => event.kind === "keys").length, 3);
      assert.ok(pool.members().every((member) => member.status === "alive"));
    }
  });

  it("what members refuse is told with their names", async () => {
    const { world, all } = await agents(2, () => [key(1)]);
    const failure = await world.settle(
      (all[0] as (typeof all)[0]).pool.keys("use", key(7)).then(
        () => undefined,
        (error) => error,
      ),
    );
    assert.equal(failure.message, "2/2 nodes reported failure");
    assert.deepEqual(failure.cause.messages, {
      n1: "Requested key is not in the keyring",
      n2: "Requested key is not in the keyring",
    });
  });

  it("without encryption there is nothing to change, in Serf's words", async () => {
    const { world, all } = await agents(1, () => []);
    const failure = await world.settle(
      (all[0] as (typeof all)[0]).pool.keys("list").then(
        () => undefined,
        (error) => error,
      ),
    );
    assert.deepEqual(failure.cause.messages, { n1: "Keyring is empty (encryption not enabled)" });
    const { response } = applyKeyRequest("install", encodeKeyRequest(key(1)), new Keyring());
    assert.equal(response.message, "No keyring to modify (encryption not enabled)");
  });

  it("answers are the recorded ones to the last byte", () => {
    for (const vector of vectors(/08[01]-serf-enc-key-list/)) {
      const sealer = { crypto: platformCrypto, keyring: new Keyring(keysOf(vector)) };
      const [message] = openPacket(bytesOf(vector.hex), { sealer, verifyIncoming: true }).messages;
      assert.ok(message?.kind === "user");
      const answer = decodeSerf(message.payload);
      assert.ok(answer.kind === "queryResponse" && answer.payload !== undefined);
      const [[from, summary]] = [[answer.from, summarise([{ from: answer.from, payload: answer.payload }], 1)]] as const;
      assert.deepEqual([summary.errors, summary.messages], [0, {}], from);
      const keys = Object.keys(summary.keys);
      const [primaryKey] = Object.keys(summary.primaryKeys) as [string];
      const encoded = encodeKeyResponse({ result: true, message: "", keys, primaryKey }, () => true);
      assert.equal(toHex(encoded), toHex(answer.payload));
    }
  });

  it("a list that does not fit is cut and says so", () => {
    const keys = Array.from({ length: 60 }, (_, fill) => toBase64(key(fill)));
    const fits = (payload: Uint8Array) => payload.length <= 500;
    const encoded = encodeKeyResponse({ result: true, message: "", keys, primaryKey: keys[0] as string }, fits);
    assert.ok(fits(encoded));
    const summary = summarise([{ from: "a", payload: encoded }], 1);
    assert.match(summary.messages["a"] as string, /^truncated key list response, showing first \d+ of 60 keys$/);
  });

  it("broken answers count as errors of their member", () => {
    const summary = summarise(
      [
        { from: "a", payload: emptyBytes },
        { from: "b", payload: Uint8Array.of(8, 0xc1) },
      ],
      2,
    );
    assert.deepEqual([summary.errors, Object.keys(summary.messages)], [2, ["a", "b"]]);
  });
});
