/**
 * Whether the rows of a snapshot are what their tables hold.
 *
 * What a server wrote for itself is trusted: checksums guard it. An operator's archive may come from anywhere, and a row
 * with a field of another type would fail much later, in whoever reads it. So each row is looked at before it is filed,
 * its indexes may not pass the snapshot's own (what is written afterwards must come out higher), and what it names must be
 * there before it: the catalog's invariants are what applying a command relies on.
 */
import type { LogIndex } from "../types/ids.ts";
import type { CheckRecord } from "./records.ts";
import { foldedKey } from "./table.ts";
import type { Tables } from "./tables.ts";
import { idKey } from "./uuid.ts";

type Test = (value: unknown) => boolean;
type Shape = Readonly<Record<string, Test>>;

const text: Test = (value) => typeof value === "string";
const number: Test = (value) => typeof value === "number";
const flag: Test = (value) => typeof value === "boolean";
const whole: Test = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const bytes: Test = (value) => value instanceof Uint8Array;
const wide: Test = (value) => whole(value) || (typeof value === "bigint" && value >= 0n && value < 1n << 64n);
const object: Test = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
const optional =
  (test: Test): Test =>
  (value) =>
    value === undefined || test(value);
const listOf =
  (test: Test): Test =>
  (value) =>
    Array.isArray(value) && value.every(test);
const mapOf =
  (test: Test): Test =>
  (value) =>
    object(value) && Object.values(value as object).every(test);
const shaped =
  (shape: Shape): Test =>
  (value) =>
    object(value) && Object.entries(shape).every(([name, test]) => test((value as Readonly<Record<string, unknown>>)[name]));
const oneOf =
  (...allowed: readonly string[]): Test =>
  (value) =>
    allowed.includes(value as string);

const texts = listOf(text);
const textMap = optional(mapOf(text));

const service: Shape = {
  node: text,
  kind: text,
  id: text,
  service: text,
  tags: texts,
  address: text,
  taggedAddresses: optional(mapOf(shaped({ address: text, port: number }))),
  meta: textMap,
  port: number,
  weights: shaped({ passing: number, warning: number }),
  enableTagOverride: flag,
  proxy: optional(object),
  connectNative: flag,
};

const check: Shape = {
  node: text,
  checkId: text,
  name: text,
  status: text,
  notes: text,
  output: text,
  serviceId: text,
  type: text,
  definition: object,
  serviceName: text,
  serviceTags: texts,
};

const session: Shape = {
  id: text,
  name: text,
  node: text,
  lockDelay: number,
  behavior: oneOf("release", "delete"),
  ttl: text,
  nodeChecks: texts,
  serviceChecks: optional(listOf(shaped({ id: text, namespace: text }))),
  checks: optional(texts),
};

const coordinate: Shape = {
  node: text,
  segment: text,
  coordinate: shaped({ vec: listOf(number), error: number, adjustment: number, height: number }),
};

const autopilot: Shape = {
  cleanupDeadServers: flag,
  lastContactThreshold: number,
  maxTrailingLogs: wide,
  minQuorum: wide,
  serverStabilizationTime: number,
  redundancyZoneTag: text,
  disableUpgradeMigration: flag,
  upgradeVersionTag: text,
};

const indexed: Shape = { createIndex: whole, modifyIndex: whole };

/** By table: rows that are objects. */
const objects: Readonly<Record<string, Shape>> = {
  nodes: {
    id: text,
    node: text,
    address: text,
    datacenter: text,
    taggedAddresses: textMap,
    meta: textMap,
    ...indexed,
  },
  services: { ...service, ...indexed },
  checks: { ...check, ...indexed },
  sessions: { ...session, ...indexed },
  coordinates: coordinate,
  autopilot: { ...autopilot, ...indexed },
};

/** By table: rows that are lists, item by item. */
const lists: Readonly<Record<string, readonly Test[]>> = {
  indexes: [text, whole],
  lockDelays: [text, number],
  tombstones: [text, whole],
  kv: [text, bytes, wide, whole, optional(text), whole, whole],
};

/** Which items of a row are indexes of the log. */
const indexItems: Readonly<Record<string, readonly number[]>> = { indexes: [1], tombstones: [1], kv: [5, 6] };

/** What is wrong with a row of a table, as a phrase; undefined for nothing. A table that is unknown here is not looked at. */
export function faultOf(table: string, row: unknown, lastIndex: LogIndex, tables: Tables): string | undefined {
  return shapeFault(table, row, lastIndex) ?? referenceFault(table, row, tables);
}

/** Rows that name a node, a service or a session come after it. */
function referenceFault(table: string, row: unknown, tables: Tables): string | undefined {
  switch (table) {
    case "services":
    case "checks":
    case "sessions": {
      const { node, serviceId = "" } = row as Pick<CheckRecord, "node"> & Partial<CheckRecord>;
      if (tables.nodes.get(foldedKey(node)) === undefined) return `a row of ${table} names a node that is not there`;
      return serviceId === "" || tables.services.get(foldedKey(node, serviceId)) !== undefined
        ? undefined
        : `a row of ${table} names a service that is not there`;
    }
    case "kv": {
      const session = (row as readonly (string | undefined)[])[4];
      return session === undefined || tables.sessions.get(idKey(session)) !== undefined
        ? undefined
        : "a row of kv names a session that is not there";
    }
    default:
      return undefined;
  }
}

function shapeFault(table: string, row: unknown, lastIndex: LogIndex): string | undefined {
  const shape = objects[table];
  if (shape !== undefined) {
    if (!object(row)) return `a row of ${table} is no record`;
    const record = row as Readonly<Record<string, unknown>>;
    const broken = Object.keys(shape).find((name) => !(shape[name] as Test)(record[name]));
    if (broken !== undefined) return `a row of ${table} has a wrong ${broken}`;
    return "modifyIndex" in shape && !inOrder(record["createIndex"], record["modifyIndex"], lastIndex)
      ? `a row of ${table} has an index out of order`
      : undefined;
  }
  const items = lists[table];
  if (items === undefined) return undefined;
  if (!Array.isArray(row) || row.length > items.length || !items.every((test, at) => test(row[at])))
    return `a row of ${table} is malformed`;
  const late = (indexItems[table] ?? []).some((at) => (row[at] as number) > lastIndex);
  return late || (table === "kv" && row[5] > row[6]) ? `a row of ${table} has an index out of order` : undefined;
}

function inOrder(create: unknown, modify: unknown, last: LogIndex): boolean {
  return (create as number) <= (modify as number) && (modify as number) <= last;
}
