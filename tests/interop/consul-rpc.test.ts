/** Real Consul agents beside our pool, and our RPC port and theirs. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Value } from "../../core/codec/msgpack.ts";
import { RpcClient } from "../../core/rpc/client.ts";
import { createRpcServer, type RpcHandler } from "../../core/rpc/server.ts";
import { text } from "../../core/types/bytes.ts";
import { assert, describe, it } from "../support/harness.ts";
import { ownGround } from "../support/own-ground.ts";
import { freePorts } from "../support/free-ports.ts";
import { eventually, findPeer, type Peer, startPeer } from "./peers.ts";
import { ownPool, realPorts, statusOf } from "./ports.ts";

/** Of this process alone. */
const { network } = await ownGround();

const found = findPeer("consul");
const consul = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : false;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

interface RealConsul extends Peer {
  readonly http: string;
  readonly lan: string;
  readonly serverPort: number;
  get(path: string): Promise<unknown>;
}

async function realConsul(name: string, host: string, ...extra: readonly string[]): Promise<RealConsul> {
  const folder = mkdtempSync(join(tmpdir(), "consul-"));
  const [httpPort, lanPort, wanPort, serverPort] = (await freePorts(4)) as [number, number, number, number];
  const ports = [
    `-http-port=${httpPort}`,
    `-serf-lan-port=${lanPort}`,
    `-serf-wan-port=${wanPort}`,
    `-server-port=${serverPort}`,
  ];
  const peer = startPeer(consul, [
    "agent",
    `-node=${name}`,
    `-bind=${host}`,
    `-client=${host}`,
    `-data-dir=${folder}`,
    "-dns-port=-1",
    "-log-level=debug",
    ...ports,
    "-hcl=performance { raft_multiplier = 1 } disable_update_check = true",
    ...extra,
  ]);
  const http = `http://${host}:${httpPort}`;
  return {
    ...peer,
    http,
    lan: `${host}:${lanPort}`,
    serverPort,
    get: async (path) => (await fetch(http + path)).json(),
    async stop(signal) {
      await peer.stop(signal);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const clientTags = {
  role: "node",
  dc: "dc1",
  segment: "",
  id: "0b2ab1a5-6f0c-4a2e-9d34-111111111111",
  vsn: "2",
  vsn_min: "2",
  vsn_max: "3",
  build: "1.8.7:",
  acls: "0",
};

const serverTags = (port: number) => ({
  ...clientTags,
  role: "consul",
  id: "0b2ab1a5-6f0c-4a2e-9d34-222222222222",
  port: String(port),
  raft_vsn: "3",
  ft_fs: "1",
  wan_join_port: "8302",
});

describe("our pool and RPC port with real Consul agents", { skip }, () => {
  it("a member of ours in a real server's pool is registered with a passing serfHealth, and gone when it leaves", async () => {
    const server = await realConsul("server", `${network}.81.1`, "-server", "-bootstrap-expect=1");
    const { pool, log } = await ownPool(`${network}.81.2`, { tags: clientTags });
    try {
      await eventually("the server leads", () => server.output().includes("New leader elected"), server.output);
      assert.equal(await pool.join([server.lan]), 1);
      await eventually(
        "the server registers us",
        async () => /"CheckID":"serfHealth".*"Status":"passing"/.test(JSON.stringify(await server.get("/v1/health/node/ours"))),
        () => log.join("\n") + server.output(),
      );
      await pool.leave();
      await eventually(
        "the server deregisters us",
        () => server.output().includes("deregistering member: member=ours"),
        server.output,
      );
      // A machine that stands still makes each of us late, and doubted; of that it may warn.
      const said = server
        .output()
        .split("\n")
        .filter((line) => !/memberlist: (Suspect|Refuting a suspect|Was able to connect)/.test(line));
      assert.doesNotMatch(said.join("\n"), /\[WARN\].*(ours|memberlist)|\[ERR/);
    } finally {
      await pool.stop();
      await server.stop();
    }
  });

  it("our client calls a real server: Status, KVS and Catalog answer", async () => {
    const server = await realConsul("server", `${network}.82.1`, "-server", "-bootstrap-expect=1");
    const to = { host: `${network}.82.1`, port: server.serverPort };
    const client = new RpcClient(realPorts("client"));
    try {
      await eventually("the server leads", () => server.output().includes("New leader elected"), server.output);
      assert.equal(text((await client.call(to, "Status.Leader", {})) as Uint8Array), `${network}.82.1:${server.serverPort}`);
      const entry = { Key: "a", Value: new Uint8Array([1, 2, 3]), Flags: 18446744073709551615n };
      await client.call(to, "KVS.Apply", { Datacenter: "dc1", Op: "set", DirEnt: entry });
      const answer = (await client.call(to, "KVS.Get", { Datacenter: "dc1", Key: "a" })) as ReadonlyMap<string, Value>;
      const [stored] = answer.get("Entries") as readonly ReadonlyMap<string, Value>[];
      assert.deepEqual(stored?.get("Value"), new Uint8Array([1, 2, 3]));
      assert.equal(stored?.get("Flags"), 18446744073709551615n);
      await assert.rejects(client.call(to, "Catalog.ListNodes", { Datacenter: "nowhere" }), { code: "no-datacenter" });
      await assert.rejects(client.call(to, "Nope.Ping", {}), { message: "rpc: can't find service Nope.Ping" });
      const many = await Promise.all(Array.from({ length: 50 }, () => client.call(to, "Status.Peers", {})));
      assert.equal(many.length, 50);
    } finally {
      await client.close();
      await server.stop();
    }
  });

  it("a real client agent takes us for its server: joins our pool, finds our port, and gets its answers", async () => {
    const calls: string[] = [];
    const ports = realPorts("server");
    const answer =
      (body: object): RpcHandler =>
      async (_args, { method }) => {
        calls.push(method);
        return body as never;
      };
    const meta = { ConsistencyLevel: "", Index: 7, KnownLeader: true, LastContact: 0 };
    const rpc = createRpcServer({
      ...ports,
      at: { host: `${network}.83.2`, port: 0 },
      limits: { connectionsPerClientMax: 100, handshakeTimeout: 5000 },
      handlers: new Map<string, RpcHandler>([
        ["Status.Ping", answer({})],
        ["Status.Leader", async () => `${network}.83.2:8300`],
        ["Catalog.NodeServiceList", answer({ ...meta, NodeServices: { Node: null, Services: [] } })],
        ["Health.NodeChecks", answer({ ...meta, HealthChecks: [] })],
        ["Catalog.Register", answer({})],
        ["Coordinate.Update", answer({})],
        [
          "KVS.Get",
          async (args) => ({
            ...meta,
            Entries: [
              {
                Key: args.text("Key"),
                Value: new Uint8Array([104, 105]),
                Flags: 0,
                LockIndex: 0,
                CreateIndex: 1,
                ModifyIndex: 1,
              },
            ],
          }),
        ],
      ]),
    });
    const { port } = await rpc.start();
    const { pool, address } = await ownPool(`${network}.83.2`, { tags: serverTags(port) });
    const agent = await realConsul("agent", `${network}.83.1`, `-retry-join=${address}`);
    try {
      await eventually("it joined", () => statusOf(pool, "agent") === "alive", agent.output);
      await eventually("it registered its node with us", () => calls.includes("Catalog.Register"), agent.output);
      assert.equal(await agent.get("/v1/status/leader"), `${network}.83.2:8300`);
      assert.equal(await (await fetch(`${agent.http}/v1/kv/some/key?raw`)).text(), "hi");
      assert.match(await (await fetch(`${agent.http}/v1/catalog/nodes`)).text(), /rpc: can't find method Catalog.ListNodes/);
    } finally {
      await agent.stop();
      await pool.stop();
      await rpc.stop();
    }
  });
});
