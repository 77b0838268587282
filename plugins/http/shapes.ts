/**
 * Records as Consul 1.8 writes them: its field names, its order, and for each field whether an empty one is left out,
 * written as empty, or written as null. All functions give compact JSON text.
 */
import type { TxnResult } from "../../core/catalog/commands.ts";
import type { CoordinateEntry } from "../../core/catalog/queries.ts";
import type {
  CheckedInstance,
  CheckFields,
  CheckRecord,
  Coordinate,
  Indexed,
  Json,
  JsonObject,
  KvRecord,
  NodeRecord,
  ServiceAddress,
  ServiceFields,
  ServiceInstance,
  ServiceRecord,
  SessionRecord,
  StringMap,
  Weights,
} from "../../core/catalog/records.ts";
import type { Member } from "../../core/plugin/agent-api.ts";
import { unreachable } from "../../core/types/errors.ts";
import { jsonArray, jsonBytes, jsonMap, jsonString, jsonStringMap, jsonStrings, jsonValue } from "./json-write.ts";

/** What happens to a field that is empty. */
type Emptiness = "omit" | "keep";
/** Lists that are empty: `[]` in most replies, `null` in transactions and the UI's. */
export type EmptyLists = "empty" | "null";

const indexes = (record: Indexed): string => `"CreateIndex":${record.createIndex},"ModifyIndex":${record.modifyIndex}}`;
const mapOrNull = (map: StringMap | undefined): string => (map === undefined ? "null" : jsonStringMap(map));
const listOr = (items: readonly string[], empty: EmptyLists): string =>
  items.length === 0 && empty === "null" ? "null" : jsonStrings(items);
const weights = (value: Weights): string => `{"Passing":${value.passing},"Warning":${value.warning}}`;
const address = (value: ServiceAddress): string => `{"Address":${jsonString(value.address)},"Port":${value.port}}`;
const addresses = (name: string, value: Readonly<Record<string, ServiceAddress>> | undefined): string =>
  value === undefined || Object.keys(value).length === 0 ? "" : `"${name}":${jsonMap(value, address)},`;
const native = (value: boolean): string => (value ? '{"Native":true}' : "{}");

export function kvJson(record: KvRecord, value: "value" | "no value" = "value"): string {
  const session = record.session === undefined || record.session === "" ? "" : `"Session":${jsonString(record.session)},`;
  const content = value === "value" ? jsonBytes(record.value) : "null";
  return `{"LockIndex":${record.lockIndex},"Key":${jsonString(record.key)},"Flags":${record.flags},"Value":${content},${session}${indexes(record)}`;
}

function nodeHead(record: NodeRecord): string {
  return `{"ID":${jsonString(record.id)},"Node":${jsonString(record.node)},"Address":${jsonString(record.address)},`;
}

export function nodeJson(record: NodeRecord): string {
  return `${nodeHead(record)}"Datacenter":${jsonString(record.datacenter)},"TaggedAddresses":${mapOrNull(record.taggedAddresses)},"Meta":${mapOrNull(record.meta)},${indexes(record)}`;
}

/** A service with its node's fields beside its own: /v1/catalog/service. */
export function serviceNodeJson({ node, service }: ServiceInstance): string {
  return (
    `${nodeHead(node)}"Datacenter":${jsonString(node.datacenter)},"TaggedAddresses":${mapOrNull(node.taggedAddresses)},` +
    `"NodeMeta":${mapOrNull(node.meta)},"ServiceKind":${jsonString(service.kind)},"ServiceID":${jsonString(service.id)},` +
    `"ServiceName":${jsonString(service.service)},"ServiceTags":${jsonStrings(service.tags)},"ServiceAddress":${jsonString(service.address)},` +
    `${addresses("ServiceTaggedAddresses", service.taggedAddresses)}"ServiceWeights":${weights(service.weights)},` +
    `"ServiceMeta":${jsonStringMap(service.meta ?? {})},"ServicePort":${service.port},"ServiceEnableTagOverride":${service.enableTagOverride},` +
    `"ServiceProxy":${proxyJson(service.proxy)},"ServiceConnect":${native(service.connectNative)},${indexes(service)}`
  );
}

export function nodeServiceJson(record: ServiceRecord, empty: EmptyLists = "empty"): string {
  const kind = record.kind === "" ? "" : `"Kind":${jsonString(record.kind)},`;
  return (
    `{${kind}"ID":${jsonString(record.id)},"Service":${jsonString(record.service)},"Tags":${listOr(record.tags, empty)},` +
    `"Address":${jsonString(record.address)},${addresses("TaggedAddresses", record.taggedAddresses)}"Meta":${mapOrNull(record.meta)},` +
    `"Port":${record.port},"Weights":${weights(record.weights)},"EnableTagOverride":${record.enableTagOverride},` +
    `"Proxy":${proxyJson(record.proxy)},"Connect":${native(record.connectNative)},${indexes(record)}`
  );
}

export function checkJson(record: CheckRecord, empty: EmptyLists = "empty"): string {
  return `${checkHead(record, record.node, record.serviceName, listOr(record.serviceTags, empty))}"Type":${jsonString(record.type)},"Definition":${definitionJson(record.definition)},${indexes(record)}`;
}

export function checkHead(check: CheckFields, node: string, serviceName: string, serviceTags: string): string {
  return (
    `{"Node":${jsonString(node)},"CheckID":${jsonString(check.checkId)},"Name":${jsonString(check.name)},"Status":${jsonString(check.status)},` +
    `"Notes":${jsonString(check.notes)},"Output":${jsonString(check.output)},"ServiceID":${jsonString(check.serviceId)},` +
    `"ServiceName":${jsonString(serviceName)},"ServiceTags":${serviceTags},`
  );
}

/** An instance with its node and checks: /v1/health/service. */
export function checkedInstanceJson(instance: CheckedInstance): string {
  return `{"Node":${nodeJson(instance.node)},"Service":${nodeServiceJson(instance.service)},"Checks":${jsonArray(instance.checks, plainCheck)}}`;
}

const plainCheck = (check: CheckRecord): string => checkJson(check);

export function nodeInfoJson(node: NodeRecord, services: readonly ServiceRecord[], checks: readonly CheckRecord[]): string {
  return (
    `${nodeHead(node)}"TaggedAddresses":${mapOrNull(node.taggedAddresses)},"Meta":${mapOrNull(node.meta)},` +
    `"Services":${jsonArray(services, (service) => nodeServiceJson(service, "null"))},"Checks":${jsonArray(checks, (check) => checkJson(check, "null"))}}`
  );
}

export function sessionJson(record: SessionRecord): string {
  const serviceChecks =
    record.serviceChecks === undefined
      ? "null"
      : jsonArray(record.serviceChecks, (check) => `{"ID":${jsonString(check.id)},"Namespace":${jsonString(check.namespace)}}`);
  const checks = record.checks === undefined || record.checks.length === 0 ? "" : `"Checks":${jsonStrings(record.checks)},`;
  return (
    `{"ID":${jsonString(record.id)},"Name":${jsonString(record.name)},"Node":${jsonString(record.node)},"LockDelay":${nanoseconds(record.lockDelay)},` +
    `"Behavior":${jsonString(record.behavior)},"TTL":${jsonString(record.ttl)},"NodeChecks":${jsonStrings(record.nodeChecks)},` +
    `"ServiceChecks":${serviceChecks},${checks}${indexes(record)}`
  );
}

/** A duration as Go writes an int64 of nanoseconds. */
function nanoseconds(millis: number): string {
  return Number.isSafeInteger(millis) ? (millis === 0 ? "0" : `${millis}000000`) : String(BigInt(Math.round(millis * 1e6)));
}

export function coordinateJson(value: Coordinate): string {
  return `{"Vec":${jsonArray(value.vec, String)},"Error":${value.error},"Adjustment":${value.adjustment},"Height":${value.height}}`;
}

export function coordinateEntryJson(entry: CoordinateEntry): string {
  return `{"Node":${jsonString(entry.node)},"Segment":${jsonString(entry.segment)},"Coord":${coordinateJson(entry.coordinate)}}`;
}

export function txnResultJson(result: TxnResult): string {
  switch (result.on) {
    case "kv":
      return `{"KV":${kvJson(result.record)}}`;
    case "node":
      return `{"Node":${nodeJson(result.record)}}`;
    case "service":
      return `{"Service":${nodeServiceJson(result.record, "null")}}`;
    case "check":
      return `{"Check":${checkJson(result.record, "null")}}`;
    default:
      return unreachable(result);
  }
}

const memberStatus = { none: 0, alive: 1, leaving: 2, left: 3, failed: 4 } as const;

export function memberJson(member: Member): string {
  return (
    `{"Name":${jsonString(member.name)},"Addr":${jsonString(member.address)},"Port":${member.port},"Tags":${jsonStringMap(member.tags)},` +
    `"Status":${memberStatus[member.status]},"ProtocolMin":${member.protocolMin},"ProtocolMax":${member.protocolMax},"ProtocolCur":${member.protocolCur},` +
    `"DelegateMin":${member.delegateMin},"DelegateMax":${member.delegateMax},"DelegateCur":${member.delegateCur}}`
  );
}

/** A service as its own agent shows it. `contentHash` "" leaves that field out. */
export function agentServiceJson(service: ServiceFields, contentHash: string): string {
  const kind = service.kind === "" ? "" : `"Kind":${jsonString(service.kind)},`;
  const hash = contentHash === "" ? "" : `,"ContentHash":${jsonString(contentHash)}`;
  const proxy = service.kind === "" || service.proxy === undefined ? "" : `,"Proxy":${proxyJson(service.proxy, "omit")}`;
  const connect = service.connectNative ? ',"Connect":{"Native":true}' : "";
  return (
    `{${kind}"ID":${jsonString(service.id)},"Service":${jsonString(service.service)},"Tags":${jsonStrings(service.tags)},` +
    `"Meta":${jsonStringMap(service.meta ?? {})},"Port":${service.port},"Address":${jsonString(service.address)},` +
    `${addresses("TaggedAddresses", service.taggedAddresses)}"Weights":${weights(service.weights)},"EnableTagOverride":${service.enableTagOverride}${hash}${proxy}${connect}}`
  );
}

const definitionOrder: readonly string[] = [
  "Interval",
  "OutputMaxSize",
  "Timeout",
  "DeregisterCriticalServiceAfter",
  "HTTP",
  "TLSSkipVerify",
  "Header",
  "Method",
  "Body",
  "TCP",
  "ScriptArgs",
  "DockerContainerID",
  "Shell",
  "GRPC",
  "GRPCUseTLS",
  "AliasNode",
  "AliasService",
  "TTL",
];
const proxyOrder: readonly string[] = [
  "DestinationServiceName",
  "DestinationServiceID",
  "LocalServiceAddress",
  "LocalServicePort",
  "Config",
  "Upstreams",
  "MeshGateway",
  "Expose",
];
const upstreamOrder: readonly string[] = [
  "DestinationType",
  "DestinationNamespace",
  "DestinationName",
  "Datacenter",
  "LocalBindAddress",
  "LocalBindPort",
  "Config",
  "MeshGateway",
];
const exposeOrder: readonly string[] = ["Checks", "Paths"];
const exposePathOrder: readonly string[] = ["ListenerPort", "Path", "LocalPathPort", "Protocol", "ParsedFromCheck"];

function definitionJson(definition: JsonObject): string {
  for (const _ in definition) return orderedJson(definition, definitionOrder);
  return "{}";
}

const noProxy = '{"MeshGateway":{},"Expose":{}}';

/** `MeshGateway` and `Expose` are always there. An upstream's empty fields are left out where an agent shows its own services. */
export function proxyJson(proxy: JsonObject | undefined, emptyUpstreamFields: Emptiness = "keep"): string {
  if (proxy === undefined) return noProxy;
  return orderedJson(
    { ...proxy, MeshGateway: proxy["MeshGateway"] ?? {}, Expose: proxy["Expose"] ?? {} },
    proxyOrder,
    (name, value) => {
      if (name === "MeshGateway") return ["keep", orderedJson(value as JsonObject, ["Mode"])];
      if (name === "Expose") return ["keep", exposeJson(value as JsonObject)];
      if (name === "Upstreams" && Array.isArray(value)) {
        return ["omit", jsonArray(value as readonly JsonObject[], (upstream) => upstreamJson(upstream, emptyUpstreamFields))];
      }
      return ["omit", jsonValue(value)];
    },
  );
}

const emptyUpstream: JsonObject = { DestinationType: "", DestinationName: "", Datacenter: "", LocalBindPort: 0, Config: null };

function upstreamJson(upstream: JsonObject, emptyFields: Emptiness): string {
  return orderedJson(
    { ...emptyUpstream, ...upstream, MeshGateway: upstream["MeshGateway"] ?? {} },
    upstreamOrder,
    (name, value) => {
      if (name === "MeshGateway") return ["keep", orderedJson(value as JsonObject, ["Mode"])];
      return [Object.hasOwn(emptyUpstream, name) ? emptyFields : "omit", jsonValue(value)];
    },
  );
}

function exposeJson(expose: JsonObject): string {
  return orderedJson(expose, exposeOrder, (name, value) => [
    "omit",
    name === "Paths" && Array.isArray(value) ? jsonArray(value as readonly JsonObject[], exposePathJson) : jsonValue(value),
  ]);
}

function exposePathJson(path: JsonObject): string {
  return orderedJson({ ParsedFromCheck: false, ...path }, exposePathOrder, (name, value) => [
    name === "ParsedFromCheck" ? "keep" : "omit",
    jsonValue(value),
  ]);
}

/** An object's fields in the given order, empty ones left out unless kept. */
function orderedJson(
  object: JsonObject,
  order: readonly string[],
  write: (name: string, value: Json) => readonly [Emptiness, string] = (_name, value) => ["omit", jsonValue(value)],
): string {
  let out = "";
  for (const name of order) {
    const value = object[name];
    if (value === undefined) continue;
    const [empty, written] = write(name, value);
    if (empty === "omit" && isEmpty(value)) continue;
    out += `${out === "" ? "" : ","}"${name}":${written}`;
  }
  return `{${out}}`;
}

function isEmpty(value: Json): boolean {
  if (value === null || value === "" || value === 0 || value === false) return true;
  if (typeof value !== "object") return false;
  return Array.isArray(value) ? value.length === 0 : Object.keys(value).length === 0;
}
