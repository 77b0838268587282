/** `consul catalog services`: the names of services, of all nodes or of one. */
import { openApi } from "../api.ts";
import { allSharedFlags } from "../client-flags.ts";
import { type Call, complain, defineCommand, orFail, refuseArguments, say } from "../command.ts";
import { isObject, type Json } from "../json.ts";
import { record } from "../table.ts";

const flags = {
  node: { kind: "string", initial: "", placeholder: "name", help: "Only services on this node, named by name or ID." },
  "node-meta": {
    kind: "map",
    placeholder: "key=value",
    help: "Only services on nodes with this metadata. May be given several times.",
  },
  tags: { kind: "bool", initial: false, help: "Print each service's tags in a second column." },
  ...allSharedFlags,
} as const;

export const command = defineCommand({
  usage: "consul catalog services [options]",
  description: "Lists the names of the services in the catalog.",
  examples: [
    { purpose: "List all services with their tags", line: "consul catalog services -tags" },
    { purpose: "List the services of one node", line: "consul catalog services -node=worker-01" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags } = call;
  refuseArguments(call.args);
  const api = await openApi(call);
  const query = { "node-meta": Object.entries(flags["node-meta"]).map(([key, value]) => `${key}:${value}`) };
  const services =
    flags.node === ""
      ? tagsByName(await orFail("Error listing services", api.getJson("/v1/catalog/services", query)))
      : tagsOfNode(await orFail("Error listing services for node", api.getJson(`/v1/catalog/node/${flags.node}`, query)));
  if (services.size === 0) {
    complain(context, "No services match the given query - try expanding your search.");
    return 0;
  }
  const names = [...services.keys()].sort();
  if (!flags.tags) for (const name of names) say(context, name);
  else say(context, record(names.map((name) => [name, [...(services.get(name) ?? [])].sort().join(",")])).trimEnd());
  return 0;
}

function tagsByName(answer: Json): Map<string, readonly string[]> {
  return new Map(isObject(answer) ? Object.entries(answer).map(([name, tags]) => [name, strings(tags)]) : []);
}

/** The answer lists instances; those of one name are one row with the tags of all. */
function tagsOfNode(answer: Json): Map<string, readonly string[]> {
  const services = new Map<string, readonly string[]>();
  const instances = isObject(answer) && isObject(answer["Services"]) ? Object.values(answer["Services"]) : [];
  for (const instance of instances) {
    if (!isObject(instance)) continue;
    const name = String(instance["Service"] ?? "");
    services.set(name, [...(services.get(name) ?? []), ...strings(instance["Tags"])]);
  }
  return services;
}

function strings(json: Json | undefined): readonly string[] {
  return Array.isArray(json) ? json.map(String) : [];
}
