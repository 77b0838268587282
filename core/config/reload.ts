/** Which differences between two configurations take effect while the agent runs. */
import type { AgentConfig } from "./config.ts";

export interface ReloadPlan {
  /** The running configuration with everything taken over that may change. */
  readonly config: AgentConfig;
  /** Fields of {@link AgentConfig}, dotted, that changed and take effect. Sorted. */
  readonly applied: readonly string[];
  /** Fields that differ but need a restart, under the same names. Sorted. */
  readonly ignored: readonly string[];
}

/** Fields that a reload applies, to the keys they come from. Besides these, `warnings` are always those of the new sources. */
export const reloadableFields: ReadonlyMap<string, string> = new Map([
  ["checks", "checks"],
  ["services", "services"],
  ["discardCheckOutput", "discard_check_output"],
  ["dns.aRecordLimit", "dns_config.a_record_limit"],
  ["dns.allowStale", "dns_config.allow_stale"],
  ["dns.disableCompression", "dns_config.disable_compression"],
  ["dns.enableTruncate", "dns_config.enable_truncate"],
  ["dns.maxStale", "dns_config.max_stale"],
  ["dns.nodeMetaTxt", "dns_config.enable_additional_node_meta_txt"],
  ["dns.nodeTtl", "dns_config.node_ttl"],
  ["dns.onlyPassing", "dns_config.only_passing"],
  ["dns.recursorTimeout", "dns_config.recursor_timeout"],
  ["dns.serviceTtl", "dns_config.service_ttl"],
  ["dns.soa", "dns_config.soa.refresh"],
  ["dns.udpAnswerLimit", "dns_config.udp_answer_limit"],
  ["limits.httpMaxConnsPerClient", "limits.http_max_conns_per_client"],
  ["limits.rpcMaxBurst", "limits.rpc_max_burst"],
  ["limits.rpcRate", "limits.rpc_rate"],
  ["logLevel", "log_level"],
  ["nodeMeta", "node_meta"],
  ["recursors", "recursors"],
  ["watches", "watches"],
  ["telemetry.prefixFilter", "telemetry.prefix_filter"],
]);

const groups = ["dns", "limits", "http", "ports", "gossipLan", "gossipWan", "telemetry"] as const;

export function planReload(running: AgentConfig, next: AgentConfig): ReloadPlan {
  const applied: string[] = [];
  const ignored: string[] = [];
  const taken: Record<string, unknown> = { ...running, warnings: next.warnings };
  for (const field of Object.keys(next) as (keyof AgentConfig)[]) {
    if (field === "warnings") continue;
    if ((groups as readonly string[]).includes(field)) {
      taken[field] = planGroup(field, running[field] as Group, next[field] as Group, applied, ignored);
    } else if (!equal(running[field], next[field])) {
      const applies = reloadableFields.has(field);
      (applies ? applied : ignored).push(field);
      if (applies) taken[field] = next[field];
    }
  }
  return { config: taken as unknown as AgentConfig, applied: applied.sort(), ignored: ignored.sort() };
}

type Group = Readonly<Record<string, unknown>>;

function planGroup(group: string, running: Group, next: Group, applied: string[], ignored: string[]): Group {
  const taken: Record<string, unknown> = { ...running };
  for (const [name, value] of Object.entries(next)) {
    if (equal(running[name], value)) continue;
    const field = `${group}.${name}`;
    const applies = reloadableFields.has(field);
    (applies ? applied : ignored).push(field);
    if (applies) taken[name] = value;
  }
  return taken;
}

/** Plain data: numbers, texts, lists and objects of them. */
function equal(left: unknown, right: unknown): boolean {
  if (Object.is(left, right)) return true;
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) return false;
  if (Array.isArray(left) !== Array.isArray(right)) return false;
  const names = Object.keys(left);
  if (names.length !== Object.keys(right).length) return false;
  return names.every((name) => Object.hasOwn(right, name) && equal((left as Group)[name], (right as Group)[name]));
}
