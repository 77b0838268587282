/**
 * Rules for services that stand in front of others: proxies, gateways, and services with a sidecar. All that are broken
 * are told together, in Consul's words.
 */
import type { JsonObject } from "../catalog/records.ts";
import type { ServiceDefinition } from "./definitions.ts";
import { goQuote } from "./go-text.ts";

export function proxyProblems(service: ServiceDefinition): readonly string[] {
  const proxy = service.proxy ?? {};
  const problems: string[] = [];
  if (service.kind === "connect-proxy") problems.push(...connectProxyProblems(service, proxy));
  if (gatewayKinds.has(service.kind)) problems.push(...gatewayProblems(service, proxy));
  if (service.sidecar !== undefined) {
    if (service.sidecar.id !== "") problems.push("A SidecarService cannot specify an ID as this is managed by the agent");
    if (service.sidecar.sidecar !== undefined) problems.push("A SidecarService cannot have a nested SidecarService");
  }
  return problems;
}

const gatewayKinds: ReadonlySet<string> = new Set(["mesh-gateway", "terminating-gateway", "ingress-gateway"]);

function connectProxyProblems(service: ServiceDefinition, proxy: JsonObject): readonly string[] {
  const problems: string[] = [];
  if (textOf(proxy, "DestinationServiceName").trim() === "") {
    problems.push("Proxy.DestinationServiceName must be non-empty for Connect proxy services");
  }
  if (service.port === 0) problems.push("Port must be set for a Connect proxy");
  if (service.connectNative) problems.push("A Proxy cannot also be Connect Native, only typical services");
  return [...problems, ...upstreamProblems(objectsOf(proxy, "Upstreams")), ...exposeProblems(objectOf(proxy, "Expose"))];
}

function upstreamProblems(upstreams: readonly JsonObject[]): readonly string[] {
  const problems: string[] = [];
  const destinations = new Set<string>();
  const binds = new Set<string>();
  for (const upstream of upstreams) {
    const type = textOf(upstream, "DestinationType") || "service";
    const name = textOf(upstream, "DestinationName");
    const port = numberOf(upstream, "LocalBindPort");
    if (type !== "service" && type !== "prepared_query") problems.push(`unknown upstream destination type: ${goQuote(type)}`);
    else if (name === "") problems.push("upstream destination name cannot be empty");
    else if (port === 0) problems.push("upstream local bind port cannot be zero");
    else {
      const parts = [type, name, textOf(upstream, "DestinationNamespace"), textOf(upstream, "Datacenter")].map(goQuote);
      const destination = `[type=${parts[0]}, name=${parts[1]}, namespace=${parts[2]}, datacenter=${parts[3]}]`;
      const bind = `${textOf(upstream, "LocalBindAddress") || "127.0.0.1"}:${port}`;
      if (destinations.has(destination)) problems.push(`upstreams cannot contain duplicates of ${destination}`);
      if (binds.has(bind)) {
        problems.push(`upstreams cannot contain duplicates by local bind address and port; ${goQuote(bind)} is specified twice`);
      }
      destinations.add(destination);
      binds.add(bind);
    }
  }
  return problems;
}

const portMax = 65535;

function exposeProblems(expose: JsonObject): readonly string[] {
  const problems: string[] = [];
  const paths = new Set<string>();
  const listeners = new Set<number>();
  for (const exposed of objectsOf(expose, "Paths")) {
    const path = textOf(exposed, "Path");
    const port = numberOf(exposed, "ListenerPort");
    const protocol = textOf(exposed, "Protocol").toLowerCase();
    if (path === "") problems.push("expose.paths: empty path exposed");
    if (paths.has(path)) problems.push("expose.paths: duplicate paths exposed");
    if (listeners.has(port)) problems.push("expose.paths: duplicate listener ports exposed");
    if (port <= 0 || port > portMax) problems.push(`expose.paths: invalid listener port: ${port}`);
    if (!["", "http", "http2"].includes(protocol)) {
      problems.push(`protocol '${protocol}' not supported for path: ${path}, must be in: [http2 http]`);
    }
    paths.add(path);
    listeners.add(port);
  }
  return problems;
}

function gatewayProblems(service: ServiceDefinition, proxy: JsonObject): readonly string[] {
  const problems: string[] = [];
  // An ingress gateway's listeners have ports of their own.
  if (service.port === 0 && service.kind !== "ingress-gateway") problems.push(`Port must be non-zero for a ${service.kind}`);
  if (service.sidecar !== undefined) problems.push(`A ${service.kind} cannot have a sidecar service defined`);
  for (const name of ["DestinationServiceName", "DestinationServiceID", "LocalServiceAddress", "LocalServicePort", "Upstreams"]) {
    const value = proxy[name];
    const empty = value === undefined || value === "" || value === 0 || (Array.isArray(value) && value.length === 0);
    if (!empty) problems.push(`The Proxy.${name} configuration is invalid for a ${service.kind}`);
  }
  return problems;
}

function textOf(object: JsonObject, key: string): string {
  const value = object[key];
  return typeof value === "string" ? value : "";
}

function numberOf(object: JsonObject, key: string): number {
  const value = object[key];
  return typeof value === "number" ? value : 0;
}

function objectOf(object: JsonObject, key: string): JsonObject {
  const value = object[key];
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

function objectsOf(object: JsonObject, key: string): readonly JsonObject[] {
  const value = object[key];
  return Array.isArray(value) ? (value as readonly JsonObject[]) : [];
}
