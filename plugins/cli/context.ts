/** What the command line needs of the world, and the one thing it cannot do itself: run an agent. */
import type { Clock } from "../../core/ports/clock.ts";
import type { Crypto } from "../../core/ports/crypto.ts";
import type { Host } from "../../core/ports/host.ts";
import type { HttpClient } from "../../core/ports/http.ts";
import type { ProcessRunner } from "../../core/ports/process-runner.ts";
import type { FlagOccurrence } from "./flags.ts";

export interface CliContext {
  /** Without the program's name. */
  readonly argv: readonly string[];
  readonly host: Host;
  readonly httpClient: HttpClient;
  readonly clock: Clock;
  readonly crypto: Crypto;
  /** For commands that start another program. Without it they are refused. */
  readonly processes?: ProcessRunner;
  /**
   * Loads the configuration, runs an agent until it stops, and resolves with the exit code. Imported on first use, so
   * that no other command pays for it. Rejects with `config-invalid` when the configuration is wrong, before anything started.
   */
  readonly runAgent: (invocation: AgentInvocation) => Promise<number>;
}

/** `consul agent`: the flags, read but not merged with anything yet. */
export interface AgentInvocation {
  /** In the order given: the order of -config-file and -config-dir decides who wins. Each value has the form its flag asks for. */
  readonly flags: readonly FlagOccurrence[];
}
