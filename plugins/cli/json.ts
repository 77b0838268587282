/**
 * JSON with exact integers. KV flags use all 64 bits, and a double would round them: whole numbers beyond 2^53 are read as
 * bigint and written back as they were.
 */
import type { Json } from "../../core/codec/exact-json.ts";
import { parseExactJson } from "../../core/config/json.ts";

export { formatJson, isObject, type Json } from "../../core/codec/exact-json.ts";

/** Throws `AgentError("bad-request")` with the text of Go's encoding/json. */
export function parseJson(text: string): Json {
  return parseExactJson(text);
}

/** What Go's encoding/json calls the kind of `value` in its errors. */
export function goKind(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "boolean") return "bool";
  return typeof value === "bigint" ? "number" : typeof value;
}
