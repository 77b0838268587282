/** /v1/internal/ui/: what the web UI reads. */
import type { Query } from "../../../core/catalog/queries.ts";
import type { CheckedInstance, CheckRecord } from "../../../core/catalog/records.ts";
import type { ReadMeta, ReadOptions } from "../../../core/plugin/agent-api.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { jsonArray, jsonString, jsonStrings } from "../json-write.ts";
import { isPretty, readParameters, refuseNamespace } from "../query.ts";
import { emptyReply, jsonReply } from "../reply.ts";
import { nodeInfoJson } from "../shapes.ts";
import { metaHeaders } from "../shared.ts";
import { requiredName } from "./selection.ts";

export function internalUiRoutes(context: ApiContext): readonly Route[] {
  return [
    { path: "/v1/internal/ui/nodes", methods: ["GET"], handle: (request) => nodes(context, request) },
    { path: "/v1/internal/ui/node/", methods: ["GET"], handle: (request) => node(context, request) },
    { path: "/v1/internal/ui/services", methods: ["GET"], handle: (request) => services(context, request) },
  ];
}

/**
 * Answers from several queries. A blocking request waits on the first; the others are read afterwards, so that a page
 * may show them a moment newer than its index says, never older.
 */
async function begin(
  context: ApiContext,
  request: HttpRequest,
  first: Query,
): Promise<{ readonly options: ReadOptions; readonly meta: ReadMeta }> {
  const parameters = readParameters(request, context.agent);
  refuseNamespace(request);
  const { options, blocking } = parameters;
  const shared = await context.agent.store.readShared(
    {
      key: `ui\n${options.consistency}\n${options.datacenter ?? ""}\n${JSON.stringify(first)}`,
      query: first as never,
      options,
      render: () => ({ bytes: 64 }),
    },
    blocking,
  );
  return { options, meta: shared.meta };
}

async function nodes(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const { store } = context.agent;
  const filter = request.query.get("filter");
  const { options, meta } = await begin(context, request, { kind: "checksInState", state: "any" });
  const { answer: found } = await store.read<"nodes">({ kind: "nodes", filter }, options);
  const { answer: checks } = await store.read<"checksInState">({ kind: "checksInState", state: "any" }, options);
  const checksOf = grouped(checks, (check) => check.node);
  const shown: string[] = [];
  for (const record of found) {
    const { answer } = await store.read<"nodeServices">({ kind: "nodeServices", node: record.node }, options);
    shown.push(nodeInfoJson(record, answer?.services ?? [], checksOf.get(record.node) ?? []));
  }
  return jsonReply(`[${shown.join(",")}]`, isPretty(request, context.agent), 200, metaHeaders(meta));
}

async function node(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const { store } = context.agent;
  const name = requiredName(request, "Missing node name");
  const { options, meta } = await begin(context, request, { kind: "nodeServices", node: name });
  const { answer } = await store.read<"nodeServices">({ kind: "nodeServices", node: name }, options);
  if (answer === undefined || answer.node.node !== name) return emptyReply(404);
  const { answer: checks } = await store.read<"nodeChecks">({ kind: "nodeChecks", node: name }, options);
  return jsonReply(nodeInfoJson(answer.node, answer.services, checks), isPretty(request, context.agent), 200, metaHeaders(meta));
}

async function services(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const { store } = context.agent;
  const filter = request.query.get("filter");
  const { options, meta } = await begin(context, request, { kind: "services" });
  const { answer: names } = await store.read<"services">({ kind: "services" }, options);
  const shown: string[] = [];
  for (const { service } of names) {
    const { answer: instances } = await store.read<"checkedInstances">(
      { kind: "checkedInstances", service, passingOnly: false, filter },
      options,
    );
    if (instances.length > 0) shown.push(summaryJson(service, instances));
  }
  return jsonReply(`[${shown.join(",")}]`, isPretty(request, context.agent), 200, metaHeaders(meta));
}

/** One line of the list of services: where it runs and how its checks are, those of the nodes included. */
function summaryJson(name: string, instances: readonly CheckedInstance[]): string {
  const kind = instances[0]?.service.kind ?? "";
  const tags = [...new Set(instances.flatMap(({ service }) => service.tags))].sort();
  const sources = [
    ...new Set(instances.map(({ service }) => service.meta?.["external-source"] ?? "").filter((source) => source !== "")),
  ].sort();
  const proxyFor = [
    ...new Set(
      instances.map(({ service }) => String(service.proxy?.["DestinationServiceName"] ?? "")).filter((target) => target !== ""),
    ),
  ].sort();
  const checks = instances.flatMap((instance) => instance.checks);
  const count = (status: string): number => checks.filter((check) => check.status === status).length;
  const listOrNull = (items: readonly string[]): string => (items.length === 0 ? "null" : jsonStrings(items));
  return (
    `{${kind === "" ? "" : `"Kind":${jsonString(kind)},`}"Name":${jsonString(name)},"Tags":${listOrNull(tags)},` +
    `"Nodes":${jsonArray(instances, (instance) => jsonString(instance.node.node))},"InstanceCount":${instances.length},` +
    `${proxyFor.length === 0 ? "" : `"ProxyFor":${jsonStrings(proxyFor)},`}"ChecksPassing":${count("passing")},"ChecksWarning":${count("warning")},` +
    `"ChecksCritical":${count("critical")},"ExternalSources":${listOrNull(sources)},"GatewayConfig":{}}`
  );
}

function grouped(
  checks: readonly CheckRecord[],
  by: (check: CheckRecord) => string,
): ReadonlyMap<string, readonly CheckRecord[]> {
  const groups = new Map<string, CheckRecord[]>();
  for (const check of checks) {
    const group = groups.get(by(check));
    if (group === undefined) groups.set(by(check), [check]);
    else group.push(check);
  }
  return groups;
}
