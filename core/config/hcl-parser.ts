/**
 * Tokens to a syntax tree, for HCL 1:
 *
 *   file    = item*
 *   item    = key+ ( "=" value | object ) [","]       several keys are labels: service "web" { … }
 *   object  = "{" item* "}"
 *   list    = "[" ( value | "," )* "]"
 *   value   = literal | object | list
 *
 * What is accepted, and where an error is said to be, is Consul's: an assignment cut off by the end of the file is
 * dropped in silence, stray commas in a list are passed over, and so on.
 */
import { AgentError } from "../types/errors.ts";
import { type HclPosition, HclScanner, type HclToken } from "./hcl-scanner.ts";

export type HclNode =
  | ({ readonly kind: "object"; readonly items: readonly HclItem[] } & HclPosition)
  | ({ readonly kind: "list"; readonly nodes: readonly HclNode[] } & HclPosition)
  | ({ readonly kind: "literal"; readonly token: HclToken } & HclPosition);

export interface HclItem {
  readonly keys: readonly HclToken[];
  readonly value: HclNode;
}

/** Deeper nesting is refused: recursion must not exhaust the stack. Consul's own configuration is at most 8 deep. */
const depthMax = 200;

/** Throws `AgentError("bad-request")`: "At LINE:COLUMN: what is wrong". */
export function parseHclFile(text: string): readonly HclItem[] {
  const parser = new HclParser(text.replaceAll("\r\n", "\n"));
  return parser.file();
}

/** A syntax error, or the end of the text where an item would begin or a value was expected. */
type Failure =
  | { readonly kind: "end" }
  | { readonly kind: "error"; readonly position: HclPosition | undefined; readonly problem: string };
class Stop {
  readonly failure: Failure;
  constructor(failure: Failure) {
    this.failure = failure;
  }
}

class HclParser {
  readonly #scanner: HclScanner;
  #token: HclToken = { kind: "EOF", text: "", line: 1, column: 1 };
  #again = false;

  constructor(text: string) {
    this.#scanner = new HclScanner(text);
  }

  file(): readonly HclItem[] {
    const items: HclItem[] = [];
    let failure: Failure | undefined;
    try {
      this.#items(items, false, 0);
    } catch (thrown) {
      if (!(thrown instanceof Stop)) throw thrown;
      failure = thrown.failure;
    }
    const problem = this.#scanner.problem;
    if (problem !== undefined) throw refuse(describe(problem, problem.problem));
    if (failure?.kind === "error") throw refuse(describe(failure.position, failure.problem));
    return items;
  }

  /** Fills `items` until the closing brace (not consumed) or, at the end of the text, until there are no more. */
  #items(items: HclItem[], inObject: boolean, depth: number): void {
    for (;;) {
      if (inObject) {
        const token = this.#scan();
        this.#unscan();
        if (token.kind === "RBRACE") return;
      }
      try {
        items.push(this.#item(depth));
      } catch (thrown) {
        if (thrown instanceof Stop && thrown.failure.kind === "end") return;
        throw thrown;
      }
      if (this.#scan().kind !== "COMMA") this.#unscan();
    }
  }

  #item(depth: number): HclItem {
    const keys = this.#keys();
    if (this.#token.kind === "ASSIGN") {
      const value = this.#value(depth);
      this.#lookAhead();
      return { keys, value };
    }
    if (this.#token.kind === "LBRACE") {
      const value = this.#object(depth);
      this.#lookAhead();
      return { keys, value };
    }
    return this.#fail(`key '${keys.map((key) => key.text).join(" ")}' expected start of object ('{') or assignment ('=')`);
  }

  /** The keys of an item and the token after them. That token is checked by the caller when there are keys. */
  #keys(): readonly HclToken[] {
    const keys: HclToken[] = [];
    for (;;) {
      const token = this.#scan();
      switch (token.kind) {
        case "IDENT":
        case "STRING":
          keys.push(token);
          break;
        case "EOF":
          if (keys.length > 0) return keys;
          throw new Stop({ kind: "end" });
        case "ASSIGN":
          if (keys.length > 1) return this.#fail("nested object expected: LBRACE got: ASSIGN");
          if (keys.length === 0) return this.#fail("no object keys found!");
          return keys;
        case "LBRACE":
          if (keys.length === 0) return this.#fail("expected: IDENT | STRING got: LBRACE");
          return keys;
        case "RBRACE":
          if (keys.length === 0) return this.#fail("expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACE");
          // The brace is used up: the object around must not take it for its own end.
          this.#token = { ...token, kind: "EOF" };
          return keys;
        case "ILLEGAL":
          return this.#fail("illegal character");
        default:
          return this.#fail(`expected: IDENT | STRING | ASSIGN | LBRACE got: ${token.kind}`);
      }
    }
  }

  #value(depth: number): HclNode {
    const token = this.#scan();
    switch (token.kind) {
      case "NUMBER":
      case "FLOAT":
      case "BOOL":
      case "STRING":
      case "HEREDOC":
        return { kind: "literal", token, line: token.line, column: token.column };
      case "LBRACE":
        return this.#object(depth);
      case "LBRACK":
        return this.#list(depth);
      case "EOF":
        throw new Stop({ kind: "end" });
      default:
        return this.#fail(`Unknown token: ${token.line}:${token.column} ${token.kind} ${token.text}`);
    }
  }

  /** The opening brace is the current token. */
  #object(depth: number): HclNode {
    if (depth >= depthMax) return this.#fail(`nesting is deeper than ${depthMax} levels`);
    const { line, column } = this.#token;
    const items: HclItem[] = [];
    try {
      this.#items(items, true, depth + 1);
    } catch (thrown) {
      // An error at a closing brace, as in `a = }`, counts as the end of the object there: Consul drops the item.
      if (!(thrown instanceof Stop) || this.#token.kind !== "RBRACE") throw thrown;
    }
    const token = this.#scan();
    if (token.kind !== "RBRACE") return this.#fail(`object expected closing RBRACE got: ${token.kind}`);
    return { kind: "object", items, line, column };
  }

  /** The opening bracket is the current token. */
  #list(depth: number): HclNode {
    if (depth >= depthMax) return this.#fail(`nesting is deeper than ${depthMax} levels`);
    const { line, column } = this.#token;
    const nodes: HclNode[] = [];
    let needComma = false;
    for (;;) {
      const token = this.#scan();
      if (needComma && token.kind !== "COMMA" && token.kind !== "RBRACK") {
        return this.#fail(`error parsing list, expected comma or list end, got: ${token.kind}`);
      }
      switch (token.kind) {
        case "NUMBER":
        case "FLOAT":
        case "BOOL":
        case "STRING":
        case "HEREDOC":
          nodes.push({ kind: "literal", token, line: token.line, column: token.column });
          needComma = true;
          break;
        case "COMMA":
          this.#lookAhead();
          needComma = false;
          break;
        case "LBRACE":
          nodes.push(this.#within(token, "object", () => this.#object(depth + 1)));
          needComma = true;
          break;
        case "LBRACK":
          // No comma is asked for after a list within a list: Consul's own leniency.
          nodes.push(this.#within(token, "list", () => this.#list(depth + 1)));
          break;
        case "RBRACK":
          return { kind: "list", nodes, line, column };
        default:
          return this.#fail(`unexpected token while parsing list: ${token.kind}`);
      }
    }
  }

  /** An error inside is told with the place of the outer value before it. */
  #within(at: HclPosition, what: string, parse: () => HclNode): HclNode {
    try {
      return parse();
    } catch (thrown) {
      if (!(thrown instanceof Stop) || thrown.failure.kind === "end") throw thrown;
      const { position, problem } = thrown.failure;
      throw new Stop({
        kind: "error",
        position: at,
        problem: `error while trying to parse ${what} within list: ${describe(position, problem)}`,
      });
    }
  }

  #scan(): HclToken {
    if (this.#again) this.#again = false;
    else this.#token = this.#scanner.next();
    return this.#token;
  }

  #unscan(): void {
    this.#again = true;
  }

  /** Consul looks for a trailing comment here; it moves the place where the end of the file is reported. */
  #lookAhead(): void {
    this.#scan();
    this.#unscan();
  }

  #fail(problem: string): never {
    throw new Stop({ kind: "error", position: this.#token, problem });
  }
}

export function describe(position: HclPosition | undefined, problem: string): string {
  return position === undefined ? `At -: ${problem}` : `At ${position.line}:${position.column}: ${problem}`;
}

function refuse(message: string): AgentError {
  return new AgentError("bad-request", { message });
}
