/**
 * Data-driven tests: text files that a person can review without reading TypeScript.
 *
 *   # A comment, kept.
 *   command argument key=value
 *   another command
 *   ----
 *   what they print, compared line by line
 *
 * Blank lines separate blocks; a block without `----` must print nothing. REWRITE=1 writes what is printed into the
 * file, for review.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, it } from "./harness.ts";

export interface Command {
  readonly name: string;
  readonly arguments: readonly string[];
  /** Of arguments `key=value`. */
  readonly options: Readonly<Record<string, string>>;
}

/** One test per file of `tests/cases/<folder>`. `begin` makes a fresh interpreter: a command in, printed lines out. */
export function runScripts(folder: string, begin: () => (command: Command) => readonly string[]): void {
  runBlocks(folder, () => {
    const run = begin();
    return (lines) => lines.flatMap((line) => run(parse(line)));
  });
}

/** The same for interpreters that read lines in their own way: a block's commands in, printed lines out. */
export function runBlocks(folder: string, begin: () => (lines: readonly string[]) => readonly string[]): void {
  const directory = join(process.env["TEST_ROOT"] as string, "tests/cases", folder);
  const rewrite = process.env["REWRITE"] !== undefined;
  describe(`scripts of ${folder}`, () => {
    for (const name of readdirSync(directory)
      .filter((file) => file.endsWith(".txt"))
      .sort()) {
      it(name, () => {
        const path = join(directory, name);
        const run = begin();
        const rewritten: string[] = [];
        for (const block of readFileSync(path, "utf8")
          .trim()
          .split(/\n{2,}/)) {
          const lines = block.split("\n");
          const rule = lines.indexOf("----");
          const head = rule < 0 ? lines : lines.slice(0, rule);
          const expected = rule < 0 ? [] : lines.slice(rule + 1);
          const printed = run(head.filter((line) => line !== "" && !line.startsWith("#")));
          rewritten.push([...head, ...(printed.length === 0 ? [] : ["----", ...printed])].join("\n"));
          if (!rewrite) assert.deepEqual(printed, expected, head.join("\n"));
        }
        if (rewrite) writeFileSync(path, `${rewritten.join("\n\n")}\n`);
      });
    }
  });
}

function parse(line: string): Command {
  const [name = "", ...rest] = line.trim().split(/\s+/);
  const options: Record<string, string> = {};
  for (const word of rest) {
    const at = word.indexOf("=");
    if (at > 0) options[word.slice(0, at)] = word.slice(at + 1);
  }
  return { name, arguments: rest.filter((word) => word.indexOf("=") <= 0), options };
}
