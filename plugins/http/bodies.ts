/** Request bodies: Go's structs as {@link GoType}s, and what decoding one fails with. */
import { formatDuration, parseDuration } from "../../core/config/duration.ts";
import { setOwn } from "../../core/config/go-text.ts";
import type {
  CheckFields,
  Json,
  JsonObject,
  ServiceAddress,
  ServiceFields,
  StringMap,
  Weights,
} from "../../core/catalog/records.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { HttpRequest } from "./extension.ts";
import {
  any,
  bool,
  custom,
  type Decoded,
  type DecodedFields,
  decode,
  float64,
  type GoType,
  int,
  JsonError,
  lenient,
  map,
  readJson,
  slice,
  string,
  struct,
  uint64,
} from "./json-decode.ts";
import { Refusal } from "./reply.ts";

/** No JSON body of the API is larger, but for transactions, which have a limit of their own. */
export const jsonBodyBytesMax = 1 << 20;

export interface BodyRules {
  readonly unknownFields: "refuse" | "ignore";
}

/** Decodes the body. Throws 400 `Request decode failed: …`. */
export async function readBody(request: HttpRequest, type: GoType, rules: BodyRules): Promise<DecodedFields> {
  const body = await request.body(jsonBodyBytesMax);
  return decodeOrRefuse(() => (decode(type, readJson(body), rules) ?? {}) as DecodedFields);
}

/** Runs a decoder; what it finds wrong becomes Consul's 400. */
export function decodeOrRefuse<Value>(act: () => Value): Value {
  try {
    return act();
  } catch (error) {
    if (error instanceof JsonError) throw new Refusal(400, `Request decode failed: ${enterpriseHint(error.message)}`);
    throw error;
  }
}

/** Namespaces are Enterprise fields: Consul says so where one turns up. */
function enterpriseHint(problem: string): string {
  return /unknown field "(?:Namespace|NodeNamespace|SourceNamespace)"$/i.test(problem)
    ? `${problem} - Namespaces are a Consul Enterprise feature`
    : problem;
}

const weights = struct("structs.Weights", { Passing: int, Warning: int });
const serviceAddress = struct("structs.ServiceAddress", { Address: string, Port: int });
const meshGateway = struct("structs.MeshGatewayConfig", { Mode: string });
const upstream = custom(
  struct("structs.Upstream", {
    DestinationType: string,
    DestinationNamespace: string,
    DestinationName: string,
    Datacenter: string,
    LocalBindAddress: string,
    LocalBindPort: int,
    Config: map(any),
    MeshGateway: meshGateway,
  }),
);
const expose = struct("structs.ExposeConfig", {
  Checks: bool,
  Paths: slice(custom(struct("structs.ExposePath", { ListenerPort: int, Path: string, LocalPathPort: int, Protocol: string }))),
});
const proxy = custom(
  struct("structs.ConnectProxyConfig", {
    DestinationServiceName: string,
    DestinationServiceID: string,
    LocalServiceAddress: string,
    LocalServicePort: int,
    Config: map(any),
    Upstreams: slice(upstream),
    MeshGateway: meshGateway,
    Expose: expose,
  }),
);
const connect = lenient(struct("structs.ServiceConnect", { Native: bool, SidecarService: any }));

export const nodeService = struct("structs.NodeService", {
  Kind: string,
  ID: string,
  Service: string,
  Tags: slice(string),
  Address: string,
  TaggedAddresses: map(serviceAddress),
  Meta: map(string),
  Port: int,
  Weights: weights,
  EnableTagOverride: bool,
  Proxy: proxy,
  Connect: connect,
  CreateIndex: uint64,
  ModifyIndex: uint64,
});

/** Milliseconds of a number of nanoseconds or a Go duration; 0 for anything else, as Consul takes it. */
function millisOf(value: Decoded): number {
  if (typeof value === "number") return Math.trunc(value) / 1e6;
  if (typeof value !== "string") return 0;
  const parsed = parseDuration(value);
  if (parsed.kind === "invalid") throw new JsonError(parsed.problem);
  return parsed.millis;
}

/** What Go prints for a duration, "" for none. */
const durationText = custom(any, (value) => (millisOf(value) === 0 ? "" : formatDuration(millisOf(value))));
/** The one duration of a check's definition that is shown as a number. */
const durationNanoseconds = custom(any, (value) => Math.round(millisOf(value) * 1e6));

const definition = lenient(
  struct("structs.HealthCheckDefinition", {
    HTTP: string,
    TLSSkipVerify: bool,
    Header: map(slice(string)),
    Method: string,
    Body: string,
    TCP: string,
    Interval: durationText,
    OutputMaxSize: uint64,
    Timeout: durationText,
    DeregisterCriticalServiceAfter: durationText,
    ScriptArgs: slice(string),
    DockerContainerID: string,
    Shell: string,
    GRPC: string,
    GRPCUseTLS: bool,
    AliasNode: string,
    AliasService: string,
    TTL: durationNanoseconds,
    IntervalDuration: any,
    TimeoutDuration: any,
    DeregisterCriticalServiceAfterDuration: any,
  }),
);

export const healthCheck = struct("structs.HealthCheck", {
  Node: string,
  CheckID: string,
  Name: string,
  Status: string,
  Notes: string,
  Output: string,
  ServiceID: string,
  ServiceName: string,
  ServiceTags: slice(string),
  Type: string,
  Definition: definition,
  CreateIndex: uint64,
  ModifyIndex: uint64,
});

export const registerRequest = struct("structs.RegisterRequest", {
  Datacenter: string,
  ID: string,
  Node: string,
  Address: string,
  TaggedAddresses: map(string),
  NodeMeta: map(string),
  Service: nodeService,
  Check: healthCheck,
  Checks: slice(healthCheck),
  SkipNodeUpdate: bool,
});

export const deregisterRequest = custom(
  struct("", { Datacenter: string, Node: string, ServiceID: string, CheckID: string, Address: string }),
);

export const coordinateUpdate = struct("structs.CoordinateUpdateRequest", {
  Datacenter: string,
  Node: string,
  Segment: string,
  Coord: struct("coordinate.Coordinate", { Vec: slice(float64), Error: float64, Adjustment: float64, Height: float64 }),
});

export const text = (value: Decoded): string => (typeof value === "string" ? value : "");
export const flag = (value: Decoded): boolean => value === true;
export const number = (value: Decoded): number => (typeof value === "number" || typeof value === "bigint" ? Number(value) : 0);
export const texts = (value: Decoded): readonly string[] => (Array.isArray(value) ? (value as readonly Decoded[]).map(text) : []);
export const fields = (value: Decoded): DecodedFields | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
    ? (value as DecodedFields)
    : undefined;
export const list = (value: Decoded): readonly DecodedFields[] =>
  Array.isArray(value) ? (value as readonly Decoded[]).map((item) => fields(item) ?? {}) : [];
/** Undefined stays undefined: an absent map is `null` in replies, an empty one `{}`. */
export function stringMap(value: Decoded): StringMap | undefined {
  const given = fields(value);
  if (given === undefined) return undefined;
  const out: Record<string, string> = {};
  for (const [key, item] of Object.entries(given)) setOwn(out, key, text(item));
  return out;
}

/** A service as /v1/catalog/register and transactions take it. */
export function serviceFields(given: DecodedFields): ServiceFields {
  const addresses = fields(given["TaggedAddresses"]);
  const id = text(given["ID"]);
  const service = text(given["Service"]);
  return {
    kind: text(given["Kind"]),
    id: id === "" ? service : id,
    service,
    tags: texts(given["Tags"]),
    address: text(given["Address"]),
    taggedAddresses: addresses === undefined ? undefined : serviceAddresses(addresses),
    meta: stringMap(given["Meta"]),
    port: number(given["Port"]),
    weights: weightsOf(fields(given["Weights"])),
    enableTagOverride: flag(given["EnableTagOverride"]),
    proxy: proxyObject(fields(given["Proxy"]), text(given["Kind"])),
    connectNative: flag(fields(given["Connect"])?.["Native"]),
  };
}

/** A weight that cannot be is replaced by the default, both of them. */
function weightsOf(given: DecodedFields | undefined): Weights {
  const passing = number(given?.["Passing"]);
  const warning = number(given?.["Warning"]);
  return passing < 1 || warning < 0 ? { passing: 1, warning: 1 } : { passing, warning };
}

function serviceAddresses(given: DecodedFields): Readonly<Record<string, ServiceAddress>> {
  const out: Record<string, ServiceAddress> = {};
  for (const [name, value] of Object.entries(given))
    setOwn(out, name, { address: text(fields(value)?.["Address"]), port: number(fields(value)?.["Port"]) });
  return out;
}

function proxyObject(given: DecodedFields | undefined, kind: string): JsonObject | undefined {
  if (given === undefined || (kind === "" && Object.keys(given).length === 0)) return undefined;
  return given as JsonObject;
}

/** A check as /v1/catalog/register and transactions take it. */
export function checkFields(given: DecodedFields): CheckFields {
  const definition = (fields(given["Definition"]) ?? {}) as JsonObject;
  return {
    checkId: text(given["CheckID"]),
    name: text(given["Name"]),
    status: text(given["Status"]),
    notes: text(given["Notes"]),
    output: text(given["Output"]),
    serviceId: text(given["ServiceID"]),
    type: text(given["Type"]),
    definition: withoutEmpty(definition),
  };
}

function withoutEmpty(object: JsonObject): JsonObject {
  const kept: Record<string, Json> = {};
  for (const [name, value] of Object.entries(object)) {
    if (value !== "" && value !== 0 && value !== false && value !== null && value !== undefined) kept[name] = value;
  }
  return kept;
}

/** Throws Consul's text for a rejected command. */
export function rejected(message: string): AgentError {
  return new AgentError("rejected", { message });
}
