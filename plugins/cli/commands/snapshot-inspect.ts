/** `consul snapshot inspect`: what a snapshot file says of itself, once it has been verified. */
import { type Call, defineCommand, orFail, say } from "../command.ts";
import { fileArgument, readSnapshotFile, verifySnapshot } from "../snapshot-file.ts";

const flags = {} as const;
const nameWidth = 13;

export const command = defineCommand({
  usage: "consul snapshot inspect [options] FILE",
  description: `
Verifies a snapshot file and shows what it is of: the index of the state, the term of the leader that gave it. Needs no
agent. Snapshots of the original Consul can be inspected as well.`,
  examples: [{ purpose: "Look at a backup", line: "consul snapshot inspect backup.snap" }],
  flags,
  run,
});

async function run({ context, args }: Call<typeof flags>): Promise<number> {
  const file = fileArgument(args);
  const content = await readSnapshotFile(context, file);
  const meta = await orFail("Error verifying snapshot", verifySnapshot(content));
  const rows: readonly (readonly [string, string | number])[] = [
    ["ID", meta.id],
    ["Size", meta.size],
    ["Index", meta.index],
    ["Term", meta.term],
    ["Version", meta.version],
  ];
  for (const [name, value] of rows) say(context, `${name.padEnd(nameWidth)}${value}`);
  say(context, "");
  return 0;
}
