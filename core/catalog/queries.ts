/**
 * Everything that can be asked of the catalog, what it answers, and when the answer may have changed.
 *
 * A query is data, so that a client agent can send it to a server, equal queries can share one evaluation, and a
 * simulation can record it. The evaluation is in core/catalog/evaluate.ts.
 */
import type { LogIndex } from "../types/ids.ts";
import type { TxnOp, TxnResult } from "./commands.ts";
import type {
  CheckedInstance,
  CheckRecord,
  Coordinate,
  KvRecord,
  NodeRecord,
  ServiceInstance,
  ServiceRecord,
  SessionRecord,
  StringMap,
} from "./records.ts";

/** Common to reads of nodes, services and checks. */
export interface Selection {
  /** A filter expression in Consul's language (core/catalog/filter.ts); "" for none. A broken one makes the evaluation throw `rejected`. */
  readonly filter?: string;
  /** Sort by round-trip time from this node; unknown: unsorted. */
  readonly near?: string;
  /** All pairs must match. */
  readonly nodeMeta?: StringMap;
}

export type Query =
  | { readonly kind: "kvGet"; readonly key: string }
  | { readonly kind: "kvList"; readonly prefix: string }
  /** `separator` "" lists whole keys. */
  | { readonly kind: "kvKeys"; readonly prefix: string; readonly separator: string }
  | ({ readonly kind: "nodes" } & Selection)
  | ({ readonly kind: "services" } & Pick<Selection, "nodeMeta">)
  | ({ readonly kind: "serviceInstances" } & ServiceSelection)
  /** Also found by a node-ID prefix of two or more characters. */
  | ({ readonly kind: "nodeServices"; readonly node: string } & Pick<Selection, "filter">)
  | ({ readonly kind: "nodeChecks"; readonly node: string } & Pick<Selection, "filter">)
  | ({ readonly kind: "serviceChecks"; readonly service: string } & Selection)
  | ({ readonly kind: "checksInState"; readonly state: string } & Selection)
  | ({ readonly kind: "checkedInstances"; readonly passingOnly: boolean } & ServiceSelection)
  | { readonly kind: "session"; readonly id: string }
  | { readonly kind: "sessions" }
  | { readonly kind: "nodeSessions"; readonly node: string }
  | { readonly kind: "coordinates" }
  | { readonly kind: "coordinate"; readonly node: string }
  /** A transaction of gets and checks only. */
  | { readonly kind: "txnRead"; readonly ops: readonly TxnOp[] }
  /** For DNS PTR: the node or service instances at this IP address. */
  | { readonly kind: "byAddress"; readonly address: string };

export interface ServiceSelection extends Selection {
  readonly service: string;
  /** All must be present; compared without case. */
  readonly tags?: readonly string[];
  /** "connect": proxies for the service and its native instances; "ingress": gateways bound to it. */
  readonly through?: "connect" | "ingress";
}

export interface CoordinateEntry {
  readonly node: string;
  readonly segment: string;
  readonly coordinate: Coordinate;
}

export interface Answers {
  readonly kvGet: KvRecord | undefined;
  readonly kvList: readonly KvRecord[];
  readonly kvKeys: readonly string[];
  readonly nodes: readonly NodeRecord[];
  /** Sorted by name; each with the union of its instances' tags, sorted. */
  readonly services: readonly { readonly service: string; readonly tags: readonly string[] }[];
  readonly serviceInstances: readonly ServiceInstance[];
  readonly nodeServices: { readonly node: NodeRecord; readonly services: readonly ServiceRecord[] } | undefined;
  readonly nodeChecks: readonly CheckRecord[];
  readonly serviceChecks: readonly CheckRecord[];
  readonly checksInState: readonly CheckRecord[];
  readonly checkedInstances: readonly CheckedInstance[];
  readonly session: SessionRecord | undefined;
  readonly sessions: readonly SessionRecord[];
  readonly nodeSessions: readonly SessionRecord[];
  readonly coordinates: readonly CoordinateEntry[];
  readonly coordinate: readonly CoordinateEntry[];
  readonly txnRead: {
    readonly results: readonly TxnResult[];
    readonly errors: readonly { readonly opIndex: number; readonly what: string }[];
  };
  readonly byAddress: { readonly nodes: readonly NodeRecord[]; readonly services: readonly ServiceInstance[] };
}

export type QueryKind = Query["kind"];
export type QueryOf<Kind extends QueryKind> = Extract<Query, { readonly kind: Kind }>;

/** What changed, as a watch names it: e.g. "kv:config/a", "kv", "service:web", "nodes", "node:n1". See core/catalog/watch.ts. */
export type Topic = string;

export interface Evaluation<Answer> {
  /** What X-Consul-Index says (never 0). A blocking query returns when this passes the client's index. */
  readonly index: LogIndex;
  readonly answer: Answer;
  /** A change of one of these may raise `index`: wakes who waits. */
  readonly wakes: readonly Topic[];
  /**
   * A change of one of these, or of `wakes`, makes `index` or `answer` stale for a new reader, without waking who waits
   * (a missing key reports the whole table's index, but an unrelated write does not wake its watchers).
   */
  readonly stales: readonly Topic[];
}
