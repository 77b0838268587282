/** `consul reload`: the agent reads its configuration again. */
import { openApi } from "../api.ts";
import { clientFlags } from "../client-flags.ts";
import { type Call, defineCommand, orFail, say } from "../command.ts";

const flags = { ...clientFlags } as const;

export const command = defineCommand({
  usage: "consul reload [options]",
  description: `
Makes the agent read its configuration files again, as the signal SIGHUP does: services, checks, log level and everything
else that may change while it runs. Errors are in the agent's log.`,
  examples: [{ purpose: "Apply a changed service definition", line: "consul reload" }],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const api = await openApi(call);
  await orFail("Error reloading", api.put("/v1/agent/reload"));
  say(call.context, "Configuration reload triggered");
  return 0;
}
