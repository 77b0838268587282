/** `consul leave`: the agent says goodbye to the cluster and ends. */
import { openApi } from "../api.ts";
import { clientFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";

const flags = { ...clientFlags } as const;

export const command = defineCommand({
  usage: "consul leave [options]",
  description: `
Makes the agent leave the cluster gracefully and shut down. The others see it as "left", not as "failed"; a server is also
removed from Raft. Waits until that is done.`,
  examples: [{ purpose: "Stop the local agent for good", line: "consul leave" }],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  if (call.args.length > 0) throw new CommandError(`Error found unexpected args: [${call.args.join(" ")}]`);
  const api = await openApi(call);
  await orFail("Error leaving", api.put("/v1/agent/leave"));
  say(call.context, "Graceful leave complete");
  return 0;
}
