/** What `consul help` prints of the program and its groups; a single command's help is in command-help.ts. */
import { consulVersion, proconsulVersion } from "../../core/version.ts";
import type { LoadedCommand } from "./command.ts";
import { children, type Entry, entries, isBuilt, sections } from "./command-table.ts";

/** `consul help`. */
export function rootHelp(): string {
  const lines = [
    "Usage: consul <command> [options] [arguments]",
    "",
    `  Proconsul ${proconsulVersion}: the Consul ${consulVersion} agent and its command line, in TypeScript.`,
    "",
  ];
  for (const { title, commands } of sections) {
    lines.push(title, "", ...listing(commands.map((name) => entries.get(name) as Entry)), "");
  }
  lines.push(
    "  * not built yet",
    "",
    "  consul help COMMAND   explains a command, with examples",
    "  consul -version       says what this program is",
    "",
  );
  return lines.join("\n");
}

/** A command that only holds others: `consul kv`. */
export function groupHelp(group: Entry): string {
  const below = children(group.path);
  const legend = below.every(isBuilt) ? [] : ["", "  * not built yet"];
  return [
    `Usage: consul ${group.path} <subcommand> ${group.path.startsWith("operator") ? "[options]" : "[options] [args]"}`,
    "",
    `  ${group.synopsis}.`,
    "",
    "Subcommands",
    "",
    ...listing(below),
    ...legend,
    "",
    `  consul help ${group.path} SUBCOMMAND   explains one, with examples`,
    "",
  ].join("\n");
}

/** A command of Consul's that is not built: `consul help snapshot save`. */
export function unbuiltHelp(entry: Entry): string {
  return `consul ${entry.path}: ${entry.synopsis}.\n\n  ${notBuilt(entry)}\n`;
}

export function notBuilt(entry: Entry): string {
  return `consul ${entry.path}: not supported yet by Proconsul ${proconsulVersion}`;
}

/** The short form that follows a mistake in the flags. */
export function usageLine(entry: Entry, command: LoadedCommand): string {
  return `Usage: ${command.usage}\n\nRun "consul ${entry.path} -h" for its options and examples.\n`;
}

function listing(below: readonly Entry[]): string[] {
  const name = (entry: Entry): string => entry.path.slice(entry.path.lastIndexOf(" ") + 1);
  const width = Math.max(...below.map((entry) => name(entry).length));
  return below.map((entry) => `  ${isBuilt(entry) ? " " : "*"} ${name(entry).padEnd(width)}   ${entry.synopsis}`);
}
