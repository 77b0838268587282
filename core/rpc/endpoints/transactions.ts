/** Transactions on the wire: operations there, results or errors back. */
import type { Fields } from "../../codec/fields.ts";
import { type Encodable, Malformed } from "../../codec/msgpack.ts";
import type { TxnKvVerb, TxnOp, TxnResult, TxnVerb } from "../../catalog/commands.ts";
import type { KvRecord } from "../../catalog/records.ts";
import type { TxnOutcome } from "../../catalog/txn.ts";
import { AgentError, unreachable } from "../../types/errors.ts";
import type { Encoded } from "./query-options.ts";
import {
  decodeCheck,
  decodeKv,
  decodeNode,
  decodeService,
  decodeServiceRecord,
  encodeCheck,
  encodeKv,
  encodeNode,
  encodeService,
} from "./wire-records.ts";
import { listOrNil, pointer, structs } from "./wire-values.ts";

/** Operations in one transaction. Consul 1.8 says so where HTTP comes in; no client sends more. */
const opsMax = 64;

export function encodeTxnOps(ops: readonly TxnOp[]): Encodable {
  return ops.map((op) => ({ Check: null, Intention: null, KV: null, Node: null, Service: null, Session: null, ...encodeOp(op) }));
}

function encodeOp(op: TxnOp): Encoded {
  switch (op.on) {
    case "kv": {
      const { key, value, flags, index, session } = op;
      const record: KvRecord = { key, value, flags, lockIndex: 0, session, createIndex: 0, modifyIndex: index };
      return { KV: { Verb: op.verb, DirEnt: encodeKv(record) } };
    }
    case "node":
      return { Node: { Verb: op.verb, Node: encodeNode({ ...op.node, createIndex: 0 }) } };
    case "service":
      return { Service: { Verb: op.verb, Node: op.node, Service: encodeService(op.service) } };
    case "check": {
      const check = { serviceName: "", serviceTags: [], createIndex: 0, ...op.check, node: op.node };
      return { Check: { Verb: op.verb, Check: encodeCheck(check) } };
    }
    default:
      return unreachable(op);
  }
}

/** Throws `Malformed`, and `rejected` for what cannot be an operation. */
export function decodeTxnOps(fields: Fields): readonly TxnOp[] {
  const given = structs(fields, "Ops");
  if (given.length > opsMax)
    throw new AgentError("rejected", { message: `Transaction contains too many operations (${given.length} > ${opsMax})` });
  return given.map(decodeOp);
}

/** Verbs come as text; what is none is refused where the transaction runs. */
function decodeOp(fields: Fields): TxnOp {
  const kv = pointer(fields, "KV");
  if (kv !== undefined) {
    const { key, value, flags, modifyIndex, session = "" } = decodeKv(kv.fields("DirEnt"));
    return { on: "kv", verb: kv.text("Verb") as TxnKvVerb, key, value, flags, index: modifyIndex, session };
  }
  const node = pointer(fields, "Node");
  if (node !== undefined) {
    const { createIndex: _, ...record } = decodeNode(node.fields("Node"));
    return { on: "node", verb: node.text("Verb") as TxnVerb, node: record };
  }
  const service = pointer(fields, "Service");
  if (service !== undefined) {
    const { createIndex: _, ...record } = decodeService(service.fields("Service"));
    return { on: "service", verb: service.text("Verb") as TxnVerb, node: service.text("Node"), service: record };
  }
  const check = pointer(fields, "Check");
  if (check !== undefined) {
    const { createIndex: _c, node: owner, serviceName: _n, serviceTags: _t, ...record } = decodeCheck(check.fields("Check"));
    return { on: "check", verb: check.text("Verb") as TxnVerb, node: owner, check: record };
  }
  if (pointer(fields, "Session") !== undefined || pointer(fields, "Intention") !== undefined)
    throw new AgentError("not-supported", { message: "Transactions on sessions and intentions are not supported" });
  throw new AgentError("rejected", { message: "no operation specified" });
}

/** With errors there are no results. */
export function encodeTxnOutcome({ results, errors }: TxnOutcome): Encoded {
  return {
    Results: errors.length > 0 ? null : results.map(encodeResult),
    Errors: listOrNil(errors.map(({ opIndex, what }) => ({ OpIndex: opIndex, What: what }))),
  };
}

/** Throws `Malformed`. */
export function decodeTxnOutcome(fields: Fields): TxnOutcome {
  return {
    results: structs(fields, "Results").map(decodeResult),
    errors: structs(fields, "Errors").map((error) => ({ opIndex: error.unsigned("OpIndex"), what: error.text("What") })),
  };
}

function encodeResult(result: TxnResult): Encoded {
  const none = { Check: null, KV: null, Node: null, Service: null };
  switch (result.on) {
    case "kv":
      return { ...none, KV: encodeKv(result.record) };
    case "node":
      return { ...none, Node: encodeNode(result.record) };
    case "service":
      return { ...none, Service: encodeService(result.record) };
    case "check":
      return { ...none, Check: encodeCheck(result.record) };
    default:
      return unreachable(result);
  }
}

/** A service comes without its node here. */
function decodeResult(fields: Fields): TxnResult {
  const kv = pointer(fields, "KV");
  if (kv !== undefined) return { on: "kv", record: decodeKv(kv) };
  const node = pointer(fields, "Node");
  if (node !== undefined) return { on: "node", record: decodeNode(node) };
  const service = pointer(fields, "Service");
  if (service !== undefined) return { on: "service", record: decodeServiceRecord(service, "") };
  const check = pointer(fields, "Check");
  if (check !== undefined) return { on: "check", record: decodeCheck(check) };
  throw new Malformed("a result of nothing");
}
