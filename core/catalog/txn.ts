/**
 * Transactions: up to 64 operations on keys, nodes, services and checks, all or none.
 *
 * Every operation runs, so that all that are wrong are named at once; one error undoes everything.
 */
import { goQuote } from "../config/go-text.ts";
import { emptyBytes } from "../types/bytes.ts";
import { unreachable } from "../types/errors.ts";
import type { LogIndex } from "../types/ids.ts";
import { deleteCheck, putCheck } from "./checks.ts";
import type { TxnOp, TxnResult } from "./commands.ts";
import { deleteKey, deleteKeyIf, deleteTree, lockKey, setKey, setKeyIf, unlockKey } from "./kv.ts";
import { checkNodeFields, deleteNode, findNodeById, putNode, withServiceId } from "./nodes.ts";
import type { KvRecord, LeaderTime, NodeRecord } from "./records.ts";
import { Refusal } from "./refusal.ts";
import { deleteService, putService } from "./services.ts";
import { foldedKey } from "./table.ts";
import type { Tables } from "./tables.ts";
import { idFault } from "./uuid.ts";
import { serviceFault } from "./validate-service.ts";

export interface TxnError {
  readonly opIndex: number;
  readonly what: string;
}
export interface TxnOutcome {
  readonly results: readonly TxnResult[];
  readonly errors: readonly TxnError[];
}

type KvTxnOp = Extract<TxnOp, { readonly on: "kv" }>;
type NodeTxnOp = Extract<TxnOp, { readonly on: "node" }>;
type ServiceTxnOp = Extract<TxnOp, { readonly on: "service" }>;
type CheckTxnOp = Extract<TxnOp, { readonly on: "check" }>;

/** Runs all operations. When there are errors the caller undoes what the others did. */
export function runTxn(tables: Tables, index: LogIndex, ops: readonly TxnOp[], now: LeaderTime): TxnOutcome {
  const refused = collect(ops, (op) => {
    refuseBefore(tables, op, now);
    return [];
  });
  if (refused.errors.length > 0) return refused;
  const outcome = collect(ops, (op) => runOp(tables, index, op, now));
  return outcome.errors.length > 0 ? { results: [], errors: outcome.errors } : outcome;
}

/** True when no operation can change anything: such a transaction need not go through the log. */
export function isReadOnly(ops: readonly TxnOp[]): boolean {
  return ops.every((op) => (op.on === "kv" ? !writingKvVerbs.has(op.verb) : op.verb === "get"));
}

/** A verb of the KV store that nobody knows changes nothing either: Consul 1.8 sends it the way of the reads. */
const writingKvVerbs: ReadonlySet<string> = new Set(["set", "cas", "lock", "unlock", "delete", "delete-cas", "delete-tree"]);

function collect(ops: readonly TxnOp[], run: (op: TxnOp) => readonly TxnResult[]): TxnOutcome {
  const results: TxnResult[] = [];
  const errors: TxnError[] = [];
  ops.forEach((op, opIndex) => {
    try {
      for (const result of run(op)) results.push(result);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      errors.push({ opIndex, what: error.message });
    }
  });
  return { results, errors };
}

/** What Consul refuses before it runs any operation. */
function refuseBefore(tables: Tables, op: TxnOp, now: LeaderTime): void {
  switch (op.on) {
    case "kv":
      if (op.key === "" && op.verb !== "delete-tree") throw new Refusal("Must provide key");
      if (op.verb === "lock" && tables.lockDelays.until(op.key) > now) {
        throw new Refusal(`failed to lock key ${goQuote(op.key)} due to lock delay`);
      }
      return;
    case "node":
      if (op.verb !== "get") checkNodeFields(op.node.node, op.node.id);
      return;
    case "service": {
      const fault = op.verb === "get" ? undefined : serviceFault(op.service);
      if (fault !== undefined) throw new Refusal(fault);
      return;
    }
    case "check":
      return;
    default:
      unreachable(op);
  }
}

function runOp(tables: Tables, index: LogIndex, op: TxnOp, now: LeaderTime): readonly TxnResult[] {
  switch (op.on) {
    case "kv":
      return runKv(tables, index, op);
    case "node":
      return runNode(tables, index, op, now);
    case "service":
      return runService(tables, index, op, now);
    case "check":
      return runCheck(tables, index, op, now);
    default:
      return unreachable(op);
  }
}

function runKv(tables: Tables, index: LogIndex, op: KvTxnOp): readonly TxnResult[] {
  const { key } = op;
  const shown = goQuote(key);
  switch (op.verb) {
    case "set":
      return withoutValue(setKey(tables, index, op));
    case "cas":
      refuseUnless(setKeyIf(tables, index, op, op.index), `failed to set key ${shown}, index is stale`);
      return withoutValue(tables.kv.get(key));
    case "lock":
      refuseUnless(lockKey(tables, index, op, op.session), `failed to lock key ${shown}, lock is already held`);
      return withoutValue(tables.kv.get(key));
    case "unlock":
      refuseUnless(
        unlockKey(tables, index, op, op.session),
        `failed to unlock key ${shown}, lock isn't held, or is held by another session`,
      );
      return withoutValue(tables.kv.get(key));
    case "get": {
      const record = tables.kv.get(key);
      if (record === undefined) throw new Refusal(`key ${shown} doesn't exist`);
      return [{ on: "kv", record }];
    }
    case "get-tree": {
      const results: TxnResult[] = [];
      tables.kv.scan(key, (record) => {
        results.push({ on: "kv", record });
      });
      return results;
    }
    case "check-index": {
      const record = tables.kv.get(key);
      if (record === undefined) throw new Refusal(`failed to check index, key ${shown} doesn't exist`);
      refuseUnless(
        record.modifyIndex === op.index,
        `failed index check for key ${shown}, current modify index ${record.modifyIndex} != ${op.index}`,
      );
      return withoutValue(record);
    }
    case "check-session": {
      const record = tables.kv.get(key);
      if (record === undefined) throw new Refusal(`failed to check session, key ${shown} doesn't exist`);
      const holder = record.session ?? "";
      refuseUnless(
        holder === op.session,
        `failed session check for key ${shown}, current session ${goQuote(holder)} != ${goQuote(op.session)}`,
      );
      return withoutValue(record);
    }
    case "check-not-exists":
      refuseUnless(tables.kv.get(key) === undefined, `key ${shown} exists`);
      return [];
    case "delete":
      deleteKey(tables, index, key);
      return [];
    case "delete-cas":
      refuseUnless(deleteKeyIf(tables, index, key, op.index), `failed to delete key ${shown}, index is stale`);
      return [];
    case "delete-tree":
      deleteTree(tables, index, key);
      return [];
    default:
      throw new Refusal(`unknown KV verb ${goQuote(String(op.verb))}`);
  }
}

function runNode(tables: Tables, index: LogIndex, op: NodeTxnOp, now: LeaderTime): readonly TxnResult[] {
  const { modifyIndex, ...node } = op.node;
  const found = (): NodeRecord | undefined => {
    if (node.id === "") return tables.nodes.get(foldedKey(node.node));
    const fault = idFault(node.id);
    if (fault !== undefined) throw new Refusal(`node lookup by ID failed, wrong UUID: ${fault} for '${node.id}'`);
    return findNodeById(tables, node.id);
  };
  const result = (): readonly TxnResult[] => {
    const record = found();
    return record === undefined ? [] : [{ on: "node", record }];
  };
  const named = tables.nodes.get(foldedKey(node.node));
  switch (op.verb) {
    case "get":
      if (found() === undefined) throw new Refusal(`node ${goQuote(node.node)} doesn't exist`);
      return result();
    case "set":
      putNode(tables, index, node, now);
      return result();
    case "cas":
      refuseUnless((named?.modifyIndex ?? 0) === modifyIndex, `failed to set node ${goQuote(node.node)}, index is stale`);
      putNode(tables, index, node, now);
      return result();
    case "delete":
      deleteNode(tables, index, node.node, now);
      return [];
    case "delete-cas":
      refuseUnless(named?.modifyIndex === modifyIndex, `failed to delete node ${goQuote(node.node)}, index is stale`);
      deleteNode(tables, index, node.node, now);
      return [];
    default:
      throw new Refusal(`unknown Node verb ${goQuote(String(op.verb))}`);
  }
}

function runService(tables: Tables, index: LogIndex, op: ServiceTxnOp, now: LeaderTime): readonly TxnResult[] {
  const { modifyIndex, ...given } = op.service;
  const service = op.verb === "get" ? given : withServiceId(given);
  const key = foldedKey(op.node, service.id);
  const before = tables.services.get(key);
  const where = `service ${goQuote(service.id)} on node ${goQuote(op.node)}`;
  const result = (): readonly TxnResult[] => {
    const record = tables.services.get(key);
    return record === undefined ? [] : [{ on: "service", record }];
  };
  switch (op.verb) {
    case "get":
      if (before === undefined) throw new Refusal(`${where} doesn't exist`);
      return result();
    case "set":
      putService(tables, index, op.node, service);
      return result();
    case "cas":
      refuseUnless((before?.modifyIndex ?? 0) === modifyIndex, `failed to set ${where}, index is stale`);
      putService(tables, index, op.node, service);
      return result();
    case "delete":
      deleteService(tables, index, op.node, service.id, now);
      return [];
    case "delete-cas":
      refuseUnless(before?.modifyIndex === modifyIndex, `failed to delete ${where}, index is stale`);
      deleteService(tables, index, op.node, service.id, now);
      return [];
    default:
      throw new Refusal(`unknown Service verb ${goQuote(String(op.verb))}`);
  }
}

function runCheck(tables: Tables, index: LogIndex, op: CheckTxnOp, now: LeaderTime): readonly TxnResult[] {
  const { modifyIndex, ...given } = op.check;
  const check = op.verb !== "get" && given.checkId === "" ? { ...given, checkId: given.name } : given;
  const key = foldedKey(op.node, check.checkId);
  const before = tables.checks.get(key);
  const where = `check ${goQuote(check.checkId)} on node ${goQuote(op.node)}`;
  const result = (): readonly TxnResult[] => {
    const record = tables.checks.get(key);
    return record === undefined ? [] : [{ on: "check", record }];
  };
  switch (op.verb) {
    case "get":
      if (before === undefined) throw new Refusal(`${where} doesn't exist`);
      return result();
    case "set":
      putCheck(tables, index, op.node, check, now);
      return result();
    case "cas":
      refuseUnless((before?.modifyIndex ?? 0) === modifyIndex, `failed to set ${where}, index is stale`);
      putCheck(tables, index, op.node, check, now);
      return result();
    case "delete":
      deleteCheck(tables, index, op.node, check.checkId, now);
      return [];
    case "delete-cas":
      refuseUnless(before?.modifyIndex === modifyIndex, `failed to delete ${where}, index is stale`);
      deleteCheck(tables, index, op.node, check.checkId, now);
      return [];
    default:
      throw new Refusal(`unknown Check verb ${goQuote(String(op.verb))}`);
  }
}

/** Only a get answers with the value. */
function withoutValue(record: KvRecord | undefined): readonly TxnResult[] {
  return record === undefined ? [] : [{ on: "kv", record: { ...record, value: emptyBytes } }];
}

function refuseUnless(condition: boolean, text: string): void {
  if (!condition) throw new Refusal(text);
}
