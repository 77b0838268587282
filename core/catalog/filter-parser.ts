/**
 * Filter expressions to trees: `ServicePort == 80 and not ("v1" in ServiceTags or ServiceMeta.env is empty)`.
 *
 *   or    <- and (_ "or" _ and)*
 *   and   <- not (_ "and" _ not)*
 *   not   <- "not" _ not / group
 *   group <- "(" _? or _? ")" / match
 *   match <- selector ("==" / "!=" / contains / not contains / matches / not matches) value
 *          / selector (is empty / is not empty)
 *          / value (in / not in) selector
 *   value <- selector / number / string
 *
 * Consul 1.8 parses with a generated PEG parser and clients see its errors. So this one looks where that one looks, in the
 * same order, and reports alike: the farthest place where something was expected, and all that was expected there;
 * or, first, the faults that have a name ("Unmatched parentheses"), which stand even where another reading was tried
 * later. It does not go back over what it has read, so that its time is linear where the generated one's doubles with each
 * parenthesis.
 */
import { goUnquote } from "./go-unquote.ts";

export type Expression =
  | { readonly kind: "and" | "or"; readonly parts: readonly Expression[] }
  | { readonly kind: "not"; readonly inner: Expression }
  | {
      readonly kind: "match";
      readonly selector: readonly string[];
      readonly operator: Operator;
      readonly value: string | undefined;
    };

/** In Consul's own words, which its errors show. */
export type Operator = "Equal" | "Not Equal" | "In" | "Not In" | "Is Empty" | "Is Not Empty" | "Matches" | "Not Matches";

/** How deep parentheses may nest. Each level costs stack. */
const nestingMax = 100;
/** In UTF-16 units. Requests carry expressions in their URL, which servers bound at a fraction of this. */
const lengthMax = 64 * 1024;

/** The expression, or why it is none in Consul's words. */
export function parseFilter(text: string): { readonly expression: Expression } | { readonly fault: string } {
  if (text.length > lengthMax) return { fault: `the filter expression has more than ${lengthMax} characters` };
  return new Parser(text).parse();
}

const whitespace = { want: "[ \\t\\r\\n]", test: /[ \t\r\n]/y };
const letter = { want: "[a-zA-Z]", test: /[a-zA-Z]/y };
const wordCharacter = { want: "[a-zA-Z0-9_]", test: /[a-zA-Z0-9_]/y };
const digit = { want: "[0-9]", test: /[0-9]/y };
const firstDigit = { want: "[1-9]", test: /[1-9]/y };

/** Operators with a selector before and a value after; then without a value; then with the value before. */
const selectorThenValue: readonly (readonly [Operator, readonly string[], boolean])[] = [
  ["Equal", ["=="], false],
  ["Not Equal", ["!="], false],
  ["In", ["contains"], true],
  ["Not In", ["not", "contains"], true],
  ["Matches", ["matches"], true],
  ["Not Matches", ["not", "matches"], true],
];
const selectorAlone: readonly (readonly [Operator, readonly string[]])[] = [
  ["Is Empty", ["is", "empty"]],
  ["Is Not Empty", ["is", "not", "empty"]],
];
const valueThenSelector: readonly (readonly [Operator, readonly string[], boolean])[] = [
  ["In", ["in"], true],
  ["Not In", ["not", "in"], true],
];

class Parser {
  readonly #text: string;
  #at = 0;
  #nesting = 0;
  #tooDeep = false;
  /** The farthest place where something was missing, and what. */
  #farthest = 0;
  readonly #wanted = new Set<string>();
  /** Faults with a name, in order, each once. */
  readonly #faults = new Set<string>();

  constructor(text: string) {
    this.#text = text;
  }

  parse(): { readonly expression: Expression } | { readonly fault: string } {
    this.#space();
    const expression = this.#or();
    let complete = false;
    if (expression !== undefined) {
      this.#space();
      complete = this.#atEnd();
    }
    if (this.#tooDeep) return { fault: `the filter expression nests more than ${nestingMax} parentheses` };
    if (this.#faults.size > 0) return { fault: [...this.#faults].join("\n") };
    if (expression !== undefined && complete) return { expression };
    return { fault: `${this.#position(this.#farthest)}: no match found, expected: ${this.#expected()}` };
  }

  #or(): Expression | undefined {
    return this.#chain("or", () => this.#and());
  }

  #and(): Expression | undefined {
    return this.#chain("and", () => this.#not());
  }

  #chain(word: "and" | "or", part: () => Expression | undefined): Expression | undefined {
    const first = part();
    if (first === undefined) return undefined;
    const parts = [first];
    for (;;) {
      const before = this.#at;
      const next = this.#words([word], true) ? part() : undefined;
      if (next === undefined) {
        this.#at = before;
        return parts.length === 1 ? first : { kind: word, parts };
      }
      parts.push(next);
    }
  }

  #not(): Expression | undefined {
    // "not" may also be a selector: each is tried as the operator first, and from the innermost outwards as a selector.
    const starts: number[] = [];
    for (;;) {
      const start = this.#at;
      if (!this.#literal("not") || !this.#requiredSpace()) {
        this.#at = start;
        break;
      }
      starts.push(start);
    }
    let inner = this.#group();
    while (inner === undefined && starts.length > 0) {
      this.#at = starts.pop() as number;
      inner = this.#group();
    }
    if (inner === undefined) return undefined;
    return starts.length % 2 === 0 ? inner : { kind: "not", inner };
  }

  #group(): Expression | undefined {
    const start = this.#at;
    if (!this.#literal("(")) return this.#match();
    if (++this.#nesting > nestingMax) this.#tooDeep = true;
    if (this.#tooDeep) return undefined;
    this.#space();
    const inner = this.#or();
    this.#nesting--;
    if (inner !== undefined) {
      this.#space();
      if (this.#literal(")")) return inner;
      this.#fault('"grouping"', this.#at, "Unmatched parentheses");
    }
    this.#at = start;
    // Nothing that starts with a parenthesis matches, but what was expected here counts.
    return this.#match();
  }

  #match(): Expression | undefined {
    const start = this.#at;
    const selector = this.#selector();
    if (selector !== undefined) {
      const found = this.#matchAfter(selector);
      if (found !== undefined) return found;
    }
    this.#at = start;
    const value = this.#value();
    if (value !== undefined) {
      const operator = this.#operator(valueThenSelector);
      if (operator !== undefined) {
        const place = this.#at;
        const sought = this.#selector();
        if (sought !== undefined) return { kind: "match", selector: sought, operator, value };
        this.#fault('"match"', place, "Invalid selector");
      }
    }
    this.#at = start;
    return undefined;
  }

  #matchAfter(selector: readonly string[]): Expression | undefined {
    const start = this.#at;
    const operator = this.#operator(selectorThenValue);
    if (operator !== undefined) {
      const value = this.#value();
      if (value !== undefined) return { kind: "match", selector, operator, value };
      this.#at = start;
    }
    for (const [alone, words] of selectorAlone) {
      if (this.#words(words, false)) return { kind: "match", selector, operator: alone, value: undefined };
      this.#at = start;
    }
    return undefined;
  }

  #operator(operators: typeof selectorThenValue): Operator | undefined {
    const start = this.#at;
    for (const [operator, words, spaced] of operators) {
      if (spaced) {
        if (this.#words(words, true)) return operator;
      } else {
        this.#space();
        if (this.#literal(words[0] as string)) {
          this.#space();
          return operator;
        }
      }
      this.#at = start;
    }
    return undefined;
  }

  #selector(): readonly string[] | undefined {
    const first = this.#identifier();
    if (first === undefined) return undefined;
    const selector = [first];
    for (;;) {
      const start = this.#at;
      let next: string | undefined;
      if (this.#literal(".")) next = this.#identifier();
      if (next === undefined) {
        this.#at = start;
        next = this.#index();
      }
      if (next === undefined) {
        this.#at = start;
        return selector;
      }
      selector.push(next);
    }
  }

  #index(): string | undefined {
    if (!this.#literal("[")) return undefined;
    this.#space();
    const place = this.#at;
    const name = this.#string();
    if (name === undefined) {
      this.#fault('"index"', place, "Invalid index");
      return undefined;
    }
    this.#space();
    if (this.#literal("]")) return name;
    this.#fault('"index"', this.#at, "Unclosed index expression");
    return undefined;
  }

  #identifier(): string | undefined {
    const start = this.#at;
    if (!this.#one(letter)) return undefined;
    while (this.#one(wordCharacter));
    return this.#text.slice(start, this.#at);
  }

  #value(): string | undefined {
    return this.#selector()?.join(".") ?? this.#number() ?? this.#string();
  }

  #number(): string | undefined {
    const start = this.#at;
    this.#literal("-");
    if (!this.#literal("0")) {
      if (!this.#one(firstDigit)) {
        this.#at = start;
        return undefined;
      }
      while (this.#one(digit));
    }
    const whole = this.#at;
    if (this.#literal(".")) {
      if (this.#one(digit)) while (this.#one(digit));
      else this.#at = whole;
    }
    const end = this.#at;
    const followed = this.#requiredSpace() || this.#atEnd() || this.#literal(")");
    this.#at = end;
    if (followed) return this.#text.slice(start, end);
    this.#fault('"number"', end, "Invalid number literal");
    this.#at = start;
    return undefined;
  }

  #string(): string | undefined {
    const start = this.#at;
    const quote = this.#literal("`") ? "`" : this.#literal('"') ? '"' : undefined;
    if (quote === undefined) return undefined;
    const end = this.#text.indexOf(quote, this.#at);
    if (end < 0) {
      this.#fault('"string"', this.#text.length, "Unterminated string literal");
      this.#at = start;
      return undefined;
    }
    this.#at = end + 1;
    const unquoted = goUnquote(this.#text.slice(start, this.#at));
    if (unquoted === undefined) this.#fault('"string"', start, "invalid syntax");
    return unquoted ?? "";
  }

  /** The words, each after whitespace; `trailing`: and whitespace after the last. */
  #words(words: readonly string[], trailing: boolean): boolean {
    for (const word of words) if (!this.#requiredSpace() || !this.#literal(word)) return false;
    return !trailing || this.#requiredSpace();
  }

  #space(): void {
    while (this.#one(whitespace));
  }

  #requiredSpace(): boolean {
    if (!this.#one(whitespace)) return false;
    this.#space();
    return true;
  }

  #atEnd(): boolean {
    if (this.#at === this.#text.length) return true;
    this.#want("EOF");
    return false;
  }

  #literal(literal: string): boolean {
    if (this.#text.startsWith(literal, this.#at)) {
      this.#at += literal.length;
      return true;
    }
    this.#want(JSON.stringify(literal));
    return false;
  }

  #one({ want, test }: { readonly want: string; readonly test: RegExp }): boolean {
    test.lastIndex = this.#at;
    if (test.test(this.#text)) {
      this.#at++;
      return true;
    }
    this.#want(want);
    return false;
  }

  #want(want: string): void {
    if (this.#at < this.#farthest) return;
    if (this.#at > this.#farthest) {
      this.#farthest = this.#at;
      this.#wanted.clear();
    }
    this.#wanted.add(want);
  }

  #fault(rule: string, at: number, what: string): void {
    this.#faults.add(`${this.#position(at)}: rule ${rule}: ${what}`);
  }

  /** Line, column in characters, offset in bytes, as the generated parser counts them: on a line break it is already on the next line. */
  #position(at: number): string {
    let line = 1;
    let column = 0;
    let offset = 0;
    let read = 0;
    for (const character of this.#text) {
      if (read > at) break;
      column++;
      if (character === "\n") {
        line++;
        column = 0;
      }
      if (read === at) return `${line}:${column} (${offset})`;
      read += character.length;
      const code = character.codePointAt(0) as number;
      offset += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    }
    return `${line}:${column + 1} (${offset})`;
  }

  #expected(): string {
    const end = this.#wanted.delete("EOF");
    const wanted = [...this.#wanted].sort();
    if (end) wanted.push("EOF");
    const last = wanted.pop() ?? "";
    return wanted.length === 0 ? last : `${wanted.join(", ")} or ${last}`;
  }
}
