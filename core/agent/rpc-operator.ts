/** Operator.*: the Raft group and what cares for it, for whoever runs `consul operator` at a client agent. */
import type { Encodable } from "../codec/msgpack.ts";
import type { AutopilotConfig } from "../config/config.ts";
import { goQuote } from "../config/go-text.ts";
import type { ClusterApi, RaftPeer } from "../plugin/agent-api.ts";
import { nanoseconds } from "../rpc/endpoints/wire-values.ts";
import type { RpcHandler } from "../rpc/server.ts";
import { AgentError } from "../types/errors.ts";
import { requestDatacenter } from "./rpc-request.ts";

/** All servers of Consul 1.8 speak it, and none of ours another. */
const raftProtocol = "3";

export function operatorHandlers(
  cluster: ClusterApi,
  autopilot: () => AutopilotConfig,
): readonly (readonly [method: string, handler: RpcHandler])[] {
  return [
    [
      "Operator.RaftGetConfiguration",
      async (args) => {
        requestDatacenter(args);
        return { Index: 0, Servers: (await peersOf(cluster)).map(encodePeer) };
      },
    ],
    [
      "Operator.RaftRemovePeerByID",
      async (args) => {
        requestDatacenter(args);
        const id = args.text("ID");
        return remove(cluster, (peer) => peer.id === id, `id ${goQuote(id)}`);
      },
    ],
    [
      "Operator.RaftRemovePeerByAddress",
      async (args) => {
        requestDatacenter(args);
        const address = args.text("Address");
        return remove(cluster, (peer) => peer.address === address, `address ${goQuote(address)}`);
      },
    ],
    [
      "Operator.AutopilotGetConfiguration",
      async (args) => {
        requestDatacenter(args);
        return encodeAutopilot(autopilot());
      },
    ],
  ];
}

async function peersOf(cluster: ClusterApi): Promise<readonly RaftPeer[]> {
  return (await cluster.raftServers?.()) ?? [];
}

function encodePeer({ id, node, address, voter, leader }: RaftPeer): Encodable {
  return { Address: address, ID: id, Leader: leader, Node: node, ProtocolVersion: raftProtocol, Voter: voter };
}

async function remove(cluster: ClusterApi, wanted: (peer: RaftPeer) => boolean, named: string): Promise<Encodable> {
  const peer = (await peersOf(cluster)).find(wanted);
  if (peer === undefined || cluster.removeRaftServer === undefined)
    throw new AgentError("rejected", { message: `${named} was not found in the Raft configuration` });
  await cluster.removeRaftServer(peer.id);
  return {};
}

/** Each server's own settings: they are not kept in the log here, so they have no index. */
function encodeAutopilot(config: AutopilotConfig): Encodable {
  return {
    CleanupDeadServers: config.cleanupDeadServers,
    CreateIndex: 0,
    DisableUpgradeMigration: false,
    LastContactThreshold: nanoseconds(config.lastContactThreshold),
    MaxTrailingLogs: config.maxTrailingLogs,
    MinQuorum: config.minQuorum,
    ModifyIndex: 0,
    RedundancyZoneTag: "",
    ServerStabilizationTime: nanoseconds(config.serverStabilizationTime),
    UpgradeVersionTag: "",
  };
}
