/** Servers as gossip shows them: a member whose tags say that it is one, and where its server port is. */
import type { AgentConfig } from "../config/config.ts";
import { inNetworks, parseIp } from "../config/ip.ts";
import type { Member } from "../plugin/agent-api.ts";
import type { Address } from "../ports/net.ts";
import type { SerfConfig } from "../serf/config.ts";
import type { NodeId } from "../types/ids.ts";

export interface ServerMember {
  readonly id: NodeId;
  readonly name: string;
  /** Of the server port. */
  readonly address: Address;
  readonly alive: boolean;
  /** Alive, or about to leave: it answers yet, and when it stays after all gossip tells nobody. */
  readonly reachable: boolean;
  readonly status: Member["status"];
  /** `bootstrap_expect`; 0 when it has none. */
  readonly expect: number;
  /** It founded, or founds, a group of its own. */
  readonly bootstrap: boolean;
}

const portMax = 65_535;

/** Undefined for a client, a server of another datacenter, or tags that make no sense. */
export function serverOf(member: Member, datacenter: string): ServerMember | undefined {
  const { role, dc, id, port, expect, bootstrap } = member.tags;
  if (role !== "consul" || dc !== datacenter || id === undefined || id === "") return undefined;
  const portNumber = Number(port);
  if (!Number.isInteger(portNumber) || portNumber < 1 || portNumber > portMax) return undefined;
  const expected = Number(expect ?? 0);
  return {
    id,
    name: member.name,
    address: { host: member.address, port: portNumber },
    alive: member.status === "alive",
    reachable: member.status === "alive" || member.status === "leaving",
    status: member.status,
    expect: Number.isInteger(expected) && expected > 0 ? expected : 0,
    bootstrap: bootstrap === "1",
  };
}

export function serversAmong(members: readonly Member[], datacenter: string): readonly ServerMember[] {
  return members.flatMap((member) => serverOf(member, datacenter) ?? []);
}

/** Why these members may not be in our WAN pool; undefined: they may. Asked as {@link refuseInLan} is. */
export function refuseInWan(members: readonly Member[]): string | undefined {
  const stranger = members.find((member) => serverOf(member, member.tags["dc"] ?? "") === undefined);
  return stranger === undefined ? undefined : `Member '${stranger.name}' is not a server`;
}

/** What an agent's configuration asks of the members of a pool. */
export function poolRules(
  config: AgentConfig,
  pool: "lan" | "wan",
): Pick<SerfConfig, "refuseAddress"> & Partial<Pick<SerfConfig, "reconnectTimeout">> {
  const networks = pool === "lan" ? config.serfLanAllowedCidrs : config.serfWanAllowedCidrs;
  const timeout = pool === "lan" ? config.reconnectTimeoutLan : config.reconnectTimeoutWan;
  return {
    refuseAddress(address) {
      if (networks.length === 0) return undefined;
      const ip = parseIp(address);
      return ip !== undefined && inNetworks(ip, networks) ? undefined : `IP ${address} is not allowed`;
    },
    ...(timeout > 0 ? { reconnectTimeout: timeout } : {}),
  };
}

/**
 * Why these members may not be in our LAN pool; undefined: they may (Consul 1.8, agent/consul/merge.go).
 * Asked with all members of the other side on a join, and with one on each announcement.
 */
export function refuseInLan(
  members: readonly Member[],
  self: { readonly name: string; readonly id: NodeId; readonly datacenter: string },
): string | undefined {
  const names = new Map<NodeId, string>();
  for (const { name, tags } of members) {
    const { id, dc, role } = tags;
    if (id !== undefined && id !== "") {
      if (id === self.id && name !== self.name) return `Member '${name}' has conflicting node ID '${id}' with this agent's ID`;
      const other = names.get(id);
      if (other !== undefined && other !== name) return `Member '${name}' has conflicting node ID '${id}' with member '${other}'`;
      names.set(id, name);
    }
    if (role !== "consul" && role !== "node") return `Member '${name}' is not a Consul agent`;
    if (dc !== self.datacenter) return `Member '${name}' part of wrong datacenter '${dc ?? ""}'`;
  }
  return undefined;
}
