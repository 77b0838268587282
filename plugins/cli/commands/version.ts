/** `consul version`: what this program is, and which Consul it stands in for. */
import { consulVersion, proconsulVersion } from "../../../core/version.ts";
import { type Call, CommandError, defineCommand, say } from "../command.ts";
import { formatJson } from "../json.ts";

const flags = {
  format: { kind: "string", initial: "pretty", placeholder: "pretty|json", help: "How to print it." },
} as const;

export const command = defineCommand({
  usage: "consul version [options]",
  description: `
Prints the release of Consul this program is compatible with, in the form that scripts expect, and then its own name and
release.`,
  examples: [
    { purpose: "Ask what this is", line: "consul version" },
    { purpose: "The same for a program", line: "consul version -format=json" },
  ],
  flags,
  run,
});

/** Consul's RPC protocol, which has not changed since long before 1.8. */
const protocol = { Default: 2, Min: 2, Max: 3 };

function run(call: Call<typeof flags>): Promise<number> {
  const { context } = call;
  const { format } = call.flags;
  if (format === "pretty") {
    say(context, `Consul v${consulVersion}`);
    say(context, `Proconsul v${proconsulVersion}`);
    const { Default, Min, Max } = protocol;
    say(
      context,
      `Protocol ${Default} spoken by default, understands ${Min} to ${Max} (agent will automatically use protocol >${Default} when speaking to compatible agents)`,
    );
    say(context, "");
  } else if (format === "json") {
    say(
      context,
      formatJson({ Version: consulVersion, Revision: "", Prerelease: "", RPC: protocol, Proconsul: proconsulVersion }, "   "),
    );
  } else throw new CommandError(`Unknown format: ${format}`);
  return Promise.resolve(0);
}
