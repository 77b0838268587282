/** Servers that share one catalog, and a client agent's store over them, on a network in memory. */
import { ClientStore } from "../../../core/agent/client-store.ts";
import { rpcEndpoints } from "../../../core/agent/rpc-handlers.ts";
import { ServerCalls } from "../../../core/agent/server-calls.ts";
import { ServerList } from "../../../core/agent/server-list.ts";
import { SharedReads } from "../../../core/agent/shared-reads.ts";
import { Catalog } from "../../../core/catalog/catalog.ts";
import type { Command, CommandResult } from "../../../core/catalog/commands.ts";
import type { AgentConfig } from "../../../core/config/config.ts";
import { emptySources, loadConfig } from "../../../core/config/load.ts";
import type { ClusterApi, ReadOptions, StoreApi } from "../../../core/plugin/agent-api.ts";
import type { Clock } from "../../../core/ports/clock.ts";
import type { Crypto } from "../../../core/ports/crypto.ts";
import type { Logger } from "../../../core/ports/telemetry.ts";
import { RpcClient } from "../../../core/rpc/client.ts";
import { createRpcServer, type RpcHandler, type RpcServer } from "../../../core/rpc/server.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { FakeHost } from "../../support/fake-host.ts";
import { VirtualWorld } from "../../support/virtual.ts";
import { platformCrypto } from "../swim/support.ts";

const random = { uint32: () => 0x80000000, fork: () => random };

export function recordingLogger(lines: string[]): Logger {
  const logger: Logger = {
    log: (level, message, fields) =>
      void lines.push(`${level}: ${message}${fields?.["error"] === undefined ? "" : ` (${fields["error"]})`}`),
    enabled: () => true,
    child: () => logger,
  };
  return logger;
}

export interface ServedCatalog extends CatalogStore {
  readonly world: VirtualWorld;
  readonly handlers: ReadonlyMap<string, RpcHandler>;
  /** Methods in the order they were called, on whatever server. */
  readonly calls: string[];
  set(key: string, value: string): void;
}

export interface CatalogStore {
  readonly catalog: Catalog;
  readonly store: StoreApi;
  leading: boolean;
  apply(command: Command): CommandResult;
}

/** A store over a catalog, with a function call in place of Raft. */
export function catalogStore(clock: Clock): CatalogStore {
  const catalog = new Catalog();
  let index = 9;
  const served = { leading: true };
  const apply = (command: Command): CommandResult => {
    const result = catalog.apply(++index, command);
    catalog.watches.flush();
    return result;
  };
  const meta = (at: number) => ({ index: at, knownLeader: true, lastContact: 0 });
  const limits = { defaultWait: 300_000, maxWait: 600_000 };
  const shared = new SharedReads({ catalog, clock, random: { ...random, uint32: () => 0 }, limits, meta });
  const check = ({ datacenter }: Partial<ReadOptions>): void => {
    if ((datacenter ?? "dc1") !== "dc1") throw new AgentError("no-datacenter", { message: "No path to datacenter" });
    if (!served.leading) throw new AgentError("no-leader", { message: "No cluster leader" });
  };
  const store: StoreApi = {
    now: () => clock.wall(),
    async read(query, options) {
      check(options);
      const found = catalog.evaluate(query);
      return { meta: meta(found.index), answer: found.answer as never };
    },
    readNow: () => undefined,
    async readShared(request, blocking) {
      check(request.options);
      return shared.read(request, blocking);
    },
    sharedNow: () => undefined,
    async write(command, options = {}) {
      check(options);
      return apply(command);
    },
    async renewSession(id) {
      check({});
      return catalog.evaluate<"session">({ kind: "session", id }).answer !== undefined;
    },
  };
  return Object.assign(served, { catalog, store, apply });
}

/** A catalog and the handlers over it. */
export async function servedCatalog(crypto: Crypto = platformCrypto): Promise<ServedCatalog> {
  const world = new VirtualWorld();
  const config = await testConfig();
  const served = catalogStore(world.clock);
  const { handlers } = rpcEndpoints({
    store: served.store,
    cluster: cluster(),
    config: () => config,
    clock: world.clock,
    crypto,
    logger: recordingLogger([]),
  });
  const calls: string[] = [];
  const counted = new Map(
    [...handlers].map(([method, handler]): [string, RpcHandler] => [
      method,
      (args, call) => {
        calls.push(method);
        return handler(args, call);
      },
    ]),
  );
  return Object.assign(served, {
    world,
    handlers: counted,
    calls,
    set(key: string, value: string): void {
      served.apply({ kind: "kv", op: { op: "set", key, value: new TextEncoder().encode(value), flags: 0 }, now: 0 });
    },
  });
}

export async function startServer({ world, handlers }: ServedCatalog, host: string): Promise<RpcServer> {
  const server = createRpcServer({
    streams: world.streams(host),
    clock: world.clock,
    logger: recordingLogger([]),
    at: { host, port: 8300 },
    handlers,
    limits: { connectionsPerClientMax: 100, handshakeTimeout: 5000 },
  });
  await server.start();
  return server;
}

export interface ClientUnderTest {
  readonly store: ClientStore;
  readonly servers: ServerList;
  readonly lines: string[];
}

export async function clientOf({ world }: ServedCatalog, hosts: readonly string[]): Promise<ClientUnderTest> {
  const config = await testConfig();
  const lines: string[] = [];
  const { clock } = world;
  const client = new RpcClient({ streams: world.streams("127.0.0.9"), clock });
  const logger = recordingLogger(lines);
  const servers = new ServerList({
    clock,
    random,
    logger,
    ping: ({ address }) =>
      client.call(address, "Status.Ping", {}, { timeout: 1000 }).then(
        () => true,
        () => false,
      ),
    clusterSize: () => 3,
  });
  servers.set(hosts.map((host) => ({ name: host, address: { host, port: 8300 } })));
  const calls = new ServerCalls({ client, servers, clock, random, logger, holdTimeout: () => config.rpcHoldTimeout });
  return { store: new ClientStore({ calls, clock, config: () => config }), servers, lines };
}

export function testConfig(): Promise<AgentConfig> {
  return loadConfig(
    {
      ...emptySources,
      fragments: ['server = true bootstrap = true data_dir = "/data" bind_addr = "127.0.0.1" node_name = "s1"'],
    },
    new FakeHost(),
  );
}

export function cluster(): ClusterApi {
  const member = {
    name: "s1",
    address: "127.0.0.1",
    port: 8301,
    tags: { role: "consul", dc: "dc1", id: "0cf6e69d-cae7-7d98-bfb1-20909cacc9a8", port: "8300", raft_vsn: "3" },
    status: "alive",
    protocolMin: 1,
    protocolMax: 5,
    protocolCur: 2,
    delegateMin: 2,
    delegateMax: 5,
    delegateCur: 4,
  } as const;
  return {
    members: () => [member],
    self: () => member,
    coordinate: () => ({ vec: [0, 0, 0, 0, 0, 0, 0, 0], error: 1.5, adjustment: 0, height: 1e-5 }),
    leader: () => "127.0.0.1:8300",
    peers: () => ["127.0.0.1:8300"],
    raftServers: async () => [{ id: member.tags.id, node: "s1", address: "127.0.0.1:8300", voter: true, leader: true }],
    datacenters: () => ["dc1"],
    isLeader: () => true,
    join: async () => 0,
    forceLeave: async () => {},
  } as ClusterApi;
}
