/** `consul operator autopilot get-config`: how the leader looks after the servers. */
import { openOperatorApi } from "../api.ts";
import { autopilotConfiguration, describeAutopilot } from "../autopilot-api.ts";
import { clientAndServerFlags } from "../client-flags.ts";
import { type Call, defineCommand, say } from "../command.ts";

const flags = { ...clientAndServerFlags } as const;

export const command = defineCommand({
  usage: "consul operator autopilot get-config [options]",
  description: `
Shows by what the leader judges the health of servers, when a new one gets its vote, and whether it takes dead ones out.`,
  examples: [{ purpose: "See the settings", line: "consul operator autopilot get-config" }],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  say(call.context, describeAutopilot(await autopilotConfiguration(await openOperatorApi(call))));
  return 0;
}
