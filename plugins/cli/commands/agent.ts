/** `consul agent`: reads the flags and hands them to whoever runs agents on this runtime. */
import { AGENT_FLAGS, type AgentFlag } from "../../../core/config/flags.ts";
import { AgentError, unreachable } from "../../../core/types/errors.ts";
import { type Call, CommandError, defineCommand } from "../command.ts";
import type { Flag, Flags } from "../flags.ts";

const flags: Flags = Object.fromEntries(AGENT_FLAGS.map((flag) => [flag.name, lexed(flag)]));

export const command = defineCommand({
  usage: "consul agent [options]",
  description: `
Runs an agent until it is interrupted. Every node of a cluster runs one. A few of them are servers, which hold the state
and elect a leader: three or five in production. The others are clients, which pass requests on and run health checks.

Configuration comes from files (HCL or JSON) and from options, and options win. Lists are added up. SIGHUP or \`consul
reload\` reads the files again.

Exits with 0 after a graceful leave and with 1 otherwise.`,
  examples: [
    { purpose: "Try it: one server, everything in memory", line: "consul agent -dev" },
    {
      purpose: "Run a server of a cluster of three",
      line: "consul agent -server -bootstrap-expect=3 -data-dir=/var/lib/consul -retry-join=10.0.0.5",
    },
    { purpose: "Run a client with its configuration in files", line: "consul agent -config-dir=/etc/consul.d" },
  ],
  flags,
  run,
});

async function run({ context, occurrences, args }: Call<Flags>): Promise<number> {
  if (args.length > 0) throw new CommandError(`==> Unexpected extra arguments: [${args.join(" ")}]`);
  try {
    return await context.runAgent({ flags: occurrences });
  } catch (error) {
    // Anything else is a failure of the program itself, and is reported as such.
    if (error instanceof AgentError && error.code === "config-invalid") throw new CommandError(`==> ${error.message}`);
    throw error;
  }
}

/** Durations and metadata are only checked with the rest of the configuration, where the error can name the key. */
function lexed({ kind, help }: AgentFlag): Flag {
  switch (kind) {
    case "bool":
      return { kind, initial: false, help, errorStyle: "strconv" };
    case "int":
      return { kind, initial: 0, help, errorStyle: "strconv" };
    case "string":
      return { kind, initial: "", help };
    case "duration":
      return { kind: "string", initial: "", placeholder: "duration, as 30s or 1h30m", help };
    case "list":
      return { kind, help };
    case "map":
      return { kind: "list", placeholder: "key:value", help };
    default:
      return unreachable(kind);
  }
}
