/**
 * Saying no to what is not there yet. A key is refused only when its value asks for something: `acl.enabled = false`,
 * `encrypt = ""` and the like pass, so that existing files need as few changes as possible.
 */
import { AgentError } from "../types/errors.ts";
import type { AgentConfig } from "./config.ts";
import type { Setting, Settings } from "./decode.ts";
import { parseDuration } from "./duration.ts";
import { errorList, goQuote } from "./go-text.ts";
import { configKeys, type KeyRow } from "./keys.ts";

/** Throws `AgentError("config-invalid")` that names every such key. */
export function refuseUnbuilt(settings: Settings, config: AgentConfig): void {
  const problems: string[] = [];
  for (const row of configKeys) {
    const value = settings.get(row.key);
    if (row.status !== "unbuilt" || value === undefined || !asks(row, value)) continue;
    problems.push(`${row.key}: not supported yet`);
  }
  if (config.retryJoin.some((address) => address.includes("provider=")))
    problems.push("retry_join: finding others through a cloud provider is not supported yet");
  if (config.retryJoinWan.some((address) => address.includes("provider=")))
    problems.push("retry_join_wan: finding others through a cloud provider is not supported yet");
  const primary = settings.get("primary_datacenter");
  if (primary !== "" && String(primary).toLowerCase() !== config.datacenter) {
    problems.push("primary_datacenter: another than the agent's own is not supported yet");
  }
  if (problems.length > 0) throw new AgentError("config-invalid", { message: errorList(problems) });
}

/** Keys whose neutral values are more than their default. */
const neutral: ReadonlyMap<string, (value: number) => boolean> = new Map([
  ["ports.https", (port) => port <= 0],
  ["ports.grpc", (port) => port <= 0],
  // The versions that are spoken anyway.
  ["protocol", (version) => version === 2 || version === 3],
  ["raft_protocol", (version) => version === 0 || version === 3],
]);

function asks(row: KeyRow, value: Setting): boolean {
  const isNeutral = neutral.get(row.key);
  if (isNeutral !== undefined) return !isNeutral(value as number);
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === "object") return Object.keys(value).length > 0;
  if (row.type === "duration") return millisOf(String(value)) !== millisOf(String(row.default ?? "0s"));
  const zero = row.type === "string" ? "" : row.type === "bool" ? false : 0;
  return value !== (row.default ?? zero);
}

function millisOf(text: string): number {
  const parsed = parseDuration(text);
  return parsed.kind === "duration" ? parsed.millis : 0;
}

const enterpriseKeys = [
  "non_voting_server",
  "autopilot.disable_upgrade_migration",
  "autopilot.redundancy_zone_tag",
  "autopilot.upgrade_version_tag",
  "dns_config.prefer_namespace",
  "acl.msp_disable_bootstrap",
  "acl.tokens.managed_service_provider",
  "audit.enabled",
];

/** Keys of Consul's Enterprise version, which its open version accepts and says so. */
export function warnEnterprise(settings: Settings, warnings: string[]): void {
  for (const key of enterpriseKeys) {
    if (settings.get(key)) warnings.push(`${goQuote(key)} is a Consul Enterprise configuration and will have no effect`);
  }
}
