/** `consul join`: the agent meets others. */
import { messageOf } from "../../../core/types/errors.ts";
import { openApi } from "../api.ts";
import { clientFlags } from "../client-flags.ts";
import { type Call, complain, CommandError, defineCommand, say } from "../command.ts";

const flags = {
  wan: { kind: "bool", initial: false, help: "Join the pool of servers of all datacenters. Servers only." },
  ...clientFlags,
} as const;

const usage = "consul join [options] address ...";

export const command = defineCommand({
  usage,
  description:
    "Makes the agent join a cluster through any of its members. One address that answers is enough; the rest is gossip.",
  examples: [{ purpose: "Join through a member", line: "consul join 10.0.0.5" }],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags, args } = call;
  if (args.length === 0) throw new CommandError(`At least one address to join must be specified.\n\nUsage: ${usage}\n`);
  const api = await openApi(call);
  let joined = 0;
  for (const address of args) {
    try {
      await api.put(`/v1/agent/join/${address}`, flags.wan ? { wan: "1" } : {});
      joined++;
    } catch (error) {
      complain(context, `Error joining address '${address}': ${messageOf(error)}`);
    }
  }
  if (joined === 0) throw new CommandError("Failed to join any nodes.");
  say(context, `Successfully joined cluster by contacting ${joined} nodes.`);
  return 0;
}
