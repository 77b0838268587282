/**
 * Whole agents under faults: three servers, three clients that write and read two keys through whichever agent, with
 * either consistency, and a machine that loses its power or is cut off every now and then. One disk may be far slower
 * than the network, so that a group decides before one of its servers knows. What the clients were told must be
 * linearizable.
 */
import { History, type KeyOutput } from "../../adapters/sim/history.ts";
import type { SimHost } from "../../adapters/sim/sim-host.ts";
import { World } from "../../adapters/sim/world.ts";
import { Agent } from "../../core/agent/agent.ts";
import { nodeIdentity } from "../../core/agent/identity.ts";
import { emptySources, loadConfig } from "../../core/config/load.ts";
import type { Consistency } from "../../core/plugin/agent-api.ts";
import { below, between } from "../../core/ports/random.ts";
import { text, utf8 } from "../../core/types/bytes.ts";
import type { Millis } from "../../core/types/ids.ts";
import { configHost } from "../core/config/host.ts";
import type { Catch } from "./mutants.ts";

/** A server on a simulated machine, as `consul agent -server` starts it. */
export async function startServer(
  host: SimHost,
  servers: readonly string[],
  joins?: readonly string[],
  expect = servers.length,
): Promise<Agent> {
  const { runtime } = host;
  const config = await loadConfig(
    {
      ...emptySources,
      fragments: [
        JSON.stringify({
          node_name: host.name,
          server: true,
          data_dir: "/data",
          bind_addr: host.address,
          retry_join: joins ?? servers.filter((address) => address !== host.address),
          ...(expect === 1 ? { bootstrap: true } : { bootstrap_expect: expect }),
          ports: { serf_wan: -1 },
        }),
      ],
    },
    configHost({}, [host.address]),
  );
  const storage = await runtime.openStorage(config.dataDir);
  const nodeId = await nodeIdentity(config, storage.files, runtime.crypto, runtime.logger);
  const agent = new Agent({ runtime, storage, config, nodeId, plugins: [], sockets: true });
  await agent.start();
  return agent;
}

export const sleep = (world: World, duration: Millis): Promise<void> =>
  new Promise((resolve) => world.at(duration, () => resolve()));

export async function put(agent: Agent, key: string, value: string): Promise<void> {
  await agent.store.write({ kind: "kv", op: { op: "set", key, value: utf8(value), flags: 0 }, now: agent.store.now() });
}

export async function get(agent: Agent, key: string, consistency: Consistency = "consistent"): Promise<string | undefined> {
  const { answer } = await agent.store.read<"kvGet">({ kind: "kvGet", key }, { consistency });
  return answer === undefined ? undefined : text(answer.value);
}

/** Waits in virtual time until `act` does not fail any more. */
export async function eventually<Result>(world: World, act: () => Promise<Result>): Promise<Result> {
  for (let tries = 0; ; tries++) {
    try {
      return await act();
    } catch (error) {
      if (tries === 200) throw error;
      await sleep(world, 500);
    }
  }
}

export function machines(world: World, count: number): { hosts: SimHost[]; addresses: string[] } {
  const hosts = Array.from({ length: count }, (_, at) => world.host(`s${at + 1}`));
  return { hosts, addresses: hosts.map(({ address }) => address) };
}

/** Operations of one client. */
const operations = 40;

/** Rejects when an agent does not live on after the faults. What the clients were told is the caller's to check. */
export async function runAgentSwarm(seed: number): Promise<History> {
  const world = new World(seed);
  const random = world.random.fork("swarm");
  const { hosts, addresses } = machines(world, 3);
  const history = new History();
  const agents: (Agent | undefined)[] = [];
  const cut = new Set<string>();
  world.network.faults.delayMax = 1 + below(random, 20);
  world.network.faults.corruption = below(random, 30);
  world.network.faults.streamCuts = below(random, [1, 6, 60][below(random, 3)] as number);
  world.network.faults.cut = (from, to) => cut.has(from) || cut.has(to);
  for (const host of hosts) host.disk.faults.latencyMax = 1 + below(random, below(random, 3) === 0 ? 400 : 20);
  // From clients that hurry each other to such that leave time for elections in between.
  const pauseMax = [30, 300, 1500][below(random, 3)] as Millis;
  let working = 3;

  const trouble = async (): Promise<void> => {
    while (working > 0 && world.now < 60_000) {
      await sleep(world, between(random, 500, 6000));
      const at = below(random, 3);
      const host = hosts[at] as SimHost;
      if (agents[at] === undefined) continue;
      if (below(random, 2) === 0) {
        cut.add(host.address);
        await sleep(world, between(random, 500, 8000));
        cut.delete(host.address);
      } else {
        agents[at] = undefined;
        host.crash(below(random, 2) === 0 ? "power" : "process");
        await sleep(world, between(random, 100, 5000));
        host.restart();
        agents[at] = await startServer(host, addresses);
      }
    }
  };

  const client = async (number: number): Promise<void> => {
    const mine = random.fork(`client ${number}`);
    for (let done = 0; done < operations; done++) {
      await sleep(world, between(mine, 0, pauseMax));
      const agent = agents[below(mine, 3)];
      if (agent === undefined) continue;
      const key = `k${below(mine, 2)}`;
      const reading = below(mine, 3) > 0;
      const consistency = below(mine, 4) === 0 ? "consistent" : "default";
      const value = `${number}.${done}`;
      const answered = history.called(number, [key], reading ? { kind: "get" } : { kind: "put", value }, world.now);
      const act = async (): Promise<KeyOutput> => {
        if (reading) return { kind: "value", value: await get(agent, key, consistency), holder: undefined };
        await put(agent, key, value);
        return { kind: "took", effect: true };
      };
      // An agent that lost its power never answers; its client stops waiting.
      const lost = sleep(world, 20_000).then(() => undefined);
      const output = await Promise.race([act().catch(() => undefined), lost]);
      if (output !== undefined) answered(output, world.now);
    }
    working--;
  };

  await world.run(
    (async () => {
      agents.push(...(await Promise.all(hosts.map((host) => startServer(host, addresses)))));
      await Promise.all([trouble(), client(1), client(2), client(3)]);
      for (const agent of agents) {
        if (agent === undefined) throw new Error("an agent did not start again");
        await eventually(world, () => put(agent, "last", agent.nodeId));
      }
    })(),
    600_000,
  );
  return history;
}

/** The first seed in which the agents do not live on, or were not linearizable. */
export async function huntAgents(seeds: number): Promise<Catch | undefined> {
  for (let seed = 1; seed <= seeds; seed++) {
    let checker = "agents live on after the faults";
    try {
      const history = await runAgentSwarm(seed);
      checker = "what clients were told is linearizable";
      history.check();
    } catch (error) {
      return { seed, failure: { checker, message: error instanceof Error ? error.message : String(error) } };
    }
  }
  return undefined;
}
