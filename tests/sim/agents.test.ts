/**
 * Full mode: whole agents in a simulated world. Gossip finds the servers, Raft runs over simulated connections, disks
 * lose what was not durable; keys go in through the store of whichever agent, and a crash takes none of them.
 */
import { describeOperation } from "../../adapters/sim/history.ts";
import type { SimHost } from "../../adapters/sim/sim-host.ts";
import { World } from "../../adapters/sim/world.ts";
import type { Agent } from "../../core/agent/agent.ts";
import { below, between } from "../../core/ports/random.ts";
import { text } from "../../core/types/bytes.ts";
import type { Millis } from "../../core/types/ids.ts";
import { assert, describe, it } from "../support/harness.ts";
import { eventually, get, machines, put, runAgentSwarm, sleep, startServer } from "./agent-swarm.ts";

/** Of the swarm; each takes about half a second. */
const seeds = Number(process.env["AGENT_SEEDS"] ?? 8);
/** Of groups that are founded; each takes about 30 ms. Seed 7 once found a server that answered before it had read
 * its data, seed 33 one that was believed to leave for ever after. */
const foundingSeeds = Number(process.env["FOUNDING_SEEDS"] ?? 60);

describe("a simulated server", () => {
  it("keeps every acknowledged key through power failures", async () => {
    for (const seed of [1, 2, 3]) {
      const world = new World(seed);
      const { hosts, addresses } = machines(world, 1);
      const [host] = hosts as [SimHost];
      await world.run(
        (async () => {
          const known = new Map<string, string>();
          for (let life = 1; life <= 4; life++) {
            const agent = await startServer(host, addresses);
            await agent.ready();
            for (const [key, value] of known) assert.equal(await get(agent, key), value, `life ${life} of seed ${seed}`);
            for (let at = 0; at < 10; at++) {
              const key = `k${at % 4}`;
              await put(agent, key, `${life}.${at}`);
              known.set(key, `${life}.${at}`);
            }
            // One more is under way when the power fails: nobody was told, and it may be there or not.
            void put(agent, "late", String(life)).catch(() => undefined);
            await sleep(world, host.runtime.random.uint32() % 3);
            host.crash("power");
            host.restart();
          }
        })(),
      );
    }
  });

  it("answers a blocking query when the key changes, in the same virtual moment for the same seed", async () => {
    const woken = async (): Promise<string> => {
      const world = new World(4);
      const { hosts, addresses } = machines(world, 1);
      const [host] = hosts as [SimHost];
      return world.run(
        (async () => {
          const agent = await startServer(host, addresses);
          await agent.ready();
          await put(agent, "a", "1");
          const request = {
            key: "a",
            query: { kind: "kvGet", key: "a" },
            options: { consistency: "default" },
            render: (answer: { readonly value: Uint8Array } | undefined) => ({ value: answer && text(answer.value) }),
          } as const;
          const first = await agent.store.readShared<"kvGet", { value: string | undefined }>(request);
          const waiting = agent.store.readShared<"kvGet", { value: string | undefined }>(request, {
            minIndex: first.meta.index,
            wait: 60_000,
          });
          await sleep(world, 1000);
          await put(agent, "a", "2");
          const second = await waiting;
          return `${second.rendered.value} at ${world.now}`;
        })(),
      );
    };
    const first = await woken();
    assert.match(first, /^2 at \d/);
    assert.equal(await woken(), first);
  });
});

describe("three simulated servers", () => {
  it("find one another, agree, and go on when the one that led loses its power, which then catches up", async () => {
    const world = new World(7);
    const { hosts, addresses } = machines(world, 3);
    await world.run(
      (async () => {
        const agents = await Promise.all(hosts.map((host) => startServer(host, addresses)));
        for (let at = 0; at < 9; at++) await eventually(world, () => put(agents[at % 3] as Agent, `k${at}`, `v${at}`));
        const leading = agents.findIndex((agent) => agent.stats()["raft"]?.["state"] === "Leader");
        assert.ok(leading >= 0, "one of them leads");
        const [host, survivor] = [hosts[leading] as SimHost, agents[(leading + 1) % 3] as Agent];
        host.crash("power");
        await eventually(world, () => put(survivor, "after", "the crash"));
        for (let at = 0; at < 9; at++) assert.equal(await eventually(world, () => get(survivor, `k${at}`)), `v${at}`);
        host.restart();
        const again = await startServer(host, addresses);
        assert.equal(await eventually(world, () => get(again, "after")), "the crash");
        await eventually(world, async () => {
          const { answer } = await again.store.read<"kvGet">({ kind: "kvGet", key: "after" }, { consistency: "stale" });
          assert.equal(answer && text(answer.value), "the crash");
        });
      })(),
    );
  });
});

describe("three simulated servers under faults", () => {
  it("answer what is linearizable, and live on afterwards", async () => {
    let answered = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      const history = await runAgentSwarm(seed);
      for (const key of ["k0", "k1"]) answered += history.of(key).filter((operation) => operation.output !== undefined).length;
      try {
        history.check();
      } catch (error) {
        const told = ["k0", "k1"].map((key) => `${key}\n${history.of(key).map(describeOperation).join("\n")}`);
        throw new Error(`seed ${seed}: ${told.join("\n")}`, { cause: error });
      }
    }
    assert.ok(answered > seeds * 20, `${answered} operations were answered in ${seeds} seeds`);
  });
});

/**
 * Three servers, or five of which three are expected, that are started within half a minute of one another on machines that
 * are slow, cut off or crash now and then, until the trouble is over; then there must be a group before long, and the same
 * one for all, and no other may have been founded. (founding-swarm.ts does the same for the founding alone, and worse.)
 */
async function founding(seed: number): Promise<void> {
  const log: string[] = [];
  const world = new World(seed);
  const random = world.random.fork("founding");
  const count = below(random, 3) === 0 ? 5 : 3;
  const hosts = Array.from({ length: count }, (_, at) => at + 1).map((number) =>
    world.host(`s${number}`, { logSink: (line) => void log.push(`${world.now.toFixed(0)} s${number} ${line}`) }),
  );
  const addresses = hosts.map(({ address }) => address);
  const cut = new Set<string>();
  const { faults } = world.network;
  faults.delayMax = 1 + below(random, 300);
  faults.loss = below(random, 300);
  faults.streamCuts = below(random, 2) === 0 ? below(random, 60) : 0;
  faults.cut = (from, to) => cut.has(from) || cut.has(to);
  for (const host of hosts) host.disk.faults.latencyMax = 1 + below(random, 2) * below(random, 3000);
  const spread = [1, 1000, 30_000][below(random, 3)] as Millis;
  // All of them name the first one, or each names the others.
  const joins = below(random, 2) === 0 ? addresses.slice(0, 1) : undefined;
  const agents: Agent[] = [];
  const start = async (host: SimHost, at: number): Promise<void> => {
    await sleep(world, between(random, 0, spread));
    agents[at] = await startServer(host, addresses, joins, 3);
  };
  const trouble = async (): Promise<void> => {
    for (let times = below(random, 4); times > 0; times--) {
      await sleep(world, between(random, 0, 15_000));
      const at = below(random, count);
      const host = hosts[at] as SimHost;
      const { address, disk } = host;
      const pause = between(random, 200, 20_000);
      if (agents[at] !== undefined && below(random, 3) === 0) {
        host.crash(below(random, 2) === 0 ? "power" : "process");
        await sleep(world, pause / 4);
        host.restart();
        agents[at] = await startServer(host, addresses, addresses, 3);
        continue;
      }
      cut.add(address);
      disk.faults.stalledUntil = world.now + pause;
      await sleep(world, pause);
      cut.delete(address);
    }
  };
  const form = async (): Promise<void> => {
    await Promise.all([...hosts.map(start), trouble()]);
    faults.loss = 0;
    faults.streamCuts = 0;
    faults.delayMax = 1;
    for (const { disk } of hosts) disk.faults.latencyMax = 1;
    const limit = sleep(world, 60_000).then(() => {
      throw new Error("no group comes about");
    });
    const all = [...addresses].map((address) => `${address}:8300`).sort();
    const member = async (agent: Agent): Promise<void> => {
      await put(agent, "last", agent.nodeId);
      assert.deepEqual([...agent.cluster.peers()].sort(), all);
    };
    await Promise.race([limit, Promise.all(agents.map((agent) => eventually(world, () => member(agent))))]);
    const founded = new Set(log.flatMap((line) => /attempting bootstrap: addresses=(\S+)/.exec(line)?.[1] ?? []));
    assert.equal(founded.size, 1, "one set of servers is founded");
  };
  await world.run(form(), 600_000).catch((error: unknown) => {
    throw new Error(`seed ${seed}: ${String(error)}\n${log.join("\n")}`, { cause: error });
  });
}

describe("three simulated servers that have no data yet", () => {
  it("become one group soon after the last was started and all reach one another", async () => {
    for (let seed = 1; seed <= foundingSeeds; seed++) await founding(seed);
  });
});
