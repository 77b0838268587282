/** `consul event`: tells every agent of the datacenter something, or those that filters choose. */
import { utf8 } from "../../../core/types/bytes.ts";
import { openApi } from "../api.ts";
import { clientFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { fireEvent } from "../event-api.ts";
import { checkFilters, filterFlags } from "../event-filters.ts";

const flags = {
  name: { kind: "string", initial: "", help: "What happened. Whoever watches events chooses by it." },
  ...filterFlags,
  ...clientFlags,
} as const;

export const command = defineCommand({
  usage: "consul event [options] [payload]",
  description: `
Fires an event, which reaches every agent of the datacenter within seconds: those that are there, and no others later. An
agent keeps the last 256; consul watch -type=event runs a program for each.

The payload may be left out. Name, payload and filters together have to fit into some 400 bytes: point at larger things, say
by a key of the KV store.`,
  examples: [
    { purpose: "Tell everyone of a release", line: "consul event -name=deploy 1.2.3" },
    { purpose: "Tell only agents with a web service in production", line: "consul event -name=deploy -service=^web -tag=^prod$" },
  ],
  flags,
  run,
});

const hint = '\n\nRun "consul event -h" for its options and examples.';

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags, args } = call;
  if (flags.name === "") throw new CommandError(`Event name must be specified${hint}`);
  checkFilters(flags);
  if (args.length > 1) throw new CommandError(`Too many command line arguments.${hint}`);
  const api = await openApi(call);
  await orFail("Error querying Consul agent", api.getJson("/v1/agent/self"));
  const id = await orFail("Error firing event", fireEvent(api, flags.name, utf8(args[0] ?? ""), flags));
  say(context, `Event ID: ${id}`);
  return 0;
}
