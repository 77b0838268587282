/** `consul services deregister`: removes services from the local agent, by ID or by the files they were registered with. */
import { goQuote } from "../../../core/config/go-text.ts";
import { openApi } from "../api.ts";
import { allSharedFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { readServiceFiles } from "../service-files.ts";

const flags = {
  id: { kind: "string", initial: "", help: "The service's ID on the agent." },
  ...allSharedFlags,
} as const;

export const command = defineCommand({
  usage: "consul services deregister [options] [FILE...]",
  description: `
Removes services from the agent, and so from the catalog. Either -id names one, or each FILE is one that \`consul services
register\` was given. A service that is not there is no error. One that the agent's configuration defines comes back with
the next reload.`,
  examples: [
    { purpose: "Remove a service", line: "consul services deregister -id=web" },
    { purpose: "Remove what a file describes", line: "consul services deregister web.hcl" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags, args } = call;
  if (args.length === 0 && flags.id === "")
    throw new CommandError("Service deregistration requires at least one argument or -id.");
  if (args.length > 0 && flags.id !== "") throw new CommandError("Service deregistration requires arguments or -id, not both.");
  const services = args.length > 0 ? await readServiceFiles(context, args) : [{ id: flags.id, name: "" }];

  const api = await openApi(call);
  for (const { id, name } of services) {
    const known = id !== "" ? id : name;
    // "registering" is what Consul's own command says here.
    await orFail(`Error registering service ${goQuote(name)}`, api.put(`/v1/agent/service/deregister/${known}`));
    say(context, `Deregistered service: ${known}`);
  }
  return 0;
}
