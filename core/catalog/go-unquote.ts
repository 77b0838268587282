/** Quoted strings as Go's strconv.Unquote reads them. */
import { strictText, utf8 } from "../types/bytes.ts";

const simple: Readonly<Record<string, number>> = {
  a: 7,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
  v: 11,
  "\\": 92,
  '"': 34,
};

/** What a literal in double quotes or backticks means; undefined when it is malformed. */
export function goUnquote(literal: string): string | undefined {
  const body = literal.slice(1, -1);
  if (literal.startsWith("`")) return body.replaceAll("\r", "");
  if (body.includes("\n")) return undefined;
  if (!body.includes("\\")) return body;

  const bytes: number[] = [];
  for (let at = 0; at < body.length; ) {
    if (body[at] !== "\\") {
      const character = String.fromCodePoint(body.codePointAt(at) as number);
      bytes.push(...utf8(character));
      at += character.length;
      continue;
    }
    const read = escapeAt(body, at + 1);
    if (read === undefined) return undefined;
    bytes.push(...read.bytes);
    at = read.end;
  }
  const whole = Uint8Array.from(bytes);
  // Escaped bytes need not form characters; such a string equals nothing that is text, and "\ufffd" stands for it.
  return strictText(whole) ?? new TextDecoder().decode(whole);
}

function escapeAt(body: string, at: number): { readonly bytes: Iterable<number>; readonly end: number } | undefined {
  const kind = body[at] ?? "";
  if (Object.hasOwn(simple, kind)) return { bytes: [simple[kind] as number], end: at + 1 };
  if (kind === "x" || kind === "u" || kind === "U") {
    const end = at + 1 + (kind === "x" ? 2 : kind === "u" ? 4 : 8);
    const digits = body.slice(at + 1, end);
    if (end > body.length || !/^[0-9a-fA-F]+$/.test(digits)) return undefined;
    const code = Number.parseInt(digits, 16);
    if (kind === "x") return { bytes: [code], end };
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return undefined;
    return { bytes: utf8(String.fromCodePoint(code)), end };
  }
  const octal = body.slice(at, at + 3);
  if (!/^[0-7]{3}$/.test(octal)) return undefined;
  const byte = Number.parseInt(octal, 8);
  return byte > 255 ? undefined : { bytes: [byte], end: at + 3 };
}
