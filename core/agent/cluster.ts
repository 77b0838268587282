/**
 * This agent among others: its gossip pools, its RPC listener, who leads.
 *
 *   RPC listener (port known) ─► WAN pool ─► LAN pool, whose tags name the other two ports
 *
 *   WAN pool ──members──► Datacenters: how to ask the others      LAN pool ──servers──► FloodJoin ──► WAN pool
 */
import type { Coordinate, StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import { type Evidence, noEvidence } from "../plugin/evidence.ts";
import type { ClusterApi, Consistency, DatacenterMap, Member, RaftPeer, ReadOptions } from "../plugin/agent-api.ts";
import type { SurfaceAddress } from "../plugin/host.ts";
import { type Address, type ByteStream, type FileStore, formatAddress, type Logger, type Runtime } from "../ports/mod.ts";
import type { RaftServer } from "../raft/messages.ts";
import { firstByte } from "../rpc/first-byte.ts";
import { createRpcServer, type RpcHandler, type RpcServer } from "../rpc/server.ts";
import type { MemberEventKind } from "../serf/members.ts";
import type { Pool } from "../serf/pool.ts";
import { type Bytes, text, utf8 } from "../types/bytes.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { NodeId } from "../types/ids.ts";
import type { Datacenters } from "./datacenters.ts";
import { FloodJoin } from "./flood-join.ts";
import { createGossipPool, nameInPool } from "./gossip-pool.ts";
import { lonelyMember, origin, serverTags } from "./identity.ts";
import { type Keyrings, openKeyrings } from "./keyring-files.ts";
import { joinOnce } from "./retry-join.ts";
import { type ServerMember, serverOf, serversAmong } from "./servers.ts";
import { newLeaderEvent, userEventPrefix } from "./user-event.ts";

export interface ClusterOptions {
  /** The other datacenters: told who is in the WAN pool, and asked about them. */
  readonly datacenters: Datacenters;
  /** What the RPC listener answers, by "Service.Method"; asked for once, at start. */
  readonly handlers: () => ReadonlyMap<string, RpcHandler>;
  readonly runtime: Runtime;
  readonly config: AgentConfig;
  readonly nodeId: string;
  readonly sockets: boolean;
  /** Where gossip remembers members across a restart. Undefined: nowhere. */
  readonly files: FileStore | undefined;
  readonly logger: Logger;
  /** For what is told in the agent's own name. */
  readonly agentLogger: Logger;
  readonly group: GroupView;
  /** A connection of another server of the group. */
  readonly acceptServer: (stream: ByteStream) => Promise<void>;
  /** A connection for one snapshot. */
  readonly acceptSnapshot: (stream: ByteStream) => Promise<void>;
  readonly onMember: (member: Member, change: MemberEventKind) => void;
  /** A user event came, at this Lamport time. */
  readonly onUserEvent: (payload: Bytes, time: number) => void;
}

/** The Raft group, as far as others ask about it. */
export interface GroupView {
  /** Undefined: unknown. */
  leader(): NodeId | undefined;
  isLeader(): boolean;
  servers(): readonly RaftServer[];
  /** Resolves when the configuration is as new as this consistency asks for. Rejects with `no-leader`. */
  caughtUp(consistency: Consistency): Promise<void>;
  /** Rejects with `rejected` in Consul's words. */
  remove(id: NodeId): Promise<void>;
}

export class Cluster implements ClusterApi {
  readonly #options: ClusterOptions;
  #rpc: RpcServer | undefined;
  #lan: Pool | undefined;
  #wan: Pool | undefined;
  #flood: FloodJoin | undefined;
  #serverPort: number;
  /** Of user events where there is no pool. */
  #aloneTime = 1;
  readonly #gossipPorts: { lan: number; wan: number };
  #keyrings: Keyrings = { lan: undefined, wan: undefined };

  constructor(options: ClusterOptions) {
    this.#options = options;
    const { ports } = options.config;
    this.#serverPort = Math.max(0, ports.server);
    this.#gossipPorts = { lan: Math.max(0, ports.serfLan), wan: Math.max(0, ports.serfWan) };
  }

  async start(): Promise<void> {
    const { config, runtime, sockets, logger } = this.#options;
    if (!sockets) return;
    const { streams, datagrams } = runtime;
    if (streams === undefined || datagrams === undefined) {
      throw new AgentError("config-invalid", {
        message: `The runtime "${runtime.name}" has no sockets: start the agent without them (sockets: false)`,
      });
    }
    // First: without its keys an agent must not say a word.
    this.#keyrings = await openKeyrings(this.#options);
    this.#rpc = createRpcServer({
      streams,
      clock: runtime.clock,
      logger: logger.child("rpc"),
      metrics: runtime.metrics,
      at: { host: config.bindAddr, port: config.ports.server },
      handlers: this.#options.handlers(),
      upgrades: new Map<number, (stream: ByteStream) => Promise<void>>([
        [firstByte.ownRaft, this.#options.acceptServer],
        [firstByte.snapshot, this.#options.acceptSnapshot],
      ]),
      limits: {
        connectionsPerClientMax: config.limits.rpcMaxConnsPerClient,
        handshakeTimeout: config.limits.rpcHandshakeTimeout,
      },
    });
    this.#serverPort = (await this.#rpc.start()).port;
    if (config.ports.serfWan >= 0) {
      this.#wan = this.#pool("wan");
      this.#gossipPorts.wan = (await this.#wan.start()).port;
    }
    // Last: its tags name the other two ports.
    this.#lan = this.#pool("lan");
    this.#gossipPorts.lan = (await this.#lan.start()).port;
    const own = serverOf(this.self(), config.datacenter);
    if (own !== undefined) this.#noteServer(own);
    this.#startFlood();
  }

  /** Servers of this datacenter, in whatever state; from gossip. */
  servers(): readonly ServerMember[] {
    return serversAmong(this.members("lan"), this.#options.config.datacenter);
  }

  /** Tells all servers that this one leads now. */
  announceLeader(): void {
    const { config, logger } = this.#options;
    if (this.#lan === undefined) {
      logger.log("info", "New leader elected", { payload: config.nodeName });
      return;
    }
    this.#lan
      .userEvent(newLeaderEvent, utf8(config.nodeName), false)
      .catch((error: unknown) => logger.log("error", "failed to broadcast new leader event", { error: messageOf(error) }));
  }

  /** Tells every agent of the LAN pool. `name` is without prefix. Rejects with `rejected` in Consul's words. */
  async fireEvent(name: string, payload: Bytes): Promise<void> {
    if (this.#lan === undefined) {
      this.#onUserEvent(userEventPrefix + name, payload, this.#aloneTime++);
      return;
    }
    try {
      await this.#lan.userEvent(userEventPrefix + name, payload, false);
    } catch (error) {
      const message = `1 error occurred:\n\t* error broadcasting event to segment "": ${messageOf(error)}\n\n`;
      throw new AgentError("rejected", { message, cause: error });
    }
  }

  /** Where other servers and clients reach this server's RPC. */
  rpcAddress(): Address {
    return { host: this.#options.config.advertiseAddr, port: this.#serverPort };
  }

  address(surface: string): SurfaceAddress | undefined {
    if (surface === "server") return this.#rpc?.local;
    const { config, sockets } = this.#options;
    if (!sockets) return undefined;
    if (surface === "serf_lan") return { host: config.serfLanBind, port: this.#gossipPorts.lan };
    return surface === "serf_wan" && this.#wan !== undefined
      ? { host: config.serfWanBind, port: this.#gossipPorts.wan }
      : undefined;
  }

  members(pool: "lan" | "wan"): readonly Member[] {
    if (!this.#options.sockets) return [this.#alone(pool)];
    return this.#pools(pool)?.members() ?? [];
  }

  evidence(pool: "lan" | "wan", node?: string): Evidence {
    return this.#pools(pool)?.evidence(node) ?? noEvidence;
  }

  self(): Member {
    return this.#lan?.self() ?? this.#alone("lan");
  }

  tellMetrics(): void {
    this.#lan?.tellMetrics();
    this.#wan?.tellMetrics();
  }

  coordinate(): Coordinate {
    return this.#lan?.coordinate() ?? origin;
  }

  leader(): string {
    const { group } = this.#options;
    const leader = group.leader();
    if (leader === undefined) return "";
    return group.servers().find((server) => server.id === leader)?.address ?? "";
  }

  peers(): readonly string[] {
    return this.#options.group.servers().map((server) => server.address);
  }

  async raftServers(options: Pick<ReadOptions, "consistency" | "datacenter">): Promise<readonly RaftPeer[]> {
    const { group, datacenters } = this.#options;
    if (options.datacenter !== undefined) return datacenters.store(options.datacenter).raftServers(options);
    await group.caughtUp(options.consistency);
    const leader = group.leader();
    const names = new Map(this.servers().map((server) => [server.id, server.name]));
    return group.servers().map(({ id, address, voter }) => ({
      id,
      node: names.get(id) ?? "(unknown)",
      address,
      voter,
      leader: id === leader,
    }));
  }

  async removeRaftServer(id: NodeId, datacenter?: string): Promise<void> {
    const { group, datacenters } = this.#options;
    await (datacenter === undefined ? group.remove(id) : datacenters.store(datacenter).removeRaftServer(id, datacenter));
  }

  datacenters(): readonly string[] {
    return this.#options.datacenters.byDistance();
  }

  async datacenterMaps(): Promise<readonly DatacenterMap[]> {
    return this.#options.datacenters.maps();
  }

  async statusOf(datacenter: string): Promise<{ readonly leader: string; readonly peers: readonly string[] }> {
    const store = this.#options.datacenters.store(datacenter);
    return { leader: await store.leader(datacenter), peers: await store.peers(datacenter) };
  }

  isLeader(): boolean {
    return this.#options.group.isLeader();
  }

  join(addresses: readonly string[], pool: "lan" | "wan"): Promise<number> {
    const { agentLogger: logger } = this.#options;
    return joinOnce(addresses, { pool, logger, join: () => this.joinQuietly(addresses, pool) });
  }

  async joinQuietly(addresses: readonly string[], pool: "lan" | "wan"): Promise<number> {
    if (this.#lan === undefined)
      throw new AgentError("not-supported", { message: "Cannot join: this agent runs without sockets" });
    if (pool === "lan") return this.#lan.join(addresses);
    if (this.#wan === undefined) throw new AgentError("rejected", { message: "WAN Federation is disabled" });
    return this.#wan.join(addresses);
  }

  /** A member's name in either pool; a server goes from both. */
  async forceLeave(node: string, prune: boolean): Promise<void> {
    const has = (pool: "lan" | "wan", name: string): boolean => this.members(pool).some((member) => member.name === name);
    const ownSuffix = `.${this.#options.config.datacenter}`;
    const wanName = has("wan", node) ? node : `${node}${ownSuffix}`;
    const inLan = has("lan", node);
    const inWan = has("wan", wanName);
    if (!inLan && !inWan) throw new AgentError("rejected", { message: `agent: No node found with name '${node}'` });
    if (inLan) await this.#lan?.forceLeave(node, prune);
    if (inWan) await this.#wan?.forceLeave(wanName, prune);
  }

  /** The connection of this server of the datacenter closed, and it takes no new one: gossip looks at it at once. */
  doubt(id: NodeId): void {
    const name = this.servers().find((server) => server.id === id && server.reachable)?.name;
    if (name !== undefined) this.#lan?.doubt(name);
  }

  pools(): { readonly lan: Pool | undefined; readonly wan: Pool | undefined } {
    return { lan: this.#lan, wan: this.#wan };
  }

  async leave(): Promise<void> {
    this.#flood?.stop();
    await this.#wan?.leave();
    await this.#lan?.leave();
  }

  async stop(): Promise<void> {
    this.#flood?.stop();
    await Promise.all([this.#lan?.stop(), this.#wan?.stop(), this.#rpc?.stop()]);
  }

  #pools(pool: "lan" | "wan"): Pool | undefined {
    return pool === "lan" ? this.#lan : this.#wan;
  }

  #tags(pool: "lan" | "wan"): StringMap {
    const { config, nodeId } = this.#options;
    return serverTags(config, nodeId, pool, { server: this.#serverPort, serfWan: this.#gossipPorts.wan });
  }

  #alone(pool: "lan" | "wan"): Member {
    return lonelyMember(
      nameInPool(this.#options.config, pool),
      this.#options.config.advertiseAddr,
      this.#gossipPorts[pool],
      this.#tags(pool),
    );
  }

  #pool(kind: "lan" | "wan"): Pool {
    const { datacenters } = this.#options;
    return createGossipPool({
      ...this.#options,
      kind,
      tags: this.#tags(kind),
      keys: this.#keyrings[kind],
      onEvent: (event) => {
        if (kind === "wan") {
          if ("member" in event) datacenters.onMember(event.kind, event.member);
        } else if ("member" in event) this.#onMember(event.kind, event.member);
        else if (event.kind === "user") this.#onUserEvent(event.name, event.payload, event.time);
      },
    });
  }

  #onUserEvent(name: string, payload: Bytes, time: number): void {
    const { logger, onUserEvent } = this.#options;
    if (name === newLeaderEvent) logger.log("info", "New leader elected", { payload: text(payload) });
    else if (name.startsWith(userEventPrefix)) {
      logger.log("debug", "user event", { name: name.slice(userEventPrefix.length) });
      onUserEvent(payload, time);
    }
  }

  #onMember(change: MemberEventKind, member: Member): void {
    const { config, logger, onMember } = this.#options;
    const server = serverOf(member, config.datacenter);
    if (server !== undefined && member.name !== config.nodeName) {
      if (change === "join") {
        this.#noteServer(server);
        this.#flood?.look();
      } else if (change !== "update") logger.log("info", "removing server", { server: describe(server, config.datacenter) });
    }
    onMember(member, change);
  }

  #startFlood(): void {
    const { config, runtime, logger } = this.#options;
    const wan = this.#wan;
    if (wan === undefined) return;
    this.#flood = new FloodJoin({
      clock: runtime.clock,
      logger,
      datacenter: config.datacenter,
      lan: () => this.members("lan"),
      wan: () => wan.members(),
      join: (address) => wan.join([address]),
    });
    this.#flood.start();
  }

  #noteServer(server: ServerMember): void {
    const { logger, config } = this.#options;
    logger.log("info", "Adding LAN server", { server: describe(server, config.datacenter) });
  }
}

function describe(server: ServerMember, datacenter: string): string {
  return `${server.name} (Addr: tcp/${formatAddress(server.address)}) (DC: ${datacenter})`;
}
