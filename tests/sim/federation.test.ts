/**
 * Two simulated datacenters of two servers each, joined by one address: they find one another, pass requests on, and while
 * they are cut off from each other each goes on by itself.
 */
import { Agent } from "../../core/agent/agent.ts";
import { nodeIdentity } from "../../core/agent/identity.ts";
import { emptySources, loadConfig } from "../../core/config/load.ts";
import { text, utf8 } from "../../core/types/bytes.ts";
import { messageOf } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import { below, between } from "../../core/ports/random.ts";
import type { SimHost } from "../../adapters/sim/sim-host.ts";
import { World } from "../../adapters/sim/world.ts";
import { configHost } from "../core/config/host.ts";
import { assert, describe, it } from "../support/harness.ts";

async function startServer(host: SimHost, datacenter: string, settings: Readonly<Record<string, unknown>>): Promise<Agent> {
  const { runtime } = host;
  const own = { node_name: host.name, server: true, datacenter, data_dir: "/data", bind_addr: host.address };
  const sources = {
    ...emptySources,
    fragments: [JSON.stringify({ ...own, performance: { leave_drain_time: "0s" }, ...settings })],
  };
  const config = await loadConfig(sources, configHost({}, [host.address]));
  const storage = await runtime.openStorage(config.dataDir);
  const nodeId = await nodeIdentity(config, storage.files, runtime.crypto, runtime.logger);
  const agent = new Agent({ runtime, storage, config, nodeId, plugins: [], sockets: true });
  await agent.start();
  return agent;
}

interface Federation {
  readonly world: World;
  /** a1 and a2 of dc1, b1 and b2 of dc2. */
  readonly a1: Agent;
  readonly a2: Agent;
  readonly b1: Agent;
  readonly b2: Agent;
  /** Nothing passes between the datacenters while this is true. */
  setCut(cut: boolean): void;
}

/** Runs `story` when each server sees all four. Only a1 is told an address in the other datacenter. */
function federated(seed: string, story: (federation: Federation) => Promise<void>): Promise<void> {
  const world = new World(seed);
  const hosts = ["a1", "a2", "b1", "b2"].map((name) => world.host(name)) as [SimHost, SimHost, SimHost, SimHost];
  const [first, second, third, fourth] = hosts;
  const inDc1 = new Set([first.address, second.address]);
  let isCut = false;
  world.network.faults.cut = (from, to) => isCut && inDc1.has(from) !== inDc1.has(to);
  const setCut = (cut: boolean): void => {
    isCut = cut;
  };
  return world.run(
    (async () => {
      const [a1, a2, b1, b2] = await Promise.all([
        startServer(first, "dc1", { bootstrap: true, retry_join_wan: [third.address], retry_interval_wan: "1s" }),
        startServer(second, "dc1", { retry_join: [first.address], retry_interval: "1s" }),
        startServer(third, "dc2", { bootstrap: true }),
        startServer(fourth, "dc2", { retry_join: [third.address], retry_interval: "1s" }),
      ]);
      for (const agent of [a1, a2, b1, b2])
        await eventually(world, 120_000, async () => assert.deepEqual(aliveIn(agent), ["a1.dc1", "a2.dc1", "b1.dc2", "b2.dc2"]));
      await story({ world, a1, a2, b1, b2, setCut });
      for (const agent of [a1, a2, b1, b2]) await agent.stop();
    })(),
  );
}

function aliveIn(agent: Agent): string[] {
  return agent.cluster
    .members("wan")
    .flatMap(({ name, status }) => (status === "alive" ? [name] : []))
    .sort();
}

const sleep = (world: World, duration: Millis): Promise<void> => new Promise((resolve) => world.at(duration, () => resolve()));

/** Tries every half second of virtual time until `act` does not fail any more, for so long. */
async function eventually<Result>(world: World, patience: Millis, act: () => Promise<Result>): Promise<Result> {
  const until = world.now + patience;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (world.now > until) throw error;
      await sleep(world, 500);
    }
  }
}

async function put(agent: Agent, key: string, value: string, datacenter = ""): Promise<void> {
  const op = { op: "set", key, value: utf8(value), flags: 0 } as const;
  const result = await agent.store.write({ kind: "kv", op, now: agent.store.now() }, { datacenter });
  if (result.kind === "rejected") throw new Error(result.message);
  assert.equal(result.kind, "took");
}

async function get(agent: Agent, key: string, datacenter = ""): Promise<string | undefined> {
  const { answer } = await agent.store.read<"kvGet">({ kind: "kvGet", key }, { consistency: "default", datacenter });
  return answer === undefined ? undefined : text(answer.value);
}

/** How asking fails, and how long that takes; "" when it does not. */
async function failure(world: World, act: () => Promise<unknown>): Promise<{ readonly message: string; readonly took: Millis }> {
  const began = world.now;
  const message = await act().then(
    () => "",
    (error: unknown) => messageOf(error),
  );
  return { message, took: world.now - began };
}

describe("two simulated datacenters", () => {
  it("are one pool of servers though only one of them was told an address, and each knows both datacenters", async () => {
    await federated("join", async ({ world, a1, a2, b1, b2 }) => {
      for (const agent of [a1, a2]) assert.deepEqual(agent.cluster.datacenters(), ["dc1", "dc2"]);
      // Until the servers of the other one have answered a ping, it is infinitely far.
      for (const agent of [b1, b2])
        await eventually(world, 60_000, async () => assert.deepEqual(agent.cluster.datacenters(), ["dc2", "dc1"]));
      await eventually(world, 60_000, async () => {
        const maps = (await a2.cluster.datacenterMaps?.()) ?? [];
        const seen = maps.map(({ datacenter, coordinates }) => [datacenter, coordinates.map(({ node }) => node).sort()]);
        assert.deepEqual(seen, [
          ["dc1", ["a1", "a2"]],
          ["dc2", ["b1", "b2"]],
        ]);
      });
    });
  });

  it("write and read in each other, wherever a request comes in, and a blocking read wakes across", async () => {
    await federated("requests", async ({ world, a2, b1, b2 }) => {
      await eventually(world, 60_000, () => put(a2, "k", "from dc1", "dc2"));
      assert.equal(await get(b2, "k"), "from dc1");
      assert.equal(await get(a2, "k", "dc2"), "from dc1");
      assert.equal(await eventually(world, 60_000, () => get(a2, "k")), undefined, "dc1 has its own keys");
      await assert.rejects(get(a2, "k", "dc3"), { code: "no-datacenter", message: "No path to datacenter" });
      assert.deepEqual(await a2.cluster.statusOf?.("dc2"), { leader: b1.cluster.leader(), peers: b1.cluster.peers() });

      const request = {
        key: "k of dc2",
        query: { kind: "kvGet", key: "k" },
        options: { consistency: "default", datacenter: "dc2" },
        render: (answer: { readonly value: Uint8Array } | undefined) => ({ value: answer && text(answer.value) }),
      } as const;
      const { meta } = await a2.store.readShared<"kvGet", { value: string | undefined }>(request);
      const waiting = a2.store.readShared<"kvGet", { value: string | undefined }>(request, {
        minIndex: meta.index,
        wait: 60_000,
      });
      await sleep(world, 5000);
      const changedAt = world.now;
      await put(b1, "k", "changed");
      assert.equal((await waiting).rendered.value, "changed");
      assert.ok(world.now - changedAt < 1000, "it came when the key changed");
    });
  });

  it("go on by themselves when they are cut off, say so within bounded time, and find each other again", async () => {
    await federated("partition", async ({ world, a1, b1, b2, setCut }) => {
      await eventually(world, 60_000, () => put(a1, "k", "before", "dc2"));
      setCut(true);
      const [first, second] = await Promise.all([
        failure(world, () => get(a1, "k", "dc2")),
        failure(world, () => put(b2, "k", "x", "dc1")),
        put(a1, "local", "dc1"),
        put(b1, "local", "dc2"),
      ]);
      for (const { message, took } of [first, second]) {
        assert.match(message, /^rpc error |^Remote DC has no server currently reachable$/);
        assert.ok(took <= 61_000, `it failed after ${took} ms`);
      }
      await eventually(world, 120_000, async () => assert.deepEqual(aliveIn(a1), ["a1.dc1", "a2.dc1"]));
      await sleep(world, 30_000);
      for (const [agent, other] of [
        [a1, "dc2"],
        [b1, "dc1"],
      ] as const) {
        const { message, took } = await failure(world, () => get(agent, "k", other));
        assert.equal(message, "Remote DC has no server currently reachable");
        assert.ok(took < 10, "gossip knows: nobody waits");
        assert.equal(await get(agent, "local"), agent === a1 ? "dc1" : "dc2");
      }
      setCut(false);
      assert.equal(await eventually(world, 300_000, () => get(a1, "k", "dc2")), "before");
      await eventually(world, 300_000, () => put(b2, "k", "after", "dc1"));
      assert.equal(await get(a1, "k"), "after");
    });
  });

  it("forget a datacenter whose servers left, also who waits for an answer from there", async () => {
    await federated("leave", async ({ world, a1, b1, b2 }) => {
      await eventually(world, 60_000, () => put(a1, "k", "v", "dc2"));
      const request = {
        key: "waiting",
        query: { kind: "kvGet", key: "k" },
        options: { consistency: "default", datacenter: "dc2" },
        render: () => ({}),
      } as const;
      const { meta } = await a1.store.readShared<"kvGet", object>(request);
      const waiting = failure(world, () =>
        a1.store.readShared<"kvGet", object>(request, { minIndex: meta.index, wait: 600_000 }),
      );
      await sleep(world, 1000);
      await b2.leave();
      await b2.stop();
      await b1.leave();
      await b1.stop();
      await eventually(world, 60_000, async () => assert.deepEqual(a1.cluster.datacenters(), ["dc1"]));
      assert.equal((await failure(world, () => get(a1, "k", "dc2"))).message, "No path to datacenter");
      assert.equal((await waiting).message, "No path to datacenter");
    });
  });
});

/** Each takes about a second. */
const seeds = Number(process.env["FEDERATION_SEEDS"] ?? 3);

describe("two simulated datacenters with lossy links, cut off from each other again and again", () => {
  for (let seed = 1; seed <= seeds; seed++)
    it(`keep what was acknowledged across, each in its own datacenter (seed ${seed})`, async () => {
      await federated(`swarm ${seed}`, async ({ world, a1, a2, b1, b2, setCut }) => {
        const random = world.random.fork("federation swarm");
        world.network.faults.loss = below(random, 30);
        world.network.faults.delayMax = 1 + below(random, 40);
        let writing = true;
        const trouble = (async () => {
          while (writing) {
            setCut(below(random, 2) === 0);
            await sleep(world, between(random, 500, 40_000));
          }
          setCut(false);
        })();
        /** Writes 1, 2, 3… to a key of the other datacenter; the last that was acknowledged. */
        const write = async (
          agent: Agent,
          datacenter: string,
        ): Promise<{ readonly acknowledged: number; readonly tried: number }> => {
          let acknowledged = 0;
          let tried = 0;
          const until = world.now + 150_000;
          while (world.now < until) {
            tried++;
            const began = world.now;
            try {
              await put(agent, "counter", String(tried), datacenter);
              acknowledged = tried;
            } catch (error) {
              assert.match(messageOf(error), /^rpc error |^Remote DC has no server currently reachable$/);
              assert.ok(world.now - began < 130_000, "a request ends");
            }
            await sleep(world, between(random, 100, 5000));
          }
          return { acknowledged, tried };
        };
        const outcomes = await Promise.all([write(a1, "dc2"), write(b1, "dc1")]);
        writing = false;
        await trouble;
        for (const [at, [home, away, datacenter]] of (
          [
            [b2, a2, "dc2"],
            [a2, b2, "dc1"],
          ] as const
        ).entries()) {
          const { acknowledged, tried } = outcomes[at] as { acknowledged: number; tried: number };
          assert.ok(acknowledged > 0, "some got through");
          const kept = Number(await eventually(world, 300_000, () => get(home, "counter")));
          assert.ok(kept >= acknowledged && kept <= tried, `${kept} of ${tried}, ${acknowledged} acknowledged`);
          assert.equal(await eventually(world, 300_000, () => get(away, "counter", datacenter)), String(kept));
        }
      });
    });
});
