/**
 * The state inside a snapshot of the original Consul (1.8, agent/consul/fsm/snapshot_oss.go), as a catalog snapshot of ours.
 *
 *   {LastIndex}  (type byte, msgpack record)…
 *
 * It is read twice: first for what only its end says (the indexes of its tables) and for what this program does not keep;
 * then row by row, so that a large state is never in memory as a whole.
 */
import type { Topic } from "../catalog/queries.ts";
import type { AutopilotRecord } from "../catalog/records.ts";
import { SnapshotWriter } from "../catalog/snapshot-writer.ts";
import { topics } from "../catalog/watch.ts";
import { Fields } from "../codec/fields.ts";
import { Malformed, type Value } from "../codec/msgpack.ts";
import { type ByteSource, ValueReader } from "../codec/value-stream.ts";
import { decodeAutopilot } from "../rpc/endpoints/autopilot.ts";
import { indexField, stringMapField } from "../rpc/endpoints/wire-values.ts";
import {
  decodeCheck,
  decodeCoordinateEntry,
  decodeKv,
  decodeServiceRecord,
  decodeSession,
} from "../rpc/endpoints/wire-records.ts";
import { type Bytes, concat, utf8 } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import type { LogIndex } from "../types/ids.ts";

/** One key with its value may be as large as Consul lets any request be. */
const recordBytesMax = 64 * 1024 * 1024;
/** For a row that holds no value of a key. */
const rowBytes = 256;

const recordType = { register: 0, kv: 2, session: 3, tombstone: 5, coordinates: 6, autopilot: 9, index: 16 } as const;

/** What this program keeps elsewhere, makes anew, or has no use for: left behind without a word. */
const makesAnew: ReadonlySet<number> = new Set([13, 14, 15, 21, 29, 30]);
/** What a user made and would miss. */
const missed: ReadonlyMap<number, string> = new Map([
  [4, "ACL tokens"],
  [7, "prepared queries"],
  [10, "network areas"],
  [11, "ACL bootstrap state"],
  [12, "intentions"],
  [17, "ACL tokens"],
  [19, "ACL policies"],
  [22, "config entries"],
  [23, "ACL roles"],
  [25, "ACL binding rules"],
  [27, "ACL auth methods"],
]);

export interface ConsulStateSurvey {
  readonly lastIndex: LogIndex;
  readonly kvIndex: LogIndex;
  readonly indexes: readonly (readonly [Topic, LogIndex])[];
  /** What is not kept: "prepared queries" and how many. */
  readonly leftBehind: ReadonlyMap<string, number>;
}

/** A msgpack map of one: LastIndex. */
const consulStateStart: Bytes = concat([Uint8Array.of(0x81, 0xa9), utf8("LastIndex")]);

/** Whether a state begins as Consul's. A dozen bytes are enough. */
export function looksLikeConsulState(start: Bytes): boolean {
  return consulStateStart.every((byte, at) => start[at] === byte);
}

/** Reads a state to its end. Throws `rejected` when it is malformed. */
export async function surveyConsulState(source: ByteSource): Promise<ConsulStateSurvey> {
  const reader = new ValueReader(source);
  let lastIndex = await readHead(reader);
  let kvIndex = 0;
  const indexes: [Topic, LogIndex][] = [];
  const leftBehind = new Map<string, number>();
  for await (const { type, value } of records(reader)) {
    const rows = rowsOf(type, value); // so that nothing is begun that could not be ended
    // Consul's own last index leaves them out.
    for (const [table, row] of rows)
      if (table === "autopilot") lastIndex = Math.max(lastIndex, (row as AutopilotRecord).modifyIndex);
    if (type === recordType.index) {
      const { key, index } = indexOf(value);
      // A list of keys is as new as its last deletion.
      if (key === "kvs" || key === "tombstones") kvIndex = Math.max(kvIndex, index);
      const topic = topicOf(key);
      if (topic !== undefined) indexes.push([topic, index]);
    }
    const name = missed.get(type);
    if (name !== undefined) leftBehind.set(name, (leftBehind.get(name) ?? 0) + 1);
  }
  return { lastIndex, kvIndex, indexes, leftBehind };
}

/** The same state again, as frames of a catalog snapshot. */
export async function* translateConsulState(source: ByteSource, survey: ConsulStateSurvey): AsyncGenerator<Bytes> {
  const reader = new ValueReader(source);
  await readHead(reader);
  const writer = new SnapshotWriter();
  yield writer.begin(survey);
  for (const index of survey.indexes) yield* writer.row("indexes", index, rowBytes);
  for await (const { type, value } of records(reader))
    for (const [table, row, bytes] of rowsOf(type, value)) yield* writer.row(table, row, bytes);
  yield* writer.end();
}

type SizedRow = readonly [table: string, row: unknown, bytes: number];

/** Throws `rejected` for a malformed record. */
function rowsOf(type: number, value: Value): readonly SizedRow[] {
  try {
    switch (type) {
      case recordType.register:
        return [[...registered(new Fields(value)), rowBytes]];
      case recordType.coordinates:
        return (Array.isArray(value) ? value : []).map((entry) => [
          "coordinates",
          decodeCoordinateEntry(new Fields(entry)),
          rowBytes,
        ]);
      case recordType.autopilot:
        return [["autopilot", decodeAutopilot(new Fields(value)), rowBytes]];
      case recordType.session:
        return [["sessions", decodeSession(new Fields(value)), rowBytes]];
      case recordType.kv: {
        const { key, value: content, flags, lockIndex, session, createIndex, modifyIndex } = decodeKv(new Fields(value));
        const row = [key, content, flags, lockIndex, session, createIndex, modifyIndex];
        return [["kv", row, content.length + key.length]];
      }
      case recordType.tombstone: {
        const { key, modifyIndex } = decodeKv(new Fields(value));
        return [["tombstones", [key, modifyIndex], rowBytes]];
      }
      default:
        return []; // an index, or what the survey tells of
    }
  } catch (error) {
    throw error instanceof Malformed ? malformed(error.message) : error;
  }
}

/** A node, one of its services, or one of its checks: each comes with the whole node. */
function registered(fields: Fields): readonly [table: string, row: unknown] {
  const node = fields.text("Node");
  if (fields.value("Service") !== null) return ["services", decodeServiceRecord(fields.fields("Service"), node)];
  if (fields.value("Check") !== null) return ["checks", decodeCheck(fields.fields("Check"))];
  return [
    "nodes",
    {
      id: fields.text("ID"),
      node,
      address: fields.text("Address"),
      datacenter: fields.text("Datacenter"),
      taggedAddresses: stringMapField(fields, "TaggedAddresses"),
      meta: stringMapField(fields, "NodeMeta"),
      createIndex: indexField(fields, "CreateIndex"),
      modifyIndex: indexField(fields, "ModifyIndex"),
    },
  ];
}

function indexOf(value: Value): { readonly key: string; readonly index: LogIndex } {
  try {
    const fields = new Fields(value);
    return { key: fields.text("Key"), index: indexField(fields, "Value") };
  } catch (error) {
    throw error instanceof Malformed ? malformed(error.message) : error;
  }
}

/** Consul's name of a table's index, as ours; undefined for what is not kept. */
function topicOf(key: string): Topic | undefined {
  switch (key) {
    case "nodes":
    case "services":
    case "checks":
    case "sessions":
    case "coordinates":
      return topics[key];
    case "service_last_extinction":
      return topics.extinctions;
    default:
      return key.startsWith("service.") ? topics.service(key.slice("service.".length)) : undefined;
  }
}

async function readHead(reader: ValueReader): Promise<LogIndex> {
  const index = await orRejected(async () => {
    const head = await reader.value(recordBytesMax);
    return head === undefined ? undefined : indexField(new Fields(head), "LastIndex");
  });
  if (index === undefined) throw malformed("it is empty");
  return index;
}

async function* records(reader: ValueReader): AsyncGenerator<{ readonly type: number; readonly value: Value }> {
  for (;;) {
    const type = await reader.byte();
    if (type === undefined) return;
    const value = await orRejected(() => reader.value(recordBytesMax));
    if (value === undefined) throw malformed("it ends within a record");
    if (!isKnown(type)) throw malformed(`record type ${type} is unknown: it was made by another version of Consul`);
    yield { type, value };
  }
}

function isKnown(type: number): boolean {
  return makesAnew.has(type) || missed.has(type) || (Object.values(recordType) as readonly number[]).includes(type);
}

async function orRejected<Result>(act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    throw error instanceof Malformed ? malformed(error.message) : error;
  }
}

function malformed(what: string): AgentError {
  return new AgentError("rejected", { message: `Cannot restore the snapshot: the state of Consul in it is broken: ${what}` });
}
