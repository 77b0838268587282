/** What all of Consul's reads carry: options on the way there, meta on the way back. Both lie flat in their message. */
import type { Fields } from "../../codec/fields.ts";
import type { Encodable } from "../../codec/msgpack.ts";
import type { Selection } from "../../catalog/queries.ts";
import type { Consistency, ReadMeta } from "../../plugin/agent-api.ts";
import type { LogIndex, Millis } from "../../types/ids.ts";
import { encodeMap, indexField, millisField, nanoseconds, stringMapField } from "./wire-values.ts";

export type Encoded = { readonly [field: string]: Encodable };

/** structs.QueryOptions, apart from the filter, which is part of a query. */
export interface QueryOptions {
  readonly consistency: Consistency;
  readonly token: string;
  /** 0 does not block. */
  readonly minIndex: LogIndex;
  /** 0: the server's default. */
  readonly wait: Millis;
}

export function encodeQueryOptions(options: QueryOptions, filter = ""): Encoded {
  return {
    AllowStale: options.consistency === "stale",
    Filter: filter,
    MaxAge: 0,
    MaxQueryTime: nanoseconds(options.wait),
    MaxStaleDuration: 0,
    MinQueryIndex: options.minIndex,
    MustRevalidate: false,
    RequireConsistent: options.consistency === "consistent",
    StaleIfError: 0,
    Token: options.token,
    UseCache: false,
  };
}

/** Of `AllowStale` and `RequireConsistent` together the former counts. A negative wait is none. */
export function decodeQueryOptions(fields: Fields): QueryOptions {
  const consistent = fields.flag("RequireConsistent");
  return {
    consistency: fields.flag("AllowStale") ? "stale" : consistent ? "consistent" : "default",
    token: fields.text("Token"),
    minIndex: indexField(fields, "MinQueryIndex"),
    wait: Math.max(0, millisField(fields, "MaxQueryTime")),
  };
}

/** structs.QueryMeta. Servers leave `ConsistencyLevel` empty. */
export function encodeQueryMeta(meta: ReadMeta): Encoded {
  return {
    ConsistencyLevel: "",
    Index: meta.index,
    KnownLeader: meta.knownLeader,
    LastContact: nanoseconds(meta.lastContact),
  };
}

export function decodeQueryMeta(fields: Fields): ReadMeta {
  return {
    index: indexField(fields, "Index"),
    knownLeader: fields.flag("KnownLeader"),
    lastContact: Math.floor(millisField(fields, "LastContact")),
  };
}

/** The node's pairs and the place from which distance counts: in requests about a whole datacenter. */
export function encodeSelection(selection: Selection, datacenter: string): Encoded {
  const { near, nodeMeta } = selection;
  const source = near === undefined || near === "" ? ["", ""] : [datacenter, near];
  return {
    NodeMetaFilters: encodeMap(nodeMeta),
    Source: { Datacenter: source[0] as string, Ip: "", Node: source[1] as string, Segment: "" },
  };
}

/** `datacenter` is the server's own: distances from another one are not known, and then nothing is sorted. */
export function decodeSelection(fields: Fields, datacenter: string): Selection {
  const source = fields.fields("Source");
  const near = source.text("Datacenter") === datacenter ? source.text("Node") : "";
  const nodeMeta = stringMapField(fields, "NodeMetaFilters");
  return {
    ...decodeFilter(fields),
    ...(near === "" ? {} : { near }),
    ...(nodeMeta === undefined ? {} : { nodeMeta }),
  };
}

export function decodeFilter(fields: Fields): Pick<Selection, "filter"> {
  const filter = fields.text("Filter");
  return filter === "" ? {} : { filter };
}
