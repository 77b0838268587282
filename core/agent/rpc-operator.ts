/** Operator.*: the Raft group and what cares for it, for whoever runs `consul operator` at a client agent. */
import type { Encodable } from "../codec/msgpack.ts";
import { goQuote } from "../config/go-text.ts";
import type { AutopilotApi, ClusterApi, Consistency, RaftPeer } from "../plugin/agent-api.ts";
import { decodeAutopilot, encodeAutopilot, encodeGroupHealth } from "../rpc/endpoints/autopilot.ts";
import { decodeQueryOptions } from "../rpc/endpoints/query-options.ts";
import type { RpcHandler } from "../rpc/server.ts";
import { AgentError } from "../types/errors.ts";
import { requestDatacenter } from "./rpc-request.ts";

/** All servers of Consul 1.8 speak it, and none of ours another. */
const raftProtocol = "3";

export function operatorHandlers(cluster: ClusterApi, autopilot: AutopilotApi | undefined): readonly Handler[] {
  return [
    [
      "Operator.RaftGetConfiguration",
      async (args) => {
        requestDatacenter(args);
        const { consistency } = decodeQueryOptions(args);
        return { Index: 0, Servers: (await peersOf(cluster, consistency)).map(encodePeer) };
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
    ...(autopilot === undefined ? [] : autopilotHandlers(autopilot)),
  ];
}

type Handler = readonly [method: string, handler: RpcHandler];

function autopilotHandlers(autopilot: AutopilotApi): readonly Handler[] {
  return [
    [
      "Operator.AutopilotGetConfiguration",
      async (args) => {
        const { consistency, token } = decodeQueryOptions(args);
        return encodeAutopilot(await autopilot.configuration({ consistency, token, datacenter: requestDatacenter(args) }));
      },
    ],
    [
      "Operator.AutopilotSetConfiguration",
      async (args) => {
        const config = decodeAutopilot(args.fields("Config"));
        const where = { datacenter: requestDatacenter(args), token: args.text("Token") };
        const compares = args.flag("CAS");
        const { createIndex: _created, modifyIndex, ...settings } = config;
        const took = await autopilot.configure(settings, compares ? { ...where, index: modifyIndex } : where);
        // Consul's reply is about the comparison alone.
        return compares && took;
      },
    ],
    [
      "Operator.ServerHealth",
      async (args) =>
        encodeGroupHealth(await autopilot.health({ datacenter: requestDatacenter(args), token: args.text("Token") })),
    ],
  ];
}

async function peersOf(cluster: ClusterApi, consistency: Consistency): Promise<readonly RaftPeer[]> {
  return (await cluster.raftServers?.({ consistency })) ?? [];
}

function encodePeer({ id, node, address, voter, leader }: RaftPeer): Encodable {
  return { Address: address, ID: id, Leader: leader, Node: node, ProtocolVersion: raftProtocol, Voter: voter };
}

async function remove(cluster: ClusterApi, wanted: (peer: RaftPeer) => boolean, named: string): Promise<Encodable> {
  const peer = (await peersOf(cluster, "default")).find(wanted);
  if (peer === undefined || cluster.removeRaftServer === undefined)
    throw new AgentError("rejected", { message: `${named} was not found in the Raft configuration` });
  await cluster.removeRaftServer(peer.id);
  return {};
}
