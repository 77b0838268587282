/**
 * Consul 1.8's writing methods: how a client asks for a command of ours, and how a server reads what it was asked for.
 * Both directions of a method stand together, so that they are seen to fit.
 */
import { Fields, textOf } from "../../codec/fields.ts";
import type { Encodable, Value } from "../../codec/msgpack.ts";
import { checkTypeOf } from "../../catalog/check-type.ts";
import type { Command, CommandResult, DeregisterCommand, KvOp, RegisterCommand } from "../../catalog/commands.ts";
import type { CheckFields, Coordinate, KvRecord, LeaderTime, SessionRecord } from "../../catalog/records.ts";
import { emptyBytes } from "../../types/bytes.ts";
import { AgentError, unreachable } from "../../types/errors.ts";
import type { Encoded } from "./query-options.ts";
import { decodeTxnOps, decodeTxnOutcome, encodeTxnOps, encodeTxnOutcome } from "./transactions.ts";
import {
  decodeCheck,
  decodeCoordinate,
  decodeKv,
  decodeService,
  decodeSession,
  encodeCheckFields,
  encodeCoordinate,
  encodeKv,
  encodeService,
  encodeSession,
} from "./wire-records.ts";
import { encodeMap, pointer, stringMapField, structs } from "./wire-values.ts";

/** A call that carries out a command, or a part of one, and what its reply means. */
export interface WriteCall {
  readonly method: string;
  readonly args: Encoded;
  /** Throws `Malformed`. */
  readonly result: (reply: Value) => CommandResult;
}

const done: CommandResult = { kind: "done" };

/** The calls for a command, to be made in order; none for what only servers propose. The result is the last one's. */
export function writeCalls(command: Command): readonly WriteCall[] {
  switch (command.kind) {
    case "register":
      return [{ method: "Catalog.Register", args: encodeRegister(command), result: () => done }];
    case "deregister":
      return [{ method: "Catalog.Deregister", args: encodeDeregister(command), result: () => done }];
    case "kv":
      return [{ method: "KVS.Apply", args: encodeKvOp(command.op), result: (reply) => kvResult(command.op, reply) }];
    case "sessionCreate": {
      const args = { Op: "create", Session: encodeSession(command.session) };
      return [{ method: "Session.Apply", args, result: (reply) => ({ kind: "session", id: textOf(reply, "ID") }) }];
    }
    case "sessionDestroy": {
      const args = { Op: "destroy", Session: encodeSession({ ...noSession, id: command.id }) };
      return [{ method: "Session.Apply", args, result: () => done }];
    }
    case "txn": {
      const result = (reply: Value): CommandResult => ({ kind: "txn", ...decodeTxnOutcome(new Fields(reply)) });
      return [{ method: "Txn.Apply", args: { Ops: encodeTxnOps(command.ops) }, result }];
    }
    case "coordinates":
      return command.updates.map(({ node, segment, coordinate }) => ({
        method: "Coordinate.Update",
        args: { Node: node, Segment: segment, Coord: encodeCoordinate(coordinate) },
        result: () => done,
      }));
    default:
      // The rest are the servers' own affairs.
      return [];
  }
}

// ---- Catalog.Register, Catalog.Deregister

function encodeRegister(command: RegisterCommand): Encoded {
  const { service } = command;
  return {
    ID: command.id,
    Node: command.node,
    Address: command.address,
    TaggedAddresses: encodeMap(command.taggedAddresses),
    NodeMeta: encodeMap(command.nodeMeta),
    Service: service === undefined ? null : encodeService(service),
    Check: null,
    Checks: command.checks.length === 0 ? null : command.checks.map((check) => encodeCheckFields(check)),
    SkipNodeUpdate: command.skipNodeUpdate,
    CreateIndex: 0,
    ModifyIndex: 0,
  };
}

/** Throws `Malformed`. */
export function decodeRegister(fields: Fields, now: LeaderTime): RegisterCommand {
  const service = pointer(fields, "Service");
  const one = pointer(fields, "Check");
  const checks = [...structs(fields, "Checks"), ...(one === undefined ? [] : [one])];
  return {
    kind: "register",
    node: fields.text("Node"),
    id: fields.text("ID"),
    address: fields.text("Address"),
    datacenter: fields.text("Datacenter"),
    taggedAddresses: stringMapField(fields, "TaggedAddresses"),
    nodeMeta: stringMapField(fields, "NodeMeta"),
    skipNodeUpdate: fields.flag("SkipNodeUpdate"),
    service: service === undefined ? undefined : withoutIndexes(decodeService(service)),
    checks: checks.map(decodeRegisteredCheck),
    now,
  };
}

function withoutIndexes<Record extends { readonly createIndex: number; readonly modifyIndex: number }>(
  record: Record,
): Omit<Record, "createIndex" | "modifyIndex"> {
  const { createIndex: _create, modifyIndex: _modify, ...fields } = record;
  return fields;
}

/** Names and tags of a service are the catalog's to fill in; so is the type, where the definition says it. */
function decodeRegisteredCheck(fields: Fields): CheckFields & { readonly node?: string } {
  const { node, serviceName: _name, serviceTags: _tags, ...check } = withoutIndexes(decodeCheck(fields));
  const type = check.type === "" ? checkTypeOf(check.definition) : check.type;
  return { ...check, type, ...(node === "" ? {} : { node }) };
}

function encodeDeregister(command: DeregisterCommand): Encoded {
  return { Node: command.node, ServiceID: command.serviceId ?? "", CheckID: command.checkId ?? "" };
}

/** Throws `Malformed`. */
export function decodeDeregister(fields: Fields, now: LeaderTime): DeregisterCommand {
  return {
    kind: "deregister",
    node: fields.text("Node"),
    serviceId: fields.text("ServiceID") || undefined,
    checkId: fields.text("CheckID") || undefined,
    now,
  };
}

// ---- KVS.Apply

const noEntry: KvRecord = {
  key: "",
  value: emptyBytes,
  flags: 0,
  lockIndex: 0,
  session: undefined,
  createIndex: 0,
  modifyIndex: 0,
};

function encodeKvOp(op: KvOp): Encoded {
  switch (op.op) {
    case "set":
      return kvArgs("set", { key: op.key, value: op.value, flags: op.flags });
    case "cas":
      return kvArgs("cas", { key: op.key, value: op.value, flags: op.flags, modifyIndex: op.index });
    case "acquire":
      return kvArgs("lock", { key: op.key, value: op.value, flags: op.flags, session: op.session });
    case "release":
      return kvArgs("unlock", { key: op.key, value: op.value, flags: op.flags, session: op.session });
    case "delete":
      return kvArgs("delete", { key: op.key });
    case "deleteCas":
      return kvArgs("delete-cas", { key: op.key, modifyIndex: op.index });
    case "deleteTree":
      return kvArgs("delete-tree", { key: op.prefix });
    default:
      return unreachable(op);
  }
}

function kvArgs(op: string, entry: Partial<KvRecord>): Encoded {
  return { Op: op, DirEnt: encodeKv({ ...noEntry, ...entry }) };
}

/** Throws `Malformed`, and `rejected` with Consul's text. */
export function decodeKvOp(fields: Fields): KvOp {
  const name = fields.text("Op");
  const { key, value, flags, modifyIndex: index, session = "" } = decodeKv(fields.fields("DirEnt"));
  if (key === "" && name !== "delete-tree") throw new AgentError("rejected", { message: "Must provide key" });
  switch (name) {
    case "set":
      return { op: "set", key, value, flags };
    case "cas":
      return { op: "cas", key, value, flags, index };
    case "lock":
      return { op: "acquire", key, value, flags, session };
    case "unlock":
      return { op: "release", key, value, flags, session };
    case "delete":
      return { op: "delete", key };
    case "delete-cas":
      return { op: "deleteCas", key, index };
    case "delete-tree":
      return { op: "deleteTree", prefix: key };
    default:
      throw new AgentError("rejected", { message: `Invalid KVS operation '${name}'` });
  }
}

function isConditional(op: KvOp): boolean {
  return op.op !== "set" && op.op !== "delete" && op.op !== "deleteTree";
}

/** Servers answer false to what has no condition, and nobody looks. */
export function encodeKvResult(op: KvOp, result: CommandResult): boolean {
  return isConditional(op) && result.kind === "took" && result.effect;
}

function kvResult(op: KvOp, reply: Value): CommandResult {
  return { kind: "took", effect: !isConditional(op) || reply === true || reply === 1 };
}

// ---- Session.Apply

const noSession: Omit<SessionRecord, "createIndex" | "modifyIndex"> = {
  id: "",
  name: "",
  node: "",
  lockDelay: 0,
  behavior: "release",
  ttl: "",
  nodeChecks: [],
  serviceChecks: undefined,
  checks: undefined,
};

export type SessionOp =
  | { readonly op: "create"; readonly session: Omit<SessionRecord, "id" | "createIndex" | "modifyIndex"> }
  | { readonly op: "destroy"; readonly id: string };

/** Throws `Malformed`, and `rejected` with Consul's text. The ID of a new session is the server's to choose. */
export function decodeSessionOp(fields: Fields): SessionOp {
  const name = fields.text("Op");
  const { id, ...session } = withoutIndexes(decodeSession(fields.fields("Session")));
  if (name === "create") return { op: "create", session };
  if (name !== "destroy") throw new AgentError("rejected", { message: `Invalid Session operation '${name}'` });
  if (id === "") throw new AgentError("rejected", { message: "Must provide ID" });
  return { op: "destroy", id };
}

// ---- Txn.Apply

/** Throws `Malformed`, and `rejected`. */
export function decodeTxn(fields: Fields, now: LeaderTime): Command {
  return { kind: "txn", ops: decodeTxnOps(fields), now };
}

export function encodeTxnResult(result: CommandResult): Encodable {
  if (result.kind !== "txn") throw new AgentError("rejected", { message: "the transaction gave no result" });
  return encodeTxnOutcome(result);
}

// ---- Coordinate.Update

/** Consul's coordinates have so many dimensions. */
const dimensions = 8;

export interface CoordinateUpdate {
  readonly node: string;
  readonly segment: string;
  readonly coordinate: Coordinate;
}

/** Throws `Malformed`, and `rejected` with Consul's text. */
export function decodeCoordinateUpdate(fields: Fields): CoordinateUpdate {
  const coordinate = decodeCoordinate(fields.fields("Coord"));
  const { vec, error, adjustment, height } = coordinate;
  if (vec.length !== dimensions) throw new AgentError("rejected", { message: "incompatible coordinate" });
  if (![...vec, error, adjustment, height].every(Number.isFinite))
    throw new AgentError("rejected", { message: "invalid coordinate" });
  return { node: fields.text("Node"), segment: fields.text("Segment"), coordinate };
}
