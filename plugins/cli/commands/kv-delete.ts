/** `consul kv delete`: one key, or everything below a prefix. */
import { openApi } from "../api.ts";
import { allSharedFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { deletePairs } from "../kv-api.ts";

const flags = {
  cas: { kind: "bool", initial: false, help: "Delete only if the key's index still is -modify-index." },
  "modify-index": {
    kind: "uint",
    initial: 0n,
    help: "The index that -cas compares. `consul kv get -detailed` shows it as ModifyIndex.",
  },
  recurse: {
    kind: "bool",
    initial: false,
    help: "Delete every key that starts with the argument; without an argument, all keys.",
  },
  ...allSharedFlags,
} as const;

export const command = defineCommand({
  usage: "consul kv delete [options] KEY_OR_PREFIX",
  description: `
Deletes a key; that it did not exist is no error. With -recurse the argument is a prefix, not a folder: "foo" also
deletes "foobar", while "foo/" does not.`,
  examples: [
    { purpose: "Delete a key", line: "consul kv delete redis/config/connections" },
    { purpose: "Delete a tree", line: "consul kv delete -recurse redis/" },
    { purpose: "Delete a key unless it changed", line: "consul kv delete -cas -modify-index=844 redis/config/connections" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags, args } = call;
  if (args.length > 1) throw new CommandError(`Too many arguments (expected 1, got ${args.length})`);
  const key = (args[0] ?? "").replace(/^\//, "");
  const index = flags["modify-index"];
  if (key === "" && !flags.recurse) throw new CommandError("Error! Missing KEY argument");
  if (flags.cas && index === 0n) throw new CommandError("Must specify -modify-index with -cas!");
  if (!flags.cas && index !== 0n) throw new CommandError("Cannot specify -modify-index without -cas!");
  if (flags.recurse && flags.cas) throw new CommandError("Cannot specify both -cas and -recurse!");

  const api = await openApi(call);
  if (flags.recurse) {
    await orFail(`Error! Did not delete prefix ${key}`, deletePairs(api, key, { recurse: "" }));
    say(context, `Success! Deleted keys with prefix: ${key}`);
    return 0;
  }
  if (flags.cas) {
    const deleted = await orFail(`Error! Did not delete key ${key}`, deletePairs(api, key, { cas: String(index) }));
    if (!deleted) throw new CommandError(`Error! Did not delete key ${key}: CAS failed`);
  } else await orFail(`Error deleting key ${key}`, deletePairs(api, key, {}));
  say(context, `Success! Deleted key: ${key}`);
  return 0;
}
