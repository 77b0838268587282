/**
 * What a watch shows of an answer: Consul's reads it into the types of its API package and writes those, so
 * that fields come in their order, unknown ones go, and missing ones appear with their zero value.
 */
import { isObject, type Json } from "../codec/exact-json.ts";

/** A field's name and how to show it; "omit" leaves it out when it is missing. */
type Field = readonly [name: string, show: (value: Json | undefined) => Json | "omit"];

const or =
  (zero: Json): Field[1] =>
  (value) =>
    value ?? zero;
const orOmit: Field[1] = (value) => (value === undefined || value === null || value === "" ? "omit" : value);
const map: Field[1] = (value) => (isObject(value) ? sorted(value) : null);

const indexes: readonly Field[] = [
  ["CreateIndex", or(0)],
  ["ModifyIndex", or(0)],
];

const pairFields: readonly Field[] = [
  ["Key", or("")],
  ...indexes,
  ["LockIndex", or(0)],
  ["Flags", or(0)],
  ["Value", or(null)],
  ["Session", or("")],
];

const nodeFields: readonly Field[] = [
  ["ID", or("")],
  ["Node", or("")],
  ["Address", or("")],
  ["Datacenter", or("")],
  ["TaggedAddresses", map],
  ["Meta", map],
  ...indexes,
];

const definitionFields: readonly Field[] = [
  ["Interval", or("0s")],
  ["Timeout", or("0s")],
  ["DeregisterCriticalServiceAfter", or("0s")],
  ["HTTP", or("")],
  ["Header", map],
  ["Method", or("")],
  ["Body", or("")],
  ["TLSSkipVerify", or(false)],
  ["TCP", or("")],
];

const checkFields: readonly Field[] = [
  ["Node", or("")],
  ["CheckID", or("")],
  ["Name", or("")],
  ["Status", or("")],
  ["Notes", or("")],
  ["Output", or("")],
  ["ServiceID", or("")],
  ["ServiceName", or("")],
  ["ServiceTags", or(null)],
  ["Type", or("")],
  ["Definition", (value) => shape(definitionFields, value)],
  ...indexes,
];

const serviceFields: readonly Field[] = [
  ["Kind", orOmit],
  ["ID", or("")],
  ["Service", or("")],
  ["Tags", or(null)],
  ["Meta", map],
  ["Port", or(0)],
  ["Address", or("")],
  ["TaggedAddresses", (value) => (isObject(value) && Object.keys(value).length > 0 ? sorted(value) : "omit")],
  ["Weights", or({ Passing: 0, Warning: 0 })],
  ["EnableTagOverride", or(false)],
  ...indexes,
  ["ContentHash", orOmit],
  ["Proxy", orOmit],
  ["Connect", orOmit],
];

const entryFields: readonly Field[] = [
  ["Node", (value) => shape(nodeFields, value)],
  ["Service", (value) => shape(serviceFields, value)],
  ["Checks", (value) => list(checkFields, value)],
];

const eventFields: readonly Field[] = [
  ["ID", or("")],
  ["Name", or("")],
  ["Payload", or(null)],
  ["NodeFilter", or("")],
  ["ServiceFilter", or("")],
  ["TagFilter", or("")],
  ["Version", or(0)],
  ["LTime", or(0)],
];

/** `answer` is undefined for 404. */
export const watchShapes = {
  pair: (answer: Json | undefined): Json => (Array.isArray(answer) && answer.length > 0 ? shape(pairFields, answer[0]) : null),
  pairs: (answer: Json | undefined): Json => list(pairFields, answer),
  nodes: (answer: Json | undefined): Json => list(nodeFields, answer),
  checks: (answer: Json | undefined): Json => list(checkFields, answer),
  events: (answer: Json | undefined): Json => list(eventFields, answer),
  instances: (answer: Json | undefined): Json => list(entryFields, answer),
  tagsByService: (answer: Json | undefined): Json => (isObject(answer) ? sorted(answer) : null),
} as const;

function list(fields: readonly Field[], value: Json | undefined): Json {
  return Array.isArray(value) ? value.map((item: Json) => shape(fields, item)) : null;
}

function shape(fields: readonly Field[], value: Json | undefined): Json {
  const object = isObject(value) ? value : {};
  return Object.fromEntries(fields.map(([name, show]) => [name, show(object[name])]).filter(([, shown]) => shown !== "omit"));
}

function sorted(object: { readonly [key: string]: Json }): Json {
  const keys = Object.keys(object).sort();
  return Object.fromEntries(keys.map((key) => [key, object[key] as Json]));
}
