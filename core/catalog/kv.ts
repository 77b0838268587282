/**
 * Keys, values and locks.
 *
 *              ┌─ acquire: lockIndex + 1 ─┐
 *   unlocked ──┘                          └──► locked by a session ──┐ acquire by the holder: value only
 *       ▲                                        │        │          └───────────────────────────────
 *       └── release, or the session ends ────────┘        └ set, cas: value only, lockIndex back to 0
 *
 * A write that changes nothing is skipped: the index does not move and nobody wakes.
 */
import { equalBytes, type Bytes } from "../types/bytes.ts";
import { unreachable } from "../types/errors.ts";
import type { LogIndex } from "../types/ids.ts";
import { goQuote } from "../config/go-text.ts";
import type { KvOp } from "./commands.ts";
import type { KvRecord, LeaderTime, SessionRecord } from "./records.ts";
import { Refusal } from "./refusal.ts";
import type { Tables } from "./tables.ts";
import { topics } from "./watch.ts";
import { idKey, idLookupFault } from "./uuid.ts";

export type KvWrite = { readonly key: string; readonly value: Bytes; readonly flags: number | bigint };

/** Applies one operation; true when it took effect. Throws {@link Refusal} before it changes anything. */
export function applyKv(tables: Tables, index: LogIndex, op: KvOp, now: LeaderTime): boolean {
  if (op.op !== "deleteTree" && op.key === "") throw new Refusal("Must provide key");
  switch (op.op) {
    case "set":
      setKey(tables, index, op);
      return true;
    case "cas":
      return setKeyIf(tables, index, op, op.index);
    case "acquire":
      if (tables.lockDelays.until(op.key) > now) return false;
      return lockKey(tables, index, op, op.session);
    case "release":
      return unlockKey(tables, index, op, op.session);
    case "delete":
      deleteKey(tables, index, op.key);
      return true;
    case "deleteCas":
      return deleteKeyIf(tables, index, op.key, op.index);
    case "deleteTree":
      deleteTree(tables, index, op.prefix);
      return true;
    default:
      return unreachable(op);
  }
}

/** What the key holds afterwards; an earlier record when nothing changed. Keeps the holder, drops the lock index. */
export function setKey(tables: Tables, index: LogIndex, write: KvWrite): KvRecord {
  const before = tables.kv.get(write.key);
  return store(tables, index, before, write, before?.session, 0);
}

/** A set that needs the key's ModifyIndex to be `expected`; 0: that the key does not exist. */
export function setKeyIf(tables: Tables, index: LogIndex, write: KvWrite, expected: LogIndex): boolean {
  if ((tables.kv.get(write.key)?.modifyIndex ?? 0) !== expected) return false;
  setKey(tables, index, write);
  return true;
}

/** False when another session holds the key. The lock delay is the caller's to check. */
export function lockKey(tables: Tables, index: LogIndex, write: KvWrite, session: string): boolean {
  const holder = existingSession(tables, session);
  const before = tables.kv.get(write.key);
  if (before?.session === holder.id) {
    store(tables, index, before, write, holder.id, before.lockIndex);
    return true;
  }
  if (before?.session !== undefined) return false;
  store(tables, index, before, write, holder.id, (before?.lockIndex ?? 0) + 1);
  return true;
}

/** False when the key does not exist or `session` does not hold it. */
export function unlockKey(tables: Tables, index: LogIndex, write: KvWrite, session: string): boolean {
  if (session === "") throw new Refusal("missing session");
  const before = tables.kv.get(write.key);
  if (before?.session === undefined || idKey(before.session) !== idKey(session)) return false;
  store(tables, index, before, write, undefined, before.lockIndex);
  return true;
}

/** Takes the lock from a key whose session ended; value and lock index stay. */
export function dropLock(tables: Tables, index: LogIndex, key: string): void {
  const before = tables.kv.get(key);
  if (before !== undefined) store(tables, index, before, before, undefined, before.lockIndex);
}

export function deleteKey(tables: Tables, index: LogIndex, key: string): void {
  if (tables.kv.get(key) === undefined) return;
  bury(tables, key, index);
  tables.kv.delete(key);
  tables.keyChanged(key, index);
}

/** True also when there is nothing to delete. */
export function deleteKeyIf(tables: Tables, index: LogIndex, key: string, expected: LogIndex): boolean {
  const before = tables.kv.get(key);
  if (before === undefined) return true;
  if (before.modifyIndex !== expected) return false;
  deleteKey(tables, index, key);
  return true;
}

/** Listings below a tombstone report its index too, though nothing of theirs went: they are stale, and nobody is woken. */
function bury(tables: Tables, key: string, index: LogIndex): void {
  tables.kv.bury(key, index);
  tables.touch(topics.tombstones);
}

/** One tombstone, for the prefix, stands for all of it. */
export function deleteTree(tables: Tables, index: LogIndex, prefix: string): void {
  const keys: string[] = [];
  tables.kv.scanKeys(prefix, (key) => {
    keys.push(key);
  });
  if (keys.length === 0) return;
  // Without a prefix everything is gone, and every listing reports the index of the table.
  if (prefix !== "") bury(tables, prefix, index);
  for (const key of keys) {
    tables.kv.delete(key);
    tables.keyChanged(key, index);
  }
}

/** The session by any spelling of its ID. */
export function findSession(tables: Tables, id: string): SessionRecord | undefined {
  const fault = idLookupFault(id);
  if (fault !== undefined) throw new Refusal(`failed session lookup: index error: ${fault}`);
  return tables.sessions.get(idKey(id));
}

function existingSession(tables: Tables, id: string): SessionRecord {
  if (id === "") throw new Refusal("missing session");
  const session = findSession(tables, id);
  if (session === undefined) throw new Refusal(`invalid session ${goQuote(id)}`);
  return session;
}

function store(
  tables: Tables,
  index: LogIndex,
  before: KvRecord | undefined,
  write: KvWrite,
  session: string | undefined,
  lockIndex: number,
): KvRecord {
  if (
    before !== undefined &&
    before.lockIndex === lockIndex &&
    before.session === session &&
    before.flags === write.flags &&
    equalBytes(before.value, write.value)
  ) {
    return before;
  }
  const record: KvRecord = {
    key: write.key,
    value: write.value,
    flags: write.flags,
    lockIndex,
    session,
    createIndex: before?.createIndex ?? index,
    modifyIndex: index,
  };
  tables.kv.put(record);
  tables.keyChanged(write.key, index);
  return record;
}
