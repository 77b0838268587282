/**
 * Characters to tokens, for HCL 1. Where a token begins and where an error is reported follow Consul's scanner,
 * because operators read these positions: columns count characters from 1, and the end of the text has a column too.
 */

export type HclTokenKind =
  | "EOF"
  | "ILLEGAL"
  | "IDENT"
  | "NUMBER"
  | "FLOAT"
  | "BOOL"
  | "STRING"
  | "HEREDOC"
  | "LBRACK"
  | "LBRACE"
  | "COMMA"
  | "PERIOD"
  | "RBRACK"
  | "RBRACE"
  | "ASSIGN"
  | "ADD"
  | "SUB";

export interface HclPosition {
  readonly line: number;
  readonly column: number;
}

export interface HclToken extends HclPosition {
  readonly kind: HclTokenKind;
  /** As written. */
  readonly text: string;
}

export interface HclProblem extends HclPosition {
  readonly problem: string;
}

const punctuation: Readonly<Record<string, HclTokenKind>> = {
  "[": "LBRACK",
  "]": "RBRACK",
  "{": "LBRACE",
  "}": "RBRACE",
  ",": "COMMA",
  "=": "ASSIGN",
  "+": "ADD",
};

/** What `#next` gives at the end. No character of the text is empty. */
const end = "";

export class HclScanner {
  /** The last thing that was wrong. It outranks what the parser then stumbles over. */
  problem: HclProblem | undefined;
  readonly #characters: readonly string[];
  #at = 0;
  #line = 1;
  #column = 0;
  #lastLineLength = 0;

  constructor(text: string) {
    this.#characters = Array.from(text);
  }

  /** The next token; comments are skipped. After the end: EOF for ever. */
  next(): HclToken {
    for (;;) {
      let character = this.#next();
      while (character === " " || character === "\t" || character === "\n" || character === "\r") character = this.#next();
      const start = character === end ? this.#at : this.#at - 1;
      const position = this.#position();
      if (character === "#" || character === "/") {
        this.#comment(character);
        continue;
      }
      const kind = this.#token(character);
      const text = this.#characters.slice(start, this.#at).join("");
      return { kind: kind === "IDENT" && (text === "true" || text === "false") ? "BOOL" : kind, text, ...position };
    }
  }

  #token(character: string): HclTokenKind {
    if (character === end) return "EOF";
    if (isLetter(character)) {
      this.#while(isIdentifierPart);
      this.#passEnd();
      return "IDENT";
    }
    if (isDigit(character)) return this.#number(character);
    switch (character) {
      case '"':
        this.#string();
        return "STRING";
      case ".":
        if (!isDigit(this.#peek())) return "PERIOD";
        this.#while(isDigit);
        this.#exponent();
        return "FLOAT";
      case "<":
        this.#heredoc();
        return "HEREDOC";
      case "-":
        return isDigit(this.#peek()) ? this.#number(this.#next()) : "SUB";
      default: {
        const kind = punctuation[character];
        if (kind === undefined) this.#complain("illegal char");
        return kind ?? "ILLEGAL";
      }
    }
  }

  #number(first: string): HclTokenKind {
    if (first === "0") {
      if (this.#peek() === "x" || this.#peek() === "X") {
        this.#next();
        if (this.#while(isHexDigit) === 0) this.#complainAbove("illegal hexadecimal number");
        else this.#passEnd();
        return "NUMBER";
      }
      const from = this.#at;
      this.#while(isDigit);
      // The digit right after the zero is not looked at, as in Consul: "08" passes here and fails when it is converted.
      const octal = !this.#characters.slice(from + 1, this.#at).some((digit) => digit > "7");
      this.#passEnd();
      const kind = this.#fraction();
      if (kind === "NUMBER" && !octal) this.#complainAbove("illegal octal number");
      return kind;
    }
    this.#while(isDigit);
    this.#passEnd();
    this.#passEnd();
    return this.#fraction();
  }

  /** What may follow the digits: ".5", "e-3", both. */
  #fraction(): HclTokenKind {
    if (this.#peek() === ".") {
      this.#next();
      this.#while(isDigit);
      this.#exponent();
      return "FLOAT";
    }
    return this.#exponent() ? "FLOAT" : "NUMBER";
  }

  #exponent(): boolean {
    if (this.#peek() !== "e" && this.#peek() !== "E") return false;
    this.#next();
    if (this.#peek() === "-" || this.#peek() === "+") this.#next();
    this.#while(isDigit);
    return true;
  }

  /** Up to the closing quote; inside `${…}` quotes and line breaks do not count. */
  #string(): void {
    let braces = 0;
    for (;;) {
      const character = this.#next();
      if (character === end || (character === "\n" && braces === 0)) {
        this.#complain("literal not terminated");
        return;
      }
      if (character === '"' && braces === 0) return;
      if (braces === 0 && character === "$" && this.#peek() === "{") {
        braces = 1;
        this.#next();
      } else if (braces > 0 && character === "{") braces++;
      else if (braces > 0 && character === "}") braces--;
      if (character === "\\") this.#escape();
    }
  }

  #escape(): void {
    const character = this.#next();
    if (character !== end && 'abfnrtv\\"'.includes(character)) return;
    if (character >= "0" && character <= "7") {
      this.#escapeDigits(2, isOctalDigit);
      return;
    }
    if (character === "x") {
      this.#escapeDigits(2, isHexDigit);
      return;
    }
    if (character === "u") {
      this.#escapeDigits(4, isHexDigit);
      return;
    }
    if (character === "U") {
      this.#escapeDigits(8, isHexDigit);
      return;
    }
    this.#complain("illegal char escape");
  }

  #escapeDigits(count: number, isValid: (character: string) => boolean): void {
    for (let digit = 0; digit < count; digit++) {
      if (isValid(this.#peek())) {
        this.#next();
        continue;
      }
      this.#complainAbove("illegal char escape");
      return;
    }
  }

  /** `<<WORD` or `<<-WORD`, lines, and a line that holds only WORD and then a line break. */
  #heredoc(): void {
    if (this.#next() !== "<") {
      this.#complain("heredoc expected second '<', didn't see it");
      return;
    }
    const from = this.#at;
    if (this.#peek() === "-") this.#next();
    this.#while(isHeredocWordPart);
    const word = this.#characters.slice(from, this.#at).join("");
    const character = this.#next();
    if (character === end) {
      this.#complain("heredoc not terminated");
      return;
    }
    if (character !== "\n") {
      this.#complain("invalid characters in heredoc anchor");
      return;
    }
    if (word === "" || word === "-") {
      this.#complain("zero-length heredoc anchor");
      return;
    }

    let lineStart = this.#at;
    for (;;) {
      const next = this.#next();
      if (next === end) {
        this.#complain("heredoc not terminated");
        return;
      }
      if (next !== "\n") continue;
      const line = this.#characters.slice(lineStart, this.#at - 1).join("");
      // Consul compares lengths first and counts the "-" of an indented one: unindented, such a terminator is not seen.
      if (line.length >= word.length && line.trimStart() === word.replace(/^-/, "")) return;
      lineStart = this.#at;
    }
  }

  #comment(first: string): void {
    if (first === "/" && this.#peek() === "*") {
      this.#next();
      let previous = "";
      for (;;) {
        const character = this.#next();
        if (character === end) {
          this.#complain("comment not terminated");
          return;
        }
        if (previous === "*" && character === "/") return;
        previous = character;
      }
    }
    if (first === "/" && this.#peek() !== "/") {
      this.#complain("expected '/' for comment");
      return;
    }
    while (this.#peek() !== "\n" && this.#peek() !== end) this.#next();
  }

  /** Passes over what `matches`, and says how many. */
  #while(matches: (character: string) => boolean): number {
    const from = this.#at;
    while (matches(this.#peek())) this.#next();
    return this.#at - from;
  }

  /** Consul's scanner looks one past a word or a number; at the end of the text this moves the column that is named. */
  #passEnd(): void {
    if (this.#at >= this.#characters.length) this.#column++;
  }

  #peek(): string {
    return this.#characters[this.#at] ?? end;
  }

  #next(): string {
    const character = this.#characters[this.#at];
    this.#column++;
    if (character === undefined) return end;
    this.#at++;
    if (character === "\n") {
      this.#line++;
      this.#lastLineLength = this.#column;
      this.#column = 0;
    } else if (character === "\0") {
      this.#complain("unexpected null character (0x00)");
      return end;
    }
    return character;
  }

  /** Complains about the character that comes next, without consuming it. */
  #complainAbove(problem: string): void {
    const saved = { at: this.#at, line: this.#line, column: this.#column, lastLineLength: this.#lastLineLength };
    const atEnd = this.#next() === end;
    this.#complain(problem);
    // At the end the column stays advanced, as in Consul.
    if (atEnd) return;
    this.#at = saved.at;
    this.#line = saved.line;
    this.#column = saved.column;
    this.#lastLineLength = saved.lastLineLength;
  }

  /** Where the character just read stands. */
  #position(): HclPosition {
    return this.#column > 0 ? { line: this.#line, column: this.#column } : { line: this.#line - 1, column: this.#lastLineLength };
  }

  #complain(problem: string): void {
    this.problem = { problem, ...this.#position() };
  }
}

function isDigit(character: string): boolean {
  return character >= "0" && character <= "9";
}

function isOctalDigit(character: string): boolean {
  return character >= "0" && character <= "7";
}

function isHexDigit(character: string): boolean {
  return /^[0-9a-fA-F]$/.test(character);
}

function isLetter(character: string): boolean {
  return /^[\p{L}_]$/u.test(character);
}

function isIdentifierPart(character: string): boolean {
  return /^[\p{L}\p{Nd}_.-]$/u.test(character);
}

function isHeredocWordPart(character: string): boolean {
  return /^[\p{L}\p{Nd}_]$/u.test(character);
}
