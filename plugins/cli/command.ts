/**
 * A command: its flags, its help and what it does. Each lives in a file below commands/ and is loaded when it is called.
 */
import { messageOf } from "../../core/types/errors.ts";
import type { CliContext } from "./context.ts";
import type { FlagOccurrence, FlagValues, Flags } from "./flags.ts";

export interface Command<Definitions extends Flags> {
  /** After "Usage: ": "consul kv put [options] KEY [DATA]". */
  readonly usage: string;
  /** Paragraphs, separated by an empty line; wrapped when shown. */
  readonly description: string;
  readonly examples: readonly Example[];
  readonly flags: Definitions;
  /** Resolves with the exit code. Rejects with {@link CommandError} for a failure whose text is to be printed. */
  readonly run: (call: Call<Definitions>) => Promise<number>;
}

export interface Example {
  /** What the reader wants, as an infinitive: "Store a value". */
  readonly purpose: string;
  /** The command line, without the "$". */
  readonly line: string;
}

export interface Call<Definitions extends Flags> {
  readonly context: CliContext;
  readonly flags: FlagValues<Definitions>;
  /** Names of the flags that stood on the command line. */
  readonly given: ReadonlySet<string>;
  readonly occurrences: readonly FlagOccurrence[];
  readonly args: readonly string[];
}

/** A command as the table holds it, once the types of its flags have done their work. */
export interface LoadedCommand {
  readonly usage: string;
  readonly description: string;
  readonly examples: readonly Example[];
  readonly flags: Flags;
  readonly run: (call: Call<Flags>) => Promise<number>;
}

export function defineCommand<const Definitions extends Flags>(command: Command<Definitions>): LoadedCommand {
  // The dispatcher parses with this very `flags` object, so the values have the types `run` asks for.
  return command as unknown as LoadedCommand;
}

/** The command could not do what was asked. `message` goes to standard error as it is. */
export class CommandError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = "CommandError";
    this.exitCode = exitCode;
  }
}

/** For a failed request: "WHAT: reason" on standard error, exit code 1. */
export async function orFail<Result>(what: string, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof CommandError ? error : new CommandError(`${what}: ${messageOf(error)}`);
  }
}

/** For commands without positional arguments. */
export function refuseArguments(args: readonly string[]): void {
  if (args.length > 0) throw new CommandError(`Too many arguments (expected 0, got ${args.length})`);
}

/** One line on standard output. */
export function say(context: CliContext, line: string): void {
  context.host.stdout(`${line}\n`);
}

/** One line on standard error. */
export function complain(context: CliContext, line: string): void {
  context.host.stderr(`${line}\n`);
}
