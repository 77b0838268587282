/**
 * Sessions: a claim on keys that lasts while a node and its checks are well.
 *
 *   created (node registered, checks not critical) ──► alive ──► ended: explicitly, by its TTL, with its node,
 *                                                               with a check that goes or turns critical
 *   ended: the keys it held are released or deleted, and may not be locked for its lock delay
 */
import type { LogIndex } from "../types/ids.ts";
import type { NewSession } from "./commands.ts";
import { deleteKey, dropLock, findSession } from "./kv.ts";
import type { LeaderTime, SessionRecord } from "./records.ts";
import { missingNode, Refusal } from "./refusal.ts";
import { foldedKey } from "./table.ts";
import type { Tables } from "./tables.ts";
import { idKey, idLookupFault } from "./uuid.ts";
import { topics } from "./watch.ts";

/** Consul 1.8 caps a session's lock delay here, milliseconds. */
const lockDelayMax = 60_000;

export function createSession(tables: Tables, index: LogIndex, fields: NewSession): SessionRecord {
  const fault = idLookupFault(fields.id);
  if (fault !== undefined) throw new Refusal(`failed inserting session: index error: ${fault}`);
  if (tables.sessions.get(idKey(fields.id)) !== undefined) throw new Refusal(`session ${fields.id} exists`);
  if (fields.behavior !== "release" && fields.behavior !== "delete") {
    throw new Refusal(`Invalid session behavior: ${String(fields.behavior)}`);
  }
  if (tables.nodes.get(foldedKey(fields.node)) === undefined) throw new Refusal(missingNode);
  const checkIds = checksOf(fields);
  for (const checkId of checkIds) {
    const check = tables.checks.get(foldedKey(fields.node, checkId));
    if (check === undefined) throw new Refusal(`Missing check '${checkId}' registration`);
    if (check.status === "critical") throw new Refusal(`Check '${checkId}' is in ${check.status} state`);
  }
  const session: SessionRecord = { ...fields, createIndex: index, modifyIndex: index };
  tables.sessions.put(session);
  for (const checkId of checkIds) tables.sessionChecks.put({ node: session.node, checkId, session: session.id });
  markSession(tables, session, index);
  return session;
}

/** Harmless for an unknown session. */
export function endSession(tables: Tables, index: LogIndex, id: string, now: LeaderTime): void {
  const session = findSession(tables, id);
  if (session === undefined) return;
  tables.sessions.delete(idKey(session.id));
  for (const checkId of checksOf(session)) tables.sessionChecks.delete(foldedKey(session.node, checkId, session.id));
  markSession(tables, session, index);

  const delay = Math.min(session.lockDelay, lockDelayMax);
  for (const key of tables.kv.heldBy(session.id)) {
    if (session.behavior === "delete") deleteKey(tables, index, key);
    else dropLock(tables, index, key);
    if (delay > 0) tables.lockDelays.set(key, now + delay);
  }
}

/** Ends the sessions that depend on this check. */
export function endSessionsOfCheck(tables: Tables, index: LogIndex, node: string, checkId: string, now: LeaderTime): void {
  for (const row of tables.sessionChecks.rows(node.toLowerCase(), checkId.toLowerCase()))
    endSession(tables, index, row.session, now);
}

export function endSessionsOfNode(tables: Tables, index: LogIndex, node: string, now: LeaderTime): void {
  for (const session of tables.sessions.by("node", node.toLowerCase())) endSession(tables, index, session.id, now);
}

/** All checks that a session depends on, whichever field names them. */
export function checksOf(session: NewSession): readonly string[] {
  const services = session.serviceChecks?.map((check) => check.id) ?? [];
  return [...(session.checks ?? []), ...session.nodeChecks, ...services];
}

function markSession(tables: Tables, session: SessionRecord, index: LogIndex): void {
  tables.bump(topics.sessions, index);
  tables.touch(topics.session(idKey(session.id)));
  tables.touch(topics.nodeSessions(session.node));
}
