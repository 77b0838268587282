/**
 * Bodies of /v1/agent/service/register and check/register to definitions. What is accepted is Consul 1.8's: its Go
 * structs with their snake_case twins (definition-structs.ts). definitions-file.ts reads the same from files.
 */
import type { JsonObject, ServiceAddress } from "../catalog/records.ts";
import { AgentError } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import type { CheckDefinition, ServiceDefinition } from "./definitions.ts";
import { parseDuration } from "./duration.ts";
import { checkDefinitionStruct, serviceStruct } from "./definition-structs.ts";
import { type GoFields, readGoStruct } from "./go-json.ts";
import type { LiteralJsonValue } from "./json.ts";

/**
 * A service as an API client sends it. Throws `AgentError("bad-request")` with
 * "Request decode failed: …"; what the values mean together is checked by {@link validateServiceDefinition}.
 */
export function parseServiceRegistration(body: LiteralJsonValue): ServiceDefinition {
  return serviceOf(readGoStruct(serviceStruct, body));
}

/** A check as an API client sends it. Throws as {@link parseServiceRegistration} does. */
export function parseCheckRegistration(body: LiteralJsonValue): CheckDefinition {
  return checkOf(readGoStruct(checkDefinitionStruct, body));
}

/** The given fields of one struct, each with its zero value where it is missing. */
class Fields {
  readonly #fields: GoFields;
  constructor(fields: GoFields) {
    this.#fields = fields;
  }
  /** The first of the twins that is given and not empty. */
  text(...names: readonly string[]): string {
    for (const name of names) if (this.#fields.get(name)) return this.#fields.get(name) as string;
    return "";
  }
  number(...names: readonly string[]): number {
    for (const name of names) if (this.#fields.get(name)) return this.#fields.get(name) as number;
    return 0;
  }
  flag(...names: readonly string[]): boolean {
    return names.some((name) => this.#fields.get(name) === true);
  }
  texts(...names: readonly string[]): readonly string[] {
    for (const name of names) {
      const list = this.#fields.get(name) as readonly string[] | undefined;
      if (list !== undefined && list.length > 0) return list;
    }
    return [];
  }
  /** A string is a Go duration, a number is nanoseconds, anything else counts as not given: Consul's own leniency. */
  duration(...names: readonly string[]): Millis {
    for (const name of names) {
      const given = this.#fields.get(name);
      if (typeof given === "number") return nanoseconds(given);
      if (typeof given !== "string") continue;
      const parsed = parseDuration(given);
      if (parsed.kind === "invalid") throw new AgentError("bad-request", { message: `Request decode failed: ${parsed.problem}` });
      return parsed.millis;
    }
    return 0;
  }
  get<Value>(...names: readonly string[]): Value | undefined {
    for (const name of names) if (this.#fields.has(name)) return this.#fields.get(name) as Value;
    return undefined;
  }
}

/** What is no int64 becomes the least one when Go converts it: a negative duration, which validation then refuses. */
function nanoseconds(given: number): Millis {
  return (Math.abs(given) < 2 ** 63 ? Math.trunc(given) : -(2 ** 63)) / 1e6;
}

function checkOf(given: GoFields): CheckDefinition {
  const fields = new Fields(given);
  return {
    id: fields.text("ID", "CheckID"),
    name: fields.text("Name"),
    notes: fields.text("Notes"),
    serviceId: fields.text("ServiceID", "service_id"),
    token: fields.text("Token"),
    status: fields.text("Status"),
    args: fields.texts("ScriptArgs", "args", "script_args"),
    http: fields.text("HTTP"),
    header: fields.get<Readonly<Record<string, readonly string[]>>>("Header") ?? {},
    method: fields.text("Method"),
    body: fields.text("Body"),
    tcp: fields.text("TCP"),
    grpc: fields.text("GRPC"),
    grpcUseTls: fields.flag("GRPCUseTLS"),
    dockerContainerId: fields.text("DockerContainerID", "docker_container_id"),
    shell: fields.text("Shell"),
    aliasNode: fields.text("AliasNode"),
    aliasService: fields.text("AliasService"),
    ttl: fields.duration("TTL"),
    interval: fields.duration("Interval"),
    timeout: fields.duration("Timeout"),
    tlsSkipVerify: fields.flag("TLSSkipVerify", "tls_skip_verify"),
    successBeforePassing: fields.number("SuccessBeforePassing"),
    failuresBeforeCritical: fields.number("FailuresBeforeCritical"),
    deregisterCriticalServiceAfter: fields.duration("DeregisterCriticalServiceAfter", "deregister_critical_service_after"),
    outputMaxSize: fields.number("OutputMaxSize"),
  };
}

function serviceOf(given: GoFields): ServiceDefinition {
  const fields = new Fields(given);
  const addresses = fields.get<ReadonlyMap<string, GoFields>>("TaggedAddresses", "tagged_addresses");
  const weights = fields.get<GoFields>("Weights");
  const proxy = fields.get<GoFields>("Proxy");
  const connect = new Fields(fields.get<GoFields>("Connect") ?? new Map());
  const sidecar = connect.get<GoFields>("SidecarService", "sidecar_service");
  const single = fields.get<GoFields>("Check");
  // A Check that says nothing counts as none; such an element of Checks does not.
  const checks = single === undefined || saysNothing(single) ? [] : [checkOf(single)];
  for (const check of fields.get<readonly GoFields[]>("Checks") ?? []) checks.push(checkOf(check));
  return {
    kind: fields.text("Kind"),
    id: fields.text("ID"),
    name: fields.text("Name"),
    tags: fields.get<readonly string[]>("Tags") ?? [],
    address: fields.text("Address"),
    taggedAddresses:
      addresses === undefined
        ? undefined
        : Object.fromEntries(Array.from(addresses, ([name, address]) => [name, addressOf(address)])),
    meta: fields.get<Readonly<Record<string, string>>>("Meta"),
    port: fields.number("Port"),
    weights:
      weights === undefined
        ? undefined
        : { passing: new Fields(weights).number("Passing"), warning: new Fields(weights).number("Warning") },
    token: fields.text("Token"),
    enableTagOverride: fields.flag("EnableTagOverride", "enable_tag_override"),
    checks,
    proxy: proxy === undefined ? undefined : proxyOf(new Fields(proxy)),
    connectNative: connect.flag("Native"),
    sidecar: sidecar === undefined ? undefined : serviceOf(sidecar),
  };
}

/** Consul compares with the zero struct: an empty map or list that was given is already something. */
function saysNothing(check: GoFields): boolean {
  if ([...check.values()].some((value) => typeof value === "object")) return false;
  return Object.values(checkOf(check)).every((value) => !value || typeof value === "object");
}

function addressOf(given: GoFields): ServiceAddress {
  const fields = new Fields(given);
  return { address: fields.text("Address"), port: fields.number("Port") };
}

/** Under Consul's own names; only what was given. */
function proxyOf(fields: Fields): JsonObject {
  const expose = fields.get<GoFields>("Expose");
  const upstreams = fields.get<readonly GoFields[]>("Upstreams");
  return given({
    DestinationServiceName: fields.get("DestinationServiceName", "destination_service_name"),
    DestinationServiceID: fields.get("DestinationServiceID", "destination_service_id"),
    LocalServiceAddress: fields.get("LocalServiceAddress", "local_service_address"),
    LocalServicePort: fields.get("LocalServicePort", "local_service_port"),
    Config: fields.get("Config"),
    Upstreams: upstreams?.map((upstream) => upstreamOf(new Fields(upstream))),
    MeshGateway: meshGatewayOf(fields),
    Expose: expose === undefined ? undefined : exposeOf(new Fields(expose)),
  });
}

function upstreamOf(fields: Fields): JsonObject {
  return given({
    DestinationType: fields.get("DestinationType", "destination_type"),
    DestinationNamespace: fields.get("DestinationNamespace", "destination_namespace"),
    DestinationName: fields.get("DestinationName", "destination_name"),
    Datacenter: fields.get("Datacenter"),
    LocalBindAddress: fields.get("LocalBindAddress", "local_bind_address"),
    LocalBindPort: fields.get("LocalBindPort", "local_bind_port"),
    Config: fields.get("Config"),
    MeshGateway: meshGatewayOf(fields),
  });
}

function meshGatewayOf(fields: Fields): JsonObject | undefined {
  const gateway = fields.get<GoFields>("MeshGateway", "mesh_gateway");
  return gateway === undefined ? undefined : given({ Mode: new Fields(gateway).get("Mode") });
}

function exposeOf(fields: Fields): JsonObject {
  const paths = fields.get<readonly GoFields[]>("Paths");
  return given({ Checks: fields.get("Checks"), Paths: paths?.map((path) => exposePathOf(new Fields(path))) });
}

function exposePathOf(fields: Fields): JsonObject {
  return given({
    ListenerPort: fields.get("ListenerPort", "listener_port"),
    Path: fields.get("Path"),
    LocalPathPort: fields.get("LocalPathPort", "local_path_port"),
    Protocol: fields.get("Protocol"),
  });
}

function given(fields: Readonly<Record<string, unknown>>): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as JsonObject;
}
