/** `consul maint`: takes a node or a service out of service discovery, and back. */
import { goQuote } from "../../../core/config/go-text.ts";
import { openApi } from "../api.ts";
import { clientFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { isObject, type Json } from "../json.ts";

const flags = {
  disable: { kind: "bool", initial: false, help: "End maintenance." },
  enable: { kind: "bool", initial: false, help: "Begin maintenance." },
  reason: { kind: "string", initial: "", placeholder: "text", help: "With -enable: shown to whoever wonders why." },
  service: {
    kind: "string",
    initial: "",
    placeholder: "id",
    help: "This service of the agent, by ID, instead of the whole node.",
  },
  ...clientFlags,
} as const;

export const command = defineCommand({
  usage: "consul maint [options]",
  description: `
In maintenance a node or service carries a critical check, so that DNS and health queries leave it out. It survives a
restart of the agent. Without options, lists what is in maintenance here.`,
  examples: [
    { purpose: "Take the node out", line: 'consul maint -enable -reason="replacing a disk"' },
    { purpose: "Take one service out", line: "consul maint -enable -service=redis1" },
    { purpose: "See what is in maintenance", line: "consul maint" },
    { purpose: "Put the node back", line: "consul maint -disable" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags } = call;
  if (flags.enable && flags.disable) throw new CommandError("Only one of -enable or -disable may be provided");
  if (!flags.enable && flags.reason !== "") throw new CommandError("Reason may only be provided with -enable");
  if (!flags.enable && !flags.disable && flags.service !== "")
    throw new CommandError("Service requires either -enable or -disable");
  const api = await openApi(call);

  if (!flags.enable && !flags.disable) {
    const self = await orFail("Error querying Consul agent", api.getJson("/v1/agent/self"));
    const checks = await orFail("Error querying Consul agent", api.getJson("/v1/agent/checks"));
    for (const line of inMaintenance(self, checks)) say(context, line);
    return 0;
  }
  const doing = flags.enable ? "enabling" : "disabling";
  const query = { enable: String(flags.enable), ...(flags.enable && { reason: flags.reason }) };
  const done = flags.enable ? "enabled" : "disabled";
  if (flags.service !== "") {
    await orFail(`Error ${doing} service maintenance`, api.put(`/v1/agent/service/maintenance/${flags.service}`, query));
    say(context, `Service maintenance is now ${done} for ${goQuote(flags.service)}`);
  } else {
    await orFail(`Error ${doing} node maintenance`, api.put("/v1/agent/maintenance", query));
    say(context, `Node maintenance is now ${done}`);
  }
  return 0;
}

function inMaintenance(self: Json, checks: Json): readonly string[] {
  const config = isObject(self) && isObject(self["Config"]) ? self["Config"] : {};
  const all = isObject(checks) ? Object.entries(checks).sort(([left], [right]) => (left < right ? -1 : 1)) : [];
  return all.flatMap(([id, check]) => {
    if (!isObject(check)) return [];
    if (id === "_node_maintenance")
      return ["Node:", `  Name:   ${config["NodeName"] ?? ""}`, `  Reason: ${check["Notes"] ?? ""}`, ""];
    if (id.startsWith("_service_maintenance:"))
      return ["Service:", `  ID:     ${check["ServiceID"] ?? ""}`, `  Reason: ${check["Notes"] ?? ""}`, ""];
    return [];
  });
}
