/** /v1/operator/raft/: who is in the Raft group, and taking a server out of it. */
import type { Member, RaftPeer, ReadOptions } from "../../../core/plugin/agent-api.ts";
import { formatAddress } from "../../../core/ports/net.ts";
import { AgentError, noPathToDatacenter } from "../../../core/types/errors.ts";
import { goQuote } from "../../../core/config/go-text.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { jsonArray, jsonString } from "../json-write.ts";
import { isPretty, readParameters } from "../query.ts";
import { emptyReply, jsonReply, Refusal } from "../reply.ts";

export function operatorRoutes(context: ApiContext): readonly Route[] {
  return [
    { path: "/v1/operator/raft/configuration", methods: ["GET"], handle: (request) => raftConfiguration(context, request) },
    { path: "/v1/operator/raft/peer", methods: ["DELETE"], handle: (request) => removePeer(context, request) },
  ];
}

/** The peers; one that gossip does not know is called "(unknown)". */
async function raftConfiguration(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const { agent } = context;
  const { options } = readParameters(request, agent);
  const versions = new Map(agent.cluster.members("lan").map(({ tags }) => [tags["id"], tags["raft_vsn"]]));
  const servers = jsonArray(
    await peersOf(context, options),
    ({ id, node, address, leader, voter }) =>
      `{"ID":${jsonString(id)},"Node":${jsonString(node)},"Address":${jsonString(address)},"Leader":${leader},` +
      `"ProtocolVersion":${jsonString(versions.get(id) ?? "3")},"Voter":${voter}}`,
  );
  return jsonReply(`{"Servers":${servers},"Index":0}`, isPretty(request, agent));
}

const passedOn = "rpc error making call: ";

async function removePeer({ agent }: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const { query } = request;
  const byId = query.has("id");
  const byAddress = query.has("address");
  if (!byId && !byAddress)
    throw new Refusal(
      400,
      "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
    );
  if (byId && byAddress) throw new Refusal(400, "Bad request: Must specify only one of ?id or ?address");
  const { datacenter } = readParameters(request, agent).options;
  const where = datacenter === undefined ? {} : { datacenter };
  const peer = (await peersOf({ agent }, { consistency: "default", ...where })).find((server) =>
    byId ? server.id === query.get("id") : server.address === query.get("address"),
  );
  if (peer === undefined || agent.cluster.removeRaftServer === undefined) {
    const asked = byId ? `id ${goQuote(query.get("id"))}` : `address ${goQuote(query.get("address"))}`;
    // Once for each server that would have passed the refusal on.
    const prefix = passedOn.repeat((agent.config.server ? 0 : 1) + (datacenter === undefined ? 0 : 1));
    throw new AgentError("rejected", { message: `${prefix}${asked} was not found in the Raft configuration` });
  }
  await agent.cluster.removeRaftServer(peer.id, datacenter);
  return emptyReply();
}

/** As the cluster says, or from the members where it does not speak of its group. */
async function peersOf(
  { agent }: Pick<ApiContext, "agent">,
  options: Pick<ReadOptions, "consistency" | "datacenter">,
): Promise<readonly RaftPeer[]> {
  const { cluster } = agent;
  if (cluster.raftServers !== undefined) return cluster.raftServers(options);
  if (options.datacenter !== undefined) throw noPathToDatacenter();
  const members = new Map(cluster.members("lan").flatMap((member) => addressOf(member)));
  return cluster.peers().map((address) => ({
    id: members.get(address)?.tags["id"] ?? "",
    node: members.get(address)?.name ?? "(unknown)",
    address,
    voter: true,
    leader: address === cluster.leader(),
  }));
}

/** A server's RPC address, from its tags. */
function addressOf(member: Member): readonly (readonly [string, Member])[] {
  if (member.tags["role"] !== "consul") return [];
  return [[formatAddress({ host: member.address, port: Number(member.tags["port"]) }), member]];
}
