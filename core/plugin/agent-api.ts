/**
 * The agent as plugins see it: HTTP, DNS, the UI, and anyone's. Everything a client can do goes through here, whether
 * this agent is a server that holds the catalog or a client that asks one.
 */
import type { Command, CommandResult } from "../catalog/commands.ts";
import type { Answers, QueryKind, QueryOf } from "../catalog/queries.ts";
import type {
  AutopilotRecord,
  AutopilotSettings,
  CheckFields,
  Coordinate,
  ServiceFields,
  StringMap,
} from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import type { CheckDefinition, ServiceDefinition } from "../config/definitions.ts";
import type { Evidence } from "./evidence.ts";
import type { Bytes } from "../types/bytes.ts";
import type { Cancel } from "../types/cancel.ts";
import type { EpochMillis, LogIndex, Millis, Term } from "../types/ids.ts";

export interface AgentApi {
  /** The current configuration; a reload replaces the object. */
  readonly config: AgentConfig;
  readonly nodeId: string;
  readonly version: string;
  readonly store: StoreApi;
  readonly local: LocalApi;
  readonly cluster: ClusterApi;
  readonly events: EventsApi;
  /** Absent where the runtime does not compress. */
  readonly snapshots?: SnapshotApi;
  /** Absent where keys are not managed: a client. */
  readonly keyring?: KeyringApi;
  /** How servers are looked after. Absent: nobody here knows. */
  readonly autopilot?: AutopilotApi;
  /** Reads the configuration sources again and applies what may change at run time. Rejects with `config-invalid`. */
  reload(): Promise<void>;
  /**
   * Leaves the cluster gracefully, then shuts the agent down. Resolves when the leave is done. Rejects with `rejected`, and
   * leaves nothing, where the other servers could not go on; `force` leaves all the same.
   */
  leave(options?: { readonly force?: boolean }): Promise<void>;
  /** Groups of `consul info` and /v1/agent/self Stats. */
  stats(): Readonly<Record<string, StringMap>>;
}

export type Consistency = "default" | "consistent" | "stale";

export interface ReadOptions {
  readonly consistency: Consistency;
  /** "" or undefined: this agent's own. Another that is not reachable rejects with `no-datacenter`. */
  readonly datacenter?: string;
  readonly token?: string;
  /**
   * Aborted when nobody may want the answer any more. Who waits for a leader, or for a server that does not answer, then
   * waits a moment longer at most; the promise rejects with `cancelled`. Not looked at by `readShared`, whose blocking has one.
   */
  readonly cancel?: Cancel;
}

export interface WriteOptions {
  /** As in {@link ReadOptions}. */
  readonly datacenter?: string;
  readonly token?: string;
  /** As in {@link ReadOptions}. What was under way may have been carried out. */
  readonly cancel?: Cancel;
}

export interface Blocking {
  /** Return when the result's index has passed this. 0 does not block; `cancel` is then as in {@link ReadOptions}. */
  readonly minIndex: LogIndex;
  /** 0: the default. Bounded by `maxQueryTime`; up to a sixteenth is added at random. */
  readonly wait: Millis;
  /** The waiter is freed at once when this is aborted; the promise then rejects with `cancelled`. */
  readonly cancel?: Cancel;
}

export interface ReadMeta {
  readonly index: LogIndex;
  readonly knownLeader: boolean;
  /** Milliseconds since this server heard of the leader; 0 on the leader. */
  readonly lastContact: Millis;
}

export interface StoreApi {
  /** One evaluation. Rejects with `no-leader`, `no-datacenter`, or `rejected` with Consul's text (a broken filter). */
  read<Kind extends QueryKind>(
    query: QueryOf<Kind>,
    options: ReadOptions,
  ): Promise<{ readonly meta: ReadMeta; readonly answer: Answers[Kind] }>;

  /** The same at once, where this agent may answer by itself (a leader with its lease, or `stale` on a server). Undefined: use `read`. */
  readNow<Kind extends QueryKind>(
    query: QueryOf<Kind>,
    consistency: Consistency,
  ): { readonly meta: ReadMeta; readonly answer: Answers[Kind] } | undefined;

  /**
   * A read whose rendering is shared: all callers with the same `key` get the same `Rendered`, made once per change.
   * `key` must say everything that `query` and `render` depend on. Blocks as `blocking` says; all waiters of one key
   * cost one evaluation per change, and an idle waiter costs a few hundred bytes.
   */
  readShared<Kind extends QueryKind, Rendered extends object>(
    request: SharedRead<Kind, Rendered>,
    blocking?: Blocking,
  ): Promise<Shared<Rendered>>;

  /**
   * What an earlier `readShared` with this key left, if it is still fresh and this agent may answer by itself.
   * One Map look-up: the hot path of HTTP and DNS.
   */
  sharedNow<Rendered extends object>(key: string, consistency: Consistency): Shared<Rendered> | undefined;

  /** Proposes to the leader and waits until applied. Rejects with `no-leader`, `timeout`, `too-large`; a `rejected` result is a value. */
  write(command: Command, options?: WriteOptions): Promise<CommandResult>;

  /** Restarts a session's TTL on the leader. False: no such session. */
  renewSession(id: string, options?: WriteOptions): Promise<boolean>;

  /** Milliseconds since 1970, for commands. */
  now(): number;
}

/** The whole state as an operator's file: an archive (core/codec/snapshot-archive.ts), compressed with gzip. */
export interface SnapshotApi {
  /** Rejects with `no-leader` (unless `stale`), `no-datacenter`, `rate-limited` when several are being made already. */
  save(options: SaveOptions): Promise<SavedSnapshot>;
  /**
   * Replaces the state of all servers, through the log. The whole file is verified before anything is changed. Rejects
   * with `rejected` and Consul's text (the archive is broken, or of another program), `rate-limited` (a restore is under
   * way), `no-leader`, `no-datacenter`; the state is then as it was.
   */
  restore(file: Bytes, options?: RestoreOptions): Promise<void>;
}

export interface SaveOptions {
  readonly stale: boolean;
  readonly datacenter?: string;
  /** Aborted when nobody wants it any more: a server that is to make it is waited for no longer. */
  readonly cancel?: Cancel;
}

export interface RestoreOptions {
  readonly datacenter?: string;
  /** As for saving. What was sent already may be restored all the same. */
  readonly cancel?: Cancel;
  /** Of a file of the original Consul: take what is kept here, leave the rest behind. Otherwise a file with such a rest is refused. */
  readonly partial?: boolean;
}

export interface SavedSnapshot {
  readonly meta: ReadMeta;
  /** The file's bytes. Read once. */
  readonly content: AsyncIterable<Bytes>;
  /** Must be called, when it was read or is not wanted. Harmless when repeated. */
  release(): void;
}

/** The keys that encrypt gossip; see core/agent/keyring.ts. */
export interface KeyringApi {
  /**
   * One answer for each pool, the WAN's first. Rejects with `no-datacenter` when another datacenter does not answer, with
   * `rejected` when this agent has no pools.
   */
  run(request: KeyringRequest): Promise<readonly KeyringAnswer[]>;
}

export interface KeyringRequest {
  readonly operation: "list" | "install" | "use" | "remove";
  /** Base64; not looked at by a list. */
  readonly key: string;
  /** 0 to 5: through how many others each member's answer comes as well. */
  readonly relayFactor: number;
  /** Only this datacenter's LAN pool. For lists. */
  readonly localOnly: boolean;
  /** Another datacenter's server asks: as `localOnly`, for all operations. */
  readonly forwarded?: boolean;
}

/** What the members of one pool answered. */
export interface KeyringAnswer {
  readonly wan: boolean;
  readonly datacenter: string;
  readonly segment: string;
  /** By member: what went wrong, or what it had to say. */
  readonly messages: StringMap;
  /** By key in base64: how many members hold it. */
  readonly keys: Readonly<Record<string, number>>;
  readonly primaryKeys: Readonly<Record<string, number>>;
  /** Members asked. */
  readonly nodes: number;
  /** "": all members did as asked. Otherwise Serf's text. */
  readonly error: string;
}

export interface SharedRead<Kind extends QueryKind, Rendered extends object> {
  readonly key: string;
  readonly query: QueryOf<Kind>;
  readonly options: ReadOptions;
  readonly render: (answer: Answers[Kind], meta: ReadMeta) => Rendered;
}

export interface Shared<Rendered extends object> {
  readonly meta: ReadMeta;
  readonly rendered: Rendered;
}

/** A service this agent registered, with what only the agent knows. */
export interface LocalService {
  readonly service: ServiceFields;
  readonly token: string;
  readonly inSync: boolean;
}
export interface LocalCheck {
  readonly check: CheckFields & { readonly serviceName: string; readonly serviceTags: readonly string[] };
  readonly token: string;
  readonly inSync: boolean;
}

/** What this agent registered itself. The agent is the authority: anti-entropy makes the catalog agree. */
export interface LocalApi {
  readonly services: ReadonlyMap<string, LocalService>;
  readonly checks: ReadonlyMap<string, LocalCheck>;
  /** Grows with each change; for caching renderings. */
  readonly version: number;
  /** Called after each change, until the result is called. */
  follow(follower: () => void): () => void;

  /** Rejects with `bad-request` or `rejected` and Consul's text. */
  registerService(
    definition: ServiceDefinition,
    from: "remote" | "file",
    options?: { readonly replaceExistingChecks?: boolean },
  ): Promise<void>;
  deregisterService(id: string): Promise<void>;
  registerCheck(definition: CheckDefinition, from: "remote" | "file"): Promise<void>;
  deregisterCheck(id: string): Promise<void>;
  /** Rejects with `rejected`: CheckID "x" does not have associated TTL. */
  updateTtl(checkId: string, status: "passing" | "warning" | "critical", output: string): Promise<void>;
  /** False: no such service. */
  setServiceMaintenance(id: string, enable: boolean, reason: string): Promise<boolean>;
  setNodeMaintenance(enable: boolean, reason: string): Promise<void>;
}

export interface Member {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly tags: StringMap;
  readonly status: "none" | "alive" | "leaving" | "left" | "failed";
  readonly protocolMin: number;
  readonly protocolMax: number;
  readonly protocolCur: number;
  readonly delegateMin: number;
  readonly delegateMax: number;
  readonly delegateCur: number;
}

/** One server of the Raft group. */
export interface RaftPeer {
  readonly id: string;
  /** Its name; "(unknown)" when gossip does not know it. */
  readonly node: string;
  readonly address: string;
  readonly voter: boolean;
  readonly leader: boolean;
}

/** How the leader looks after the servers (Consul 1.8: autopilot). `datacenter`: as in {@link ReadOptions}. */
export interface AutopilotApi {
  /** Rejects with `rejected` while no leader has written any. */
  configuration(options: ReadOptions): Promise<AutopilotRecord>;
  /** False: the settings are not of ModifyIndex `index`, where one is given. */
  configure(settings: AutopilotSettings, options: WriteOptions & { readonly index?: LogIndex }): Promise<boolean>;
  /** As the leader judged it last. */
  health(options: WriteOptions): Promise<GroupHealth>;
}

export interface GroupHealth {
  /** All servers are. */
  readonly healthy: boolean;
  /** How many voters may be lost before the rest is no majority. */
  readonly failureTolerance: number;
  /** In the order of the Raft configuration. Undefined: not judged yet. */
  readonly servers: readonly ServerHealth[] | undefined;
}

export interface ServerHealth {
  readonly id: string;
  /** "" when gossip does not know it. */
  readonly name: string;
  readonly address: string;
  readonly status: Member["status"];
  readonly version: string;
  readonly leader: boolean;
  /** Since it heard of the leader; negative for never. */
  readonly lastContact: Millis;
  readonly lastTerm: Term;
  readonly lastIndex: LogIndex;
  readonly healthy: boolean;
  readonly voter: boolean;
  /** Since when it is healthy, or is not. Undefined: it was not heard of. */
  readonly stableSince: EpochMillis | undefined;
}

/** The servers of one datacenter that gossip has coordinates of. */
export interface DatacenterMap {
  readonly datacenter: string;
  /** "wan". */
  readonly areaId: string;
  /** Nodes by their name in their own datacenter. */
  readonly coordinates: readonly { readonly node: string; readonly coordinate: Coordinate }[];
}

export interface ClusterApi {
  members(pool: "lan" | "wan"): readonly Member[];
  /** Who accused whom of having failed, and on what grounds; of one member when `node` is given. Absent without gossip. */
  evidence?(pool: "lan" | "wan", node?: string): Evidence;
  self(): Member;
  coordinate(): Coordinate;
  /** "ip:port" of the leader's RPC address, "" when unknown. */
  leader(): string;
  /** RPC addresses of the Raft peers. */
  peers(): readonly string[];
  /** The Raft configuration in force, for operators; "stale" is one server's view, also without a leader. Absent where there is none to see. */
  raftServers?(options: Pick<ReadOptions, "consistency" | "datacenter">): Promise<readonly RaftPeer[]>;
  /** Takes a server out of the Raft configuration, wherever the leader is. Rejects with `rejected` and Consul's text. */
  removeRaftServer?(id: string, datacenter?: string): Promise<void>;
  /** All that are known, nearest first, this agent's own among the nearest. */
  datacenters(): readonly string[];
  /** The same, asked of a server now. Absent: `datacenters` is what is known now. */
  currentDatacenters?(): Promise<readonly string[]>;
  /** Servers by datacenter and where they are on the map of round trips. Absent: this agent knows of none. */
  datacenterMaps?(): Promise<readonly DatacenterMap[]>;
  /** Who leads the servers of a datacenter, asked now, and who they are: "ip:port". Rejects with `no-datacenter`. Absent: there is none. */
  statusOf?(datacenter: string): Promise<{ readonly leader: string; readonly peers: readonly string[] }>;
  isLeader(): boolean;
  /** How many were joined. Rejects with `rejected` and Consul's text. */
  join(addresses: readonly string[], pool: "lan" | "wan"): Promise<number>;
  forceLeave(node: string, prune: boolean): Promise<void>;
}

/** A user event before it is fired. Filters are regular expressions in Go's syntax; "" leaves nobody out. */
export interface EventToFire {
  readonly name: string;
  /** Undefined or empty: none. */
  readonly payload: Bytes | undefined;
  readonly nodeFilter: string;
  /** Matches IDs of services an agent registered. */
  readonly serviceFilter: string;
  /** Matches tags of those services. Only together with a service filter. */
  readonly tagFilter: string;
}

export interface UserEvent extends EventToFire {
  /** A UUID. */
  readonly id: string;
  readonly version: number;
  /** Lamport time in the pool it came through; 0 for one that was just fired. */
  readonly time: number;
}

/** Messages to every agent of a datacenter; see core/agent/events.ts. */
export interface EventsApi {
  /** Resolves when it is on its way. Rejects with `rejected` and Consul's text (a broken filter, too large), `no-datacenter`. */
  fire(event: EventToFire, where?: { readonly datacenter?: string; readonly token?: string }): Promise<UserEvent>;
  /** The last 256 that concern this agent, oldest first. The list itself never changes; an event makes a new one. */
  list(): readonly UserEvent[];
  /** Called after each event that concerns this agent, until the result is called. */
  follow(follower: () => void): () => void;
}
