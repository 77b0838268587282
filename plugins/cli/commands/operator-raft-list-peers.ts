/** `consul operator raft list-peers`: who votes. */
import { openOperatorApi } from "../api.ts";
import { clientAndServerFlags } from "../client-flags.ts";
import { type Call, defineCommand, orFail, say } from "../command.ts";
import { isObject, type Json } from "../json.ts";
import { table } from "../table.ts";

const flags = { ...clientAndServerFlags } as const;

export const command = defineCommand({
  usage: "consul operator raft list-peers [options]",
  description: `
Lists the servers in the Raft configuration, which is what decides about a quorum. With -stale any server answers, so that
it works without a leader.`,
  examples: [
    { purpose: "See who leads", line: "consul operator raft list-peers" },
    { purpose: "Ask while there is no leader", line: "consul operator raft list-peers -stale" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const api = await openOperatorApi(call);
  const answer = await orFail(
    "Error getting peers: Failed to retrieve raft configuration",
    api.getJson("/v1/operator/raft/configuration"),
  );
  const servers = isObject(answer) && Array.isArray(answer["Servers"]) ? answer["Servers"] : [];
  say(call.context, table([["Node", "ID", "Address", "State", "Voter", "RaftProtocol"], ...servers.map(row)]));
  return 0;
}

function row(json: Json): string[] {
  const server = isObject(json) ? json : {};
  const field = (name: string): string => String(server[name] ?? "");
  const state = server["Leader"] === true ? "leader" : "follower";
  return [
    field("Node"),
    field("ID"),
    field("Address"),
    state,
    String(server["Voter"] === true),
    field("ProtocolVersion") || "<=1",
  ];
}
