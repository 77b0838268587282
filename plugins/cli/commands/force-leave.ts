/** `consul force-leave`: declares a failed member as gone. */
import { openApi } from "../api.ts";
import { clientFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail } from "../command.ts";

const flags = {
  prune: { kind: "bool", initial: false, help: "Also remove it from the list of members at once." },
  ...clientFlags,
} as const;

const usage = "consul force-leave [options] name";

export const command = defineCommand({
  usage,
  description: `
Moves a failed member to the state "left", so that nobody waits for it to come back. A member that is alive refutes it and
stays. In the pool of all datacenters, names are "node.datacenter".`,
  examples: [{ purpose: "Give up a broken machine", line: "consul force-leave worker-07" }],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const [name, ...rest] = call.args;
  if (name === undefined || rest.length > 0)
    throw new CommandError(`A single node name must be specified to force leave.\n\nUsage: ${usage}\n`);
  const api = await openApi(call);
  await orFail("Error force leaving", api.put(`/v1/agent/force-leave/${name}`, call.flags.prune ? { prune: "1" } : {}));
  return 0;
}
