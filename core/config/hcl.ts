/**
 * HCL 1, the configuration language of Consul, to plain values.
 *
 *   text ── scanner ──▶ tokens ── parser ──▶ tree ── here ──▶ { key: value }
 *
 * A block becomes a list of objects, since it may be repeated: `a { x = 1 } a { x = 2 }` is `{ a: [{x: 1}, {x: 2}] }`,
 * and `a { x = 1 }` is `{ a: [{x: 1}] }`. A label is one level of object: `a "l" { x = 1 }` is `{ a: [{ l: [{x: 1}] }] }`.
 * A key given twice: lists and blocks append, a literal replaces. Whoever reads the values takes a list of one as the
 * one where a single value is wanted (core/config/decode.ts). A file that begins with "{" is JSON.
 *
 * Accepted input and error texts are those of Consul 1.8; tests/cases/config/files.txt holds them.
 */
import { AgentError, messageOf } from "../types/errors.ts";
import { setOwn } from "./go-text.ts";
import { describe, type HclItem, type HclNode, parseHclFile } from "./hcl-parser.ts";
import type { HclPosition, HclToken } from "./hcl-scanner.ts";
import { unquoteHcl } from "./hcl-strings.ts";
import { type JsonValue, parseJson } from "./json.ts";

export type HclValue = string | number | boolean | null | HclValue[] | { [key: string]: HclValue };
export type HclObject = { [key: string]: HclValue };

/** Longer sources are refused: no configuration is, and the tree costs a hundred times the text. */
export const sourceCharactersMax = 4 * 1024 * 1024;

/** Throws `AgentError("bad-request")` with Consul's text, mostly "At LINE:COLUMN: problem". */
export function parseHcl(text: string): HclObject {
  if (text.length > sourceCharactersMax) throw refuse(`longer than ${sourceCharactersMax} characters`);
  if (text.trimStart().startsWith("{")) return jsonObject(text);
  return decodeObject(parseHclFile(text), {}, "root", undefined);
}

function jsonObject(text: string): HclObject {
  let value: JsonValue;
  try {
    value = parseJson(text);
  } catch (error) {
    throw refuse(messageOf(error));
  }
  return value as HclObject;
}

function decodeObject(items: readonly HclItem[], into: HclObject, name: string, at: HclPosition | undefined): HclObject {
  const labelled = new Set<string>();
  for (const item of items) {
    const first = item.keys[0];
    if (first === undefined) throw refuse(describe(at, `${name}: map must have string keys`));
    const key = keyOf(first);
    if (labelled.has(key)) continue;
    const fieldName = `${name}.${key}`;
    const before = Object.hasOwn(into, key) ? into[key] : undefined;
    if (item.keys.length > 1) {
      labelled.add(key);
      setOwn(into, key, decodeLabelled(withoutFirstKey(items, key), before, fieldName));
    } else {
      setOwn(into, key, decodeNode(item.value, before, fieldName, false));
    }
  }
  return into;
}

/** All items of a key of which one at least has labels: each becomes an object of its own. */
function decodeLabelled(items: readonly HclItem[], before: HclValue | undefined, name: string): HclValue {
  const list = Array.isArray(before) ? before : [];
  items.forEach((item, at) => {
    list.push(decodeObject([item], {}, `${name}[${at}]`, undefined));
  });
  return list;
}

function withoutFirstKey(items: readonly HclItem[], key: string): readonly HclItem[] {
  const folded = key.toLowerCase();
  return items
    .filter((item) => item.keys[0] !== undefined && keyOf(item.keys[0]).toLowerCase() === folded)
    .map((item) => ({ keys: item.keys.slice(1), value: item.value }));
}

/** `before` is what the key holds already: a second value is read as the first one's kind, as Consul does. */
function decodeNode(node: HclNode, before: HclValue | undefined, name: string, inList: boolean): HclValue {
  if (Array.isArray(before)) {
    if (node.kind === "literal") throw refuse(describe(node, "unknown slice type: *ast.LiteralType"));
    const more = decodeNode(node, undefined, name, false);
    for (const value of more as HclValue[]) before.push(value);
    return before;
  }
  switch (node.kind) {
    case "object":
      refuseUnless(before === undefined, node, name, before);
      return inList ? decodeObject(node.items, {}, name, node) : [decodeObject(node.items, {}, `${name}[0]`, node)];
    case "list":
      refuseUnless(before === undefined, node, name, before);
      return node.nodes.map((element, at) => decodeNode(element, undefined, `${name}[${at}]`, true));
    case "literal":
      return before === undefined ? literal(node.token) : literalLike(before, node, name);
  }
}

function literal(token: HclToken): HclValue {
  switch (token.kind) {
    case "BOOL":
      return token.text === "true";
    case "NUMBER":
      return integer(token.text);
    case "FLOAT":
      return float(token.text);
    default:
      return stringOf(token);
  }
}

/** A literal for a key that holds a literal. */
function literalLike(before: HclValue, node: HclNode & { readonly kind: "literal" }, name: string): HclValue {
  const { token } = node;
  if (typeof before === "string") {
    if (token.kind === "NUMBER") return token.text;
    refuseUnless(token.kind === "STRING" || token.kind === "HEREDOC", node, name, before);
    return stringOf(token);
  }
  if (typeof before === "number") {
    refuseUnless(token.kind !== "BOOL" && token.kind !== "HEREDOC", node, name, before);
    if (token.kind === "STRING") return integer(stringOf(token));
    return literal(token);
  }
  refuseUnless(token.kind === "BOOL", node, name, before);
  return literal(token);
}

function refuseUnless(fits: boolean, node: HclNode, name: string, before: HclValue | undefined): void {
  if (fits) return;
  const type = node.kind === "object" ? "ObjectType" : node.kind === "list" ? "ListType" : "LiteralType";
  throw refuse(describe(node, `${name}: unknown type${typeof before === "string" ? " for string" : ""} *ast.${type}`));
}

function keyOf(token: HclToken): string {
  return token.kind === "STRING" ? stringOf(token) : token.text;
}

function stringOf(token: HclToken): string {
  const value = unquoteHcl(token);
  if (value === undefined) throw refuse(describe(token, `string cannot be unquoted: ${token.text}`));
  return value;
}

/** As Go's ParseInt with base 0 reads it: decimal, 0x hexadecimal, 0 octal; 64 bits. */
function integer(text: string): number {
  const match = /^([+-]?)(?:0[xX]([0-9a-fA-F]+)|0([0-7]+)|(0|[1-9]\d*))$/.exec(text);
  if (match === null) throw refuse(`strconv.ParseInt: parsing "${text}": invalid syntax`);
  const [, sign, hex, octal, decimal] = match;
  const size = hex !== undefined ? BigInt(`0x${hex}`) : octal !== undefined ? BigInt(`0o${octal}`) : BigInt(decimal as string);
  const value = sign === "-" ? -size : size;
  if (BigInt.asIntN(64, value) !== value) throw refuse(`strconv.ParseInt: parsing "${text}": value out of range`);
  return Number(value);
}

function float(text: string): number {
  if (!/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text))
    throw refuse(`strconv.ParseFloat: parsing "${text}": invalid syntax`);
  const value = Number(text);
  if (!Number.isFinite(value)) throw refuse(`strconv.ParseFloat: parsing "${text}": value out of range`);
  return value;
}

function refuse(message: string): AgentError {
  return new AgentError("bad-request", { message });
}
