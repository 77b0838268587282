import type { Bytes } from "../types/bytes.ts";
import type { Cancel } from "../types/cancel.ts";
import type { Millis } from "../types/ids.ts";

export interface ProcessRunner {
  /** Runs to the end, in a process group of its own; the whole group is killed at the timeout and on cancel. Never rejects. */
  run(command: Command, cancel?: Cancel): Promise<CommandResult>;
}

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
