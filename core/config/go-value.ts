/** Values of a configuration as Go's `%#v` shows them; Consul's messages about watches contain such. */
import { goQuote } from "./go-text.ts";

/** `map[string]interface {}{"key":"a", "tag":[]interface {}{"x", 3}}`; keys sorted, as Go does. */
export function goValue(value: unknown): string {
  if (value === null || value === undefined) return "interface {}(nil)";
  if (typeof value === "string") return goQuote(value);
  if (typeof value === "number") return goNumber(value);
  if (Array.isArray(value)) return `[]interface {}{${value.map(goValue).join(", ")}}`;
  if (typeof value !== "object") return String(value);
  const entries = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
  return `map[string]interface {}{${entries.map(([key, item]) => `${goQuote(key)}:${goValue(item)}`).join(", ")}}`;
}

/** A number as Go writes it: exponents have a sign and two digits. */
export function goNumber(value: number): string {
  return String(value).replace(/e([+-])(\d)$/, "e$10$2");
}
