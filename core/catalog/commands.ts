/**
 * Everything that can enter the log, and what applying it answers.
 *
 * A command is complete: the state machine sees no clock, no randomness and no configuration, so that every server and
 * every replay comes to the same state. Whatever needs those (IDs, times) the proposer puts in.
 */
import type { Bytes } from "../types/bytes.ts";
import type { LogIndex } from "../types/ids.ts";
import type {
  AutopilotSettings,
  CheckFields,
  Coordinate,
  KvRecord,
  LeaderTime,
  NodeRecord,
  ServiceFields,
  ServiceRecord,
  CheckRecord,
  SessionRecord,
  StringMap,
} from "./records.ts";

export type Command =
  | RegisterCommand
  | DeregisterCommand
  | { readonly kind: "kv"; readonly op: KvOp; readonly now: LeaderTime }
  | { readonly kind: "sessionCreate"; readonly session: NewSession; readonly now: LeaderTime }
  | { readonly kind: "sessionDestroy"; readonly id: string; readonly now: LeaderTime }
  | { readonly kind: "txn"; readonly ops: readonly TxnOp[]; readonly now: LeaderTime }
  | {
      readonly kind: "coordinates";
      readonly updates: readonly { readonly node: string; readonly segment: string; readonly coordinate: Coordinate }[];
    }
  /** Drops KV tombstones up to and including `index`. */
  | { readonly kind: "tombstonesReap"; readonly index: LogIndex }
  | AutopilotCommand
  | RestoreCommand
  /** Changes nothing: a new leader proposes it to learn that everything before is applied. */
  | { readonly kind: "barrier" };

/** How servers are looked after. */
export interface AutopilotCommand {
  readonly kind: "autopilot";
  readonly settings: AutopilotSettings;
  /** Only where the settings are of this ModifyIndex, 0: only where there are none. Undefined: in any case. */
  readonly index: LogIndex | undefined;
}

/**
 * An operator's snapshot replaces the whole state (restoring.ts): begun, its bytes in order, ended. Whatever breaks the
 * sequence is `rejected` and forgets what had come; the state that serves is untouched until `restoreEnd` succeeds.
 */
export type RestoreCommand =
  /** Another restore that was not finished is forgotten. */
  | { readonly kind: "restoreBegin"; readonly id: string }
  /** `at`: how many bytes went before. */
  | { readonly kind: "restoreChunk"; readonly id: string; readonly at: number; readonly bytes: Bytes }
  /** `length`: of all bytes together. */
  | { readonly kind: "restoreEnd"; readonly id: string; readonly length: number }
  /** Gives it up. Harmless when it is gone. */
  | { readonly kind: "restoreDiscard"; readonly id: string };

export interface RegisterCommand {
  readonly kind: "register";
  readonly node: string;
  readonly id: string;
  readonly address: string;
  readonly datacenter: string;
  readonly taggedAddresses: StringMap | undefined;
  readonly nodeMeta: StringMap | undefined;
  /** Leave an existing node's address, tagged addresses and meta as they are. */
  readonly skipNodeUpdate: boolean;
  readonly service: ServiceFields | undefined;
  /** `node` only when the request named one: another than the registered node is refused. */
  readonly checks: readonly (CheckFields & { readonly node?: string })[];
  readonly now: LeaderTime;
}

/** A service when `serviceId` is set, else a check when `checkId` is, else the whole node. */
export interface DeregisterCommand {
  readonly kind: "deregister";
  readonly node: string;
  readonly serviceId: string | undefined;
  readonly checkId: string | undefined;
  readonly now: LeaderTime;
}

export type NewSession = Omit<SessionRecord, "createIndex" | "modifyIndex">;

export type KvOp =
  | { readonly op: "set"; readonly key: string; readonly value: Bytes; readonly flags: number | bigint }
  | { readonly op: "cas"; readonly key: string; readonly value: Bytes; readonly flags: number | bigint; readonly index: LogIndex }
  | {
      readonly op: "acquire";
      readonly key: string;
      readonly value: Bytes;
      readonly flags: number | bigint;
      readonly session: string;
    }
  | {
      readonly op: "release";
      readonly key: string;
      readonly value: Bytes;
      readonly flags: number | bigint;
      readonly session: string;
    }
  | { readonly op: "delete"; readonly key: string }
  | { readonly op: "deleteCas"; readonly key: string; readonly index: LogIndex }
  | { readonly op: "deleteTree"; readonly prefix: string };

/** One operation of a transaction. `index` is a ModifyIndex to compare with. */
export type TxnOp =
  | {
      readonly on: "kv";
      readonly verb: TxnKvVerb;
      readonly key: string;
      readonly value: Bytes;
      readonly flags: number | bigint;
      readonly index: LogIndex;
      readonly session: string;
    }
  | {
      readonly on: "node";
      readonly verb: TxnVerb;
      readonly node: Omit<NodeRecord, "createIndex" | "modifyIndex"> & { readonly modifyIndex: LogIndex };
    }
  | {
      readonly on: "service";
      readonly verb: TxnVerb;
      readonly node: string;
      readonly service: ServiceFields & { readonly modifyIndex: LogIndex };
    }
  | {
      readonly on: "check";
      readonly verb: TxnVerb;
      readonly node: string;
      readonly check: CheckFields & { readonly modifyIndex: LogIndex };
    };
export type TxnVerb = "get" | "set" | "cas" | "delete" | "delete-cas";
export type TxnKvVerb =
  | "set"
  | "cas"
  | "lock"
  | "unlock"
  | "get"
  | "get-tree"
  | "check-index"
  | "check-session"
  | "check-not-exists"
  | "delete"
  | "delete-tree"
  | "delete-cas";

export type TxnResult =
  | { readonly on: "kv"; readonly record: KvRecord }
  | { readonly on: "node"; readonly record: NodeRecord }
  | { readonly on: "service"; readonly record: ServiceRecord }
  | { readonly on: "check"; readonly record: CheckRecord };

/** What applying a command answers. `rejected` is an expected outcome with Consul's own text. */
export type CommandResult =
  | { readonly kind: "done" }
  /** KV operations: whether it took effect. */
  | { readonly kind: "took"; readonly effect: boolean }
  | { readonly kind: "session"; readonly id: string }
  | {
      readonly kind: "txn";
      readonly results: readonly TxnResult[];
      readonly errors: readonly { readonly opIndex: number; readonly what: string }[];
    }
  | { readonly kind: "rejected"; readonly message: string };
