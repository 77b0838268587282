/**
 * JSON as Go's encoding/json writes it: `<`, `>` and `&` escaped, control characters as \u00XX, map keys sorted,
 * invalid text replaced. Values are appended as strings, because building objects only to stringify them costs half
 * the time of a large catalog reply.
 */
import type { Json, StringMap } from "../../core/catalog/records.ts";
import { type Bytes, compareBytes, toBase64, utf8 } from "../../core/types/bytes.ts";
import { wellFormed } from "./go.ts";

const needsEscape = /["\\<>&\u0000-\u001f\u2028\u2029\ud800-\udfff]/;
const escapes = /["\\<>&\u0000-\u001f\u2028\u2029]/g;

/** A JSON string with its quotes. */
export function jsonString(text: string): string {
  if (!needsEscape.test(text)) return `"${text}"`;
  return `"${wellFormed(text).replace(escapes, escaped)}"`;
}

function escaped(character: string): string {
  switch (character) {
    case '"':
      return '\\"';
    case "\\":
      return "\\\\";
    case "\n":
      return "\\n";
    case "\r":
      return "\\r";
    case "\t":
      return "\\t";
    default:
      return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  }
}

/** An array of what `write` gives for each. */
export function jsonArray<Item>(items: readonly Item[], write: (item: Item) => string): string {
  if (items.length === 0) return "[]";
  let out = `[${write(items[0] as Item)}`;
  for (let at = 1; at < items.length; at++) out += `,${write(items[at] as Item)}`;
  return `${out}]`;
}

export function jsonStrings(items: readonly string[]): string {
  return jsonArray(items, jsonString);
}

/** A map of strings, keys sorted by bytes. */
export function jsonStringMap(map: StringMap): string {
  return jsonMap(map, jsonString);
}

export function jsonMap<Value>(map: Readonly<Record<string, Value>>, write: (value: Value) => string): string {
  const keys = Object.keys(map);
  if (keys.length === 0) return "{}";
  sortByBytes(keys);
  let out = "{";
  for (const key of keys) out += `${out === "{" ? "" : ","}${jsonString(key)}:${write(map[key] as Value)}`;
  return `${out}}`;
}

/** In place, in the order of their UTF-8 bytes, which is Go's order of strings. */
export function sortByBytes(keys: string[]): void {
  // UTF-16 order differs from that of UTF-8 only when surrogates are present.
  keys.sort();
  if (keys.some((key) => /[\ud800-\udfff]/.test(key))) keys.sort((left, right) => compareBytes(utf8(left), utf8(right)));
}

/** Anything, with map keys sorted, as Go writes a `map[string]interface{}`. */
export function jsonValue(value: Json): string {
  if (value === null) return "null";
  if (typeof value === "string") return jsonString(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return jsonArray(value as readonly Json[], jsonValue);
  return jsonMap(value as Readonly<Record<string, Json>>, jsonValue);
}

/** Base64 in quotes; `null` when empty, as Go writes a nil slice. */
export function jsonBytes(bytes: Bytes): string {
  return bytes.length === 0 ? "null" : `"${toBase64(bytes)}"`;
}

/** `compact` JSON with Go's `MarshalIndent` layout: four spaces a level. */
export function indentJson(compact: string): string {
  let out = "";
  let level = 0;
  let from = 0;
  for (let at = 0; at < compact.length; at++) {
    const code = compact.charCodeAt(at);
    if (code === 34) {
      at = stringEnd(compact, at);
    } else if (code === 123 || code === 91) {
      const close = compact.charCodeAt(at + 1);
      if (close === 125 || close === 93) {
        at++;
        continue;
      }
      level++;
      out += `${compact.slice(from, at + 1)}\n${"    ".repeat(level)}`;
      from = at + 1;
    } else if (code === 44) {
      out += `${compact.slice(from, at + 1)}\n${"    ".repeat(level)}`;
      from = at + 1;
    } else if (code === 58) {
      out += `${compact.slice(from, at + 1)} `;
      from = at + 1;
    } else if (code === 125 || code === 93) {
      level--;
      out += `${compact.slice(from, at)}\n${"    ".repeat(level)}`;
      from = at;
    }
  }
  return out + compact.slice(from);
}

/** Where the string that opens at `at` closes. */
function stringEnd(compact: string, at: number): number {
  let end = at;
  for (;;) {
    end = compact.indexOf('"', end + 1);
    if (end < 0) return compact.length;
    let backslashes = 0;
    while (compact.charCodeAt(end - 1 - backslashes) === 92) backslashes++;
    if (backslashes % 2 === 0) return end;
  }
}
