/** What the source text of an HCL string or heredoc stands for. */
import type { HclToken } from "./hcl-scanner.ts";

/** Undefined when the text does not follow the rules (a line break outside `${…}`, an impossible code point). */
export function unquoteHcl(token: HclToken): string | undefined {
  return token.kind === "HEREDOC" ? heredoc(token.text) : unquote(token.text.slice(1, -1));
}

const escapes: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  '"': '"',
};

/** Between the quotes. Everything inside `${…}` stays as it is, quotes and backslashes too. */
function unquote(text: string): string | undefined {
  let out = "";
  let at = 0;
  while (at < text.length) {
    const character = text[at] as string;
    if (character === "$" && text[at + 1] === "{") {
      const close = closingBrace(text, at + 2);
      if (close === undefined) return undefined;
      out += text.slice(at, close);
      at = close;
    } else if (character === "\\") {
      const escaped = /^\\(?:([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([abfnrtv\\"]))/.exec(
        text.slice(at, at + 10),
      );
      if (escaped === null) return undefined;
      const [whole, octal, byte, short, long, letter] = escaped;
      const code = octal === undefined ? Number.parseInt(byte ?? short ?? long ?? "0", 16) : Number.parseInt(octal, 8);
      if (code > 0x10ffff) return undefined;
      out += letter === undefined ? String.fromCodePoint(code) : (escapes[letter] as string);
      at += whole.length;
    } else if (character === "\n") {
      return undefined;
    } else {
      out += character;
      at++;
    }
  }
  return out;
}

/** The offset after the brace that closes the one before `from`. */
function closingBrace(text: string, from: number): number | undefined {
  let depth = 1;
  for (let at = from; at < text.length; at++) {
    if (text[at] === "{") depth++;
    else if (text[at] === "}" && --depth === 0) return at + 1;
  }
  return undefined;
}

/**
 * The lines between the markers, the last line break included. Of `<<-WORD`, the indentation of the closing WORD is
 * taken off every line, if every line has it.
 */
function heredoc(text: string): string {
  const opening = text.indexOf("\n");
  const indented = text[2] === "-";
  const word = text.slice(indented ? 3 : 2, opening);
  const body = text.slice(opening + 1, text.length - word.length - 1);
  if (!indented) return body;
  const lines = body.split("\n");
  const indentation = lines.pop() as string;
  if (!lines.every((line) => line.startsWith(indentation))) return body.slice(0, body.length - indentation.length);
  return lines.map((line) => `${line.slice(indentation.length)}\n`).join("");
}
