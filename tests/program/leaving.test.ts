/**
 * Clients that go away while an agent lets them wait: nothing of them is left, neither where they asked nor, when that is
 * a client agent, at the server.
 */
import { connect, type Socket } from "node:net";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { insist } from "../support/patience.ts";
import { RunningAgent, temporaryFolder } from "../support/program.ts";

/** Below `limits.http_max_conns_per_client`, which is 200: a connection that stays open takes a place from the next round. */
const atOnce = 125;
const rounds = 8;

interface Metrics {
  readonly Gauges: readonly { readonly Name: string; readonly Value: number }[];
}

async function waiting(agent: RunningAgent): Promise<number> {
  const { Gauges } = (await agent.json("/v1/agent/metrics")) as Metrics;
  return Gauges.find(({ Name }) => Name === "consul.rpc.queries_blocking")?.Value ?? 0;
}

/** The agent looks at this number every ten seconds; in between it is asked for events, which it holds back for a while. */
async function untilWaiting(agent: RunningAgent, holds: (count: number) => boolean): Promise<void> {
  const events = await agent.request("GET", "/v1/event/list");
  await insist(async () => {
    await agent.request("GET", `/v1/event/list?index=${events.headers["x-consul-index"]}&wait=200ms`);
    return waiting(agent);
  }, holds);
}

/** Sends a request whose answer will take ten minutes. */
function ask(agent: RunningAgent, target: string, header = ""): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: agent.address, port: agent.ports.http, allowHalfOpen: true }, () => {
      socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\n${header}\r\n`, () => resolve(socket));
    });
    socket.on("error", reject);
  });
}

const closed = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once("close", () => resolve()));

/** The ways to go. */
const ways: readonly ((socket: Socket) => void)[] = [
  (socket) => socket.destroy(),
  (socket) => socket.resetAndDestroy(),
  // Ends its half, as `nc -N` does; the agent ends the other.
  (socket) => {
    socket.on("data", () => {});
    socket.end();
  },
];

describe("clients that go away while they wait", () => {
  let server: RunningAgent;
  let client: RunningAgent;
  before(async () => {
    server = await RunningAgent.start({ args: ["-dev", "-node=server", "-hcl", "disable_update_check = true"] });
    const join = `-join=127.0.0.1:${server.ports.serfLan}`;
    client = await RunningAgent.start({
      args: ["-node=client", "-bind=127.0.0.1", `-data-dir=${temporaryFolder()}`, join],
      ready: /Synced node info/,
    });
    assert.equal((await server.request("PUT", "/v1/kv/a", "1")).status, 200);
    assert.equal((await client.request("PUT", "/v1/agent/service/register", '{"Name":"web"}')).status, 200);
    assert.equal((await server.request("PUT", "/v1/agent/service/register", '{"Name":"web"}')).status, 200);
  });
  after(() => Promise.all([client?.stop(), server?.stop()]));

  const targets = async (agent: RunningAgent): Promise<readonly string[]> => {
    const paths = ["/v1/kv/a", "/v1/health/service/web", "/v1/catalog/nodes", "/v1/event/list", "/v1/internal/ui/services"];
    const blocking = await Promise.all(
      paths.map(async (path) => `${path}?wait=10m&index=${(await agent.request("GET", path)).headers["x-consul-index"]}`),
    );
    const hash = (await agent.request("GET", "/v1/agent/service/web")).headers["x-consul-contenthash"];
    return [...blocking, `/v1/agent/service/web?wait=10m&hash=${hash}`, "/v1/agent/monitor?loglevel=err"];
  };

  for (const [name, agentOf] of [
    ["a server", () => server],
    ["a client agent", () => client],
  ] as const)
    it(`a thousand of them leave nothing behind at ${name}`, async () => {
      const agent = agentOf();
      const all = await targets(agent);
      const headers = ["", "X-Consul-Token: 0\r\n", "Upgrade: x\r\n"];
      for (let round = 0; round < rounds; round++) {
        const sockets = await Promise.all(
          Array.from({ length: atOnce }, (_, at) =>
            ask(agent, all[at % all.length] as string, headers[(at + round) % headers.length]),
          ),
        );
        if (round === 0) await untilWaiting(server, (count) => count > 0);
        const gone = sockets.map(closed);
        for (const [at, socket] of sockets.entries()) ways[(at + round) % ways.length]?.(socket);
        await Promise.all(gone);
      }
      await untilWaiting(server, (count) => count === 0);
      // Each of the two hundred places is free again.
      const again = await Promise.all(Array.from({ length: 190 }, () => ask(agent, all[0] as string)));
      for (const socket of again) {
        assert.equal(socket.closed, false);
        socket.destroy();
      }
    });
});
