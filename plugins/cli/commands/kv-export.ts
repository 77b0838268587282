/** `consul kv export`: a tree as JSON that `kv import` reads back. */
import { toBase64 } from "../../../core/types/bytes.ts";
import { openApi } from "../api.ts";
import { allSharedFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { formatJson } from "../json.ts";
import { readPairs } from "../kv-api.ts";

const flags = { ...allSharedFlags } as const;

export const command = defineCommand({
  usage: "consul kv export [options] [PREFIX]",
  description: `
Prints every pair whose key starts with PREFIX as a JSON array of key, flags and value, the value in base64. Without
PREFIX all of them. Sessions and indexes are not part of it.`,
  examples: [
    { purpose: "Save a tree", line: "consul kv export redis/ > redis.json" },
    { purpose: "Copy everything to another cluster", line: "consul kv export | consul kv import -http-addr=10.0.0.9:8500 -" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, args } = call;
  if (args.length > 1) throw new CommandError(`Too many arguments (expected 1, got ${args.length})`);
  const prefix = (args[0] ?? "").replace(/^\//, "");
  const api = await openApi(call);
  const pairs = await orFail("Error querying Consul agent", readPairs(api, prefix, { recurse: "" }));
  say(
    context,
    formatJson(
      pairs.map((pair) => ({ key: pair.key, flags: pair.flags, value: toBase64(pair.value) })),
      "\t",
    ),
  );
  return 0;
}
