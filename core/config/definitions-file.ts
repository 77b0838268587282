/** Services and checks of a configuration file, decoded already, to definitions. */
import type { JsonObject, ServiceAddress } from "../catalog/records.ts";
import type { Millis } from "../types/ids.ts";
import type { Setting, Settings } from "./decode.ts";
import type { CheckDefinition, ServiceDefinition } from "./definitions.ts";
import { metadataProblem, weightsProblem } from "./definitions-validate.ts";
import { parseDuration } from "./duration.ts";
import { goQuote } from "./go-text.ts";

/** Problems are added to `problems` in Consul's words; the definition is then not to be used. */
export function serviceFromFile(service: Settings, problems: string[]): ServiceDefinition {
  const name = text(service, "name");
  const kind = knownKinds.has(text(service, "kind")) ? text(service, "kind") : "";
  const meta = service.get("meta") as Readonly<Record<string, string>> | undefined;
  const metaProblem = metadataProblem(meta ?? {}, kind === "connect-proxy");
  if (metaProblem !== undefined) problems.push(`invalid meta for service ${name}: ${metaProblem}`);

  const weights = { passing: number(service, "weights.passing", 1), warning: number(service, "weights.warning", 1) };
  const weightProblem = weightsProblem(weights);
  if (weightProblem !== undefined) problems.push(`Invalid weight definition for service ${name}: ${weightProblem}`);

  const checks = ((service.get("checks") ?? []) as readonly Settings[]).map((check) => checkFromFile(check, problems));
  const single = service.get("check") as Settings | undefined;
  if (single !== undefined) checks.push(checkFromFile(single, problems));

  return {
    kind,
    id: text(service, "id"),
    name,
    tags: (service.get("tags") ?? []) as readonly string[],
    address: text(service, "address"),
    taggedAddresses: taggedAddresses(service.get("tagged_addresses") as Settings | undefined),
    meta,
    port: number(service, "port", 0),
    weights,
    token: text(service, "token"),
    enableTagOverride: service.get("enable_tag_override") === true,
    checks,
    proxy: proxy(service),
    connectNative: service.get("connect.native") === true,
    sidecar: sidecar(service.get("connect.sidecar_service") as Settings | undefined, problems),
  };
}

/** As {@link serviceFromFile}, for a check. */
export function checkFromFile(check: Settings, problems: string[]): CheckDefinition {
  const id = text(check, "id");
  const duration = (key: string): Millis => {
    const given = check.get(key);
    if (given === undefined) return 0;
    const parsed = parseDuration(given as string);
    if (parsed.kind === "duration") return parsed.millis;
    problems.push(`check[${id}].${key}: invalid duration: ${goQuote(given as string)}: ${parsed.problem}`);
    return 0;
  };
  return {
    id,
    name: text(check, "name"),
    notes: text(check, "notes"),
    serviceId: text(check, "service_id"),
    token: text(check, "token"),
    status: text(check, "status"),
    args: (check.get("args") ?? []) as readonly string[],
    http: text(check, "http"),
    header: (check.get("header") ?? {}) as Readonly<Record<string, readonly string[]>>,
    method: text(check, "method"),
    body: text(check, "body"),
    tcp: text(check, "tcp"),
    grpc: text(check, "grpc"),
    grpcUseTls: check.get("grpc_use_tls") === true,
    dockerContainerId: text(check, "docker_container_id"),
    shell: text(check, "shell"),
    aliasNode: text(check, "alias_node"),
    aliasService: text(check, "alias_service"),
    interval: duration("interval"),
    timeout: duration("timeout"),
    ttl: duration("ttl"),
    tlsSkipVerify: check.get("tls_skip_verify") === true,
    successBeforePassing: number(check, "success_before_passing", 0),
    failuresBeforeCritical: number(check, "failures_before_critical", 0),
    deregisterCriticalServiceAfter: duration("deregister_critical_service_after"),
    outputMaxSize: number(check, "output_max_size", 0),
  };
}

/** Another kind in a file counts as a typical service, as in Consul. */
const knownKinds: ReadonlySet<string> = new Set(["connect-proxy", "mesh-gateway", "terminating-gateway", "ingress-gateway"]);

function text(settings: Settings, key: string): string {
  return (settings.get(key) ?? "") as string;
}

function number(settings: Settings, key: string, fallback: number): number {
  return (settings.get(key) ?? fallback) as number;
}

function taggedAddresses(named: Settings | undefined): Readonly<Record<string, ServiceAddress>> | undefined {
  if (named === undefined) return undefined;
  const entries = Array.from(named, ([name, address]) => [
    name,
    { address: text(address as Settings, "address"), port: number(address as Settings, "port", 0) },
  ]);
  return Object.fromEntries(entries) as Readonly<Record<string, ServiceAddress>>;
}

function sidecar(given: Settings | undefined, problems: string[]): ServiceDefinition | undefined {
  if (given === undefined) return undefined;
  const definition = serviceFromFile(given, problems);
  if (definition.id !== "") problems.push("sidecar_service can't specify an ID");
  if (definition.sidecar !== undefined) problems.push("sidecar_service can't have a nested sidecar_service");
  return definition;
}

/** Keys of the file to the names of Consul's Proxy object. */
const proxyNames: Readonly<Record<string, string>> = {
  destination_service_name: "DestinationServiceName",
  destination_service_id: "DestinationServiceID",
  local_service_address: "LocalServiceAddress",
  local_service_port: "LocalServicePort",
  config: "Config",
  upstreams: "Upstreams",
  destination_type: "DestinationType",
  destination_namespace: "DestinationNamespace",
  destination_name: "DestinationName",
  datacenter: "Datacenter",
  local_bind_address: "LocalBindAddress",
  local_bind_port: "LocalBindPort",
  mesh_gateway: "MeshGateway",
  mode: "Mode",
  expose: "Expose",
  checks: "Checks",
  paths: "Paths",
  path: "Path",
  local_path_port: "LocalPathPort",
  listener_port: "ListenerPort",
  protocol: "Protocol",
};

function proxy(service: Settings): JsonObject | undefined {
  const inner: Settings = new Map();
  for (const [key, value] of service) if (key.startsWith("proxy.")) inner.set(key.slice("proxy.".length), value);
  return inner.size === 0 ? undefined : named(inner);
}

/** Dotted keys become objects again, under Consul's names; free-form values stay as they are. */
function named(settings: Settings): JsonObject {
  const out: Record<string, unknown> = {};
  for (const [key, value] of settings) {
    const path = key.split(".").map((part) => proxyNames[part] as string);
    let at = out;
    for (const part of path.slice(0, -1)) {
      at[part] ??= {};
      at = at[part] as Record<string, unknown>;
    }
    at[path[path.length - 1] as string] = Array.isArray(value)
      ? value.map((element: Setting) => (element instanceof Map ? named(element) : element))
      : value;
  }
  return out as JsonObject;
}
