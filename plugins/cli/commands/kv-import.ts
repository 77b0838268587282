/** `consul kv import`: what `kv export` printed, back into the store. */
import { type Bytes, fromBase64, text } from "../../../core/types/bytes.ts";
import { messageOf } from "../../../core/types/errors.ts";
import { openApi } from "../api.ts";
import { allSharedFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { readDataArgument } from "../data-argument.ts";
import { goKind, isObject, type Json, parseJson } from "../json.ts";
import { writePair } from "../kv-api.ts";

const flags = { ...allSharedFlags } as const;

export const command = defineCommand({
  usage: "consul kv import [options] DATA",
  description: `
Writes the pairs of a JSON array as \`consul kv export\` prints it. Keys that exist are replaced, others are left alone. The
pairs are written one after another: after a failure, those before it are in place.

DATA is the JSON itself, @path for a file's content, or - for standard input.`,
  examples: [
    { purpose: "Restore a tree", line: "consul kv import @redis.json" },
    { purpose: "Read from another command", line: "cat redis.json | consul kv import -" },
  ],
  flags,
  run,
});

interface Entry {
  readonly key: string;
  readonly flags: bigint;
  readonly value: string;
}

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, args } = call;
  const argument = args[0];
  if (argument === undefined) throw new CommandError("Error! Missing DATA argument");
  if (args.length > 1) throw new CommandError(`Error! Too many arguments (expected 1, got ${args.length})`);
  if (argument === "") throw new CommandError("Error! Empty DATA argument");
  const entries = readEntries(await readDataArgument(context, argument));

  const api = await openApi(call);
  for (const entry of entries) {
    const decoded = fromBase64(entry.value);
    if (!("bytes" in decoded))
      throw new CommandError(
        `Error base 64 decoding value for key ${entry.key}: illegal base64 data at input byte ${decoded.badAt}`,
      );
    const query = entry.flags === 0n ? {} : { flags: String(entry.flags) };
    await orFail(`Error! Failed writing data for key ${entry.key}`, writePair(api, entry.key, decoded.bytes, query));
    say(context, `Imported: ${entry.key}`);
  }
  return 0;
}

function readEntries(data: Bytes): readonly Entry[] {
  const refuse = (reason: string): never => {
    throw new CommandError(`Cannot unmarshal data: ${reason}`);
  };
  let json: Json = null;
  try {
    json = parseJson(text(data));
  } catch (error) {
    refuse(messageOf(error));
  }
  if (json === null) return [];
  if (!Array.isArray(json)) return refuse(`json: cannot unmarshal ${goKind(json)} into Go value of type []*impexp.Entry`);
  return json.map((item: Json): Entry => {
    if (!isObject(item)) return refuse(`json: cannot unmarshal ${goKind(item)} into Go value of type impexp.Entry`);
    // Names in any case, as Go matches them; the last one wins.
    const fields: Record<string, Json> = {};
    for (const [name, value] of Object.entries(item)) if (value !== null) fields[name.toLowerCase()] = value;
    const { key = "", flags = 0, value = "" } = fields;
    if (typeof key !== "string")
      return refuse(`json: cannot unmarshal ${goKind(key)} into Go struct field Entry.key of type string`);
    if (typeof value !== "string")
      return refuse(`json: cannot unmarshal ${goKind(value)} into Go struct field Entry.value of type string`);
    const number =
      typeof flags === "bigint" || (typeof flags === "number" && Number.isInteger(flags)) ? BigInt(flags) : undefined;
    if (number === undefined || number < 0n || number >= 1n << 64n) {
      return refuse(
        `json: cannot unmarshal ${typeof flags === "number" || number !== undefined ? `number ${flags}` : goKind(flags)} into Go struct field Entry.flags of type uint64`,
      );
    }
    return { key, flags: number, value };
  });
}
