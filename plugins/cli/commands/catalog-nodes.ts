/** `consul catalog nodes`: the nodes the servers know, which may be more than the members. */
import { openApi } from "../api.ts";
import { clientAndServerFlags } from "../client-flags.ts";
import { type Call, complain, defineCommand, orFail, refuseArguments, say } from "../command.ts";
import { isObject, type Json } from "../json.ts";
import { table } from "../table.ts";

const flags = {
  detailed: { kind: "bool", initial: false, help: "Print whole IDs, tagged addresses and metadata." },
  filter: {
    kind: "string",
    initial: "",
    placeholder: "expression",
    help: "Only nodes for which this holds: 'Meta.env == \"prod\"'.",
  },
  near: {
    kind: "string",
    initial: "",
    placeholder: "node",
    help: "Sort by round-trip time from this node. _agent is the agent asked.",
  },
  "node-meta": { kind: "map", placeholder: "key=value", help: "Only nodes with this metadata. May be given several times." },
  service: {
    kind: "string",
    initial: "",
    placeholder: "name",
    help: "Only nodes that run this service: one row for each instance.",
  },
  ...clientAndServerFlags,
} as const;

export const command = defineCommand({
  usage: "consul catalog nodes [options]",
  description: "Lists the nodes in the catalog: all agents, and whatever else was registered there.",
  examples: [
    { purpose: "List all nodes", line: "consul catalog nodes" },
    { purpose: "List those that run a service, nearest first", line: "consul catalog nodes -service=redis -near=_agent" },
    { purpose: "List those with some metadata", line: "consul catalog nodes -node-meta=env=production" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags } = call;
  refuseArguments(call.args);
  const api = await openApi(call);
  const query = {
    ...(flags.filter !== "" && { filter: flags.filter }),
    ...(flags.near !== "" && { near: flags.near }),
    "node-meta": Object.entries(flags["node-meta"]).map(([key, value]) => `${key}:${value}`),
  };
  const answer =
    flags.service === ""
      ? await orFail("Error listing nodes", api.getJson("/v1/catalog/nodes", query))
      : await orFail("Error listing nodes for service", api.getJson(`/v1/catalog/service/${flags.service}`, query));
  const nodes = Array.isArray(answer) ? answer : [];
  if (nodes.length === 0) {
    complain(context, "No nodes match the given query - try expanding your search.");
    return 0;
  }
  const header = ["Node", "ID", "Address", "DC", ...(flags.detailed ? ["TaggedAddresses", "Meta"] : [])];
  say(context, table([header, ...nodes.map((node: Json) => row(node, flags.detailed))]));
  return 0;
}

function row(json: Json, detailed: boolean): string[] {
  const node = isObject(json) ? json : {};
  const id = String(node["ID"] ?? "");
  const shared = [
    String(node["Node"] ?? ""),
    detailed ? id : id.slice(0, 8),
    String(node["Address"] ?? ""),
    String(node["Datacenter"] ?? ""),
  ];
  // A row of /v1/catalog/service calls the node's metadata NodeMeta, because Meta there could be the service's.
  return detailed ? [...shared, pairs(node["TaggedAddresses"]), pairs(node["NodeMeta"] ?? node["Meta"])] : shared;
}

function pairs(json: Json | undefined): string {
  if (!isObject(json)) return "";
  const keys = Object.keys(json).sort();
  return keys.map((key) => `${key}=${json[key]}`).join(", ");
}
