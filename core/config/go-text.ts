/**
 * Texts that Go's libraries make and Consul's messages contain: quoted strings and lists of errors.
 */

const escapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
};

/** A string as Go's `%q` shows it. */
export function goQuote(text: string): string {
  let out = '"';
  for (const character of text) {
    const escaped = escapes[character];
    if (escaped !== undefined) out += escaped;
    else if (character < " " || character === "\x7f") out += `\\x${hex(character, 2)}`;
    else if (/[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(character)) out += character;
    else out += character.length === 1 ? `\\u${hex(character, 4)}` : `\\U${hex(character, 8)}`;
  }
  return `${out}"`;
}

function hex(character: string, digits: number): string {
  return (character.codePointAt(0) as number).toString(16).padStart(digits, "0");
}

/** Several problems as one text, in the form of hashicorp/go-multierror that Consul prints everywhere. */
export function errorList(problems: readonly string[]): string {
  const count = problems.length === 1 ? "1 error occurred" : `${problems.length} errors occurred`;
  return `${count}:\n${problems.map((problem) => `\t* ${problem}\n`).join("")}\n`;
}

/** Sets an own property, also when the key is "__proto__": input decides the key. */
export function setOwn<Value>(object: Record<string, Value>, key: string, value: Value): void {
  if (key === "__proto__") Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  else object[key] = value;
}
