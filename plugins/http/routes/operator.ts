/** /v1/operator/raft/configuration: who is in the Raft group. */
import type { Member } from "../../../core/plugin/agent-api.ts";
import { formatAddress } from "../../../core/ports/net.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { jsonArray, jsonString } from "../json-write.ts";
import { isPretty, readDatacenter } from "../query.ts";
import { jsonReply, noPathToDatacenter } from "../reply.ts";

export function operatorRoutes(context: ApiContext): readonly Route[] {
  return [
    { path: "/v1/operator/raft/configuration", methods: ["GET"], handle: (request) => raftConfiguration(context, request) },
  ];
}

/** The peers' addresses, with names and IDs from the gossip pool; a peer that gossip does not know is "(unknown)". */
function raftConfiguration(context: ApiContext, request: HttpRequest): HttpReply {
  const { agent } = context;
  if (readDatacenter(request, agent) !== undefined) throw noPathToDatacenter();
  const leader = agent.cluster.leader();
  const members = new Map(agent.cluster.members("lan").flatMap((member) => addressOf(member)));
  const servers = jsonArray(agent.cluster.peers(), (address) => {
    const member = members.get(address);
    return (
      `{"ID":${jsonString(member?.tags["id"] ?? "")},"Node":${jsonString(member?.name ?? "(unknown)")},"Address":${jsonString(address)},` +
      `"Leader":${address === leader},"ProtocolVersion":${jsonString(member?.tags["raft_vsn"] ?? "3")},"Voter":true}`
    );
  });
  return jsonReply(`{"Servers":${servers},"Index":0}`, isPretty(request, agent));
}

/** A server's RPC address, from its tags. */
function addressOf(member: Member): readonly (readonly [string, Member])[] {
  if (member.tags["role"] !== "consul") return [];
  return [[formatAddress({ host: member.address, port: Number(member.tags["port"]) }), member]];
}
