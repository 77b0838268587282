/** The groups of `consul info` and of Stats in /v1/agent/self: every value is a text. */
import type { StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import type { Cluster } from "./cluster.ts";
import { consulVersion } from "../version.ts";
import type { LocalState } from "./local-state.ts";
import type { Raft } from "./raft.ts";

export interface StatsOptions {
  readonly localState: LocalState;
  /** Of the agent's role; see {@link serverStats}. */
  readonly role: Readonly<Record<string, StringMap>>;
  /** Of the runtime: name, version, operating system. */
  readonly runtime: StringMap;
}

export function agentStats({ localState, role, runtime }: StatsOptions): Readonly<Record<string, StringMap>> {
  const checks = [...localState.checks.values()];
  return {
    agent: {
      check_monitors: String(checks.filter(({ check }) => check.type === "script").length),
      check_ttls: String(checks.filter(({ check }) => check.type === "ttl").length),
      checks: String(checks.length),
      services: String(localState.services.size),
    },
    build: { prerelease: "", revision: "", version: consulVersion },
    ...role,
    runtime,
  };
}

export interface ServerStatsOptions {
  readonly config: AgentConfig;
  readonly raft: Raft;
  readonly cluster: Cluster;
  readonly leading: boolean;
}

/** What a server adds. */
export function serverStats({ config, raft, cluster, leading }: ServerStatsOptions): Readonly<Record<string, StringMap>> {
  const { lan, wan } = cluster.pools();
  return {
    consul: {
      acl: "disabled",
      bootstrap: String(config.bootstrap),
      known_datacenters: String(cluster.datacenters().length),
      leader: String(leading),
      leader_addr: cluster.leader(),
      server: "true",
    },
    raft: raft.stats(),
    ...(lan === undefined ? {} : { serf_lan: lan.stats() }),
    ...(wan === undefined ? {} : { serf_wan: wan.stats() }),
  };
}
