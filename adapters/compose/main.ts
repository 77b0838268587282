/**
 * The program `consul`, on whichever runtime. Everything heavy is imported when it is needed: most commands only ask an
 * agent something.
 */
import { runCommandLine } from "../../plugins/cli/command-line.ts";
import type { FullRuntime } from "../node-api/runtime.ts";

/** Runs the command that the runtime's host was started with, to its end. */
export async function runConsul(runtime: FullRuntime): Promise<void> {
  const code = await runCommandLine({
    argv: runtime.host.argv,
    host: runtime.host,
    httpClient: runtime.httpClient,
    clock: runtime.clock,
    crypto: runtime.crypto,
    processes: runtime.processes,
    runAgent: async ({ flags }) => {
      const [{ runAgent }, { httpPlugin }, { dnsPlugin }, { watchesPlugin }] = await Promise.all([
        import("../compose/run-agent.ts"),
        import("../../plugins/http/plugin.ts"),
        import("../../plugins/dns/plugin.ts"),
        import("../../plugins/watches/plugin.ts"),
      ]);
      return runAgent({ runtime, flags, plugins: [dnsPlugin, httpPlugin, watchesPlugin] });
    },
  });
  runtime.host.exit(code);
}
