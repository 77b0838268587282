/** `consul leave`: the agent says goodbye to the cluster and ends. */
import { openApi } from "../api.ts";
import { clientFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";

const flags = {
  force: {
    kind: "bool",
    initial: false,
    help: "Leave even where the other servers cannot go on without this one. What the datacenter keeps is then lost to them.",
  },
  ...clientFlags,
} as const;

export const command = defineCommand({
  usage: "consul leave [options]",
  description: `
Makes the agent leave the cluster gracefully and shut down. The others see it as "left", not as "failed"; a server is also
removed from Raft. Waits until that is done.

A server does not leave when the other servers could not go on without it: when they would be no quorum, or when it is the
only one. Stop the agent then, without leaving, and it takes its place again when it starts.`,
  examples: [{ purpose: "Stop the local agent for good", line: "consul leave" }],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  if (call.args.length > 0) throw new CommandError(`Error found unexpected args: [${call.args.join(" ")}]`);
  const api = await openApi(call);
  await orFail("Error leaving", api.put("/v1/agent/leave", call.flags.force ? { force: "" } : {}));
  say(call.context, "Graceful leave complete");
  return 0;
}
