/** What Serf says through SWIM: gossiped user messages and the user state of push-pull. Times are Lamport times. */
import type { Bytes } from "../types/bytes.ts";

export interface LeaveIntent {
  readonly kind: "leave";
  readonly time: number;
  readonly node: string;
  /** Forget the member altogether. */
  readonly prune: boolean;
}

export interface JoinIntent {
  readonly kind: "join";
  readonly time: number;
  readonly node: string;
}

export interface UserEvent {
  readonly kind: "userEvent";
  readonly time: number;
  readonly name: string;
  readonly payload: Bytes | undefined;
  /** Whoever receives several of this name may look at the last only. */
  readonly coalesce: boolean;
}

export interface Query {
  readonly kind: "query";
  readonly time: number;
  readonly id: number;
  /** Where answers go. */
  readonly address: Bytes;
  readonly port: number;
  readonly sourceNode: string;
  readonly filters: readonly QueryFilter[] | undefined;
  readonly flags: number;
  readonly relayFactor: number;
  /** Nanoseconds. */
  readonly timeout: number;
  readonly name: string;
  readonly payload: Bytes | undefined;
}

export type QueryFilter =
  | { readonly kind: "nodes"; readonly nodes: readonly string[] }
  | { readonly kind: "tag"; readonly tag: string; readonly expression: string }
  /** Of a kind this version does not know: the query is passed on and not answered. */
  | { readonly kind: "unknown"; readonly encoded: Bytes };

export interface QueryResponse {
  readonly kind: "queryResponse";
  readonly time: number;
  readonly id: number;
  readonly from: string;
  readonly flags: number;
  readonly payload: Bytes | undefined;
}

/** An answer that takes a detour, in case the direct way is broken. */
export interface Relay {
  readonly kind: "relay";
  readonly address: Bytes;
  readonly port: number;
  readonly node: string;
  /** The whole inner message, type byte included. */
  readonly inner: Bytes;
}

export type SerfMessage = LeaveIntent | JoinIntent | UserEvent | Query | QueryResponse | Relay;

/** All that Serf knows, for a push-pull exchange. */
export interface SerfState {
  readonly time: number;
  readonly statusTimes: ReadonlyMap<string, number>;
  readonly leftMembers: readonly string[];
  readonly eventTime: number;
  /** The recent events by their time; as many slots as the ring has. */
  readonly events: readonly (EventSlot | undefined)[];
  readonly queryTime: number;
}

export interface EventSlot {
  readonly time: number;
  readonly events: readonly { readonly name: string; readonly payload: Bytes | undefined }[];
}

/** Flags of a query, and of its response. */
export const queryFlags = { ack: 1, noBroadcast: 2 } as const;
export const responseFlags = { ack: 1 } as const;
