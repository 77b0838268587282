/** /v1/internal/ui/: what the web UI reads. */
import type { Query, QueryKind } from "../../../core/catalog/queries.ts";
import type { CheckedInstance, CheckRecord } from "../../../core/catalog/records.ts";
import type { Blocking, ReadMeta, Shared, SharedRead } from "../../../core/plugin/agent-api.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { jsonArray, jsonString, jsonStrings } from "../json-write.ts";
import { logError } from "../log.ts";
import { isPretty, type ReadParameters, readParameters, refuseNamespace } from "../query.ts";
import { emptyReply, errorReply, jsonReply, Refusal } from "../reply.ts";
import { nodeInfoJson } from "../shapes.ts";
import { metaHeaders, unknownMeta } from "../shared.ts";
import { requiredName } from "./selection.ts";

export function internalUiRoutes(context: ApiContext): readonly Route[] {
  return [
    { path: "/v1/internal/ui/nodes", methods: ["GET"], handle: (request) => answer(context, request, nodes) },
    { path: "/v1/internal/ui/node/", methods: ["GET"], handle: (request) => answer(context, request, node) },
    { path: "/v1/internal/ui/services", methods: ["GET"], handle: (request) => answer(context, request, services) },
  ];
}

type Page = (context: ApiContext, request: HttpRequest, parameters: ReadParameters) => Promise<HttpReply>;

async function answer(context: ApiContext, request: HttpRequest, page: Page): Promise<HttpReply> {
  const parameters = readParameters(request, context.agent);
  refuseNamespace(request);
  try {
    return await page(context, request, parameters);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    logError(context, request, error);
    return errorReply(error, unknownMeta);
  }
}

/** What these pages show: a change of any of it changes them. */
const watched: readonly Query[] = [{ kind: "nodes" }, { kind: "services" }, { kind: "checksInState", state: "any" }];

/**
 * Waits as a blocking request asks, until any of {@link watched} changes. The page is read afterwards, so that it may
 * be a moment newer than its index says, never older.
 */
async function waitFor(context: ApiContext, { options: asked, blocking }: ReadParameters): Promise<ReadMeta> {
  const { cancel, ...options } = asked;
  const read = (query: Query, within: Blocking): Promise<Shared<typeof waited>> => {
    const key = `http ui\n${options.consistency}\n${options.datacenter ?? ""}\n${query.kind}`;
    const shared = { key, query, options, render: () => waited } as SharedRead<QueryKind, typeof waited>;
    return context.agent.store.readShared(shared, within);
  };
  const current = latest(
    await Promise.all(watched.map((query) => read(query, { minIndex: 0, wait: 0, ...(cancel === undefined ? {} : { cancel }) }))),
  );
  if (blocking === undefined || current.index > blocking.minIndex) return current;
  const others = new AbortController();
  const stop = (): void => others.abort();
  blocking.cancel?.addEventListener("abort", stop);
  if (blocking.cancel?.aborted === true) stop();
  try {
    const changed = await Promise.race(watched.map((query) => read(query, { ...blocking, cancel: others.signal })));
    return latest([{ meta: current, rendered: waited }, changed]);
  } finally {
    blocking.cancel?.removeEventListener("abort", stop);
    stop();
  }
}

const waited = { bytes: 64 };

function latest(found: readonly Shared<object>[]): ReadMeta {
  return found.map(({ meta }) => meta).reduce((newest, meta) => (meta.index > newest.index ? meta : newest));
}

async function nodes(context: ApiContext, request: HttpRequest, parameters: ReadParameters): Promise<HttpReply> {
  const { store } = context.agent;
  const filter = request.query.get("filter");
  const { options } = parameters;
  const meta = await waitFor(context, parameters);
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

async function node(context: ApiContext, request: HttpRequest, parameters: ReadParameters): Promise<HttpReply> {
  const { store } = context.agent;
  const name = requiredName(request, "Missing node name");
  const { options } = parameters;
  const meta = await waitFor(context, parameters);
  const { answer } = await store.read<"nodeServices">({ kind: "nodeServices", node: name }, options);
  if (answer === undefined || answer.node.node !== name) return emptyReply(404);
  const { answer: checks } = await store.read<"nodeChecks">({ kind: "nodeChecks", node: name }, options);
  return jsonReply(nodeInfoJson(answer.node, answer.services, checks), isPretty(request, context.agent), 200, metaHeaders(meta));
}

async function services(context: ApiContext, request: HttpRequest, parameters: ReadParameters): Promise<HttpReply> {
  const { store } = context.agent;
  const filter = request.query.get("filter");
  const { options } = parameters;
  const meta = await waitFor(context, parameters);
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
