/**
 * JSON with exact integers, written as Go's encoding/json writes it. KV flags use all 64 bits, and a double would round
 * them: whole numbers beyond 2^53 are bigint (core/config/json.ts reads them so).
 */

export type Json = null | boolean | number | bigint | string | readonly Json[] | { readonly [key: string]: Json };

export function isObject(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
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

/** On one line, as Go's json.Encoder writes it, without the line break that follows there. */
export function compactJson(value: Json): string {
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || value === null) return escapeHtml(JSON.stringify(value));
  if (Array.isArray(value)) return `[${value.map(compactJson).join(",")}]`;
  const items = Object.entries(value).map(([key, item]) => `${escapeHtml(JSON.stringify(key))}:${compactJson(item)}`);
  return `{${items.join(",")}}`;
}
