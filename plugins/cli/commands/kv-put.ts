/** `consul kv put`: writes one key, plainly, checked against its index, or together with its lock. */
import { fromBase64, text, utf8 } from "../../../core/types/bytes.ts";
import { openApi } from "../api.ts";
import { allSharedFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { readDataArgument } from "../data-argument.ts";
import { writePair } from "../kv-api.ts";

const flags = {
  acquire: { kind: "bool", initial: false, help: "Take the key's lock for -session, creating the key when it is missing." },
  base64: { kind: "bool", initial: false, help: "DATA is base64; store what it decodes to." },
  cas: { kind: "bool", initial: false, help: "Write only if the key's index still is -modify-index." },
  flags: { kind: "uint", initial: 0n, help: "A 64-bit number stored with the value, for the application's own use." },
  "modify-index": {
    kind: "uint",
    initial: 0n,
    help: "The index that -cas compares. `consul kv get -detailed` shows it as ModifyIndex.",
  },
  release: { kind: "bool", initial: false, help: "Give up the key's lock, held by -session." },
  session: { kind: "string", initial: "", placeholder: "id", help: "The session that -acquire and -release are about." },
  ...allSharedFlags,
} as const;

export const command = defineCommand({
  usage: "consul kv put [options] KEY [DATA]",
  description: `
Stores DATA at KEY, replacing what is there. Without DATA the value is empty.

DATA is taken as it is, except that @path stands for a file's content and - for standard input.`,
  examples: [
    { purpose: "Store a value", line: "consul kv put redis/config/connections 5" },
    { purpose: "Store a file", line: "consul kv put redis/config/password @password.txt" },
    { purpose: "Store what a command prints", line: "date | consul kv put redis/config/updated -" },
    {
      purpose: "Change a value unless someone else did first",
      line: "consul kv put -cas -modify-index=844 redis/config/connections 6",
    },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags, args } = call;
  const [key, argument] = args;
  if (key === undefined) throw new CommandError("Error! Missing KEY argument");
  if (args.length > 2) throw new CommandError(`Error! Too many arguments (expected 1 or 2, got ${args.length})`);
  let data = argument === undefined ? utf8("") : await readDataArgument(context, argument);
  if (flags.base64) {
    const decoded = fromBase64(text(data));
    // Consul 1.8 says this and then stores the part that could be decoded. Storing nothing is the only safe reading.
    if (!("bytes" in decoded))
      throw new CommandError(`Error! Cannot base 64 decode data: illegal base64 data at input byte ${decoded.badAt}`);
    data = decoded.bytes;
  }
  if ((flags.acquire || flags.release) && flags.session === "")
    throw new CommandError("Error! Missing -session (required with -acquire and -release)");
  if (flags.cas && flags["modify-index"] === 0n) throw new CommandError("Must specify -modify-index with -cas!");

  const api = await openApi(call);
  const query = flags.flags === 0n ? {} : { flags: String(flags.flags) };
  if (flags.cas) {
    const written = await orFail(
      `Error! Did not write to ${key}`,
      writePair(api, key, data, { ...query, cas: String(flags["modify-index"]) }),
    );
    if (!written) throw new CommandError(`Error! Did not write to ${key}: CAS failed`);
    say(context, `Success! Data written to: ${key}`);
    return 0;
  }
  const lock = flags.acquire ? { acquire: flags.session } : flags.release ? { release: flags.session } : {};
  const done = await orFail("Error! Failed writing data", writePair(api, key, data, { ...query, ...lock }));
  if (flags.acquire) {
    if (!done) throw new CommandError("Error! Did not acquire lock");
    say(context, `Success! Lock acquired on: ${key}`);
  } else if (flags.release) {
    if (!done) throw new CommandError("Error! Did not release lock");
    say(context, `Success! Lock released on: ${key}`);
  } else say(context, `Success! Data written to: ${key}`);
  return 0;
}
