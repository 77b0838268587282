/**
 * JSON with exact integers. KV flags use all 64 bits, and a double would round them: whole numbers beyond 2^53 are read as
 * bigint and written back as they were.
 */
import { parseExactJson } from "../../core/config/json.ts";

export type Json = null | boolean | number | bigint | string | readonly Json[] | { readonly [key: string]: Json };

/** Throws `AgentError("bad-request")` with the text of Go's encoding/json. */
export function parseJson(text: string): Json {
  return parseExactJson(text);
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
