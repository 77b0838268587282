/**
 * Numbers and booleans in the notations that Go's strconv accepts.
 */

const trueWords = new Set(["1", "t", "T", "TRUE", "true", "True"]);
const falseWords = new Set(["0", "f", "F", "FALSE", "false", "False"]);

/** Go's ParseBool. Undefined for any other word, and note that "yes" and "on" are other words. */
export function parseBool(word: string): boolean | undefined {
  if (trueWords.has(word)) return true;
  return falseWords.has(word) ? false : undefined;
}

export type ParsedInteger =
  | { readonly kind: "integer"; readonly value: bigint }
  | { readonly kind: "syntax" }
  | { readonly kind: "range" };

const uint64Max = (1n << 64n) - 1n;
const int64Max = (1n << 63n) - 1n;
const int64Min = -(1n << 63n);
/** More digits than any 64-bit number has in base 2, with separators: beyond it the answer is "range" without reading on. */
const digitsMax = 160;

/** Go's ParseUint with base 0: decimal, 0x, 0b, 0o and plain leading 0 for octal, single underscores between digits. */
export function parseUint64(word: string): ParsedInteger {
  const magnitude = parseMagnitude(word);
  return magnitude.kind === "integer" && magnitude.value > uint64Max ? { kind: "range" } : magnitude;
}

/** Go's ParseInt with base 0: as {@link parseUint64}, with a sign. */
export function parseInt64(word: string): ParsedInteger {
  const negative = word.startsWith("-");
  const magnitude = parseMagnitude(negative || word.startsWith("+") ? word.slice(1) : word);
  if (magnitude.kind !== "integer") return magnitude;
  const value = negative ? -magnitude.value : magnitude.value;
  return value > int64Max || value < int64Min ? { kind: "range" } : { kind: "integer", value };
}

function parseMagnitude(word: string): ParsedInteger {
  const notation =
    /^(?:0[xX](?<hex>(?:_?[0-9a-fA-F])+)|0[bB](?<binary>(?:_?[01])+)|0[oO](?<octal>(?:_?[0-7])+)|0(?<plainOctal>(?:_?[0-7])+)|(?<decimal>0|[1-9](?:_?[0-9])*))$/;
  const groups = notation.exec(word)?.groups;
  if (groups === undefined) return { kind: "syntax" };
  const { hex, binary, octal, plainOctal, decimal } = groups;
  const octalDigits = octal ?? plainOctal;
  const prefix = hex !== undefined ? "0x" : binary !== undefined ? "0b" : octalDigits !== undefined ? "0o" : "";
  const digits = (hex ?? binary ?? octalDigits ?? decimal ?? "").replaceAll("_", "").replace(/^0+(?=.)/, "");
  return digits.length > digitsMax ? { kind: "range" } : { kind: "integer", value: BigInt(prefix + digits) };
}
