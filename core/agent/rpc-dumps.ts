/** Reads over several tables at once, for the pages of Consul's UI: nodes with all that is on them, services with their checks. */
import type { Query, QueryKind } from "../catalog/queries.ts";
import type { CheckedInstance, CheckRecord, NodeRecord } from "../catalog/records.ts";
import type { Fields } from "../codec/fields.ts";
import type { Encodable } from "../codec/msgpack.ts";
import type { Blocking, ReadMeta, ReadOptions, Shared, SharedRead, StoreApi } from "../plugin/agent-api.ts";
import { CancelSource } from "../rpc/cancel-source.ts";
import { decodeFilter, decodeQueryOptions, encodeQueryMeta } from "../rpc/endpoints/query-options.ts";
import { encodeCheck, encodeCheckedInstance, encodeService } from "../rpc/endpoints/wire-records.ts";
import { encodeMap, listOrNil } from "../rpc/endpoints/wire-values.ts";
import type { RpcHandler } from "../rpc/server.ts";
import type { Cancel } from "../types/cancel.ts";
import { requestDatacenter } from "./rpc-request.ts";

type Page = (store: StoreApi, args: Fields, options: ReadOptions) => Promise<{ readonly [field: string]: Encodable }>;

export function dumpHandlers(store: StoreApi): readonly (readonly [method: string, handler: RpcHandler])[] {
  const handler =
    (page: Page): RpcHandler =>
    async (args, call) => {
      const { consistency, token, minIndex, wait } = decodeQueryOptions(args);
      const where = { token, datacenter: requestDatacenter(args) };
      const blocking = minIndex === 0 ? undefined : { minIndex, wait, cancel: call.cancel };
      const meta = await waitForChange(store, { consistency, ...where }, call.cancel, blocking);
      // What is read after the wait is no older than its index: it needs no further proof of freshness.
      const fields = await page(store, args, { consistency: "stale", ...where });
      return { ...encodeQueryMeta(meta), ...fields };
    };
  return [
    ["Internal.NodeInfo", handler(nodeInfo)],
    ["Internal.NodeDump", handler(nodeDump)],
    ["Internal.ServiceDump", handler(serviceDump)],
  ];
}

async function nodeInfo(store: StoreApi, args: Fields, options: ReadOptions) {
  const name = args.text("Node");
  const { answer } = await store.read<"nodeServices">({ kind: "nodeServices", node: name }, options);
  if (answer === undefined || answer.node.node !== name) return { Dump: null };
  const { answer: checks } = await store.read<"nodeChecks">({ kind: "nodeChecks", node: name }, options);
  return { Dump: [encodeNodeInfo(answer.node, answer.services.map(encodeService), checks)] };
}

async function nodeDump(store: StoreApi, args: Fields, options: ReadOptions) {
  const { answer: nodes } = await store.read<"nodes">({ kind: "nodes", ...decodeFilter(args) }, options);
  const dump: Encodable[] = [];
  for (const node of nodes) {
    const services = await store.read<"nodeServices">({ kind: "nodeServices", node: node.node }, options);
    const checks = await store.read<"nodeChecks">({ kind: "nodeChecks", node: node.node }, options);
    dump.push(encodeNodeInfo(node, (services.answer?.services ?? []).map(encodeService), checks.answer));
  }
  return { Dump: listOrNil(dump) };
}

async function serviceDump(store: StoreApi, args: Fields, options: ReadOptions) {
  const kind = args.flag("UseServiceKind") ? args.text("ServiceKind") : undefined;
  const { answer: names } = await store.read<"services">({ kind: "services" }, options);
  const found: CheckedInstance[] = [];
  for (const { service } of names) {
    const { answer } = await store.read<"checkedInstances">(
      { kind: "checkedInstances", service, passingOnly: false, ...decodeFilter(args) },
      options,
    );
    for (const instance of answer) if (kind === undefined || instance.service.kind === kind) found.push(instance);
  }
  return { Nodes: listOrNil(found.map(encodeCheckedInstance)) };
}

function encodeNodeInfo(node: NodeRecord, services: readonly Encodable[], checks: readonly CheckRecord[]): Encodable {
  return {
    ID: node.id,
    Node: node.node,
    Address: node.address,
    TaggedAddresses: encodeMap(node.taggedAddresses),
    Meta: encodeMap(node.meta),
    Services: listOrNil(services),
    Checks: listOrNil(checks.map(encodeCheck)),
  };
}

/** What these pages show: a change of any of it changes them. */
const watched: readonly Query[] = [{ kind: "nodes" }, { kind: "services" }, { kind: "checksInState", state: "any" }];
/** Only the index of these reads is of interest. */
const noRendering = { bytes: 64 };

async function waitForChange(
  store: StoreApi,
  options: ReadOptions,
  cancel: Cancel,
  blocking: Blocking | undefined,
): Promise<ReadMeta> {
  const read = (query: Query, within: Blocking): Promise<Shared<object>> => {
    const { consistency, datacenter = "", token = "" } = options;
    const key = `rpc dump\n${consistency}\n${datacenter}\n${token}\n${query.kind}`;
    const shared: SharedRead<QueryKind, object> = { key, query, options, render: () => noRendering };
    return store.readShared(shared, within);
  };
  const current = latest(await Promise.all(watched.map((query) => read(query, { minIndex: 0, wait: 0, cancel }))));
  if (blocking === undefined || current.index > blocking.minIndex) return current;
  // The first that changes answers; the others' waiting ends with it, or with the caller.
  const end = new CancelSource();
  const onCancel = (): void => end.abort(blocking.cancel?.reason);
  blocking.cancel?.addEventListener("abort", onCancel);
  if (blocking.cancel?.aborted === true) onCancel();
  try {
    const changed = await Promise.race(watched.map((query) => read(query, { ...blocking, cancel: end })));
    return latest([{ meta: current, rendered: noRendering }, changed]);
  } finally {
    blocking.cancel?.removeEventListener("abort", onCancel);
    end.abort(undefined);
  }
}

function latest(found: readonly Shared<object>[]): ReadMeta {
  return found.map(({ meta }) => meta).reduce((newest, meta) => (meta.index > newest.index ? meta : newest));
}
