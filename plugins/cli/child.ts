/** Programs that a command starts on the terminal's own input and output: how they are named, and how they ended. */
import type { CommandEnd } from "../../core/ports/process-runner.ts";
import { unreachable } from "../../core/types/errors.ts";
import type { CliContext } from "./context.ts";

/** The words as a command, or as one line for a shell ($SHELL, or /bin/sh). */
export function childArgv(
  { host }: CliContext,
  shell: boolean,
  words: readonly [string, ...string[]],
): readonly [string, ...string[]] {
  return shell ? [host.env["SHELL"] || "/bin/sh", "-c", words.join(" ")] : words;
}

/** As Go's os/exec tells it; undefined when all went well. A failed start is another matter. */
export function exitProblem(end: CommandEnd): string | undefined {
  switch (end.kind) {
    case "exited":
      return end.code === 0 ? undefined : `exit status ${end.code}`;
    case "signalled":
      return `signal: ${signalWords[end.signal] ?? end.signal}`;
    case "failed":
      return end.error.message;
    default:
      return unreachable(end);
  }
}

const signalWords: Readonly<Record<string, string>> = {
  SIGHUP: "hangup",
  SIGINT: "interrupt",
  SIGQUIT: "quit",
  SIGABRT: "aborted",
  SIGKILL: "killed",
  SIGSEGV: "segmentation fault",
  SIGPIPE: "broken pipe",
  SIGALRM: "alarm clock",
  SIGTERM: "terminated",
};
