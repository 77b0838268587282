/**
 * A client agent among others: a member of the LAN pool, and of nothing else.
 *
 *   gossip ──members──► servers of this datacenter ──► ClientServers
 *          ──"consul:new-leader"──► who owes the catalog something compares anew
 *
 * Who leads and which datacenters there are only servers know. They are asked now and then, and what they said last is
 * what this answers at once.
 */
import type { Coordinate, StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import type { DatacenterMap, Member, RaftPeer, ReadOptions } from "../plugin/agent-api.ts";
import { type Evidence, noEvidence } from "../plugin/evidence.ts";
import type { SurfaceAddress } from "../plugin/host.ts";
import type { FileStore, Logger, Runtime, Timer } from "../ports/mod.ts";
import type { MemberEventKind } from "../serf/members.ts";
import type { Pool } from "../serf/pool.ts";
import { type Bytes, text } from "../types/bytes.ts";
import { AgentError, assert, messageOf } from "../types/errors.ts";
import type { Millis, NodeId } from "../types/ids.ts";
import { consulVersion } from "../version.ts";
import type { ClientServers } from "./client-servers.ts";
import { createGossipPool } from "./gossip-pool.ts";
import { lonelyMember, origin } from "./identity.ts";
import { openKeyrings, type PoolKeys } from "./keyring-files.ts";
import type { RoleCluster } from "./role.ts";
import { joinOnce } from "./retry-join.ts";
import { serversAmong } from "./servers.ts";
import { newLeaderEvent, userEventPrefix } from "./user-event.ts";

export interface ClientClusterOptions {
  readonly runtime: Runtime;
  readonly config: AgentConfig;
  readonly nodeId: string;
  /** Where gossip remembers members across a restart. Undefined: nowhere. */
  readonly files: FileStore | undefined;
  readonly logger: Logger;
  /** For what is told in the agent's own name. */
  readonly agentLogger: Logger;
  readonly servers: ClientServers;
  readonly onMember: (member: Member, change: MemberEventKind) => void;
  /** A user event came, at this Lamport time. */
  readonly onUserEvent: (payload: Bytes, time: number) => void;
  /** "ip:port" of the leader as servers say it; undefined for none. Called for a change. */
  readonly onLeader: (leader: string | undefined) => void;
  /** Another server leads, or the first one was found: what was written before may be lost. */
  readonly onNewLeader: () => void;
}

/** How old what servers said of leader, peers and datacenters may become. */
const refreshInterval: Millis = 10_000;

export class ClientCluster implements RoleCluster {
  readonly #options: ClientClusterOptions;
  #lan: Pool | undefined;
  #port: number;
  #serverCount = 0;
  #leader = "";
  #peers: readonly string[] = [];
  #datacenters: readonly string[];
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: ClientClusterOptions) {
    this.#options = options;
    this.#port = Math.max(0, options.config.ports.serfLan);
    this.#datacenters = [options.config.datacenter];
  }

  async start(): Promise<void> {
    this.#lan = this.#pool((await openKeyrings(this.#options)).lan);
    this.#port = (await this.#lan.start()).port;
    this.#schedule();
  }

  members(pool: "lan" | "wan"): readonly Member[] {
    return pool === "lan" ? (this.#lan?.members() ?? []) : [];
  }

  evidence(pool: "lan" | "wan", node?: string): Evidence {
    return (pool === "lan" ? this.#lan?.evidence(node) : undefined) ?? noEvidence;
  }

  self(): Member {
    return (
      this.#lan?.self() ??
      lonelyMember(this.#options.config.nodeName, this.#options.config.advertiseAddr, this.#port, this.#tags())
    );
  }

  coordinate(): Coordinate {
    return this.#lan?.coordinate() ?? origin;
  }

  leader(): string {
    return this.#leader;
  }

  peers(): readonly string[] {
    return this.#peers;
  }

  datacenters(): readonly string[] {
    return this.#datacenters;
  }

  isLeader(): boolean {
    return false;
  }

  /** Servers of this datacenter that gossip has alive. */
  get serverCount(): number {
    return this.#serverCount;
  }

  address(surface: string): SurfaceAddress | undefined {
    return surface === "serf_lan" ? { host: this.#options.config.serfLanBind, port: this.#port } : undefined;
  }

  tellMetrics(): void {
    this.#lan?.tellMetrics();
  }

  /** The group `serf_lan` of `consul info`. */
  stats(): Readonly<Record<string, StringMap>> {
    return this.#lan === undefined ? {} : { serf_lan: this.#lan.stats() };
  }

  raftServers(options: Pick<ReadOptions, "consistency" | "datacenter">): Promise<readonly RaftPeer[]> {
    return this.#options.servers.store.raftServers(options);
  }

  removeRaftServer(id: NodeId, datacenter?: string): Promise<void> {
    return this.#options.servers.store.removeRaftServer(id, datacenter);
  }

  datacenterMaps(): Promise<readonly DatacenterMap[]> {
    return this.#options.servers.store.datacenterMaps();
  }

  async currentDatacenters(): Promise<readonly string[]> {
    this.#datacenters = await this.#options.servers.store.datacenters();
    return this.#datacenters;
  }

  async statusOf(datacenter: string): Promise<{ readonly leader: string; readonly peers: readonly string[] }> {
    const { store } = this.#options.servers;
    return { leader: await store.leader(datacenter), peers: await store.peers(datacenter) };
  }

  join(addresses: readonly string[], pool: "lan" | "wan"): Promise<number> {
    const { agentLogger: logger } = this.#options;
    return joinOnce(addresses, { pool, logger, join: () => this.joinQuietly(addresses, pool) });
  }

  async joinQuietly(addresses: readonly string[], pool: "lan" | "wan"): Promise<number> {
    if (pool === "wan") throw new AgentError("rejected", { message: "Must be a server to join WAN cluster" });
    assert(this.#lan !== undefined, "an agent joins after it started");
    return this.#lan.join(addresses);
  }

  async forceLeave(node: string, prune: boolean): Promise<void> {
    if (this.#lan === undefined || !this.members("lan").some((member) => member.name === node))
      throw new AgentError("rejected", { message: `agent: No node found with name '${node}'` });
    await this.#lan.forceLeave(node, prune);
  }

  async leave(): Promise<void> {
    await this.#lan?.leave();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#lan?.stop();
  }

  #onMember(change: MemberEventKind, member: Member): void {
    const { config, servers, onMember, onNewLeader } = this.#options;
    const alive = serversAmong(this.members("lan"), config.datacenter).filter((server) => server.reachable);
    servers.set(alive);
    const first = alive.length > 0 && this.#serverCount === 0;
    this.#serverCount = alive.length;
    if (first) {
      onNewLeader();
      this.#refreshNow();
    }
    onMember(member, change);
  }

  #onLeader(name: string): void {
    this.#options.logger.log("info", "New leader elected", { payload: name });
    this.#options.onNewLeader();
    this.#refreshNow();
  }

  #onUserEvent(name: string, payload: Bytes, time: number): void {
    const { logger, onUserEvent } = this.#options;
    if (name === newLeaderEvent) this.#onLeader(text(payload));
    else if (name.startsWith(userEventPrefix)) {
      logger.log("debug", "user event", { name: name.slice(userEventPrefix.length) });
      onUserEvent(payload, time);
    }
  }

  #refreshNow(): void {
    this.#timer?.cancel();
    void this.#refresh();
  }

  #schedule(): void {
    this.#timer?.cancel();
    if (!this.#stopped) this.#timer = this.#options.runtime.clock.after(refreshInterval, () => void this.#refresh());
  }

  async #refresh(): Promise<void> {
    const { store } = this.#options.servers;
    if (this.#serverCount > 0) {
      try {
        this.#setLeader(await store.leader());
        this.#peers = await store.peers();
        this.#datacenters = await store.datacenters();
      } catch (error) {
        this.#setLeader("");
        if (!this.#stopped) this.#options.logger.log("debug", "no server says who leads", { error: messageOf(error) });
      }
    } else {
      this.#setLeader("");
      this.#peers = [];
    }
    this.#schedule();
  }

  #setLeader(leader: string): void {
    if (leader === this.#leader) return;
    this.#leader = leader;
    this.#options.onLeader(leader || undefined);
  }

  #tags(): StringMap {
    const { config, nodeId } = this.#options;
    return {
      role: "node",
      dc: config.datacenter,
      segment: "",
      id: nodeId,
      vsn: "2",
      vsn_min: "2",
      vsn_max: "3",
      build: `${consulVersion}:`,
      acls: "0",
    };
  }

  #pool(keys: PoolKeys | undefined): Pool {
    return createGossipPool({
      ...this.#options,
      kind: "lan",
      tags: this.#tags(),
      keys,
      onEvent: (event) => {
        if ("member" in event) this.#onMember(event.kind, event.member);
        else if (event.kind === "user") this.#onUserEvent(event.name, event.payload, event.time);
      },
    });
  }
}
