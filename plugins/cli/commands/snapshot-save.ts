/** `consul snapshot save`: everything the servers hold, into a file. */
import { archiveBytesMax } from "../../../core/codec/snapshot-archive.ts";
import { openApi } from "../api.ts";
import { clientAndServerFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { fileArgument, readSnapshotFile, verifySnapshot } from "../snapshot-file.ts";

const flags = { ...clientAndServerFlags } as const;
/** Everybody's data are in it. */
const ownerOnly = 0o600;

export const command = defineCommand({
  usage: "consul snapshot save [options] FILE",
  description: `
Writes everything the servers hold at one moment to FILE: keys, nodes, services, checks, sessions. The file is written beside
it first, read back and verified, and only then takes the name: FILE is never half a snapshot.

The leader answers, so that nothing acknowledged is missing; with -stale any server does, even without a leader.`,
  examples: [
    { purpose: "Make a backup", line: "consul snapshot save backup.snap" },
    { purpose: "Save what can be saved when there is no leader", line: "consul snapshot save -stale backup.snap" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context } = call;
  const { host } = context;
  const file = fileArgument(call.args);
  const api = await openApi(call);
  const { body, headers } = await orFail(
    "Error saving snapshot",
    api.request({ method: "GET", path: "/v1/snapshot", responseBytesMax: archiveBytesMax }),
  );
  const unverified = `${file}.unverified`;
  // Left over from an earlier attempt, it would keep its own mode.
  await host.removeFile(unverified).catch(() => {});
  await orFail("Error writing unverified snapshot file", host.writeFile(unverified, body, ownerOnly));
  try {
    await orFail("Error verifying snapshot file", readSnapshotFile(context, unverified).then(verifySnapshot));
    await orFail(`Error renaming ${JSON.stringify(unverified)} to ${JSON.stringify(file)}`, host.renameFile(unverified, file));
  } catch (error) {
    await host.removeFile(unverified).catch(() => {});
    throw error;
  }
  const index = headers["x-consul-index"];
  if (index === undefined) throw new CommandError("Error saving snapshot: the answer names no index");
  say(context, `Saved and verified snapshot to index ${index}`);
  return 0;
}
