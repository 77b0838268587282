/**
 * What an agent is among others: a server that holds the catalog (server-role.ts), or a client that asks one
 * (client-role.ts). Everything else of an agent is the same for both (agent.ts).
 */
import type { StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import type { AutopilotApi, ClusterApi, KeyringApi, Member, SnapshotApi, StoreApi } from "../plugin/agent-api.ts";
import type { SurfaceAddress } from "../plugin/host.ts";
import type { Logger, Runtime, Storage } from "../ports/mod.ts";
import type { Bytes } from "../types/bytes.ts";

export interface Role {
  readonly store: StoreApi;
  readonly cluster: RoleCluster;
  /** Undefined: this role has no state of its own to save. */
  readonly snapshots: SnapshotApi | undefined;
  readonly autopilot: AutopilotApi;
  /** Undefined: gossip's keys are a matter of servers. */
  readonly keyring: KeyringApi | undefined;
  /**
   * Gossips an encoded user event in the LAN pool of a datacenter, through a server. `name` is without prefix. Rejects
   * with `rejected` and Consul's text (too large), or `no-datacenter`.
   */
  fireEvent(name: string, payload: Bytes, where: { readonly datacenter?: string; readonly token?: string }): Promise<void>;
  start(): Promise<void>;
  /** Resolves when the catalog takes writes, and a leader here has brought it in line with the members. */
  ready(): Promise<void>;
  /** Why this agent must not leave unless it is forced to; undefined: it may. */
  leaveFault(): string | undefined;
  /** Tells the others that this agent goes. Resolves when they were told. */
  leave(): Promise<void>;
  /** Begins nothing more, and lets go who waits. Called before the surfaces close. */
  quiesce(): void;
  /** Called after the surfaces closed. */
  stop(): Promise<void>;
  /** Sets what is measured now and then; called once a second. */
  tellMetrics(): void;
  /** Groups of `consul info`, beside those every agent has. */
  stats(): Readonly<Record<string, StringMap>>;
}

export interface RoleCluster extends ClusterApi {
  /** Where it listens ("server", "serf_lan", "serf_wan"); undefined: it does not. */
  address(surface: string): SurfaceAddress | undefined;
  /** As `join`, which also tells the log: for who tries often. */
  joinQuietly(addresses: readonly string[], pool: "lan" | "wan"): Promise<number>;
}

export interface RoleOptions {
  readonly runtime: Runtime;
  readonly storage: Storage;
  /** As the agent started. */
  readonly config: AgentConfig;
  /** As it is now: a reload replaces it. */
  readonly currentConfig: () => AgentConfig;
  readonly nodeId: string;
  /** False: no gossip and no RPC listener. */
  readonly sockets: boolean;
  readonly logger: Logger;
  /** A member of the LAN pool came, went, or changed. */
  readonly onMember: (member: Member) => void;
  /** A user event came through the LAN pool, at this Lamport time. */
  readonly onUserEvent: (payload: Bytes, time: number) => void;
  /** "ip:port" of the leader; undefined when there is none. Called for a change. */
  readonly onLeaderChanged: (leader: string | undefined) => void;
  /** What this agent registered may be missing from the catalog: compare. */
  readonly onCatalogDoubtful: () => void;
  /** The agent cannot go on: stop it, then exit with this code. */
  readonly onEnd: (code: number) => void;
}
