/** Values that several of Consul's structs hold: durations, maps, free-form data. */
import { Fields, textMapOf } from "../../codec/fields.ts";
import { type Encodable, Float, Malformed, type Value } from "../../codec/msgpack.ts";
import type { Json, JsonObject, StringMap } from "../../catalog/records.ts";
import { type Bytes, strictText } from "../../types/bytes.ts";
import type { Millis } from "../../types/ids.ts";

/** A duration as Go's int64 of nanoseconds. */
export function nanoseconds(millis: Millis): number | bigint {
  const whole = Math.round(millis * 1e6);
  return Number.isSafeInteger(whole) ? whole : BigInt(Math.round(millis)) * 1_000_000n;
}

/** Milliseconds, with a fraction, of the nanoseconds in a field. */
export function millisField(fields: Fields, name: string): Millis {
  return Number(fields.wide(name)) / 1e6;
}

/** An index or counter: below 2^53 in any cluster that ever ran. */
export function indexField(fields: Fields, name: string): number {
  return fields.unsigned(name);
}

/** Text that must come back as the same bytes, a key of the KV store above all: not UTF-8 is refused. */
export function exactText(fields: Fields, name: string): string {
  const bytes = fields.bytes(name);
  if (bytes === undefined) return "";
  const text = strictText(bytes);
  if (text === undefined) throw new Malformed(`${name} is not valid UTF-8`);
  return text;
}

/** A map of text, undefined for nil: Consul tells an absent map from an empty one. */
export function stringMapField(fields: Fields, name: string): StringMap | undefined {
  const value = fields.value(name);
  return value === null ? undefined : textMapOf(value, name);
}

export function encodeMap(map: StringMap | undefined): Encodable {
  return map === undefined ? null : new Map(Object.entries(map));
}

/** Go's nil for an empty list, as most structs arrive from JSON without it. */
export function listOrNil(items: readonly Encodable[]): Encodable {
  return items.length === 0 ? null : items;
}

export function filled(bytes: Bytes): Bytes | null {
  return bytes.length === 0 ? null : bytes;
}

/** Free-form data (`map[string]interface{}`). Numbers travel as float64, which is what JSON gave their author. */
export function encodeJson(value: Json): Encodable {
  if (typeof value === "number") return new Float(value);
  if (Array.isArray(value)) return (value as readonly Json[]).map(encodeJson);
  if (typeof value === "object" && value !== null) return encodeJsonObject(value as JsonObject);
  return value as null | boolean | string;
}

export function encodeJsonObject(object: JsonObject): ReadonlyMap<string, Encodable> {
  return new Map(Object.entries(object).map(([key, item]) => [key, encodeJson(item)]));
}

/** Depth is bounded by the codec's own bound. */
export function decodeJson(value: Value): Json {
  if (value instanceof Uint8Array) return strictText(value) ?? "";
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return (value as readonly Value[]).map(decodeJson);
  // fromEntries defines its properties, so that "__proto__" is a key like any other.
  if (value instanceof Map)
    return Object.fromEntries([...(value as ReadonlyMap<string, Value>)].map(([key, item]) => [key, decodeJson(item)]));
  return value as null | boolean | number;
}

/** The maps in a list of structs; nil entries are empty structs. */
export function structs(fields: Fields, name: string): readonly Fields[] {
  return fields.list(name).map((item) => new Fields(item));
}

/** A pointer to a struct: undefined for nil. */
export function pointer(fields: Fields, name: string): Fields | undefined {
  return fields.value(name) === null ? undefined : fields.fields(name);
}
