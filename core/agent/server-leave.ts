/**
 * Whether a server may leave without taking the group with it.
 *
 * A server that leaves is taken out of the group, so the others must be able to decide without it. Where they are not, the
 * state of the datacenter is on the disk of a server that was told to go away: nobody can write, and nobody can be added.
 * Consul 1.8 leaves all the same; here an operator has to say so. Stopping without leaving harms nothing: the server is
 * missed, and takes its place again when it comes back.
 */
import type { Member } from "../plugin/agent-api.ts";
import { majority } from "../raft/quorum.ts";
import type { RaftServer } from "../raft/messages.ts";
import type { NodeId } from "../types/ids.ts";
import { serversAmong } from "./servers.ts";

export interface LeaveView {
  readonly self: NodeId;
  /** The configuration in force. */
  readonly servers: readonly RaftServer[];
  readonly members: readonly Member[];
  readonly datacenter: string;
}

/** Why the others would be lost, and what to do; undefined: they would not. */
export function leaveFault(view: LeaveView): string | undefined {
  const reason = lossOf(view);
  if (reason === undefined) return undefined;
  return `Not leaving: ${reason}. Stop the agent instead of leaving, and it takes its place again when it starts; or leave with -force (?force), and give up what it keeps`;
}

function lossOf({ self, servers, members, datacenter }: LeaveView): string | undefined {
  if (!servers.some(({ id, voter }) => voter && id === self)) return undefined;
  const others = servers.filter(({ id, voter }) => voter && id !== self);
  const alive = new Set(serversAmong(members, datacenter).flatMap((server) => (server.alive ? [server.id] : [])));
  if (others.length > 0) {
    const left = others.filter(({ id }) => alive.has(id)).length;
    if (left >= majority(others.length)) return undefined;
    return `of the ${others.length} other servers with a vote ${left} ${left === 1 ? "is" : "are"} alive, which is no quorum`;
  }
  const company = members.filter(({ status, tags }) => status === "alive" && tags["id"] !== self).length;
  if (company === 0) return undefined;
  return `this is the only server with a vote, and ${company} other ${company === 1 ? "member depends" : "members depend"} on it`;
}
