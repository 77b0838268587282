import type { Bytes } from "../types/bytes.ts";
import type { Cancel } from "../types/cancel.ts";
import type { Millis } from "../types/ids.ts";

export interface ProcessRunner {
  /** Runs to the end, in a process group of its own; the whole group is killed at the timeout and on cancel. Never rejects. */
  run(command: Command, cancel?: Cancel): Promise<CommandResult>;
  /** Starts a command that lives as long as it likes, in our own process group. Never throws: a failed start is how it ends. */
  start(command: LiveCommand): RunningCommand;
}

/** A command whose output is wanted as it comes. */
export interface LiveCommand {
  readonly argv: readonly [string, ...string[]];
  /** Added to our own environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Ours, or nothing. */
  readonly stdin: "inherit" | "none";
  /** Ours, or called with each piece of both of its outputs, which are not read on before what it gives back has settled. */
  readonly output: "inherit" | ((piece: Bytes) => Promise<void>);
}

export interface RunningCommand {
  /** Undefined: it could not be started. */
  readonly pid: number | undefined;
  /** To the command itself, not to what it started. Harmless when it has ended. */
  signal(signal: "SIGINT" | "SIGTERM" | "SIGKILL"): void;
  /** When it has ended and its output is complete. Never rejects. */
  readonly ended: Promise<CommandEnd>;
}

export type CommandEnd =
  | { readonly kind: "exited"; readonly code: number }
  | { readonly kind: "signalled"; readonly signal: string }
  /** Could not be started, with Go's message. */
  | { readonly kind: "failed"; readonly error: Error };

export interface Command {
  readonly argv: readonly [string, ...string[]];
  /** Added to the agent's own environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly timeout: Millis;
  /** The last this many bytes of stdout and stderr together are kept. */
  readonly outputBytesMax: number;
  readonly stdin?: Bytes;
}

export type CommandResult =
  | { readonly kind: "exited"; readonly code: number; readonly output: Bytes; readonly outputBytesTotal: number }
  /** Ended by a signal it was not sent by us. */
  | { readonly kind: "signalled"; readonly signal: string; readonly output: Bytes; readonly outputBytesTotal: number }
  | { readonly kind: "timeout"; readonly output: Bytes; readonly outputBytesTotal: number }
  /** Could not be started: the error's message is Go's ("exec: \"x\": executable file not found in $PATH"). */
  | { readonly kind: "failed"; readonly error: Error };
