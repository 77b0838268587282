/** `consul validate`: reads configuration files as an agent would, without starting one. */
import { emptySources, loadConfig } from "../../../core/config/load.ts";
import { type Call, CommandError, complain, defineCommand, orFail, say } from "../command.ts";

const flags = {
  "config-format": {
    kind: "string",
    initial: "",
    placeholder: "hcl|json",
    help: "Read every file in this format, whatever its name ends in.",
  },
  quiet: { kind: "bool", initial: false, help: "Say nothing when the configuration is valid." },
} as const;

export const command = defineCommand({
  usage: "consul validate [options] FILE_OR_DIRECTORY...",
  description: `
Checks configuration files together, as one agent would read them: their syntax, that every key exists and has a value of
its type, and that the values fit one another. What only shows when an agent starts, such as a port that is taken, is not
checked. Files that only hold services or checks need the others beside them.`,
  examples: [
    { purpose: "Check a directory before a reload", line: "consul validate /etc/consul.d" },
    { purpose: "The same in a script", line: "consul validate -quiet /etc/consul.d && consul reload" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags, args } = call;
  if (args.length === 0) throw new CommandError("Must specify at least one config file or directory");
  const format = flags["config-format"];
  // The quote that does not close is in Consul's own message.
  if (!["", "hcl", "json"].includes(format)) throw new CommandError("-config-format must be either 'hcl' or 'json");
  const { warnings } = await orFail(
    "Config validation failed",
    loadConfig({ ...emptySources, files: args, format, validateOnly: true }, context.host),
  );
  if (flags.quiet) return 0;
  for (const warning of warnings) complain(context, warning);
  say(context, "Configuration is valid!");
  return 0;
}
