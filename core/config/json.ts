/**
 * JSON as Go's encoding/json reads it, with its error texts. `JSON.parse` accepts the same texts but explains
 * failures differently on each engine, and clients and operators see these explanations.
 */
import { AgentError } from "../types/errors.ts";
import { goQuote, setOwn } from "./go-text.ts";

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };
/** The same with whole numbers beyond 2^53 as bigints: KV flags use all of their 64 bits. */
export type ExactJsonValue = null | boolean | number | bigint | string | ExactJsonValue[] | { [key: string]: ExactJsonValue };

/** The same with every number as it was written: Go reads `1.0` and `1e3` into a float, and refuses them for an integer. */
export type LiteralJsonValue = null | boolean | NumberLiteral | string | LiteralJsonValue[] | { [key: string]: LiteralJsonValue };

export class NumberLiteral {
  /** By JSON's grammar, of any size. */
  readonly literal: string;

  constructor(literal: string) {
    this.literal = literal;
  }
}

/** What a number becomes: {@link JsonValue}, {@link ExactJsonValue}, {@link LiteralJsonValue}. */
type Numbers = "plain" | "exact" | "literal";

/** Deeper nesting is refused: nothing that Consul reads comes near. */
const depthMax = 500;

export interface JsonOptions {
  /**
   * "document": the whole text is one value. "first": only the first value counts and what follows is not looked at,
   * as Go's json.Decoder reads a request body; a text that ends early is then "unexpected EOF", an empty one "EOF".
   */
  readonly extent: "document" | "first";
}

/** Throws `AgentError("bad-request")` with Go's text. Duplicate keys: the last wins. */
export function parseJson(text: string, options: JsonOptions = { extent: "document" }): JsonValue {
  return parse(text, options, "plain") as JsonValue;
}

/** As {@link parseJson}, losing no digit of a whole number. */
export function parseExactJson(text: string, options: JsonOptions = { extent: "document" }): ExactJsonValue {
  return parse(text, options, "exact") as ExactJsonValue;
}

/** As {@link parseJson}, leaving it to the caller what a number may be. */
export function parseLiteralJson(text: string, options: JsonOptions = { extent: "document" }): LiteralJsonValue {
  return parse(text, options, "literal") as LiteralJsonValue;
}

type AnyJsonValue = null | boolean | number | bigint | NumberLiteral | string | AnyJsonValue[] | { [key: string]: AnyJsonValue };

function parse(text: string, options: JsonOptions, numbers: Numbers): AnyJsonValue {
  const reader = new JsonReader(text, options.extent === "first", numbers);
  const value = reader.value(0);
  if (options.extent === "document") reader.end();
  return value;
}

class JsonReader {
  readonly #text: string;
  readonly #first: boolean;
  readonly #numbers: Numbers;
  #at = 0;

  constructor(text: string, first: boolean, numbers: Numbers) {
    this.#text = text;
    this.#first = first;
    this.#numbers = numbers;
  }

  value(depth: number): AnyJsonValue {
    if (depth > depthMax) throw refuse("exceeded max depth");
    this.#space();
    const character = this.#text[this.#at];
    switch (character) {
      case "{":
        return this.#object(depth);
      case "[":
        return this.#array(depth);
      case '"':
        return this.#string();
      case "t":
        return this.#literal("true", true);
      case "f":
        return this.#literal("false", false);
      case "n":
        return this.#literal("null", null);
      default:
        if (character === "-" || (character !== undefined && character >= "0" && character <= "9")) return this.#number();
        throw this.#unexpected("looking for beginning of value");
    }
  }

  end(): void {
    this.#space();
    if (this.#at < this.#text.length) throw this.#unexpected("after top-level value");
  }

  #object(depth: number): AnyJsonValue {
    const object: Record<string, AnyJsonValue> = {};
    this.#at++;
    this.#space();
    if (this.#take("}")) return object;
    if (this.#text[this.#at] !== '"') throw this.#unexpected("looking for beginning of object key string");
    for (;;) {
      const key = this.#string();
      this.#space();
      if (!this.#take(":")) throw this.#unexpected("after object key");
      setOwn(object, key, this.value(depth + 1));
      this.#space();
      if (this.#take("}")) return object;
      if (!this.#take(",")) throw this.#unexpected("after object key:value pair");
      this.#space();
      if (this.#text[this.#at] !== '"') throw this.#unexpected("looking for beginning of object key string");
    }
  }

  #array(depth: number): AnyJsonValue {
    const array: AnyJsonValue[] = [];
    this.#at++;
    this.#space();
    if (this.#take("]")) return array;
    for (;;) {
      array.push(this.value(depth + 1));
      this.#space();
      if (this.#take("]")) return array;
      if (!this.#take(",")) throw this.#unexpected("after array element");
    }
  }

  #string(): string {
    this.#at++;
    let out = "";
    let from = this.#at;
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code === 34) break;
      if (code === 92) {
        out += this.#text.slice(from, this.#at) + this.#escape();
        from = this.#at;
      } else if (code < 32 || Number.isNaN(code)) throw this.#unexpected("in string literal");
      else this.#at++;
    }
    out += this.#text.slice(from, this.#at);
    this.#at++;
    // Go has no half surrogates: each becomes the replacement character.
    return out.replace(/\p{Cs}/gu, "\ufffd");
  }

  #escape(): string {
    this.#at++;
    const character = this.#text[this.#at] ?? " ";
    if (character === "u") {
      this.#at++;
      for (let digit = 0; digit < 4; digit++) {
        if (!/^[0-9a-fA-F]$/.test(this.#text[this.#at + digit] ?? "")) {
          this.#at += digit;
          throw this.#unexpected("in \\u hexadecimal character escape", true);
        }
      }
      this.#at += 4;
      return String.fromCharCode(Number.parseInt(this.#text.slice(this.#at - 4, this.#at), 16));
    }
    const plain = simpleEscapes[character];
    if (plain === undefined) throw this.#unexpected("in string escape code", true);
    this.#at++;
    return plain;
  }

  #number(): number | bigint | NumberLiteral {
    const from = this.#at;
    this.#take("-");
    if (!this.#take("0") && !this.#digits()) throw this.#unexpected("in numeric literal", true);
    if (this.#take(".") && !this.#digits()) throw this.#unexpected("after decimal point in numeric literal", true);
    if (this.#take("e") || this.#take("E")) {
      if (!this.#take("+")) this.#take("-");
      if (!this.#digits()) throw this.#unexpected("in exponent of numeric literal", true);
    }
    const literal = this.#text.slice(from, this.#at);
    if (this.#numbers === "literal") return new NumberLiteral(literal);
    const value = Number(literal);
    if (this.#numbers === "exact" && !Number.isSafeInteger(value) && /^-?\d{16,20}$/.test(literal)) return BigInt(literal);
    if (!Number.isFinite(value)) throw refuse(`json: cannot unmarshal number ${literal} into Go value of type float64`);
    return value;
  }

  #literal<Value extends AnyJsonValue>(word: string, value: Value): Value {
    for (let letter = 0; letter < word.length; letter++, this.#at++) {
      if (this.#text[this.#at] !== word[letter])
        throw this.#unexpected(`in literal ${word} (expecting ${quoteCharacter(word[letter] as string)})`, true);
    }
    return value;
  }

  #digits(): boolean {
    const from = this.#at;
    while (isDigit(this.#text.charCodeAt(this.#at))) this.#at++;
    return this.#at > from;
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 32 && code !== 10 && code !== 13 && code !== 9) return;
      this.#at++;
    }
  }

  /**
   * At the end of the text Go feeds its scanner one space. Between tokens and inside a string the space is harmless
   * and the text has merely ended; `spaceMatters` marks the places where the space itself is the bad character.
   */
  #unexpected(where: string, spaceMatters = false): AgentError {
    const character = this.#text[this.#at];
    if (character !== undefined)
      return refuse(`invalid character ${quoteCharacter(firstByte(this.#text.slice(this.#at, this.#at + 2)))} ${where}`);
    if (this.#first) return refuse(this.#text.trim() === "" ? "EOF" : "unexpected EOF");
    return refuse(spaceMatters ? `invalid character ' ' ${where}` : "unexpected end of JSON input");
  }
}

const simpleEscapes: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

/** Go's scanner sees bytes: a character outside ASCII is reported as the Latin-1 letter of its first UTF-8 byte. */
function firstByte(text: string): string {
  const code = text.codePointAt(0) as number;
  if (code < 0x80) return text.slice(0, 1);
  if (code < 0x800) return String.fromCharCode(0xc0 | (code >> 6));
  return String.fromCharCode(code < 0x10000 ? 0xe0 | (code >> 12) : 0xf0 | (code >> 18));
}

function quoteCharacter(character: string): string {
  if (character === "'") return "'\\''";
  if (character === '"') return "'\"'";
  return `'${goQuote(character).slice(1, -1)}'`;
}

function refuse(message: string): AgentError {
  return new AgentError("bad-request", { message });
}
