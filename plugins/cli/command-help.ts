/** What `-h` prints of a command, and a command that was told nothing to do. */
import { unreachable } from "../../core/types/errors.ts";
import type { LoadedCommand } from "./command.ts";
import type { Flag } from "./flags.ts";

const columns = 80;

export function commandHelp(command: LoadedCommand): string {
  const lines = [`Usage: ${command.usage}`, "", ...paragraphs(command.description), ""];
  if (command.examples.length > 0) lines.push("Examples", "");
  for (const { purpose, line } of command.examples) lines.push(`  ${purpose}:`, "", `      $ ${line}`, "");
  const groups = [
    ["Options", undefined],
    ["Request options", "request"],
    ["Connection options", "connection"],
  ] as const;
  for (const [title, group] of groups) {
    const flags = Object.entries(command.flags).filter(([, flag]) => flag.group === group);
    if (flags.length === 0) continue;
    lines.push(title, "");
    for (const [name, flag] of flags) lines.push(`  ${flagLine(name, flag)}`, ...wrap(flag.help, 6), "");
  }
  return lines.join("\n");
}

/** "-http-addr=<address>   (default 127.0.0.1:8500, or $CONSUL_HTTP_ADDR)" */
function flagLine(name: string, flag: Flag): string {
  const value = flag.kind === "bool" ? "" : `=<${flag.placeholder ?? placeholderOf(flag)}>`;
  const notes = [...initialText(flag), ...(flag.env === undefined ? [] : [`$${flag.env}`])];
  return notes.length === 0 ? `-${name}${value}` : `-${name}${value}   (${notes.join(", or ")})`;
}

function placeholderOf(flag: Flag): string {
  switch (flag.kind) {
    case "bool":
    case "string":
    case "list":
      return "text";
    case "int":
    case "uint":
      return "number";
    case "duration":
      return "duration, as 30s or 1h30m";
    case "map":
      return "key=value";
    default:
      return unreachable(flag);
  }
}

function initialText(flag: Flag): string[] {
  if (flag.kind === "list" || flag.kind === "map") return [];
  const zero = flag.initial === "" || flag.initial === false || flag.initial === 0 || flag.initial === 0n;
  if (zero) return [];
  return [`default ${flag.kind === "duration" ? `${Number(flag.initial) / 1000}s` : String(flag.initial)}`];
}

function paragraphs(text: string): string[] {
  return text
    .trim()
    .split("\n\n")
    .flatMap((paragraph, at) => [...(at === 0 ? [] : [""]), ...wrap(paragraph.replaceAll("\n", " "), 2)]);
}

function wrap(text: string, indent: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/ +/)) {
    if (line !== "" && indent + line.length + 1 + word.length > columns) {
      lines.push(" ".repeat(indent) + line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, " ".repeat(indent) + line];
}
