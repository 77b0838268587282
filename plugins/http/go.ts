/** Small parts of Go's standard library whose results clients see: numbers and booleans, with their error texts. */
import { goQuote } from "../../core/config/go-text.ts";

const uint64Max = 2n ** 64n - 1n;

/** An unsigned 64-bit number in base 10; a bigint beyond 2^53. Or the text of Go's `strconv.ParseUint` error. */
export function parseUint64(text: string): { readonly value: number | bigint } | { readonly error: string } {
  if (!/^\d+$/.test(text)) return { error: `strconv.ParseUint: parsing ${goQuote(text)}: invalid syntax` };
  if (text.length <= 15) return { value: Number(text) };
  const value = text.length > 400 ? uint64Max + 1n : BigInt(text);
  if (value > uint64Max) return { error: `strconv.ParseUint: parsing ${goQuote(text)}: value out of range` };
  return { value: value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value };
}

/** Go's `strconv.Atoi`. Beyond 2^53 the value is the nearest number. */
export function parseInteger(
  text: string,
): { readonly kind: "integer"; readonly value: number } | { readonly kind: "syntax" } | { readonly kind: "range" } {
  if (!/^[+-]?\d+$/.test(text)) return { kind: "syntax" };
  if (text.length > 400) return { kind: "range" };
  const value = BigInt(text.replace("+", ""));
  return value === BigInt.asIntN(64, value) ? { kind: "integer", value: Number(value) } : { kind: "range" };
}

/** Go's `strconv.ParseBool`; undefined for anything else. */
export function parseBool(text: string): boolean | undefined {
  switch (text) {
    case "1":
    case "t":
    case "T":
    case "true":
    case "TRUE":
    case "True":
      return true;
    case "0":
    case "f":
    case "F":
    case "false":
    case "FALSE":
    case "False":
      return false;
    default:
      return undefined;
  }
}

/** Half a surrogate pair becomes U+FFFD, as it would in UTF-8. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}
