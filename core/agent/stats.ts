/** The groups of `consul info` and of Stats in /v1/agent/self: every value is a text. */
import type { StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import type { Cluster } from "./cluster.ts";
import { consulVersion } from "../version.ts";
import type { LocalState } from "./local-state.ts";
import type { Raft } from "./raft.ts";

export interface StatsOptions {
  readonly config: AgentConfig;
  readonly localState: LocalState;
  readonly raft: Raft;
  readonly cluster: Cluster;
  readonly leading: boolean;
  /** Of the runtime: name, version, operating system. */
  readonly runtime: StringMap;
}

export function agentStats(options: StatsOptions): Readonly<Record<string, StringMap>> {
  const { config, localState, raft, cluster, leading } = options;
  const { lan, wan } = cluster.pools();
  const checks = [...localState.checks.values()];
  return {
    agent: {
      check_monitors: String(checks.filter(({ check }) => check.type === "script").length),
      check_ttls: String(checks.filter(({ check }) => check.type === "ttl").length),
      checks: String(checks.length),
      services: String(localState.services.size),
    },
    build: { prerelease: "", revision: "", version: consulVersion },
    consul: {
      acl: "disabled",
      bootstrap: String(config.bootstrap),
      known_datacenters: String(cluster.datacenters().length),
      leader: String(leading),
      leader_addr: cluster.leader(),
      server: String(config.server),
    },
    raft: raft.stats(),
    runtime: options.runtime,
    ...(lan === undefined ? {} : { serf_lan: lan.stats() }),
    ...(wan === undefined ? {} : { serf_wan: wan.stats() }),
  };
}
