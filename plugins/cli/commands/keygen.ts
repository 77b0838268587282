/** `consul keygen`: a key for gossip encryption. */
import { toBase64 } from "../../../core/types/bytes.ts";
import { type Call, defineCommand, say } from "../command.ts";

const flags = {} as const;
/** AES-256. */
const keyBytes = 32;

export const command = defineCommand({
  usage: "consul keygen",
  description: "Prints a new random key for the `encrypt` setting: 32 bytes in base64. Every agent of a cluster needs the same.",
  examples: [{ purpose: "Make a key", line: "consul keygen" }],
  flags,
  run,
});

function run({ context }: Call<typeof flags>): Promise<number> {
  say(context, toBase64(context.crypto.randomBytes(keyBytes)));
  return Promise.resolve(0);
}
