/**
 * Typed decoding with the rules and error texts of Go's encoding/json: field names match without case, `null` leaves a
 * field alone, unknown fields are refused where the endpoint refuses them, and an error names the Go struct and field,
 * because clients and people have learnt to read them.
 *
 * A {@link GoType} describes the struct; the decoded value has the canonical field names, and only those that were sent.
 */
import { goQuote, setOwn } from "../../core/config/go-text.ts";
import { type LiteralJsonValue, NumberLiteral, parseLiteralJson } from "../../core/config/json.ts";
import { type Bytes, emptyBytes, fromBase64, text } from "../../core/types/bytes.ts";
import { messageOf } from "../../core/types/errors.ts";

/** What is wrong with a body, in Go's words: "unexpected EOF", `json: unknown field "Foo"`. */
export class JsonError extends Error {}

/** The first JSON value of a body. Throws {@link JsonError}. */
export function readJson(body: Bytes): LiteralJsonValue {
  return reading(() => parseLiteralJson(text(body), { extent: "first" }));
}

function reading<Value>(parse: () => Value): Value {
  try {
    return parse();
  } catch (error) {
    throw new JsonError(messageOf(error));
  }
}

export type GoType =
  | { readonly kind: "string" | "bool" | "int" | "uint" | "uint64" | "float64" | "any" | "bytes"; readonly goName?: string }
  | { readonly kind: "slice"; readonly of: GoType; readonly goName?: string }
  | { readonly kind: "map"; readonly of: GoType }
  | { readonly kind: "struct"; readonly name: string; readonly fields: GoFields }
  /** A type with an `UnmarshalJSON`: errors from within name the field it stands in; `finish` may throw {@link JsonError}. */
  | {
      readonly kind: "custom";
      readonly inner: GoType;
      readonly finish?: (value: Decoded) => Decoded;
      readonly lenient?: boolean;
    };
export type GoFields = Readonly<Record<string, GoType>>;

/** What decoding gives: plain data under the canonical names. */
export type Decoded = undefined | null | boolean | string | number | bigint | Bytes | readonly Decoded[] | DecodedFields;
export interface DecodedFields {
  readonly [name: string]: Decoded;
}

export const string: GoType = { kind: "string" };
export const bool: GoType = { kind: "bool" };
export const int: GoType = { kind: "int" };
export const uint8: GoType = { kind: "uint" };
export const uint64: GoType = { kind: "uint64" };
/** 64 bits, as uint64, under its own name. */
export const uint: GoType = { kind: "uint64", goName: "uint" };
export const float64: GoType = { kind: "float64" };
export const any: GoType = { kind: "any" };
export const bytes: GoType = { kind: "bytes" };
export const slice = (of: GoType, goName?: string): GoType => ({
  kind: "slice",
  of,
  ...(goName === undefined ? {} : { goName }),
});
export const map = (of: GoType): GoType => ({ kind: "map", of });
export const struct = (name: string, fields: GoFields): GoType => ({ kind: "struct", name, fields });
export const custom = (inner: GoType, finish?: (value: Decoded) => Decoded): GoType => ({
  kind: "custom",
  inner,
  ...(finish === undefined ? {} : { finish }),
});

/** A type whose own decoder does not mind unknown fields. */
export const lenient = (inner: GoType): GoType => ({ kind: "custom", inner, lenient: true });

interface Context {
  /** The struct whose field is being decoded, and the names of the fields down to it. */
  readonly structName: string;
  readonly path: string;
}

interface Rules {
  readonly unknownFields: "refuse" | "ignore";
}

/** Throws {@link JsonError}. Undefined for `null`. */
export function decode(type: GoType, node: LiteralJsonValue, rules: Rules): Decoded {
  return decodeValue(type, node, undefined, rules);
}

function decodeValue(type: GoType, node: LiteralJsonValue, context: Context | undefined, rules: Rules): Decoded {
  if (type.kind === "custom") return decodeCustom(type, node, context, rules);
  if (type.kind === "any") return untyped(node, context);
  if (node === null) return undefined;
  switch (type.kind) {
    case "string":
      return typeof node === "string" ? node : mismatch(type, node, context);
    case "bool":
      return typeof node === "boolean" ? node : mismatch(type, node, context);
    case "int":
    case "uint":
    case "uint64":
    case "float64":
      return node instanceof NumberLiteral ? decodeNumber(type, node, context) : mismatch(type, node, context);
    case "bytes":
      return decodeBytes(node, context);
    case "slice":
      return Array.isArray(node)
        ? node.map((item) => decodeValue(type.of, item, context, rules) ?? zero(type.of))
        : mismatch(type, node, context);
    case "map":
      return isObject(node) ? decodeMap(type.of, node, context, rules) : mismatch(type, node, context);
    case "struct":
      return isObject(node) ? decodeStruct(type, node, context, rules) : mismatch(type, node, context);
  }
}

function decodeStruct(
  type: Extract<GoType, { kind: "struct" }>,
  node: JsonObjectValue,
  context: Context | undefined,
  rules: Rules,
): DecodedFields {
  const fields: Record<string, Decoded> = {};
  for (const [key, value] of Object.entries(node)) {
    const name = fieldName(type.fields, key);
    if (name === undefined) {
      if (rules.unknownFields === "refuse") throw new JsonError(`json: unknown field ${goQuote(key)}`);
      continue;
    }
    const path = context === undefined ? name : `${context.path}.${name}`;
    const decoded = decodeValue(type.fields[name] as GoType, value, { structName: type.name, path }, rules);
    // A repeated key replaces what an earlier one gave; `null` empties a reference and leaves a plain value alone.
    if (decoded !== undefined || isReference(type.fields[name] as GoType)) fields[name] = decoded === undefined ? null : decoded;
  }
  return fields;
}

function isReference(type: GoType): boolean {
  return type.kind === "slice" || type.kind === "map" || type.kind === "bytes";
}

const foldedNames = new WeakMap<GoFields, ReadonlyMap<string, string>>();

/** The canonical name for a key: an exact match, else one without regard to case. */
function fieldName(fields: GoFields, key: string): string | undefined {
  if (Object.hasOwn(fields, key)) return key;
  let folded = foldedNames.get(fields);
  if (folded === undefined) {
    folded = new Map(Object.keys(fields).map((name) => [name.toLowerCase(), name]));
    foldedNames.set(fields, folded);
  }
  return folded.get(key.toLowerCase());
}

function decodeMap(of: GoType, node: JsonObjectValue, context: Context | undefined, rules: Rules): DecodedFields {
  const values: Record<string, Decoded> = {};
  for (const [key, value] of Object.entries(node)) setOwn(values, key, decodeValue(of, value, context, rules) ?? zero(of));
  return values;
}

function decodeCustom(
  type: Extract<GoType, { kind: "custom" }>,
  node: LiteralJsonValue,
  context: Context | undefined,
  rules: Rules,
): Decoded {
  let value: Decoded;
  try {
    value = decodeValue(type.inner, node, undefined, type.lenient ? { unknownFields: "ignore" } : rules);
  } catch (error) {
    if (context !== undefined && error instanceof TypeMismatch) throw new TypeMismatch(error.value, error.goType, context);
    throw error;
  }
  return type.finish === undefined ? value : type.finish(value);
}

/**
 * A bigint beyond 2^53. Numbers of 32 and 64 bits are told apart by no endpoint. What a number is worth does not help it:
 * for an integer Go wants digits, and no sign where there can be none.
 */
function decodeNumber(type: GoType, node: NumberLiteral, context: Context | undefined): Decoded {
  const { literal } = node;
  if (type.kind === "float64") return finite(node, context);
  const isDigits = type.kind === "int" ? /^-?\d{1,19}$/ : /^\d{1,20}$/;
  const low = type.kind === "int" ? -(2n ** 63n) : 0n;
  const high = type.kind === "int" ? 2n ** 63n - 1n : type.kind === "uint" ? 255n : 2n ** 64n - 1n;
  if (!isDigits.test(literal)) return mismatch(type, node, context, `number ${literal}`);
  const whole = BigInt(literal);
  if (whole < low || whole > high) return mismatch(type, node, context, `number ${literal}`);
  const value = Number(whole);
  return Number.isSafeInteger(value) ? value : whole;
}

function finite(node: NumberLiteral, context: Context | undefined): number {
  const value = Number(node.literal);
  return Number.isFinite(value) ? value : mismatch(float64, node, context, `number ${node.literal}`);
}

/** Go's `interface{}` holds every number as a float. */
function untyped(node: LiteralJsonValue, context: Context | undefined): Decoded {
  if (node instanceof NumberLiteral) return finite(node, context);
  if (Array.isArray(node)) return node.map((item) => untyped(item, context));
  if (!isObject(node)) return node;
  const out: Record<string, Decoded> = {};
  for (const [key, value] of Object.entries(node)) setOwn(out, key, untyped(value, context));
  return out;
}

/** Base64 text; also an array of byte values, as Go takes it. */
function decodeBytes(node: LiteralJsonValue, context: Context | undefined): Decoded {
  if (typeof node === "string") {
    const decoded = fromBase64(node);
    if ("badAt" in decoded) throw new JsonError(`illegal base64 data at input byte ${decoded.badAt}`);
    return decoded.bytes;
  }
  if (!Array.isArray(node)) return mismatch({ kind: "bytes" }, node, context);
  if (node.length === 0) return emptyBytes;
  return Uint8Array.from(node, (item) => {
    if (item instanceof NumberLiteral) return Number(decodeNumber(uint8, item, context));
    return item === null ? 0 : mismatch(uint8, item, context);
  });
}

function zero(type: GoType): Decoded {
  switch (type.kind) {
    case "string":
      return "";
    case "bool":
      return false;
    case "int":
    case "uint":
    case "uint64":
    case "float64":
      return 0;
    case "struct":
      return {};
    case "custom":
      return zero(type.inner);
    default:
      return null;
  }
}

type JsonObjectValue = { readonly [key: string]: LiteralJsonValue };

function isObject(node: LiteralJsonValue): node is { [key: string]: LiteralJsonValue } {
  return typeof node === "object" && node !== null && !Array.isArray(node) && !(node instanceof NumberLiteral);
}

class TypeMismatch extends JsonError {
  readonly value: string;
  readonly goType: string;

  constructor(value: string, goType: string, context: Context | undefined) {
    super(
      context === undefined
        ? `json: cannot unmarshal ${value} into Go value of type ${goType}`
        : `json: cannot unmarshal ${value} into Go struct field ${shortName(context.structName)}.${context.path} of type ${goType}`,
    );
    this.value = value;
    this.goType = goType;
  }
}

/** The type's name without its package; a struct without a name has none. */
function shortName(name: string): string {
  return name.includes("{") ? "" : name.slice(name.lastIndexOf(".") + 1);
}

function mismatch(type: GoType, node: LiteralJsonValue, context: Context | undefined, value = kindOf(node)): never {
  throw new TypeMismatch(value, goName(type), context);
}

function kindOf(node: LiteralJsonValue): string {
  if (typeof node === "string") return "string";
  if (typeof node === "boolean") return "bool";
  if (node instanceof NumberLiteral) return "number";
  return Array.isArray(node) ? "array" : "object";
}

function goName(type: GoType): string {
  switch (type.kind) {
    case "slice":
      return type.goName ?? `[]${goName(type.of)}`;
    case "map":
      return `map[string]${goName(type.of)}`;
    case "struct":
      return type.name;
    case "custom":
      return goName(type.inner);
    case "bytes":
      return "[]uint8";
    case "any":
      return "interface {}";
    case "uint":
      return "uint8";
    default:
      return type.goName ?? type.kind;
  }
}
