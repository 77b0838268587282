/** `consul snapshot restore`: a snapshot file takes the place of everything the servers hold. */
import { openApi } from "../api.ts";
import { clientAndServerFlags } from "../client-flags.ts";
import { type Call, defineCommand, orFail, say } from "../command.ts";
import { fileArgument, readSnapshotFile } from "../snapshot-file.ts";

const flags = {
  partial: {
    kind: "bool",
    initial: false,
    help: "Of a snapshot of the original Consul, restore what is kept here and leave the rest behind: ACLs, intentions, prepared queries, config entries. Without it such a snapshot is refused. For a server of the datacenter itself.",
  },
  ...clientAndServerFlags,
} as const;

export const command = defineCommand({
  usage: "consul snapshot restore [options] FILE",
  description: `
Replaces all keys, nodes, services, checks and sessions of the servers by those in FILE, on every server and for good. What
was there is lost: save it first. The file is verified as a whole before anything is changed.

Agents bring what they registered back by themselves. Blocking queries return, and what is written from then on gets indexes
above all in the snapshot.

FILE may come from the original Consul, version 1.8: keys, nodes, services, checks, sessions and locks are taken over.`,
  examples: [{ purpose: "Go back to a backup", line: "consul snapshot restore backup.snap" }],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context } = call;
  const file = fileArgument(call.args);
  const api = await openApi(call);
  const body = await readSnapshotFile(context, file);
  await orFail("Error restoring snapshot", api.put("/v1/snapshot", call.flags.partial ? { partial: "" } : {}, body));
  say(context, "Restored snapshot");
  return 0;
}
