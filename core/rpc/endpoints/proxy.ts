/** Consul's struct of a proxy: complete on the wire, without its empty fields in our records. */
import type { Fields } from "../../codec/fields.ts";
import { type Encodable, Malformed } from "../../codec/msgpack.ts";
import type { Json, JsonObject } from "../../catalog/records.ts";
import { decodeJson, encodeJsonObject, structs } from "./wire-values.ts";

type Encoded = { readonly [field: string]: Encodable };

export function encodeProxy(proxy: JsonObject | undefined): Encoded {
  const given = proxy ?? {};
  const expose = objectOf(given["Expose"]);
  return {
    Config: configOf(given["Config"]),
    DestinationServiceID: textOf(given["DestinationServiceID"]),
    DestinationServiceName: textOf(given["DestinationServiceName"]),
    Expose: { Checks: expose["Checks"] === true, Paths: listOf(expose["Paths"], encodePath) },
    LocalServiceAddress: textOf(given["LocalServiceAddress"]),
    LocalServicePort: numberOf(given["LocalServicePort"]),
    MeshGateway: { Mode: textOf(objectOf(given["MeshGateway"])["Mode"]) },
    Upstreams: listOf(given["Upstreams"], encodeUpstream),
  };
}

function encodeUpstream(upstream: JsonObject): Encoded {
  return {
    Config: configOf(upstream["Config"]),
    Datacenter: textOf(upstream["Datacenter"]),
    DestinationName: textOf(upstream["DestinationName"]),
    DestinationNamespace: textOf(upstream["DestinationNamespace"]),
    DestinationType: textOf(upstream["DestinationType"]),
    IngressHosts: null,
    LocalBindAddress: textOf(upstream["LocalBindAddress"]),
    LocalBindPort: numberOf(upstream["LocalBindPort"]),
    MeshGateway: { Mode: textOf(objectOf(upstream["MeshGateway"])["Mode"]) },
  };
}

function encodePath(path: JsonObject): Encoded {
  return {
    ListenerPort: numberOf(path["ListenerPort"]),
    LocalPathPort: numberOf(path["LocalPathPort"]),
    ParsedFromCheck: path["ParsedFromCheck"] === true,
    Path: textOf(path["Path"]),
    Protocol: textOf(path["Protocol"]),
  };
}

/** Undefined for a proxy of which nothing is set: that of a typical service. Throws `Malformed`. */
export function decodeProxy(fields: Fields): JsonObject | undefined {
  const expose = fields.fields("Expose");
  const proxy = withoutEmpty({
    DestinationServiceName: fields.text("DestinationServiceName"),
    DestinationServiceID: fields.text("DestinationServiceID"),
    LocalServiceAddress: fields.text("LocalServiceAddress"),
    LocalServicePort: fields.signed("LocalServicePort"),
    Config: decodeConfig(fields),
    Upstreams: structs(fields, "Upstreams").map(decodeUpstream),
    MeshGateway: meshGateway(fields),
    Expose: withoutEmpty({ Checks: expose.flag("Checks"), Paths: structs(expose, "Paths").map(decodePath) }),
  });
  return Object.keys(proxy).length === 0 ? undefined : proxy;
}

function decodeUpstream(fields: Fields): JsonObject {
  return withoutEmpty({
    DestinationType: fields.text("DestinationType"),
    DestinationNamespace: fields.text("DestinationNamespace"),
    DestinationName: fields.text("DestinationName"),
    Datacenter: fields.text("Datacenter"),
    LocalBindAddress: fields.text("LocalBindAddress"),
    LocalBindPort: fields.signed("LocalBindPort"),
    Config: decodeConfig(fields),
    MeshGateway: meshGateway(fields),
  });
}

function decodePath(fields: Fields): JsonObject {
  return withoutEmpty({
    ListenerPort: fields.signed("ListenerPort"),
    Path: fields.text("Path"),
    LocalPathPort: fields.signed("LocalPathPort"),
    Protocol: fields.text("Protocol"),
    ParsedFromCheck: fields.flag("ParsedFromCheck"),
  });
}

function meshGateway(fields: Fields): JsonObject {
  return withoutEmpty({ Mode: fields.fields("MeshGateway").text("Mode") });
}

function decodeConfig(fields: Fields): Json {
  const config = decodeJson(fields.value("Config"));
  if (config !== null && (typeof config !== "object" || Array.isArray(config))) throw new Malformed("Config is not a map");
  return config;
}

/** As JSON with "omitempty" would show it. */
export function withoutEmpty(object: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => !isEmpty(value)));
}

function isEmpty(value: Json): boolean {
  if (value === null || value === "" || value === 0 || value === false) return true;
  if (typeof value !== "object") return false;
  return Array.isArray(value) ? value.length === 0 : Object.keys(value).length === 0;
}

export const textOf = (value: Json | undefined): string => (typeof value === "string" ? value : "");
export const numberOf = (value: Json | undefined): number => (typeof value === "number" ? value : 0);
export function objectOf(value: Json | undefined): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

function listOf(value: Json | undefined, encode: (item: JsonObject) => Encoded): Encodable {
  return Array.isArray(value) && value.length > 0 ? (value as readonly Json[]).map((item) => encode(objectOf(item))) : null;
}

function configOf(value: Json | undefined): Encodable {
  return value === undefined || value === null ? null : encodeJsonObject(objectOf(value));
}
