/**
 * Go's regular expressions (RE2 syntax) to trees. Faults are worded as Go words them, because Consul's errors show them.
 */

export type Pattern =
  | { readonly kind: "set"; readonly set: CodeSet }
  | { readonly kind: "assert"; readonly at: Assertion }
  | { readonly kind: "sequence" | "choice"; readonly parts: readonly Pattern[] }
  /** `counted`: written `{n,m}`. */
  | { readonly kind: "repeat"; readonly inner: Pattern; readonly min: number; readonly max: number; readonly counted: boolean };
export type Assertion = "textStart" | "textEnd" | "lineStart" | "lineEnd" | "wordEdge" | "noWordEdge";

/** Code points: ranges with both ends, or a Unicode property; `folded` also takes the other case. */
export interface CodeSet {
  readonly ranges: readonly (readonly [number, number])[];
  readonly properties: readonly { readonly test: RegExp; readonly negated: boolean }[];
  readonly negated: boolean;
  readonly folded: boolean;
}

interface Flags {
  readonly fold: boolean;
  readonly multiline: boolean;
  readonly dotAll: boolean;
}

/** Go's bound on `{n,m}`. */
const repeatMax = 1000;
/** Groups within groups; each costs stack. */
const nestingMax = 200;
const codeMax = 0x10ffff;

type Range = readonly [number, number];
const digitRanges: readonly Range[] = [[48, 57]];
const wordRanges: readonly Range[] = [
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
];
const spaceRanges: readonly Range[] = [
  [9, 10],
  [12, 13],
  [32, 32],
];
const posixRanges: Readonly<Record<string, readonly Range[]>> = {
  alnum: [
    [48, 57],
    [65, 90],
    [97, 122],
  ],
  alpha: [
    [65, 90],
    [97, 122],
  ],
  ascii: [[0, 127]],
  blank: [
    [9, 9],
    [32, 32],
  ],
  cntrl: [
    [0, 31],
    [127, 127],
  ],
  digit: digitRanges,
  graph: [[33, 126]],
  lower: [[97, 122]],
  print: [[32, 126]],
  punct: [
    [33, 47],
    [58, 64],
    [91, 96],
    [123, 126],
  ],
  space: [
    [9, 13],
    [32, 32],
  ],
  upper: [[65, 90]],
  word: wordRanges,
  xdigit: [
    [48, 57],
    [65, 70],
    [97, 102],
  ],
};
const controlEscapes: Readonly<Record<string, number>> = { a: 7, f: 12, n: 10, r: 13, t: 9, v: 11 };

/** Thrown and caught in this file. */
class Fault extends Error {}

export function parseRegex(source: string): { readonly pattern: Pattern } | { readonly fault: string } {
  try {
    return { pattern: new Parser(source).parse() };
  } catch (error) {
    if (error instanceof Fault) return { fault: `error parsing regexp: ${error.message}` };
    throw error;
  }
}

function fault(code: string, shown: string): Fault {
  return new Fault(`${code}: \`${shown}\``);
}

class Parser {
  readonly #source: string;
  #at = 0;
  #nesting = 0;
  #flags: Flags = { fold: false, multiline: false, dotAll: false };

  constructor(source: string) {
    this.#source = source;
  }

  parse(): Pattern {
    const pattern = this.#choice();
    if (this.#at < this.#source.length) throw fault("unexpected )", this.#source);
    return pattern;
  }

  #choice(): Pattern {
    const parts = [this.#sequence()];
    while (this.#take("|")) parts.push(this.#sequence());
    return parts.length === 1 ? (parts[0] as Pattern) : { kind: "choice", parts };
  }

  #sequence(): Pattern {
    const parts: Pattern[] = [];
    let lastRepeat: number | undefined;
    for (;;) {
      const next = this.#source[this.#at];
      if (next === undefined || next === "|" || next === ")") return { kind: "sequence", parts };
      const start = this.#at;
      const bounds = this.#bounds();
      if (bounds === undefined) {
        lastRepeat = undefined;
        for (const part of this.#atoms()) parts.push(part);
        continue;
      }
      this.#take("?");
      const shown = this.#source.slice(start, this.#at);
      if (lastRepeat !== undefined) throw fault("invalid nested repetition operator", this.#source.slice(lastRepeat, this.#at));
      // What was pushed last is repeated, also across flags, which push nothing.
      const inner = parts.pop();
      if (inner === undefined) throw fault("missing argument to repetition operator", shown);
      const repeat: Pattern = { kind: "repeat", inner, ...bounds };
      if (bounds.counted && !withinRepeatMax(repeat, repeatMax)) throw fault("invalid repeat count", shown);
      parts.push(repeat);
      lastRepeat = start;
    }
  }

  /** One item; several for a quotation, none for flags. */
  #atoms(): readonly Pattern[] {
    if (this.#take("\\Q")) {
      const end = this.#source.indexOf("\\E", this.#at);
      const quoted = this.#source.slice(this.#at, end < 0 ? undefined : end);
      this.#at = end < 0 ? this.#source.length : end + 2;
      return [...quoted].map((character) => this.#literal(character.codePointAt(0) as number));
    }
    const atom = this.#atom();
    return atom === undefined ? [] : [atom];
  }

  /** `*`, `+`, `?` or `{n,m}`. Greedy or not is all one: what matches is the same. */
  #bounds(): { readonly min: number; readonly max: number; readonly counted: boolean } | undefined {
    if (this.#take("*")) return { min: 0, max: Number.POSITIVE_INFINITY, counted: false };
    if (this.#take("+")) return { min: 1, max: Number.POSITIVE_INFINITY, counted: false };
    if (this.#take("?")) return { min: 0, max: 1, counted: false };
    const counted = /^\{(0|[1-9][0-9]*)(?:(,)(0|[1-9][0-9]*)?)?\}/.exec(this.#source.slice(this.#at, this.#at + 40));
    if (counted === null) return undefined;
    const [shown, low, comma, high] = counted as unknown as [string, string, string | undefined, string | undefined];
    const min = Number(low);
    const max = comma === undefined ? min : high === undefined ? Number.POSITIVE_INFINITY : Number(high);
    if (min > repeatMax || (max !== Number.POSITIVE_INFINITY && (max > repeatMax || max < min)))
      throw fault("invalid repeat count", shown);
    this.#at += shown.length;
    return { min, max, counted: true };
  }

  #atom(): Pattern | undefined {
    const character = this.#next();
    switch (character) {
      case "(":
        return this.#group();
      case "[":
        return this.#class();
      case ".":
        return setOf(
          this.#flags.dotAll
            ? [[0, codeMax]]
            : [
                [0, 9],
                [11, codeMax],
              ],
        );
      case "^":
        return { kind: "assert", at: this.#flags.multiline ? "lineStart" : "textStart" };
      case "$":
        return { kind: "assert", at: this.#flags.multiline ? "lineEnd" : "textEnd" };
      case "\\":
        return this.#escape();
      default:
        return this.#literal(character.codePointAt(0) as number);
    }
  }

  #group(): Pattern | undefined {
    const start = this.#at - 1;
    const before = this.#flags;
    if (this.#take("?") && this.#groupKind(start) === "flags") return undefined;
    if (++this.#nesting > nestingMax) throw fault("expression nests too deeply", this.#source.slice(start, start + 20));
    const inner = this.#choice();
    this.#nesting--;
    this.#flags = before;
    if (!this.#take(")")) throw fault("missing closing )", this.#source);
    return inner;
  }

  /** After `(?`. "flags": the group was nothing but flags, which hold to the end of the group around it. */
  #groupKind(start: number): "group" | "flags" {
    if (this.#source.startsWith("P<", this.#at) && this.#at + 2 < this.#source.length) {
      const end = this.#source.indexOf(">", this.#at);
      if (end < 0) throw fault("invalid named capture", this.#source.slice(start));
      if (!/^[A-Za-z0-9_]+$/.test(this.#source.slice(this.#at + 2, end)))
        throw fault("invalid named capture", this.#source.slice(start, end + 1));
      this.#at = end + 1;
      return "group";
    }
    let on = true;
    let some = false;
    for (;;) {
      const flag = this.#at < this.#source.length ? this.#next() : "";
      if (flag === "i") this.#flags = { ...this.#flags, fold: on };
      else if (flag === "m") this.#flags = { ...this.#flags, multiline: on };
      else if (flag === "s") this.#flags = { ...this.#flags, dotAll: on };
      else if (flag === "-" && on) {
        on = false;
        some = false;
        continue;
      } else if ((flag === ":" || flag === ")") && (on || some)) return flag === ":" ? "group" : "flags";
      else if (flag !== "U") throw fault("invalid or unsupported Perl syntax", this.#source.slice(start, this.#at));
      some = true;
    }
  }

  #escape(): Pattern {
    const start = this.#at - 1;
    if (this.#at >= this.#source.length) throw fault("trailing backslash at end of expression", "");
    switch (this.#source[this.#at]) {
      case "A":
        this.#at++;
        return { kind: "assert", at: "textStart" };
      case "z":
        this.#at++;
        return { kind: "assert", at: "textEnd" };
      case "b":
        this.#at++;
        return { kind: "assert", at: "wordEdge" };
      case "B":
        this.#at++;
        return { kind: "assert", at: "noWordEdge" };
      case "C":
        throw fault("invalid escape sequence", "\\C");
    }
    const set = this.#classEscape(start);
    if (set !== undefined) return { kind: "set", set: { ...set, folded: this.#flags.fold } };
    return this.#literal(this.#escapedCode(start));
  }

  /** `\d` and its like, `\p`: after the backslash. */
  #classEscape(start: number): Omit<CodeSet, "folded"> | undefined {
    const kind = this.#source[this.#at] as string;
    const ranges = { d: digitRanges, s: spaceRanges, w: wordRanges }[kind.toLowerCase()];
    if (ranges !== undefined) {
      this.#at++;
      return { ranges, properties: [], negated: kind !== kind.toLowerCase() };
    }
    if (kind !== "p" && kind !== "P") return undefined;
    const named = /^[pP](?:\{(\^?)([^}]*)\}|(.))/su.exec(this.#source.slice(this.#at));
    if (named === null) throw fault("invalid character class range", this.#source.slice(start));
    this.#at += named[0].length;
    const name = named[2] ?? (named[3] as string);
    const test = propertyTest(name);
    if (test === undefined) throw fault("invalid character class range", this.#source.slice(start, this.#at));
    const negated = (kind === "P") !== (named[1] === "^");
    return { ranges: [], properties: [{ test, negated }], negated: false };
  }

  /** One character that a backslash stands before. */
  #escapedCode(start: number): number {
    const character = this.#next();
    const control = Object.hasOwn(controlEscapes, character) ? controlEscapes[character] : undefined;
    if (control !== undefined) return control;
    const rest = this.#source.slice(this.#at);
    if (character === "x") return this.#hexCode(start);
    if (/[0-7]/.test(character)) {
      // A digit from 1 on alone would be a back-reference, which RE2 does not have.
      const more = /^[0-7]{0,2}/.exec(rest)?.[0] ?? "";
      if (character === "0" || more !== "") {
        this.#at += more.length;
        return Number.parseInt(character + more, 8);
      }
    }
    const code = character.codePointAt(0) as number;
    if (code < 128 && !/[0-9A-Za-z]/.test(character)) return code;
    throw fault("invalid escape sequence", this.#source.slice(start, this.#at));
  }

  /** After `\\x`: two digits, or any number of them in braces. */
  #hexCode(start: number): number {
    const invalid = (): Fault => fault("invalid escape sequence", this.#source.slice(start, this.#at));
    const digit = (): number => {
      const value = this.#at < this.#source.length ? "0123456789abcdef".indexOf(this.#next().toLowerCase()) : -1;
      if (value < 0) throw invalid();
      return value;
    };
    if (!this.#take("{")) {
      // Go reads both before it looks at either.
      const pair = this.#source.slice(this.#at, this.#at + 2);
      if (/^[^0-9a-fA-F]./.test(pair)) {
        this.#next();
        this.#next();
        throw invalid();
      }
      return digit() * 16 + digit();
    }
    let code = digit();
    while (!this.#take("}")) {
      code = code * 16 + digit();
      if (code > codeMax) throw invalid();
    }
    return code;
  }

  #class(): Pattern {
    const start = this.#at - 1;
    const negated = this.#take("^");
    const ranges: Range[] = [];
    const properties: { readonly test: RegExp; readonly negated: boolean }[] = [];
    // A line break is in a negated class in Go, as in JavaScript.
    for (let first = true; first || this.#source[this.#at] !== "]"; first = false) {
      if (this.#at >= this.#source.length) throw fault("missing closing ]", this.#source.slice(start));
      const itemStart = this.#at;
      if (this.#posix(ranges)) continue;
      if (this.#source[this.#at] === "\\" && this.#at + 1 < this.#source.length) {
        this.#at++;
        const set = this.#classEscape(itemStart);
        if (set !== undefined) {
          ranges.push(...(set.negated ? complement(set.ranges) : set.ranges));
          properties.push(...set.properties);
          continue;
        }
        this.#at = itemStart;
      }
      const low = this.#classCode(start);
      let high = low;
      if (this.#source[this.#at] === "-" && this.#at + 1 < this.#source.length && this.#source[this.#at + 1] !== "]") {
        this.#at++;
        high = this.#classCode(start);
        if (high < low) throw fault("invalid character class range", this.#source.slice(itemStart, this.#at));
      }
      ranges.push([low, high]);
    }
    this.#at++;
    return { kind: "set", set: { ranges, properties, negated, folded: this.#flags.fold } };
  }

  #classCode(start: number): number {
    if (this.#at >= this.#source.length) throw fault("missing closing ]", this.#source.slice(start));
    const itemStart = this.#at;
    const character = this.#next();
    if (character !== "\\") return character.codePointAt(0) as number;
    if (this.#at >= this.#source.length) throw fault("trailing backslash at end of expression", "");
    return this.#escapedCode(itemStart);
  }

  #posix(ranges: Range[]): boolean {
    const named = /^\[:(\^?)([a-z]*):\]/.exec(this.#source.slice(this.#at, this.#at + 16));
    if (named === null) return false;
    const found = Object.hasOwn(posixRanges, named[2] as string) ? posixRanges[named[2] as string] : undefined;
    if (found === undefined) throw fault("invalid character class range", named[0]);
    ranges.push(...(named[1] === "^" ? complement(found) : found));
    this.#at += named[0].length;
    return true;
  }

  #literal(code: number): Pattern {
    return setOf([[code, code]], this.#flags.fold);
  }

  #next(): string {
    const character = String.fromCodePoint(this.#source.codePointAt(this.#at) as number);
    this.#at += character.length;
    return character;
  }

  #take(literal: string): boolean {
    if (!this.#source.startsWith(literal, this.#at)) return false;
    this.#at += literal.length;
    return true;
  }
}

/** Go refuses counted repetitions that multiply beyond its bound. */
function withinRepeatMax(pattern: Pattern, max: number): boolean {
  switch (pattern.kind) {
    case "set":
    case "assert":
      return true;
    case "sequence":
    case "choice":
      return pattern.parts.every((part) => withinRepeatMax(part, max));
    case "repeat": {
      if (!pattern.counted) return withinRepeatMax(pattern.inner, max);
      const count = pattern.max === Number.POSITIVE_INFINITY ? pattern.min : pattern.max;
      if (pattern.max === 0) return true;
      if (count > max) return false;
      return withinRepeatMax(pattern.inner, count > 0 ? Math.floor(max / count) : max);
    }
  }
}

function setOf(ranges: readonly Range[], folded = false): Pattern {
  return { kind: "set", set: { ranges, properties: [], negated: false, folded } };
}

function complement(ranges: readonly Range[]): Range[] {
  const outside: Range[] = [];
  let from = 0;
  for (const [low, high] of [...ranges].sort(([left], [right]) => left - right)) {
    if (low > from) outside.push([from, low - 1]);
    from = Math.max(from, high + 1);
  }
  if (from <= codeMax) outside.push([from, codeMax]);
  return outside;
}

/** A general category or a script, by Go's name for it. */
function propertyTest(name: string): RegExp | undefined {
  if (name === "Any") return /^[\s\S]$/u;
  if (!/^[A-Z][A-Za-z_]*$/.test(name)) return undefined;
  for (const property of [`General_Category=${name}`, `Script=${name}`]) {
    try {
      return new RegExp(`^\\p{${property}}$`, "u");
    } catch {
      // Not of this kind: the next is tried.
    }
  }
  return undefined;
}
