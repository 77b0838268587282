/** `consul kv get`: one value, a tree, or the names below a prefix. */
import { type Bytes, concat, toBase64, utf8 } from "../../../core/types/bytes.ts";
import { openApi } from "../api.ts";
import { allSharedFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { type KvPair, readKeys, readPairs } from "../kv-api.ts";
import { record } from "../table.ts";

const flags = {
  base64: { kind: "bool", initial: false, help: "Print values in base64." },
  detailed: { kind: "bool", initial: false, help: "Print everything known of each pair: indexes, flags, session." },
  keys: { kind: "bool", initial: false, help: "Print the names below the prefix, not the values." },
  recurse: { kind: "bool", initial: false, help: "Print every pair whose key starts with the argument." },
  separator: {
    kind: "string",
    initial: "/",
    help: 'With -keys: cut names after the first of these beyond the prefix. "" lists all of them.',
  },
  ...allSharedFlags,
} as const;

export const command = defineCommand({
  usage: "consul kv get [options] [KEY_OR_PREFIX]",
  description: `
Prints the value stored at a key, followed by a newline. A key that does not exist is an error.

With -recurse the argument is a prefix and may be left out. -keys lists names like a directory: those with a separator
beyond the prefix are shown once, cut after it.`,
  examples: [
    { purpose: "Read a value", line: "consul kv get redis/config/connections" },
    { purpose: "See its indexes and who holds its lock", line: "consul kv get -detailed redis/config/connections" },
    { purpose: "List a tree", line: "consul kv get -recurse redis" },
    { purpose: "List names, one level", line: "consul kv get -keys redis/" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags, args } = call;
  if (args.length > 1) throw new CommandError(`Too many arguments (expected 1, got ${args.length})`);
  // No key starts with a slash, but people write one.
  const key = (args[0] ?? "").replace(/^\//, "");
  if (key === "" && !flags.recurse && !flags.keys) throw new CommandError("Error! Missing KEY argument");
  const api = await openApi(call);

  if (flags.keys) {
    for (const name of await orFail("Error querying Consul agent", readKeys(api, key, flags.separator))) say(context, name);
    return 0;
  }
  const pairs = await orFail("Error querying Consul agent", readPairs(api, key, flags.recurse ? { recurse: "" } : {}));
  const shown = (value: Bytes): Bytes => (flags.base64 ? utf8(toBase64(value)) : value);
  if (flags.recurse) {
    pairs.forEach((pair, at) => {
      // Values are bytes, not text, and reach the terminal or the pipe unchanged.
      if (flags.detailed)
        context.host.stdout(concat([details(pair, shown(pair.value)), utf8(at < pairs.length - 1 ? "\n\n" : "\n")]));
      else context.host.stdout(concat([utf8(`${pair.key}:`), shown(pair.value), utf8("\n")]));
    });
    return 0;
  }
  const pair = pairs[0];
  if (pair === undefined) throw new CommandError(`Error! No key exists at: ${key}`);
  context.host.stdout(concat([flags.detailed ? details(pair, shown(pair.value)) : shown(pair.value), utf8("\n")]));
  return 0;
}

/** The value's bytes stand as they are; without any, the label's line ends at once. */
function details(pair: KvPair, value: Bytes): Bytes {
  const lines = record([
    ["CreateIndex", String(pair.createIndex)],
    ["Flags", String(pair.flags)],
    ["Key", pair.key],
    ["LockIndex", String(pair.lockIndex)],
    ["ModifyIndex", String(pair.modifyIndex)],
    ["Session", pair.session === "" ? "-" : pair.session],
    ["Value", ""],
  ]);
  return value.length === 0 ? utf8(lines.trimEnd()) : concat([utf8(lines), value]);
}
