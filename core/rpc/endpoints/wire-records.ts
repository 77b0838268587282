/**
 * The catalog's records as Consul 1.8's structs: for each an encoder with every field the wire has, and a decoder that
 * takes what Go would take (missing and nil are zero, unknown fields are ignored). Decoders throw `Malformed`.
 */
import type { Fields } from "../../codec/fields.ts";
import { type Encodable, Float } from "../../codec/msgpack.ts";
import type { CoordinateEntry } from "../../catalog/queries.ts";
import type {
  CheckedInstance,
  CheckFields,
  CheckRecord,
  Coordinate,
  Indexed,
  JsonObject,
  KvRecord,
  NodeRecord,
  ServiceAddress,
  ServiceFields,
  ServiceInstance,
  ServiceRecord,
  SessionRecord,
  Weights,
} from "../../catalog/records.ts";
import { emptyBytes } from "../../types/bytes.ts";
import { decodeDefinition, encodeDefinition } from "./check-definition.ts";
import { decodeProxy, encodeProxy } from "./proxy.ts";
import {
  encodeMap,
  exactText,
  filled,
  indexField,
  listOrNil,
  millisField,
  nanoseconds,
  pointer,
  stringMapField,
  structs,
} from "./wire-values.ts";

type Encoded = { readonly [field: string]: Encodable };

/** What a client sends of a record: never applied, so it has no indexes yet. */
const unapplied: Indexed = { createIndex: 0, modifyIndex: 0 };

function encodeIndexed({ createIndex, modifyIndex }: Indexed): Encoded {
  return { CreateIndex: createIndex, ModifyIndex: modifyIndex };
}

function decodeIndexed(fields: Fields): Indexed {
  return { createIndex: indexField(fields, "CreateIndex"), modifyIndex: indexField(fields, "ModifyIndex") };
}

// ---- structs.Node

export function encodeNode(node: NodeRecord): Encoded {
  return {
    ID: node.id,
    Node: node.node,
    Address: node.address,
    Datacenter: node.datacenter,
    TaggedAddresses: encodeMap(node.taggedAddresses),
    Meta: encodeMap(node.meta),
    ...encodeIndexed(node),
  };
}

export function decodeNode(fields: Fields): NodeRecord {
  return {
    id: fields.text("ID"),
    node: fields.text("Node"),
    address: fields.text("Address"),
    datacenter: fields.text("Datacenter"),
    taggedAddresses: stringMapField(fields, "TaggedAddresses"),
    meta: stringMapField(fields, "Meta"),
    ...decodeIndexed(fields),
  };
}

// ---- structs.NodeService

const typicalProxy = encodeProxy(undefined);

function proxyOf(service: ServiceFields): Encoded {
  return service.proxy === undefined ? typicalProxy : encodeProxy(service.proxy);
}

/**
 * No tags are nil: so agents register a service that names none, and they compare what comes back with what they sent.
 * (One registered with an empty list they would send again with each comparison, which changes nothing.)
 */
export function encodeService(service: ServiceFields & Partial<Indexed>): Encoded {
  return {
    Kind: service.kind,
    ID: service.id,
    Service: service.service,
    Tags: listOrNil(service.tags),
    Address: service.address,
    TaggedAddresses: encodeAddresses(service.taggedAddresses),
    Meta: encodeMap(service.meta),
    Port: service.port,
    Weights: { Passing: service.weights.passing, Warning: service.weights.warning },
    EnableTagOverride: service.enableTagOverride,
    Proxy: proxyOf(service),
    Connect: { Native: service.connectNative, SidecarService: null },
    LocallyRegisteredAsSidecar: false,
    ...encodeIndexed({ ...unapplied, ...service }),
  };
}

export function decodeService(fields: Fields): ServiceFields & Indexed {
  return {
    kind: fields.text("Kind"),
    id: fields.text("ID"),
    service: fields.text("Service"),
    tags: fields.texts("Tags"),
    address: fields.text("Address"),
    taggedAddresses: decodeAddresses(fields, "TaggedAddresses"),
    meta: stringMapField(fields, "Meta"),
    port: fields.signed("Port"),
    weights: decodeWeights(pointer(fields, "Weights")),
    enableTagOverride: fields.flag("EnableTagOverride"),
    proxy: decodeProxy(fields.fields("Proxy")),
    connectNative: fields.fields("Connect").flag("Native"),
    ...decodeIndexed(fields),
  };
}

export function decodeServiceRecord(fields: Fields, node: string): ServiceRecord {
  return { node, ...decodeService(fields) };
}

function encodeAddresses(addresses: Readonly<Record<string, ServiceAddress>> | undefined): Encodable {
  if (addresses === undefined) return null;
  return new Map(Object.entries(addresses).map(([name, { address, port }]) => [name, { Address: address, Port: port }]));
}

function decodeAddresses(fields: Fields, name: string): Readonly<Record<string, ServiceAddress>> | undefined {
  const map = pointer(fields, name);
  if (map === undefined) return undefined;
  const entries = [...map.names()].map((key): [string, ServiceAddress] => {
    const entry = map.fields(key);
    return [key, { address: entry.text("Address"), port: entry.signed("Port") }];
  });
  return Object.fromEntries(entries);
}

/** Weights that cannot be are replaced by the default, both of them. */
function decodeWeights(fields: Fields | undefined): Weights {
  const passing = fields?.signed("Passing") ?? 0;
  const warning = fields?.signed("Warning") ?? 0;
  return passing < 1 || warning < 0 ? { passing: 1, warning: 1 } : { passing, warning };
}

// ---- structs.ServiceNode: an instance with its node's fields beside its own

export function encodeInstance({ node, service }: ServiceInstance): Encoded {
  const addresses = Object.keys(service.taggedAddresses ?? {}).length === 0 ? undefined : service.taggedAddresses;
  return {
    ID: node.id,
    Node: node.node,
    Address: node.address,
    Datacenter: node.datacenter,
    TaggedAddresses: encodeMap(node.taggedAddresses),
    NodeMeta: encodeMap(node.meta),
    ServiceKind: service.kind,
    ServiceID: service.id,
    ServiceName: service.service,
    ServiceTags: service.tags,
    ServiceAddress: service.address,
    ServiceTaggedAddresses: encodeAddresses(addresses),
    ServiceWeights: { Passing: service.weights.passing, Warning: service.weights.warning },
    ServiceMeta: encodeMap(service.meta ?? {}),
    ServicePort: service.port,
    ServiceEnableTagOverride: service.enableTagOverride,
    ServiceProxy: proxyOf(service),
    ServiceConnect: { Native: service.connectNative, SidecarService: null },
    ...encodeIndexed(service),
  };
}

/** The node's own indexes do not travel: they are 0. */
export function decodeInstance(fields: Fields): ServiceInstance {
  const node: NodeRecord = {
    id: fields.text("ID"),
    node: fields.text("Node"),
    address: fields.text("Address"),
    datacenter: fields.text("Datacenter"),
    taggedAddresses: stringMapField(fields, "TaggedAddresses"),
    meta: stringMapField(fields, "NodeMeta"),
    ...unapplied,
  };
  const service: ServiceRecord = {
    node: node.node,
    kind: fields.text("ServiceKind"),
    id: fields.text("ServiceID"),
    service: fields.text("ServiceName"),
    tags: fields.texts("ServiceTags"),
    address: fields.text("ServiceAddress"),
    taggedAddresses: decodeAddresses(fields, "ServiceTaggedAddresses"),
    meta: stringMapField(fields, "ServiceMeta"),
    port: fields.signed("ServicePort"),
    weights: decodeWeights(pointer(fields, "ServiceWeights")),
    enableTagOverride: fields.flag("ServiceEnableTagOverride"),
    proxy: decodeProxy(fields.fields("ServiceProxy")),
    connectNative: fields.fields("ServiceConnect").flag("Native"),
    ...decodeIndexed(fields),
  };
  return { node, service };
}

// ---- structs.HealthCheck

const noDefinition = encodeDefinition({});

function definitionOf(definition: JsonObject): Encodable {
  for (const _ in definition) return encodeDefinition(definition);
  return noDefinition;
}

/** A check as a registration carries it. `node` "" leaves it to the registration. */
export function encodeCheckFields(check: CheckFields & { readonly node?: string }): Encoded {
  return encodeCheck({ serviceName: "", serviceTags: [], ...unapplied, ...check, node: check.node ?? "" });
}

export function encodeCheck(check: CheckRecord): Encoded {
  return {
    Node: check.node,
    CheckID: check.checkId,
    Name: check.name,
    Status: check.status,
    Notes: check.notes,
    Output: check.output,
    ServiceID: check.serviceId,
    ServiceName: check.serviceName,
    ServiceTags: listOrNil(check.serviceTags),
    Type: check.type,
    Definition: definitionOf(check.definition),
    ...encodeIndexed(check),
  };
}

export function decodeCheck(fields: Fields): CheckRecord {
  return {
    node: fields.text("Node"),
    checkId: fields.text("CheckID"),
    name: fields.text("Name"),
    status: fields.text("Status"),
    notes: fields.text("Notes"),
    output: fields.text("Output"),
    serviceId: fields.text("ServiceID"),
    serviceName: fields.text("ServiceName"),
    serviceTags: fields.texts("ServiceTags"),
    type: fields.text("Type"),
    definition: decodeDefinition(fields.fields("Definition")),
    ...decodeIndexed(fields),
  };
}

// ---- structs.CheckServiceNode

export function encodeCheckedInstance({ node, service, checks }: CheckedInstance): Encoded {
  return { Node: encodeNode(node), Service: encodeService(service), Checks: listOrNil(checks.map(encodeCheck)) };
}

export function decodeCheckedInstance(fields: Fields): CheckedInstance {
  const node = decodeNode(fields.fields("Node"));
  const service = decodeServiceRecord(fields.fields("Service"), node.node);
  return { node, service, checks: structs(fields, "Checks").map(decodeCheck) };
}

// ---- structs.DirEntry

export function encodeKv(record: KvRecord): Encoded {
  return {
    Key: record.key,
    Value: filled(record.value),
    Flags: record.flags,
    LockIndex: record.lockIndex,
    Session: record.session ?? "",
    ...encodeIndexed(record),
  };
}

export function decodeKv(fields: Fields): KvRecord {
  return {
    key: exactText(fields, "Key"),
    value: fields.bytes("Value") ?? emptyBytes,
    flags: fields.wide("Flags"),
    lockIndex: indexField(fields, "LockIndex"),
    session: fields.text("Session") || undefined,
    ...decodeIndexed(fields),
  };
}

// ---- structs.Session

export function encodeSession(session: Omit<SessionRecord, keyof Indexed> & Partial<Indexed>): Encoded {
  return {
    ID: session.id,
    Name: session.name,
    Node: session.node,
    LockDelay: nanoseconds(session.lockDelay),
    Behavior: session.behavior,
    TTL: session.ttl,
    NodeChecks: listOrNil(session.nodeChecks),
    ServiceChecks: session.serviceChecks?.map(({ id, namespace }) => ({ ID: id, Namespace: namespace })) ?? null,
    Checks: session.checks ?? null,
    ...encodeIndexed({ ...unapplied, ...session }),
  };
}

/** `behavior` as it came: a server checks it before it believes the type. */
export function decodeSession(fields: Fields): SessionRecord {
  const checks = fields.texts("Checks");
  return {
    id: fields.text("ID"),
    name: fields.text("Name"),
    node: fields.text("Node"),
    lockDelay: millisField(fields, "LockDelay"),
    behavior: (fields.text("Behavior") || "release") as SessionRecord["behavior"],
    ttl: fields.text("TTL"),
    nodeChecks: fields.texts("NodeChecks"),
    serviceChecks: fields.value("ServiceChecks") === null ? undefined : structs(fields, "ServiceChecks").map(decodeServiceCheck),
    checks: checks.length === 0 ? undefined : checks,
    ...decodeIndexed(fields),
  };
}

function decodeServiceCheck(fields: Fields): { readonly id: string; readonly namespace: string } {
  return { id: fields.text("ID"), namespace: fields.text("Namespace") };
}

// ---- coordinate.Coordinate, structs.Coordinate

export function encodeCoordinate({ vec, error, adjustment, height }: Coordinate): Encoded {
  return {
    Vec: vec.map((part) => new Float(part)),
    Error: new Float(error),
    Adjustment: new Float(adjustment),
    Height: new Float(height),
  };
}

export function decodeCoordinate(fields: Fields): Coordinate {
  return {
    vec: fields.list("Vec").map((part) => (typeof part === "number" ? part : Number.NaN)),
    error: fields.float("Error"),
    adjustment: fields.float("Adjustment"),
    height: fields.float("Height"),
  };
}

export function encodeCoordinateEntry({ node, segment, coordinate }: CoordinateEntry): Encoded {
  return { Node: node, Segment: segment, Coord: encodeCoordinate(coordinate) };
}

export function decodeCoordinateEntry(fields: Fields): CoordinateEntry {
  return { node: fields.text("Node"), segment: fields.text("Segment"), coordinate: decodeCoordinate(fields.fields("Coord")) };
}
