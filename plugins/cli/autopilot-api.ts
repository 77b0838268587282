/** The autopilot's configuration as the HTTP API gives it, for the commands that show and change it. */
import { goQuote } from "../../core/config/go-text.ts";
import type { Api } from "./api.ts";
import { orFail } from "./command.ts";
import { isObject, type Json } from "./json.ts";

export const autopilotPath = "/v1/operator/autopilot/configuration";

export type AutopilotFields = Readonly<Record<string, Json>>;

export async function autopilotConfiguration(api: Api): Promise<AutopilotFields> {
  const answer = await orFail("Error querying Autopilot configuration", api.getJson(autopilotPath));
  return isObject(answer) ? answer : {};
}

/** One line per setting, without the last newline. */
export function describeAutopilot(fields: AutopilotFields): string {
  const shown = (name: string): string => `${name} = ${String(fields[name] ?? "")}`;
  const quoted = (name: string): string => `${name} = ${goQuote(String(fields[name] ?? ""))}`;
  return [
    shown("CleanupDeadServers"),
    shown("LastContactThreshold"),
    shown("MaxTrailingLogs"),
    shown("MinQuorum"),
    shown("ServerStabilizationTime"),
    quoted("RedundancyZoneTag"),
    shown("DisableUpgradeMigration"),
    quoted("UpgradeVersionTag"),
  ].join("\n");
}
