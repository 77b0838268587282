/**
 * Regular expressions in time linear in the text, in Go's syntax: for patterns that strangers send.
 *
 * JavaScript's own engine backtracks, and `(a+)+$` against thirty letters occupies it for minutes; Consul compiles the
 * same pattern with RE2 and answers at once. Here, as there, all ways through the pattern are walked at once: the state is
 * the set of places in the program that some way has reached.
 *
 *   compile   bounded by `instructionsMax`
 *   test      O(program × text), no recursion per character, no memory beyond two sets of places
 */
import { type Assertion, type CodeSet, parseRegex, type Pattern } from "./regex-parser.ts";

/** Counted repetitions multiply: `(a{100}){100}` is refused. */
const instructionsMax = 4000;

type Instruction =
  | { readonly kind: "set"; readonly set: CodeSet }
  | { readonly kind: "assert"; readonly at: Assertion }
  /** Goes on at both places. */
  | { readonly kind: "fork"; a: number; b: number }
  | { readonly kind: "match" };

export interface LinearRegex {
  /** Whether the pattern matches somewhere in `text`. */
  test(text: string): boolean;
}

/** `fault` is Go's whole text: "error parsing regexp: missing closing ): `(`". */
export function compileRegex(source: string): { readonly regex: LinearRegex } | { readonly fault: string } {
  const parsed = parseRegex(source);
  if ("fault" in parsed) return parsed;
  const program: Instruction[] = [];
  if (!emit(parsed.pattern, program)) return { fault: `error parsing regexp: expression too large: \`${source.slice(0, 100)}\`` };
  program.push({ kind: "match" });
  return { regex: new Program(program) };
}

/** False when the program grows too large. */
function emit(pattern: Pattern, program: Instruction[]): boolean {
  if (program.length > instructionsMax) return false;
  switch (pattern.kind) {
    case "set":
      program.push({ kind: "set", set: pattern.set });
      return true;
    case "assert":
      program.push({ kind: "assert", at: pattern.at });
      return true;
    case "sequence":
      return pattern.parts.every((part) => emit(part, program));
    case "choice":
      return emitChoice(pattern.parts, program);
    case "repeat":
      return emitRepeat(pattern, program);
  }
}

/** fork → first, jump to the end; fork → second … */
function emitChoice(parts: readonly Pattern[], program: Instruction[]): boolean {
  const jumps: { a: number; b: number }[] = [];
  for (const [at, part] of parts.entries()) {
    const last = at === parts.length - 1;
    const fork = { kind: "fork" as const, a: program.length + 1, b: 0 };
    if (!last) program.push(fork);
    if (!emit(part, program)) return false;
    if (last) break;
    const jump = { kind: "fork" as const, a: 0, b: 0 };
    program.push(jump);
    jumps.push(jump);
    fork.b = program.length;
  }
  for (const jump of jumps) jump.a = jump.b = program.length;
  return true;
}

function emitRepeat({ inner, min, max }: Extract<Pattern, { readonly kind: "repeat" }>, program: Instruction[]): boolean {
  for (let count = 0; count < min; count++) if (!emit(inner, program)) return false;
  if (max === Number.POSITIVE_INFINITY) {
    const fork = { kind: "fork" as const, a: program.length + 1, b: 0 };
    const start = program.length;
    program.push(fork);
    if (!emit(inner, program)) return false;
    program.push({ kind: "fork", a: start, b: start });
    fork.b = program.length;
    return true;
  }
  const forks: { b: number }[] = [];
  for (let count = min; count < max; count++) {
    const fork = { kind: "fork" as const, a: program.length + 1, b: 0 };
    program.push(fork);
    forks.push(fork);
    if (!emit(inner, program)) return false;
  }
  for (const fork of forks) fork.b = program.length;
  return true;
}

class Program implements LinearRegex {
  readonly #program: readonly Instruction[];
  /** The step in which each place was last reached, so that sets need no clearing. */
  readonly #reached: Int32Array;

  constructor(program: readonly Instruction[]) {
    this.#program = program;
    this.#reached = new Int32Array(program.length);
  }

  test(text: string): boolean {
    this.#reached.fill(-1);
    let places: number[] = [];
    let before: number | undefined;
    let step = 0;
    for (let at = 0; ; step++) {
      const code = text.codePointAt(at);
      const edge = { before, after: code };
      // Waiting places were marked in the last round; a search may also begin anywhere.
      const open: number[] = [];
      for (const place of places) if (this.#reach(place, edge, step, open)) return true;
      if (this.#reach(0, edge, step, open)) return true;
      if (code === undefined) return false;
      places = [];
      for (const place of open) {
        const instruction = this.#program[place] as Extract<Instruction, { readonly kind: "set" }>;
        if (hasCode(instruction.set, code)) places.push(place + 1);
      }
      before = code;
      at += code > 0xffff ? 2 : 1;
    }
  }

  /** Follows forks and assertions from `from`; places that need a character go to `open`. True on a match. */
  #reach(from: number, edge: Edge, step: number, open: number[]): boolean {
    const stack = [from];
    for (let place = stack.pop(); place !== undefined; place = stack.pop()) {
      if (this.#reached[place] === step) continue;
      this.#reached[place] = step;
      const instruction = this.#program[place] as Instruction;
      if (instruction.kind === "match") return true;
      if (instruction.kind === "set") open.push(place);
      else if (instruction.kind === "fork") stack.push(instruction.a, instruction.b);
      else if (holds(instruction.at, edge)) stack.push(place + 1);
    }
    return false;
  }
}

interface Edge {
  readonly before: number | undefined;
  readonly after: number | undefined;
}

function holds(assertion: Assertion, { before, after }: Edge): boolean {
  switch (assertion) {
    case "textStart":
      return before === undefined;
    case "textEnd":
      return after === undefined;
    case "lineStart":
      return before === undefined || before === 10;
    case "lineEnd":
      return after === undefined || after === 10;
    case "wordEdge":
      return isWord(before) !== isWord(after);
    case "noWordEdge":
      return isWord(before) === isWord(after);
  }
}

function isWord(code: number | undefined): boolean {
  if (code === undefined) return false;
  return (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || code === 95 || (code >= 97 && code <= 122);
}

function hasCode(set: CodeSet, code: number): boolean {
  let found = inside(set, code);
  if (!found && set.folded) {
    const character = String.fromCodePoint(code);
    found = otherCase(set, character.toLowerCase()) || otherCase(set, character.toUpperCase());
  }
  return found !== set.negated;
}

function otherCase(set: CodeSet, character: string): boolean {
  const code = character.codePointAt(0) as number;
  return String.fromCodePoint(code).length === character.length && inside(set, code);
}

function inside(set: CodeSet, code: number): boolean {
  for (const [low, high] of set.ranges) if (code >= low && code <= high) return true;
  if (set.properties.length === 0) return false;
  const character = String.fromCodePoint(code);
  return set.properties.some(({ test, negated }) => test.test(character) !== negated);
}
