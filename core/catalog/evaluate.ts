/**
 * Queries against the tables: the answer, its index, and what may change them.
 *
 * The index is of the narrowest thing that Consul 1.8 tracks: a key's own, the latest under a prefix (deletions count),
 * a service's own, or a table's. `wakes` names what a waiter waits for; where Consul reports the index of a wider thing than it
 * waits for, that goes to `stales`.
 */
import { AgentError, unreachable } from "../types/errors.ts";
import type { LogIndex } from "../types/ids.ts";
import { findSession } from "./kv.ts";
import type { Answers, Evaluation, Query, QueryKind, QueryOf, Topic } from "./queries.ts";
import type { KvRecord } from "./records.ts";
import { Refusal } from "./refusal.ts";
import { atLeastOne } from "./at-least-one.ts";
import { checksInState, nodeChecks, nodes, nodeServices, serviceChecks, services } from "./evaluate-catalog.ts";
import { byAddress, checkedInstances, serviceInstances } from "./evaluate-instances.ts";
import { foldedKey } from "./table.ts";
import type { Tables } from "./tables.ts";
import { isReadOnly, runTxn } from "./txn.ts";
import { idKey } from "./uuid.ts";
import { topics } from "./watch.ts";

const none: readonly Topic[] = [];
const anyKey: readonly Topic[] = [topics.kv];
/** New ones count, reaped ones no longer do. */
const anyTombstone: readonly Topic[] = [topics.tombstones];
const anySession: readonly Topic[] = [topics.sessions];
const anyCoordinate: readonly Topic[] = [topics.coordinates];
const everything: readonly Topic[] = [topics.kv, topics.nodes, topics.services, topics.checks];

/** Throws `rejected` with Consul's text for a broken filter or a session ID that is none. */
export function evaluate<Kind extends QueryKind>(tables: Tables, query: QueryOf<Kind>): Evaluation<Answers[Kind]> {
  try {
    return evaluateAny(tables, query) as Evaluation<Answers[Kind]>;
  } catch (error) {
    if (error instanceof Refusal) throw new AgentError("rejected", { message: error.message, cause: error });
    throw error;
  }
}

function evaluateAny(tables: Tables, query: Query): Evaluation<Answers[QueryKind]> {
  switch (query.kind) {
    case "kvGet":
      return kvGet(tables, query.key);
    case "kvList":
      return kvList(tables, query.prefix);
    case "kvKeys":
      return kvKeys(tables, query.prefix, query.separator);
    case "nodes":
      return nodes(tables, query);
    case "services":
      return services(tables, query);
    case "serviceInstances":
      return serviceInstances(tables, query);
    case "nodeServices":
      return nodeServices(tables, query);
    case "nodeChecks":
      return nodeChecks(tables, query);
    case "serviceChecks":
      return serviceChecks(tables, query);
    case "checksInState":
      return checksInState(tables, query);
    case "checkedInstances":
      return checkedInstances(tables, query);
    case "session": {
      const answer = findSession(tables, query.id);
      return {
        index: atLeastOne(tables.maxIndex(topics.sessions)),
        answer,
        wakes: [topics.session(idKey(query.id))],
        stales: anySession,
      };
    }
    case "sessions":
      return {
        index: atLeastOne(tables.maxIndex(topics.sessions)),
        answer: tables.sessions.rows(),
        wakes: anySession,
        stales: none,
      };
    case "nodeSessions": {
      const answer = tables.sessions.by("node", foldedKey(query.node));
      return {
        index: atLeastOne(tables.maxIndex(topics.sessions)),
        answer,
        wakes: [topics.nodeSessions(query.node)],
        stales: anySession,
      };
    }
    case "coordinates": {
      const answer = tables.coordinates.rows();
      return { index: atLeastOne(tables.maxIndex(topics.coordinates)), answer, wakes: anyCoordinate, stales: none };
    }
    case "coordinate": {
      const answer = tables.coordinates.rows(foldedKey(query.node));
      return {
        index: atLeastOne(tables.maxIndex(topics.coordinates)),
        answer,
        wakes: [topics.coordinate(query.node)],
        stales: anyCoordinate,
      };
    }
    case "txnRead": {
      if (!isReadOnly(query.ops)) throw new Refusal("the transaction writes and must go through the log");
      const answer = runTxn(tables, 0, query.ops, 0);
      return {
        index: atLeastOne(Math.max(tables.kvIndex, tables.maxIndex(...everything))),
        answer,
        wakes: everything,
        stales: none,
      };
    }
    case "byAddress":
      return byAddress(tables, query.address);
    default:
      return unreachable(query);
  }
}

function kvGet(tables: Tables, key: string): Evaluation<KvRecord | undefined> {
  const answer = tables.kv.get(key);
  const wakes = [topics.kvKey(key)];
  if (answer === undefined) return { index: atLeastOne(tables.kvIndex), answer, wakes, stales: anyKey };
  return { index: answer.modifyIndex, answer, wakes, stales: none };
}

function kvList(tables: Tables, prefix: string): Evaluation<readonly KvRecord[]> {
  const answer: KvRecord[] = [];
  let latest = 0;
  tables.kv.scan(prefix, (record) => {
    answer.push(record);
    if (record.modifyIndex > latest) latest = record.modifyIndex;
  });
  return kvListing(tables, prefix, latest, answer);
}

function kvKeys(tables: Tables, prefix: string, separator: string): Evaluation<readonly string[]> {
  const answer: string[] = [];
  let latest = 0;
  let group: string | undefined;
  tables.kv.scanKeys(prefix, (key, modifyIndex) => {
    if (modifyIndex > latest) latest = modifyIndex;
    // Keys come in order, so the members of a group come together.
    if (group !== undefined && key.startsWith(group)) return;
    const end = separator === "" ? -1 : key.indexOf(separator, prefix.length);
    group = end < 0 ? undefined : key.slice(0, end + separator.length);
    answer.push(group ?? key);
  });
  return kvListing(tables, prefix, latest, answer);
}

function kvListing<Answer>(tables: Tables, prefix: string, latest: LogIndex, answer: Answer): Evaluation<Answer> {
  const wakes = [topics.kvPrefix(prefix)];
  if (prefix === "") return { index: atLeastOne(tables.kvIndex), answer, wakes, stales: none };
  const deletion = tables.kv.lastDeletion(prefix);
  if (deletion > latest) return { index: deletion, answer, wakes, stales: anyTombstone };
  if (latest === 0) return { index: atLeastOne(tables.kvIndex), answer, wakes, stales: anyKey };
  return { index: latest, answer, wakes, stales: anyTombstone };
}
