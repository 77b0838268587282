/**
 * The agent as plugins see it: HTTP, DNS, the UI, and anyone's. Everything a client can do goes through here, whether
 * this agent is a server that holds the catalog or a client that asks one.
 */
import type { Command, CommandResult } from "../catalog/commands.ts";
import type { Answers, QueryKind, QueryOf } from "../catalog/queries.ts";
import type { CheckFields, Coordinate, ServiceFields, StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import type { CheckDefinition, ServiceDefinition } from "../config/definitions.ts";
import type { Bytes } from "../types/bytes.ts";
import type { Cancel } from "../types/cancel.ts";
import type { LogIndex, Millis } from "../types/ids.ts";

export interface AgentApi {
  /** The current configuration; a reload replaces the object. */
  readonly config: AgentConfig;
  readonly nodeId: string;
  readonly version: string;
  readonly store: StoreApi;
  readonly local: LocalApi;
  readonly cluster: ClusterApi;
  /** Absent where this agent holds no state: a client. */
  readonly snapshots?: SnapshotApi;
  /** Reads the configuration sources again and applies what may change at run time. Rejects with `config-invalid`. */
  reload(): Promise<void>;
  /** Leaves the cluster gracefully, then shuts the agent down. Resolves when the leave is done. */
  leave(): Promise<void>;
  /** Groups of `consul info` and /v1/agent/self Stats. */
  stats(): Readonly<Record<string, StringMap>>;
}

export type Consistency = "default" | "consistent" | "stale";

export interface ReadOptions {
  readonly consistency: Consistency;
  /** "" or undefined: this agent's own. Another that is not reachable rejects with `no-datacenter`. */
  readonly datacenter?: string;
  readonly token?: string;
}

export interface Blocking {
  /** Return when the result's index has passed this. 0 does not block. */
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
  write(command: Command, options?: { readonly datacenter?: string; readonly token?: string }): Promise<CommandResult>;

  /** Restarts a session's TTL on the leader. False: no such session. */
  renewSession(id: string, options?: { readonly datacenter?: string; readonly token?: string }): Promise<boolean>;

  /** Milliseconds since 1970, for commands. */
  now(): number;
}

/** The whole state as an operator's archive (core/codec/snapshot-archive.ts); compression is the caller's. */
export interface SnapshotApi {
  /** Rejects with `no-leader` (unless `stale`), `rate-limited` when several are being made already. */
  save(options: { readonly stale: boolean }): Promise<SavedSnapshot>;
  /**
   * Replaces the state of all servers, through the log. `archive` is called twice: once to verify the whole before
   * anything is changed, once to bring it in. Rejects with `rejected` and Consul's text (the archive is broken, or of
   * another program), `rate-limited` (a restore is under way), `no-leader`; the state is then as it was.
   */
  restore(archive: () => AsyncIterable<Bytes>): Promise<void>;
}

export interface SavedSnapshot {
  readonly meta: ReadMeta;
  /** The archive's bytes, to be compressed. Read once. */
  readonly content: AsyncIterable<Bytes>;
  /** Must be called, when it was read or is not wanted. Harmless when repeated. */
  release(): void;
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

export interface ClusterApi {
  members(pool: "lan" | "wan"): readonly Member[];
  self(): Member;
  coordinate(): Coordinate;
  /** "ip:port" of the leader's RPC address, "" when unknown. */
  leader(): string;
  /** RPC addresses of the Raft peers. */
  peers(): readonly string[];
  /** The Raft configuration in force, for operators. Absent where there is none to see. */
  raftServers?(): readonly RaftPeer[];
  /** Takes a server out of the Raft configuration, wherever the leader is. Rejects with `rejected` and Consul's text. */
  removeRaftServer?(id: string): Promise<void>;
  /** Own datacenter first. */
  datacenters(): readonly string[];
  isLeader(): boolean;
  /** How many were joined. Rejects with `rejected` and Consul's text. */
  join(addresses: readonly string[], pool: "lan" | "wan"): Promise<number>;
  forceLeave(node: string, prune: boolean): Promise<void>;
}
