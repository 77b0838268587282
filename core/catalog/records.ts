/**
 * What the catalog holds. Field names are ours; `plugins/http` renders them under Consul's names, `core/rpc` under the
 * wire's. All of it is immutable: a change replaces the record.
 */
import type { Bytes } from "../types/bytes.ts";
import type { EpochMillis, LogIndex, Millis } from "../types/ids.ts";

export type StringMap = Readonly<Record<string, string>>;
/** JSON as it came, for parts that we carry and do not interpret. Keys are Consul's own (CamelCase). */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

export interface Indexed {
  readonly createIndex: LogIndex;
  readonly modifyIndex: LogIndex;
}

export interface NodeRecord extends Indexed {
  /** UUID; "" for an external node registered without one. */
  readonly id: string;
  readonly node: string;
  readonly address: string;
  readonly datacenter: string;
  readonly taggedAddresses: StringMap | undefined;
  readonly meta: StringMap | undefined;
}

export interface ServiceAddress {
  readonly address: string;
  readonly port: number;
}

export interface Weights {
  readonly passing: number;
  readonly warning: number;
}

/** "" is a typical service. */
export type ServiceKind = "" | "connect-proxy" | "mesh-gateway" | "terminating-gateway" | "ingress-gateway" | (string & {});

/** A service as it is registered, on whatever node. */
export interface ServiceFields {
  readonly kind: ServiceKind;
  readonly id: string;
  readonly service: string;
  readonly tags: readonly string[];
  readonly address: string;
  readonly taggedAddresses: Readonly<Record<string, ServiceAddress>> | undefined;
  readonly meta: StringMap | undefined;
  readonly port: number;
  readonly weights: Weights;
  readonly enableTagOverride: boolean;
  /** Consul's Proxy object under Consul's key names, defaults filled in; undefined for a typical service. */
  readonly proxy: JsonObject | undefined;
  readonly connectNative: boolean;
}

export interface ServiceRecord extends ServiceFields, Indexed {
  /** The node's name. */
  readonly node: string;
}

export type CheckStatus = "passing" | "warning" | "critical";

export interface CheckFields {
  readonly checkId: string;
  readonly name: string;
  readonly status: CheckStatus | (string & {});
  readonly notes: string;
  readonly output: string;
  /** "" for a check of the node. */
  readonly serviceId: string;
  /** "http", "tcp", "ttl", "script", "alias", "maintenance", "". */
  readonly type: string;
  /** Consul's Definition object; `{}` for checks that an agent registered. */
  readonly definition: JsonObject;
}

export interface CheckRecord extends CheckFields, Indexed {
  readonly node: string;
  /** Copied from the service by the catalog. */
  readonly serviceName: string;
  readonly serviceTags: readonly string[];
}

export interface KvRecord extends Indexed {
  readonly key: string;
  readonly value: Bytes;
  /** Up to 2^64 - 1; beyond 2^53 a bigint. */
  readonly flags: number | bigint;
  readonly lockIndex: number;
  /** The holder, undefined when unlocked. */
  readonly session: string | undefined;
}

export interface SessionRecord extends Indexed {
  readonly id: string;
  readonly name: string;
  readonly node: string;
  readonly lockDelay: Millis;
  readonly behavior: "release" | "delete";
  /** As given ("10s"); "" for none. */
  readonly ttl: string;
  readonly nodeChecks: readonly string[];
  readonly serviceChecks: readonly { readonly id: string; readonly namespace: string }[] | undefined;
  /** The legacy field, when it was used. */
  readonly checks: readonly string[] | undefined;
}

/** How the leader looks after the servers of its group (Consul 1.8: autopilot). */
export interface AutopilotSettings {
  readonly cleanupDeadServers: boolean;
  /** A server is healthy while it was heard of so recently, and lacks at most `maxTrailingLogs` entries. May have a fraction. */
  readonly lastContactThreshold: Millis;
  readonly maxTrailingLogs: number | bigint;
  /** Dead servers are only cleaned up while so many are left. */
  readonly minQuorum: number | bigint;
  /** A new server gets its vote after it was healthy for so long. */
  readonly serverStabilizationTime: Millis;
  /** Kept for clients of Consul's Enterprise version, without effect: this one and the two below. */
  readonly redundancyZoneTag: string;
  readonly disableUpgradeMigration: boolean;
  readonly upgradeVersionTag: string;
}
export interface AutopilotRecord extends AutopilotSettings, Indexed {}

/** A network coordinate (Vivaldi): seconds. */
export interface Coordinate {
  readonly vec: readonly number[];
  readonly error: number;
  readonly adjustment: number;
  readonly height: number;
}

/** One instance of a service with its node. */
export interface ServiceInstance {
  readonly node: NodeRecord;
  readonly service: ServiceRecord;
}
/** One instance of a service with its node and all checks that count for it: the node's and its own. */
export interface CheckedInstance extends ServiceInstance {
  readonly checks: readonly CheckRecord[];
}

/** When something happened, as the leader's clock had it. Arrives in commands; the state machine has no clock. */
export type LeaderTime = EpochMillis;
