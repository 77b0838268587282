/**
 * A parsed JSON body to the fields of a Go struct, as encoding/json does it: keys match in any letter case, a later
 * twin of a key wins, null leaves a field alone, an unknown key or a wrong type is refused in Go's words.
 */
import { AgentError } from "../types/errors.ts";
import { setOwn } from "./go-text.ts";

export type GoType =
  | "string"
  | "bool"
  | "int"
  | "[]string"
  | "map[string]string"
  | "map[string][]string"
  | "map[string]interface {}"
  /** Taken as it is. */
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
export function readGoStruct(type: GoStruct, body: unknown): GoFields {
  if (body === null) return new Map();
  if (!isObject(body)) throw mismatch(body, "Go value", type.goName);
  return readFields(type, body, { kind: "field", holder: "", path: "" });
}

type Where =
  | { readonly kind: "field"; readonly holder: string; readonly path: string }
  | { readonly kind: "frozen"; readonly text: string };

function readFields(type: GoStruct, body: Readonly<Record<string, unknown>>, where: Where): GoFields {
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

function readValue(type: GoType, value: unknown, where: Where): unknown {
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

function readPlain(type: Exclude<GoType, object>, value: unknown, at: string): unknown {
  switch (type) {
    case "interface {}":
      return value;
    case "string":
      if (typeof value !== "string") throw mismatch(value, at, type);
      return value;
    case "bool":
      if (typeof value !== "boolean") throw mismatch(value, at, type);
      return value;
    case "int":
      if (typeof value !== "number" || !Number.isInteger(value) || Math.abs(value) >= 2 ** 63) throw mismatch(value, at, type);
      return value;
    case "[]string":
      return readStrings(value, at);
    case "map[string]string":
      return readMap(value, at, type, (element) => (element === null ? "" : readPlain("string", element, at)));
    case "map[string][]string":
      return readMap(value, at, type, (element) => (element === null ? [] : readStrings(element, at)));
    case "map[string]interface {}":
      return readMap(value, at, type, (element) => element);
  }
}

function readStrings(value: unknown, at: string): unknown {
  if (!Array.isArray(value)) throw mismatch(value, at, "[]string");
  return value.map((element) => (element === null ? "" : readPlain("string", element, at)));
}

function readMap(value: unknown, at: string, goName: string, read: (element: unknown) => unknown): unknown {
  if (!isObject(value)) throw mismatch(value, at, goName);
  const out: Record<string, unknown> = {};
  for (const [key, element] of Object.entries(value)) setOwn(out, key, read(element));
  return out;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function mismatch(value: unknown, at: string, goName: string): AgentError {
  const given = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
  // A number that does not fit an integer is shown; one where no number belongs is not.
  const shown = given === "number" && goName === "int" ? `number ${numberText(value as number)}` : given;
  return refuse(`json: cannot unmarshal ${shown} into ${at} of type ${goName}`);
}

function numberText(value: number): string {
  return Number.isInteger(value) ? BigInt(value).toString() : String(value);
}

function refuse(problem: string): AgentError {
  return new AgentError("bad-request", { message: `Request decode failed: ${problem}` });
}
