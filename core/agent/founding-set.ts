/** Whether a group is to be founded, by whom and of whom, as gossip shows the servers. */
import type { Member } from "../plugin/agent-api.ts";
import { formatAddress } from "../ports/net.ts";
import type { RaftServer } from "../raft/messages.ts";
import type { NodeId } from "../types/ids.ts";
import { serversAmong } from "./servers.ts";

export interface FoundingView {
  readonly self: NodeId;
  /** `bootstrap_expect`, above 1. */
  readonly expect: number;
  readonly hasData: boolean;
  readonly datacenter: string;
  readonly members: readonly Member[];
}

export type FoundingDecision =
  /** There is data: this server belongs, or belonged, to a group. */
  | { readonly kind: "never" }
  /** `problem`, for the log, says more than that there are too few. */
  | { readonly kind: "wait"; readonly problem?: { readonly message: string; readonly member: string } }
  /** Another server founds. */
  | { readonly kind: "follow" }
  | { readonly kind: "ask"; readonly servers: readonly RaftServer[] };

export function decideFounding(view: FoundingView): FoundingDecision {
  if (view.hasData) return { kind: "never" };
  const servers = serversAmong(view.members, view.datacenter).filter((server) => server.alive);
  for (const { name, expect, bootstrap } of servers) {
    if (bootstrap) return { kind: "wait", problem: { message: "Member has bootstrap mode. Expect disabled.", member: name } };
    if (expect !== 0 && expect !== view.expect) {
      const message = "Member has a conflicting expect value. All nodes should expect the same number.";
      return { kind: "wait", problem: { message, member: name } };
    }
  }
  if (servers.length < view.expect) return { kind: "wait" };
  const founder = servers.filter((server) => server.expect > 0).sort(byId)[0];
  if (founder?.id !== view.self) return { kind: "follow" };
  return {
    kind: "ask",
    servers: [...servers].sort(byId).map(({ id, address }) => ({ id, address: formatAddress(address), voter: true })),
  };
}

function byId(left: { readonly id: NodeId }, right: { readonly id: NodeId }): number {
  return left.id < right.id ? -1 : 1;
}
