/** `consul catalog datacenters`: their names, nearest first. */
import { openApi } from "../api.ts";
import { clientAndServerFlags } from "../client-flags.ts";
import { type Call, defineCommand, orFail, refuseArguments, say } from "../command.ts";

const flags = { ...clientAndServerFlags } as const;

export const command = defineCommand({
  usage: "consul catalog datacenters [options]",
  description: "Lists the datacenters the servers know, sorted by their distance from here.",
  examples: [{ purpose: "List all datacenters", line: "consul catalog datacenters" }],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  refuseArguments(call.args);
  const api = await openApi(call);
  const answer = await orFail("Error listing datacenters", api.getJson("/v1/catalog/datacenters"));
  for (const name of Array.isArray(answer) ? answer : []) say(call.context, String(name));
  return 0;
}
