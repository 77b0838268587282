/**
 * Full mode: the keys of three whole agents are rotated, twice round, while machines lose their power and their disks what
 * was not durable. The operator does what the manual says: each step again until all members did it. Whatever happens,
 * nobody is left behind with a key the others do not know.
 */
import { Agent } from "../../core/agent/agent.ts";
import { nodeIdentity } from "../../core/agent/identity.ts";
import { emptySources, loadConfig } from "../../core/config/load.ts";
import type { KeyringRequest } from "../../core/plugin/agent-api.ts";
import { below, between } from "../../core/ports/random.ts";
import { text, toBase64 } from "../../core/types/bytes.ts";
import type { Millis } from "../../core/types/ids.ts";
import type { SimHost } from "../../adapters/sim/sim-host.ts";
import { World } from "../../adapters/sim/world.ts";
import { configHost } from "../core/config/host.ts";
import { assert, describe, it } from "../support/harness.ts";

const seeds = Number(process.env["AGENT_SEEDS"] ?? 8);
/** For one step, with crashes in between. */
const attemptsMax = 60;
const key = (fill: number): string => toBase64(new Uint8Array(32).fill(fill));

const sleep = (world: World, duration: Millis): Promise<void> => new Promise((resolve) => world.at(duration, () => resolve()));

async function start(host: SimHost, join: readonly string[]): Promise<Agent> {
  const { runtime } = host;
  const settings = {
    node_name: host.name,
    // One server; the others are clients: they take part in every change.
    server: host.name === "s1",
    ...(host.name === "s1" ? { bootstrap: true } : {}),
    data_dir: "/data",
    bind_addr: host.address,
    retry_join: join.filter((address) => address !== host.address),
    retry_interval: "2s",
    encrypt: key(1),
    ports: { serf_wan: -1 },
  };
  const config = await loadConfig({ ...emptySources, fragments: [JSON.stringify(settings)] }, configHost({}, [host.address]));
  const storage = await runtime.openStorage(config.dataDir);
  const nodeId = await nodeIdentity(config, storage.files, runtime.crypto, runtime.logger);
  const agent = new Agent({ runtime, storage, config, nodeId, plugins: [], sockets: true });
  await agent.start();
  return agent;
}

/** How often a step had to be repeated. */
async function rotate(seed: number): Promise<number> {
  const world = new World(seed);
  const random = world.random.fork("keyring");
  const hosts = ["s1", "c1", "c2"].map((name) => world.host(name));
  const addresses = hosts.map(({ address }) => address);
  world.network.faults.delayMax = 1 + below(random, 20);
  for (const host of hosts) host.disk.faults.latencyMax = 1 + below(random, 300);
  const agents: (Agent | undefined)[] = [];
  let repeated = 0;
  let done = false;

  const trouble = async (): Promise<void> => {
    while (!done) {
      await sleep(world, between(random, 200, 8000));
      const at = below(random, hosts.length);
      const host = hosts[at] as SimHost;
      agents[at] = undefined;
      host.crash(below(random, 2) === 0 ? "power" : "process");
      await sleep(world, between(random, 100, 3000));
      host.restart();
      agents[at] = await start(host, addresses);
    }
  };

  const step = async (operation: KeyringRequest["operation"], of: string): Promise<void> => {
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const request = { operation, key: of, relayFactor: 0, localOnly: false };
      // A server that loses its power never answers; the operator tries again.
      const lost = sleep(world, 15_000).then(() => undefined);
      const asked = agents[0]?.keyring?.run(request).catch(() => undefined);
      const [answer] = (await Promise.race([asked, lost])) ?? [];
      if (answer !== undefined && answer.error === "" && answer.nodes === hosts.length) return;
      repeated++;
      await sleep(world, between(random, 500, 3000));
    }
    throw new Error(`seed ${seed}: ${operation} does not succeed`);
  };

  await world.run(
    (async () => {
      agents.push(...(await Promise.all(hosts.map((host) => start(host, addresses)))));
      const troubled = trouble();
      for (const [old, fresh] of [
        [1, 2],
        [2, 3],
      ] as const) {
        await step("install", key(fresh));
        await step("use", key(fresh));
        await step("remove", key(old));
      }
      done = true;
      await troubled;
      await step("list", "");
      for (const [at, host] of hosts.entries()) {
        const members = agents[at]?.cluster.members("lan") ?? [];
        assert.deepEqual(members.map(({ name, status }) => `${name} ${status}`).sort(), ["c1 alive", "c2 alive", "s1 alive"]);
        host.crash("power");
        host.restart();
        const content = await (await host.runtime.openStorage("/data")).files.get("serf/local.keyring");
        assert.deepEqual(content === undefined ? undefined : JSON.parse(text(content)), [key(3)], `${host.name} of seed ${seed}`);
      }
    })(),
  );
  return repeated;
}

describe("the keys of three simulated agents", () => {
  it("rotate through power failures, and nobody is left behind", async () => {
    let repeated = 0;
    for (let seed = 1; seed <= seeds; seed++) repeated += await rotate(seed);
    assert.ok(repeated >= seeds, `${repeated} steps were repeated in ${seeds} seeds`);
  });
});
