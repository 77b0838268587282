/** `consul operator autopilot set-config`: changes some of the settings and leaves the others. */
import { formatDuration } from "../../../core/config/duration.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import { openOperatorApi } from "../api.ts";
import { autopilotConfiguration, autopilotPath } from "../autopilot-api.ts";
import { clientAndServerFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { formatJson, type Json } from "../json.ts";

const flags = {
  "cleanup-dead-servers": {
    kind: "bool",
    initial: false,
    errorStyle: "strconv",
    help: "Whether servers that failed are taken out of the group when that leaves a majority.",
  },
  "disable-upgrade-migration": {
    kind: "bool",
    initial: false,
    errorStyle: "strconv",
    help: "Consul Enterprise only: kept, without effect.",
  },
  "last-contact-threshold": {
    kind: "duration",
    initial: 0,
    errorStyle: "strconv",
    help: "How long a server may not have heard of the leader and still be healthy.",
  },
  "max-trailing-logs": {
    kind: "uint",
    initial: 0n,
    errorStyle: "strconv",
    help: "How many entries of the log a server may lack and still be healthy.",
  },
  "min-quorum": {
    kind: "uint",
    initial: 0n,
    errorStyle: "strconv",
    help: "Dead servers are only taken out while so many servers are left.",
  },
  "redundancy-zone-tag": { kind: "string", initial: "", help: "Consul Enterprise only: kept, without effect." },
  "server-stabilization-time": {
    kind: "duration",
    initial: 0,
    errorStyle: "strconv",
    help: "How long a new server must be healthy before it gets a vote.",
  },
  "upgrade-version-tag": { kind: "string", initial: "", help: "Consul Enterprise only: kept, without effect." },
  ...clientAndServerFlags,
} as const;

export const command = defineCommand({
  usage: "consul operator autopilot set-config [options]",
  description: `
Changes how the leader looks after the servers. Settings that no option names stay as they are. Nothing is changed when
someone else changes them at the same time.`,
  examples: [
    {
      purpose: "Give new servers a vote after a minute",
      line: "consul operator autopilot set-config -server-stabilization-time=1m",
    },
    { purpose: "Keep dead servers in the group", line: "consul operator autopilot set-config -cleanup-dead-servers=false" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags: values, given } = call;
  const api = await openOperatorApi(call);
  const before = await autopilotConfiguration(api);
  const changes: readonly (readonly [flag: string, field: string, value: Json])[] = [
    ["cleanup-dead-servers", "CleanupDeadServers", values["cleanup-dead-servers"]],
    ["last-contact-threshold", "LastContactThreshold", formatDuration(values["last-contact-threshold"])],
    ["max-trailing-logs", "MaxTrailingLogs", values["max-trailing-logs"]],
    ["min-quorum", "MinQuorum", values["min-quorum"]],
    ["server-stabilization-time", "ServerStabilizationTime", formatDuration(values["server-stabilization-time"])],
    ["redundancy-zone-tag", "RedundancyZoneTag", values["redundancy-zone-tag"]],
    ["disable-upgrade-migration", "DisableUpgradeMigration", values["disable-upgrade-migration"]],
    ["upgrade-version-tag", "UpgradeVersionTag", values["upgrade-version-tag"]],
  ];
  const changed = changes.filter(([flag]) => given.has(flag)).map(([, field, value]): readonly [string, Json] => [field, value]);
  const body = utf8(formatJson({ ...before, ...Object.fromEntries(changed) }, ""));
  const cas = String(before["ModifyIndex"] ?? 0);
  const answer = await orFail("Error setting Autopilot configuration", api.put(autopilotPath, { cas }, body));
  if (!text(answer.body).includes("true"))
    throw new CommandError("Configuration could not be atomically updated, please try again");
  say(context, "Configuration updated!");
  return 0;
}
