/**
 * Text files of cases: a title line "== kind: title", the input, a line "-- " before the outcome, the outcome.
 * Lines beginning with "#" before the first case are for the reader.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface Case {
  readonly kind: string;
  readonly title: string;
  readonly input: string;
  readonly outcome: string;
}

export function readCases(name: string): readonly Case[] {
  const path = join(process.env["TEST_ROOT"] as string, "tests/cases/config", name);
  const [, ...blocks] = `\n${readFileSync(path, "utf8")}`.split("\n== ");
  return blocks.map((block) => {
    const [head, ...lines] = block.split("\n");
    const [kind, ...title] = (head as string).split(": ");
    const rule = lines.findLastIndex((line) => line === "--" || line.startsWith("-- "));
    const outcome = [(lines[rule] as string).slice(3), ...lines.slice(rule + 1)].join("\n").trim();
    return { kind: kind as string, title: title.join(": "), input: lines.slice(0, rule).join("\n"), outcome };
  });
}
