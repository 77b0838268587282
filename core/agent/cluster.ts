/**
 * This agent among others: its gossip pools, its RPC listener, who leads.
 *
 *   RPC listener (port known) ─► WAN pool ─► LAN pool, whose tags name the other two ports
 */
import type { Coordinate, StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import type { ClusterApi, Member } from "../plugin/agent-api.ts";
import type { SurfaceAddress } from "../plugin/host.ts";
import { type Address, formatAddress, type Logger, type Runtime } from "../ports/mod.ts";
import { createRpcServer, type RpcHandler, type RpcServer } from "../rpc/server.ts";
import { createPool, type Pool } from "../serf/pool.ts";
import { AgentError, assert } from "../types/errors.ts";
import { lonelyMember, serverTags } from "./identity.ts";

export interface ClusterOptions {
  readonly runtime: Runtime;
  readonly config: AgentConfig;
  readonly nodeId: string;
  readonly sockets: boolean;
  readonly logger: Logger;
  readonly isLeading: () => boolean;
  readonly onMember: (member: Member) => void;
}

/** Between datacenters: slower rounds, more patience (memberlist's WAN defaults). */
const wanTiming = { pushPullInterval: 60_000, gossipToTheDead: 60_000, streamTimeout: 30_000 } as const;
const origin: Coordinate = { vec: [0, 0, 0, 0, 0, 0, 0, 0], error: 1.5, adjustment: 0, height: 1e-5 };

export class Cluster implements ClusterApi {
  readonly #options: ClusterOptions;
  #rpc: RpcServer | undefined;
  #lan: Pool | undefined;
  #wan: Pool | undefined;
  #serverPort: number;
  readonly #gossipPorts: { lan: number; wan: number };

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
    if (config.ports.serfWan >= 0) {
      this.#wan = this.#pool("wan");
      this.#gossipPorts.wan = (await this.#wan.start()).port;
    }
    // Last: its tags name the other two ports.
    this.#lan = this.#pool("lan");
    this.#gossipPorts.lan = (await this.#lan.start()).port;
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

  forceLeave(node: string, prune: boolean): Promise<void> {
    return this.#lan === undefined
      ? Promise.reject(new AgentError("rejected", { message: `agent: No node found with name '${node}'` }))
      : this.#lan.forceLeave(node, prune);
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

  #nameIn(pool: "lan" | "wan"): string {
    const { nodeName, datacenter } = this.#options.config;
    return pool === "lan" ? nodeName : `${nodeName}.${datacenter}`;
  }

  #tags(pool: "lan" | "wan"): StringMap {
    const { config, nodeId } = this.#options;
    return serverTags(config, nodeId, pool, { server: this.#serverPort, serfWan: this.#gossipPorts.wan });
  }

  #alone(pool: "lan" | "wan"): Member {
    return lonelyMember(this.#nameIn(pool), this.#options.config.advertiseAddr, this.#gossipPorts[pool], this.#tags(pool));
  }

  #pool(kind: "lan" | "wan"): Pool {
    const { runtime, logger, config } = this.#options;
    const { clock, random, crypto, datagrams, streams } = runtime;
    assert(datagrams !== undefined && streams !== undefined, "a pool is made only where there are sockets");
    const lan = kind === "lan";
    return createPool({
      kind,
      clock,
      random,
      crypto,
      datagrams,
      streams,
      logger,
      name: this.#nameIn(kind),
      bind: lan
        ? { host: config.serfLanBind, port: config.ports.serfLan }
        : { host: config.serfWanBind, port: config.ports.serfWan },
      advertise: lan ? config.advertiseAddr : config.advertiseAddrWan,
      tags: this.#tags(kind),
      gossip: lan ? config.gossipLan : config.gossipWan,
      ...(lan ? {} : { timing: wanTiming }),
      onEvent: (event) => {
        if (lan && event.kind !== "user") this.#options.onMember(event.member);
      },
    });
  }

  #handlers(): ReadonlyMap<string, RpcHandler> {
    return new Map<string, RpcHandler>([
      ["Status.Ping", async () => new Map()],
      ["Status.Leader", async () => this.leader()],
      ["Status.Peers", async () => [...this.peers()]],
    ]);
  }
}
