/** `consul operator raft remove-peer`: removes a server that will not come back from the Raft configuration. */
import { openOperatorApi } from "../api.ts";
import { clientAndServerFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";

const flags = {
  address: { kind: "string", initial: "", placeholder: "ip:port", help: "The server's RPC address." },
  id: { kind: "string", initial: "", help: "The server's ID." },
  ...clientAndServerFlags,
} as const;

export const command = defineCommand({
  usage: "consul operator raft remove-peer [options]",
  description: `
Removes a server from the Raft configuration. A server that fails is removed by itself, and one that leaves takes itself
out; this is for what went wrong with both. Exactly one of -id and -address is needed.`,
  examples: [{ purpose: "Remove a server that is gone", line: "consul operator raft remove-peer -address=10.0.0.7:8300" }],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { address, id } = call.flags;
  const api = await openOperatorApi(call);
  if (address === "" && id === "")
    throw new CommandError("Error removing peer: an address or id is required for the peer to remove");
  if (address !== "" && id !== "") throw new CommandError("Error removing peer: cannot give both an address and id");
  await orFail("Error removing peer", api.delete("/v1/operator/raft/peer", address !== "" ? { address } : { id }));
  say(call.context, address !== "" ? `Removed peer with address "${address}"` : `Removed peer with id "${id}"`);
  return 0;
}
