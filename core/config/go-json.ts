/**
 * A parsed JSON body to the fields of a Go struct, as encoding/json does it: keys match in any letter case, a later
 * twin of a key wins, null leaves a field alone, an unknown key or a wrong type is refused in Go's words.
 */
import { AgentError } from "../types/errors.ts";
import { setOwn } from "./go-text.ts";
import { type LiteralJsonValue, NumberLiteral } from "./json.ts";

export type GoType =
  | "string"
  | "bool"
  | "int"
  | "[]string"
  | "map[string]string"
  | "map[string][]string"
  | "map[string]interface {}"
  /** Taken as it is, numbers as floats. */
  | "interface {}"
  | GoStruct
  | { readonly kind: "named string"; readonly goName: string }
  | { readonly kind: "list"; readonly goName: string; readonly of: GoStruct }
  | { readonly kind: "map"; readonly goName: string; readonly of: GoStruct };

export interface GoStruct {
  readonly kind: "struct";
  /** The type as error texts show it. */
  readonly goName: string;
  /** By the name that error texts show. A function where a type contains itself. */
  readonly fields: Readonly<Record<string, GoType | (() => GoType)>>;
  /**
   * Types with a decoder of their own name only the field that holds them: ".Check", whatever is wrong inside.
   * Others add their type and the inner field: "Weights.Weights.Passing".
   */
  readonly opaque: boolean;
  /** Unknown keys are passed over. */
  readonly lenient?: boolean;
}

/** The fields that were given, by their Go names. */
export type GoFields = ReadonlyMap<string, unknown>;

/** Throws `AgentError("bad-request")`: "Request decode failed: json: …". */
export function readGoStruct(type: GoStruct, body: LiteralJsonValue): GoFields {
  if (body === null) return new Map();
  if (!isObject(body)) throw mismatch(body, "Go value", type.goName);
  return readFields(type, body, { kind: "field", holder: "", path: "" });
}

type Where =
  | { readonly kind: "field"; readonly holder: string; readonly path: string }
  | { readonly kind: "frozen"; readonly text: string };

function readFields(type: GoStruct, body: JsonObject, where: Where): GoFields {
  const byFold = new Map<string, string>();
  for (const name of Object.keys(type.fields)) byFold.set(name.toLowerCase(), name);
  const fields = new Map<string, unknown>();
  for (const [key, value] of Object.entries(body)) {
    const name = Object.hasOwn(type.fields, key) ? key : byFold.get(key.toLowerCase());
    if (name === undefined) {
      if (type.lenient) continue;
      throw refuse(`json: unknown field "${key}"`);
    }
    if (value === null) continue;
    const declared = type.fields[name] as GoType | (() => GoType);
    const inner: Where = where.kind === "frozen" ? where : { ...where, path: `${where.path}.${name}` };
    fields.set(name, readValue(typeof declared === "function" ? declared() : declared, value, inner));
  }
  return fields;
}

function readValue(type: GoType, value: LiteralJsonValue, where: Where): unknown {
  const at = where.kind === "frozen" ? where.text : `Go struct field ${where.holder}${where.path}`;
  if (typeof type === "string") return readPlain(type, value, at);
  switch (type.kind) {
    case "named string":
      if (typeof value !== "string") throw mismatch(value, at, type.goName);
      return value;
    case "struct":
      if (!isObject(value)) throw mismatch(value, at, type.goName);
      return readFields(type, value, insideOf(type, where));
    case "list":
      if (!Array.isArray(value)) throw mismatch(value, at, type.goName);
      return value.filter((element) => element !== null).map((element) => readValue(type.of, element, where));
    case "map": {
      if (!isObject(value)) throw mismatch(value, at, type.goName);
      return new Map(
        Object.entries(value).map(([key, element]) => [key, element === null ? new Map() : readValue(type.of, element, where)]),
      );
    }
  }
}

function insideOf(type: GoStruct, where: Where): Where {
  if (where.kind === "frozen") return where;
  if (type.opaque) return { kind: "frozen", text: `Go struct field ${where.holder}${where.path}` };
  return { kind: "field", holder: type.goName.replace(/^.*\./, ""), path: where.path };
}

function readPlain(type: Exclude<GoType, object>, value: LiteralJsonValue, at: string): unknown {
  switch (type) {
    case "interface {}":
      return untyped(value, at);
    case "string":
      if (typeof value !== "string") throw mismatch(value, at, type);
      return value;
    case "bool":
      if (typeof value !== "boolean") throw mismatch(value, at, type);
      return value;
    case "int":
      return readInteger(value, at);
    case "[]string":
      return readStrings(value, at);
    case "map[string]string":
      return readMap(value, at, type, (element) => (element === null ? "" : readPlain("string", element, at)));
    case "map[string][]string":
      return readMap(value, at, type, (element) => (element === null ? [] : readStrings(element, at)));
    case "map[string]interface {}":
      return readMap(value, at, type, (element) => untyped(element, at));
  }
}

/** Digits, whatever else would be worth the same. Consul takes 64 bits; what uses more than 53 of them is no port and no count. */
function readInteger(value: LiteralJsonValue, at: string): number {
  if (!(value instanceof NumberLiteral)) throw mismatch(value, at, "int");
  const integer = Number(value.literal);
  if (!/^-?\d+$/.test(value.literal) || !Number.isSafeInteger(integer)) throw mismatch(value, at, "int");
  return integer === 0 ? 0 : integer;
}

/** Go's `interface{}` holds every number as a float. */
function untyped(value: LiteralJsonValue, at: string): unknown {
  if (value instanceof NumberLiteral) {
    const float = Number(value.literal);
    if (!Number.isFinite(float)) throw refuse(`json: cannot unmarshal number ${value.literal} into ${at} of type float64`);
    return float;
  }
  if (Array.isArray(value)) return value.map((element) => untyped(element, at));
  return isObject(value) ? readMap(value, at, "", (element) => untyped(element, at)) : value;
}

function readStrings(value: LiteralJsonValue, at: string): unknown {
  if (!Array.isArray(value)) throw mismatch(value, at, "[]string");
  return value.map((element) => (element === null ? "" : readPlain("string", element, at)));
}

function readMap(value: LiteralJsonValue, at: string, goName: string, read: (element: LiteralJsonValue) => unknown): unknown {
  if (!isObject(value)) throw mismatch(value, at, goName);
  const out: Record<string, unknown> = {};
  for (const [key, element] of Object.entries(value)) setOwn(out, key, read(element));
  return out;
}

type JsonObject = { readonly [key: string]: LiteralJsonValue };

function isObject(value: LiteralJsonValue): value is { [key: string]: LiteralJsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof NumberLiteral);
}

function mismatch(value: LiteralJsonValue, at: string, goName: string): AgentError {
  return refuse(`json: cannot unmarshal ${given(value, goName)} into ${at} of type ${goName}`);
}

/** A number that does not fit an integer is shown; one where no number belongs is not. */
function given(value: LiteralJsonValue, goName: string): string {
  if (value instanceof NumberLiteral) return goName === "int" ? `number ${value.literal}` : "number";
  return Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
}

function refuse(problem: string): AgentError {
  return new AgentError("bad-request", { message: `Request decode failed: ${problem}` });
}
