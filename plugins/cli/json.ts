/**
 * JSON with exact integers. KV flags use all 64 bits, and a double would round them: whole numbers beyond 2^53 are read as
 * bigint and written back as they were.
 */
import { parseJson as parseGoJson, type JsonValue } from "../../core/config/json.ts";
import { setOwn } from "../../core/config/go-text.ts";

export type Json = null | boolean | number | bigint | string | readonly Json[] | { readonly [key: string]: Json };

/** A whole number of at least 16 digits that is no part of a fraction or exponent: maybe not exact as a double. */
const largeInteger = /(?<![\d.eE+-])-?[1-9]\d{15,}(?![\d.eE])/;
const stringOrLargeInteger = new RegExp(`"(?:[^"\\\\]|\\\\.)*"|${largeInteger.source}`, "g");
/** No integer of ours has more than 64 bits; a longer one stays a double, which no 64-bit field accepts. */
const digitsMax = 20;

/** Throws `AgentError("bad-request")` with the text of Go's encoding/json. */
export function parseJson(text: string): Json {
  if (!largeInteger.test(text)) return parseGoJson(text);
  // Large integers travel through the parser as strings "#…", and true strings as "=…", so that neither can pose as the other.
  const marked = text.replace(stringOrLargeInteger, (token) => {
    if (token.startsWith('"')) return `"=${token.slice(1)}`;
    return token.length > digitsMax ? token : `"#${token}"`;
  });
  let parsed: JsonValue;
  try {
    parsed = parseGoJson(marked);
  } catch {
    // Not JSON: let the error speak of the text as it was.
    return parseGoJson(text);
  }
  return unmark(parsed);
}

function unmark(value: JsonValue): Json {
  if (typeof value === "string") {
    if (value.startsWith("=")) return value.slice(1);
    const integer = BigInt(value.slice(1));
    return Number.isSafeInteger(Number(integer)) ? Number(integer) : integer;
  }
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(unmark);
  const object: Record<string, Json> = {};
  for (const [key, member] of Object.entries(value)) setOwn(object, key.slice(1), unmark(member));
  return object;
}

export function isObject(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What Go's encoding/json calls the kind of `value` in its errors. */
export function goKind(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "boolean") return "bool";
  return typeof value === "bigint" ? "number" : typeof value;
}

/** As Go's json.MarshalIndent: `indent` once per level, and <, > and & escaped inside strings. */
export function formatJson(value: Json, indent: string, margin = ""): string {
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || value === null) return escapeHtml(JSON.stringify(value));
  const inner = margin + indent;
  const items = Array.isArray(value)
    ? value.map((item: Json) => inner + formatJson(item, indent, inner))
    : Object.entries(value).map(
        ([key, item]) => `${inner}${escapeHtml(JSON.stringify(key))}: ${formatJson(item as Json, indent, inner)}`,
      );
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  return items.length === 0 ? `${open}${close}` : `${open}\n${items.join(",\n")}\n${margin}${close}`;
}

function escapeHtml(literal: string): string {
  return literal.replace(/[<>&\u2028\u2029]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
