/**
 * This agent among others: its gossip pools, its RPC listener, who leads.
 *
 *   RPC listener (port known) ─► WAN pool ─► LAN pool, whose tags name the other two ports
 */
import type { Coordinate } from "../catalog/records.ts";
import type { AgentConfig, GossipConfig } from "../config/config.ts";
import type { ClusterApi, Member } from "../plugin/agent-api.ts";
import type { SurfaceAddress } from "../plugin/host.ts";
import { type Address, formatAddress, type Logger, type Runtime } from "../ports/mod.ts";
import { createRpcServer, type RpcServer } from "../rpc/server.ts";
import { createPool, type Pool } from "../serf/pool.ts";
import { AgentError, assert } from "../types/errors.ts";
import { lonelyMember, serverTags } from "./identity.ts";

export interface ClusterOptions {
  readonly runtime: Runtime;
  readonly config: AgentConfig;
  readonly nodeId: string;
  readonly sockets: boolean;
  readonly logger: Logger;
  readonly raftState: () => { readonly leader: string | undefined };
  readonly isLeading: () => boolean;
  readonly onMember: (member: Member) => void;
}

const origin: Coordinate = { vec: [0, 0, 0, 0, 0, 0, 0, 0], error: 1.5, adjustment: 0, height: 1e-5 };

export class Cluster implements ClusterApi {
  readonly #options: ClusterOptions;
  #rpc: RpcServer | undefined;
  #lan: Pool | undefined;
  #wan: Pool | undefined;
  #serverPort: number;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#serverPort = Math.max(0, options.config.ports.server);
  }

  async start(): Promise<void> {
    const { config, nodeId, runtime, sockets, logger } = this.#options;
    if (!sockets) return;
    const { streams, datagrams } = runtime;
    if (streams === undefined || datagrams === undefined) {
      throw new AgentError("config-invalid", {
        message: `The runtime "${runtime.name}" has no sockets: start the agent without them (sockets: false)`,
      });
    }
    this.#rpc = createRpcServer({
      streams,
      clock: runtime.clock,
      logger: logger.child("rpc"),
      at: { host: config.bindAddr, port: config.ports.server },
      handlers: this.#handlers(),
      limits: {
        connectionsPerClientMax: config.limits.rpcMaxConnsPerClient,
        handshakeTimeout: config.limits.rpcHandshakeTimeout,
      },
    });
    this.#serverPort = (await this.#rpc.start()).port;
    const ports = { server: this.#serverPort, serfLan: config.ports.serfLan, serfWan: config.ports.serfWan };
    if (config.ports.serfWan >= 0) {
      this.#wan = this.#pool(
        "wan",
        `${config.nodeName}.${config.datacenter}`,
        config.serfWanBind,
        config.ports.serfWan,
        config.advertiseAddrWan,
        config.gossipWan,
        serverTags(config, nodeId, "wan", ports),
      );
      ports.serfWan = (await this.#wan.start()).port;
    }
    this.#lan = this.#pool(
      "lan",
      config.nodeName,
      config.serfLanBind,
      config.ports.serfLan,
      config.advertiseAddr,
      config.gossipLan,
      serverTags(config, nodeId, "lan", ports),
    );
    await this.#lan.start();
    logger.log("info", "Adding LAN server", {
      server: `${config.nodeName} (Addr: tcp/${formatAddress(this.rpcAddress())}) (DC: ${config.datacenter})`,
    });
  }

  /** Where other servers and clients reach this server's RPC. */
  rpcAddress(): Address {
    return { host: this.#options.config.advertiseAddr, port: this.#serverPort };
  }

  address(surface: string): SurfaceAddress | undefined {
    if (surface === "server") return this.#rpc?.local;
    if (surface === "serf_lan") return this.#lan?.local;
    return surface === "serf_wan" ? this.#wan?.local : undefined;
  }

  members(pool: "lan" | "wan"): readonly Member[] {
    if (!this.#options.sockets) return [this.#alone(pool)];
    return this.#pools(pool)?.members() ?? [];
  }

  self(): Member {
    return this.#lan?.self() ?? this.#alone("lan");
  }

  coordinate(): Coordinate {
    return this.#lan?.coordinate() ?? origin;
  }

  leader(): string {
    return this.#options.isLeading() ? formatAddress(this.rpcAddress()) : "";
  }

  peers(): readonly string[] {
    return [formatAddress(this.rpcAddress())];
  }

  datacenters(): readonly string[] {
    return [this.#options.config.datacenter];
  }

  isLeader(): boolean {
    return this.#options.isLeading();
  }

  join(_addresses: readonly string[], _pool: "lan" | "wan"): Promise<number> {
    return Promise.reject(
      new AgentError("not-supported", { message: "Joining other agents is not supported yet: this agent runs alone" }),
    );
  }

  forceLeave(node: string, _prune: boolean): Promise<void> {
    return Promise.reject(new AgentError("rejected", { message: `agent: No node found with name '${node}'` }));
  }

  pools(): { readonly lan: Pool | undefined; readonly wan: Pool | undefined } {
    return { lan: this.#lan, wan: this.#wan };
  }

  async leave(): Promise<void> {
    await this.#wan?.leave();
    await this.#lan?.leave();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#lan?.stop(), this.#wan?.stop(), this.#rpc?.stop()]);
  }

  #pools(pool: "lan" | "wan"): Pool | undefined {
    return pool === "lan" ? this.#lan : this.#wan;
  }

  #alone(pool: "lan" | "wan"): Member {
    const { config, nodeId } = this.#options;
    const ports = {
      server: this.#serverPort,
      serfLan: Math.max(0, config.ports.serfLan),
      serfWan: Math.max(0, config.ports.serfWan),
    };
    const name = pool === "lan" ? config.nodeName : `${config.nodeName}.${config.datacenter}`;
    return lonelyMember(
      name,
      config.advertiseAddr,
      pool === "lan" ? ports.serfLan : ports.serfWan,
      serverTags(config, nodeId, pool, ports),
    );
  }

  #pool(
    kind: "lan" | "wan",
    name: string,
    bind: string,
    port: number,
    advertise: string,
    gossip: GossipConfig,
    tags: Readonly<Record<string, string>>,
  ): Pool {
    const { runtime, logger } = this.#options;
    const { datagrams, streams } = runtime;
    assert(datagrams !== undefined && streams !== undefined, "a pool is made only where there are sockets");
    return createPool({
      kind,
      clock: runtime.clock,
      random: runtime.random.fork(`gossip-${kind}`),
      crypto: runtime.crypto,
      datagrams,
      streams,
      logger: logger.child(`serf.${kind}`),
      name,
      bind: { host: bind, port },
      advertise,
      tags,
      gossip,
      onMember: (member) => {
        if (kind === "lan") this.#options.onMember(member);
      },
    });
  }

  #handlers(): ReadonlyMap<string, (request: unknown) => Promise<unknown>> {
    return new Map<string, (request: unknown) => Promise<unknown>>([
      ["Status.Ping", async () => ({})],
      ["Status.Leader", async () => this.leader()],
      ["Status.Peers", async () => this.peers()],
    ]);
  }
}
