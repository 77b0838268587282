/**
 * The program `consul`: from words to a command, and from a command to an exit code.
 *
 *   argv ─► find the command (longest path that the words spell) ─► help? ─► load its file ─► read its flags ─► run
 *
 * Standard output carries results, standard error everything else. Exit codes, as Consul's:
 *
 *     0    done, or help that was asked for
 *     1    any failure; also a group without a subcommand (`consul kv`)
 *     2    `members` matched nobody; a child that failed under `lock -child-exit-code`
 *     127  no such command, or none given
 *
 * Nothing here or in the command table imports the agent, the HTTP server or a library: a command pays for its own file.
 */
import { messageOf } from "../../core/types/errors.ts";
import { type Call, CommandError, complain, type LoadedCommand } from "./command.ts";
import { children, type Entry, entries } from "./command-table.ts";
import { commandHelp } from "./command-help.ts";
import type { CliContext } from "./context.ts";
import { type Flags, parseFlags } from "./flags.ts";
import { groupHelp, notBuilt, rootHelp, unbuiltHelp, usageLine } from "./help.ts";
import { nearest } from "./nearest.ts";

/** Resolves with the exit code; everything to be said has been said. */
export async function runCommandLine(context: CliContext): Promise<number> {
  const words = readWords(context.argv);
  if (words.autocomplete !== undefined) {
    complain(context, `consul: ${words.autocomplete}: shell completion is not supported yet by Proconsul`);
    return 1;
  }
  if (words.version) return runEntry(context, entries.get("version") as Entry, []);
  const [first] = words.rest;
  if (first === undefined) {
    if (words.help) context.host.stdout(rootHelp());
    else context.host.stderr(rootHelp());
    return words.help ? 0 : 127;
  }
  const { entry, args } = findEntry(words.rest);
  if (entry === undefined) {
    unknown(context, "", first);
    context.host.stderr(`\n${rootHelp()}`);
    return 127;
  }
  if (words.help) return showHelp(context, entry);
  if (words.strayFlags) {
    complain(
      context,
      "Invalid flags before the subcommand. If these flags are for\nthe subcommand, please put them after the subcommand.\n",
    );
    complain(context, `Run "consul ${entry.path} -h" for its options and examples.`);
    return 1;
  }
  return runEntry(context, entry, args);
}

interface Words {
  /** From the command's first word on. */
  readonly rest: readonly string[];
  /** -h or -help anywhere before "--": asking for help beats every mistake around it. */
  readonly help: boolean;
  readonly version: boolean;
  /** A flag in front of the command. */
  readonly strayFlags: boolean;
  readonly autocomplete: string | undefined;
}

function readWords(argv: readonly string[]): Words {
  let start = -1;
  let help = false;
  let version = false;
  let strayFlags = false;
  let autocomplete: string | undefined;
  for (const [at, word] of argv.entries()) {
    if (word === "--") break;
    if (["-h", "-help", "--help"].includes(word)) help = true;
    else if (/^--?autocomplete-(un)?install$/.test(word)) autocomplete = word;
    else if (start >= 0 || word === "") continue;
    else if (["-v", "-version", "--version"].includes(word)) version = true;
    else if (word.startsWith("-")) strayFlags = true;
    else start = at;
  }
  return { rest: start < 0 ? [] : argv.slice(start), help, version, strayFlags, autocomplete };
}

/** The entry with the longest path that `words` begin with. */
function findEntry(words: readonly string[]): { readonly entry: Entry | undefined; readonly args: readonly string[] } {
  let entry: Entry | undefined;
  let length = 0;
  for (let taken = 1; taken <= words.length; taken++) {
    const found = entries.get(words.slice(0, taken).join(" "));
    if (found === undefined) break;
    entry = found;
    length = taken;
  }
  return { entry, args: words.slice(length) };
}

/** `consul help kv put`. Unlike `-h` it must have been spelt right. */
async function explain(context: CliContext, words: readonly string[]): Promise<number> {
  const names = words.filter((word) => !word.startsWith("-"));
  if (names.length === 0) {
    context.host.stdout(rootHelp());
    return 0;
  }
  const { entry, args } = findEntry(names);
  if (entry !== undefined && args.length === 0) return showHelp(context, entry);
  unknown(context, entry?.path ?? "", args[0] as string);
  return entry === undefined ? 127 : 1;
}

async function showHelp(context: CliContext, entry: Entry): Promise<number> {
  context.host.stdout(await helpOf(entry));
  return 0;
}

async function helpOf(entry: Entry): Promise<string> {
  switch (entry.does) {
    case "help":
      return rootHelp();
    case "group":
      return groupHelp(entry);
    case "not-built":
      return unbuiltHelp(entry);
    default:
      return commandHelp(await entry.does());
  }
}

async function runEntry(context: CliContext, entry: Entry, args: readonly string[]): Promise<number> {
  switch (entry.does) {
    case "help":
      return explain(context, args);
    case "group":
      if (args[0] !== undefined && !args[0].startsWith("-")) unknown(context, entry.path, args[0]);
      context.host.stderr(groupHelp(entry));
      return 1;
    case "not-built":
      complain(context, `${notBuilt(entry)}. "consul help" lists what is.`);
      return 1;
    default:
      return runCommand(context, entry, await entry.does(), args);
  }
}

async function runCommand(context: CliContext, entry: Entry, command: LoadedCommand, args: readonly string[]): Promise<number> {
  const parsed = parseFlags(command.flags, args);
  if (parsed.kind !== "parsed") {
    if (parsed.kind === "invalid") {
      complain(context, parsed.message);
      suggestFlag(context, command.flags, parsed.message);
    }
    context.host.stderr(usageLine(entry, command));
    return 1;
  }
  const { values, given, occurrences, positional } = parsed;
  const call: Call<Flags> = { context, flags: values, given, occurrences, args: positional };
  try {
    return await command.run(call);
  } catch (error) {
    complain(context, messageOf(error));
    return error instanceof CommandError ? error.exitCode : 1;
  }
}

function unknown(context: CliContext, path: string, word: string): void {
  const prefix = path === "" ? "" : `${path} `;
  const like = nearest(
    word,
    children(path).map((entry) => entry.path.slice(prefix.length)),
  );
  const known = path === "" ? "consul: no command" : `consul ${path}: no subcommand`;
  complain(context, `${known} "${word}"${like === undefined ? "" : `. Did you mean "consul ${prefix}${like}"?`}`);
}

function suggestFlag(context: CliContext, flags: Flags, message: string): void {
  const name = /^flag provided but not defined: -(.*)$/.exec(message)?.[1];
  const like = name === undefined ? undefined : nearest(name, Object.keys(flags));
  if (like !== undefined) complain(context, `Did you mean -${like}?`);
}
