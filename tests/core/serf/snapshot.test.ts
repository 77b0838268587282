import { fc } from "../../support/property.ts";
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import type { FileStore } from "../../../core/ports/storage.ts";
import { createPool, type PoolEvent } from "../../../core/serf/pool.ts";
import { parseSnapshot, renderSnapshot } from "../../../core/serf/snapshot.ts";
import { type Bytes, concat, emptyBytes, text, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualWorld } from "../../support/virtual.ts";
import { platformCrypto } from "../swim/support.ts";

const name = "serf/local.snapshot";
const written =
  "alive: b 10.0.0.2:8301\nnot-alive: b\nalive: c c 10.0.0.3:8301\nalive: six [::1]:8301\nclock: 7\nevent-clock: 3\nquery-clock: 2\n";

function memoryFiles(): FileStore & { readonly held: Map<string, Bytes> } {
  const held = new Map<string, Bytes>();
  return {
    held,
    get: async (file) => held.get(file),
    put: async (file, content) => void held.set(file, content.slice()),
    append: async (file, content) => void held.set(file, concat([held.get(file) ?? emptyBytes, content])),
    delete: async (file) => void held.delete(file),
    list: async () => [...held.keys()],
  };
}

async function agent(world: VirtualWorld, host: string, files?: FileStore) {
  const events: PoolEvent[] = [];
  const log: string[] = [];
  const logger = { log: (_: string, message: string) => void log.push(message), enabled: () => true, child: () => logger };
  const pool = createPool({
    clock: world.clock,
    random: createRandom(seedOf(`${host} ${world.now}`)),
    crypto: platformCrypto,
    datagrams: world.datagrams(),
    streams: world.streams(host),
    logger,
    kind: "lan",
    name: host,
    bind: { host, port: 8301 },
    tags: {},
    gossip: { gossipNodes: 3, gossipInterval: 200, probeInterval: 1000, probeTimeout: 500, suspicionMult: 4, retransmitMult: 4 },
    ...(files === undefined ? {} : { snapshot: { files, name, rejoinAfterLeave: false } }),
    onEvent: (event) => events.push(event),
  });
  await pool.start();
  return { pool, events, log };
}

describe("the snapshot of a pool", () => {
  it("is read line by line as Serf writes it", () => {
    const content = parseSnapshot(written, { rejoinAfterLeave: false });
    assert.deepEqual(
      [...content.alive],
      [
        ["c c", { host: "10.0.0.3", port: 8301 }],
        ["six", { host: "::1", port: 8301 }],
      ],
    );
    assert.deepEqual([content.clock, content.eventClock, content.queryClock, content.left], [7, 3, 2, false]);
    assert.deepEqual(parseSnapshot(renderSnapshot(content), { rejoinAfterLeave: false }), content);
  });

  it("after a goodbye nothing counts, unless rejoining was wanted", () => {
    assert.deepEqual(parseSnapshot(`${written}leave\n`, { rejoinAfterLeave: false }).alive.size, 0);
    assert.deepEqual(parseSnapshot(`${written}leave\n`, { rejoinAfterLeave: true }).alive.size, 2);
  });

  it("any text is read, and what cannot be is skipped", () => {
    fc.assert(
      fc.property(
        fc.string(),
        (noise) => void parseSnapshot(`alive: ${noise}\nclock: ${noise}\n${noise}`, { rejoinAfterLeave: false }),
      ),
    );
    assert.equal(
      parseSnapshot("alive: b 10.0.0.2\nalive: b 10.0.0.2:99999\nclock: 99999999999999999999\n", { rejoinAfterLeave: false })
        .clock,
      0,
    );
  });

  it("a restarted member joins again by itself, and hears no old event anew", async () => {
    const world = new VirtualWorld();
    const files = memoryFiles();
    const a = await agent(world, "10.0.0.1");
    const b = await agent(world, "10.0.0.2", files);
    await world.settle(b.pool.join(["10.0.0.1"]));
    await a.pool.userEvent("deploy", utf8("v1"), false);
    await world.pass(5000);
    await world.settle(b.pool.stop());
    assert.match(text(files.held.get(name) as Bytes), /^alive: 10\.0\.0\.1 10\.0\.0\.1:8301\nclock: \d+\nevent-clock: 1\n/);
    const again = await agent(world, "10.0.0.2", files);
    await world.pass(10_000);
    assert.equal(again.pool.members().filter((member) => member.status === "alive").length, 2);
    assert.ok(again.log.some((line) => line === "serf: Re-joined to previously known node: 10.0.0.1: 10.0.0.1:8301"));
    assert.equal(again.events.filter((event) => event.kind === "user").length, 0);
    assert.equal(b.events.filter((event) => event.kind === "user").length, 1);
  });

  it("one that left on purpose stays alone", async () => {
    const world = new VirtualWorld();
    const files = memoryFiles();
    await agent(world, "10.0.0.1");
    const b = await agent(world, "10.0.0.2", files);
    await world.settle(b.pool.join(["10.0.0.1"]));
    await world.settle(b.pool.leave());
    await world.settle(b.pool.stop());
    assert.ok(text(files.held.get(name) as Bytes).endsWith("leave\n"));
    const again = await agent(world, "10.0.0.2", files);
    await world.pass(10_000);
    assert.equal(again.pool.members().length, 1);
  });
});
