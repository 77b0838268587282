/** `consul info`: the agent's own counters, for looking into a problem. */
import { openApi } from "../api.ts";
import { clientFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { isObject } from "../json.ts";

const flags = { ...clientFlags } as const;

export const command = defineCommand({
  usage: "consul info [options]",
  description: "Prints what the agent counts about itself: build, Raft, the gossip pools and the runtime, each in a group.",
  examples: [{ purpose: "See the state of the agent", line: "consul info" }],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const api = await openApi(call);
  const answer = await orFail("Error querying agent", api.getJson("/v1/agent/self"));
  const stats = isObject(answer) ? answer["Stats"] : undefined;
  if (!isObject(stats)) throw new CommandError("Agent response did not contain 'Stats' key");
  for (const group of Object.keys(stats).sort()) {
    const values = stats[group];
    if (!isObject(values)) continue;
    say(call.context, `${group}:`);
    for (const key of Object.keys(values).sort()) say(call.context, `\t${key} = ${values[key]}`);
  }
  return 0;
}
