/**
 * What filter expressions may select in each kind of result, under Consul's names: the tables of selectors.
 */
import type {
  CheckedInstance,
  CheckRecord,
  JsonObject,
  NodeRecord,
  ServiceAddress,
  ServiceFields,
  ServiceInstance,
  StringMap,
  Weights,
} from "./records.ts";

/** A selectable part of `Parent`. What is inside is reached through `fields` or, for any key, through `element`. */
export type Field<Parent> =
  | { readonly kind: "text"; get(parent: Parent): string }
  | { readonly kind: "integer"; get(parent: Parent): number }
  | { readonly kind: "flag"; get(parent: Parent): boolean }
  | { readonly kind: "texts"; get(parent: Parent): readonly string[] }
  | { readonly kind: "map"; get(parent: Parent): Readonly<Record<string, unknown>> | undefined; readonly element: Field<never> }
  | { readonly kind: "record"; get(parent: Parent): unknown; readonly fields: FieldTable<never> }
  | { readonly kind: "records"; get(parent: Parent): readonly unknown[]; readonly fields: FieldTable<never> };

export type FieldTable<Row> = Readonly<Record<string, Field<Row>>>;

function text<Parent>(get: (parent: Parent) => string): Field<Parent> {
  return { kind: "text", get };
}
function integer<Parent>(get: (parent: Parent) => number): Field<Parent> {
  return { kind: "integer", get };
}
function flag<Parent>(get: (parent: Parent) => boolean): Field<Parent> {
  return { kind: "flag", get };
}
function texts<Parent>(get: (parent: Parent) => readonly string[]): Field<Parent> {
  return { kind: "texts", get };
}
function textMap<Parent>(get: (parent: Parent) => StringMap | undefined): Field<Parent> {
  return { kind: "map", get, element: text((value: string) => value) };
}
function record<Parent, Value>(get: (parent: Parent) => Value, fields: FieldTable<Value>): Field<Parent> {
  return { kind: "record", get, fields };
}
function records<Parent, Item>(get: (parent: Parent) => readonly Item[], fields: FieldTable<Item>): Field<Parent> {
  return { kind: "records", get, fields };
}

const whole = <Value>(value: Value): Value => value;

const addressFields: FieldTable<ServiceAddress> = {
  Address: text((address) => address.address),
  Port: integer((address) => address.port),
};
function addresses<Parent>(get: (parent: Parent) => Readonly<Record<string, ServiceAddress>> | undefined): Field<Parent> {
  return { kind: "map", get, element: record(whole<ServiceAddress>, addressFields) };
}
const weightFields: FieldTable<Weights> = {
  Passing: integer((weights) => weights.passing),
  Warning: integer((weights) => weights.warning),
};
const connectFields: FieldTable<ServiceFields> = { Native: flag((service) => service.connectNative) };

/** Consul's Proxy object is carried as JSON: what is absent there is zero. */
const jsonText = (key: string): Field<JsonObject> => text((object) => (typeof object[key] === "string" ? object[key] : ""));
const jsonInteger = (key: string): Field<JsonObject> => integer((object) => (typeof object[key] === "number" ? object[key] : 0));
const jsonFlag = (key: string): Field<JsonObject> => flag((object) => object[key] === true);
const jsonRecord = (key: string, fields: FieldTable<JsonObject>): Field<JsonObject> =>
  record((object) => (isObject(object[key]) ? object[key] : {}), fields);
const jsonRecords = (key: string, fields: FieldTable<JsonObject>): Field<JsonObject> =>
  records((object) => (Array.isArray(object[key]) ? object[key].filter(isObject) : []), fields);

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const gatewayFields: FieldTable<JsonObject> = { Mode: jsonText("Mode") };
const upstreamFields: FieldTable<JsonObject> = {
  DestinationType: jsonText("DestinationType"),
  DestinationNamespace: jsonText("DestinationNamespace"),
  DestinationName: jsonText("DestinationName"),
  Datacenter: jsonText("Datacenter"),
  LocalBindAddress: jsonText("LocalBindAddress"),
  LocalBindPort: jsonInteger("LocalBindPort"),
  MeshGateway: jsonRecord("MeshGateway", gatewayFields),
};
const exposedPathFields: FieldTable<JsonObject> = {
  ListenerPort: jsonInteger("ListenerPort"),
  LocalPathPort: jsonInteger("LocalPathPort"),
  Path: jsonText("Path"),
  Protocol: jsonText("Protocol"),
  ParsedFromCheck: jsonFlag("ParsedFromCheck"),
};
const proxyFields: FieldTable<JsonObject> = {
  DestinationServiceName: jsonText("DestinationServiceName"),
  DestinationServiceID: jsonText("DestinationServiceID"),
  LocalServiceAddress: jsonText("LocalServiceAddress"),
  LocalServicePort: jsonInteger("LocalServicePort"),
  MeshGateway: jsonRecord("MeshGateway", gatewayFields),
  Expose: jsonRecord("Expose", { Checks: jsonFlag("Checks"), Paths: jsonRecords("Paths", exposedPathFields) }),
  Upstreams: jsonRecords("Upstreams", upstreamFields),
};

/** catalog/nodes, and `Node` of a checked instance. */
export const nodeFields: FieldTable<NodeRecord> = {
  ID: text((node) => node.id),
  Node: text((node) => node.node),
  Address: text((node) => node.address),
  Datacenter: text((node) => node.datacenter),
  TaggedAddresses: textMap((node) => node.taggedAddresses),
  Meta: textMap((node) => node.meta),
};

/** catalog/node, catalog/node-services, agent/services, and `Service` of a checked instance. */
export const serviceFields: FieldTable<ServiceFields> = {
  Kind: text((service) => service.kind),
  ID: text((service) => service.id),
  Service: text((service) => service.service),
  Tags: texts((service) => service.tags),
  Address: text((service) => service.address),
  TaggedAddresses: addresses((service) => service.taggedAddresses),
  Meta: textMap((service) => service.meta),
  Port: integer((service) => service.port),
  Weights: record((service) => service.weights, weightFields),
  EnableTagOverride: flag((service) => service.enableTagOverride),
  Proxy: record((service) => service.proxy ?? {}, proxyFields),
  Connect: record(whole<ServiceFields>, connectFields),
};

/** health/node, health/checks, health/state, agent/checks, and `Checks` of a checked instance. */
export const checkFields: FieldTable<Omit<CheckRecord, "createIndex" | "modifyIndex">> = {
  Node: text((check) => check.node),
  CheckID: text((check) => check.checkId),
  Name: text((check) => check.name),
  Status: text((check) => check.status),
  Notes: text((check) => check.notes),
  Output: text((check) => check.output),
  ServiceID: text((check) => check.serviceId),
  ServiceName: text((check) => check.serviceName),
  ServiceTags: texts((check) => check.serviceTags),
  Type: text((check) => check.type),
};

/** catalog/service and catalog/connect. */
export const instanceFields: FieldTable<ServiceInstance> = {
  ID: text((instance) => instance.node.id),
  Node: text((instance) => instance.service.node),
  Address: text((instance) => instance.node.address),
  Datacenter: text((instance) => instance.node.datacenter),
  TaggedAddresses: textMap((instance) => instance.node.taggedAddresses),
  NodeMeta: textMap((instance) => instance.node.meta),
  ServiceKind: text((instance) => instance.service.kind),
  ServiceID: text((instance) => instance.service.id),
  ServiceName: text((instance) => instance.service.service),
  ServiceTags: texts((instance) => instance.service.tags),
  ServiceAddress: text((instance) => instance.service.address),
  ServiceTaggedAddresses: addresses((instance) => instance.service.taggedAddresses),
  ServiceWeights: record((instance) => instance.service.weights, weightFields),
  ServiceMeta: textMap((instance) => instance.service.meta),
  ServicePort: integer((instance) => instance.service.port),
  ServiceEnableTagOverride: flag((instance) => instance.service.enableTagOverride),
  ServiceProxy: record((instance) => instance.service.proxy ?? {}, proxyFields),
  ServiceConnect: record((instance) => instance.service, connectFields),
};

/** health/service, health/connect, health/ingress, internal/ui/services. */
export const checkedInstanceFields: FieldTable<CheckedInstance> = {
  Node: record((instance) => instance.node, nodeFields),
  Service: record((instance) => instance.service, serviceFields),
  Checks: records((instance) => instance.checks, checkFields),
};
