/** A service definition as the body of PUT /v1/agent/service/register. What is not set is left out: the agent decides. */
import { formatDuration } from "../../core/config/duration.ts";
import type { CheckDefinition, ServiceDefinition } from "../../core/config/definitions.ts";
import type { Json } from "./json.ts";

export function registrationBody(service: ServiceDefinition): Json {
  return {
    ...set("Kind", service.kind),
    ...set("ID", service.id),
    ...set("Name", service.name),
    ...set("Tags", service.tags),
    ...set("Address", service.address),
    ...set("TaggedAddresses", service.taggedAddresses && taggedAddressesBody(service.taggedAddresses)),
    ...set("Meta", service.meta),
    ...set("Port", service.port),
    ...set("Weights", service.weights && { Passing: service.weights.passing, Warning: service.weights.warning }),
    ...set("EnableTagOverride", service.enableTagOverride),
    // Consul's own command drops the token of a definition, and the service then cannot be synchronised where it needs one.
    ...set("Token", service.token),
    ...set("Checks", service.checks.map(checkBody)),
    ...set("Proxy", service.proxy as Json | undefined),
    ...set("Connect", connectBody(service)),
  };
}

function connectBody({ connectNative, sidecar }: ServiceDefinition): Json | undefined {
  if (!connectNative && sidecar === undefined) return undefined;
  return { ...set("Native", connectNative), ...(sidecar !== undefined && { SidecarService: registrationBody(sidecar) }) };
}

function taggedAddressesBody(addresses: NonNullable<ServiceDefinition["taggedAddresses"]>): Json {
  return Object.fromEntries(Object.entries(addresses).map(([tag, { address, port }]) => [tag, { Address: address, Port: port }]));
}

function checkBody(check: CheckDefinition): Json {
  return {
    ...set("CheckID", check.id),
    ...set("Name", check.name),
    ...set("Notes", check.notes),
    ...set("Status", check.status),
    ...set("Args", check.args),
    ...set("HTTP", check.http),
    ...set("Header", check.header),
    ...set("Method", check.method),
    ...set("Body", check.body),
    ...set("TCP", check.tcp),
    ...set("GRPC", check.grpc),
    ...set("GRPCUseTLS", check.grpcUseTls),
    ...set("DockerContainerID", check.dockerContainerId),
    ...set("Shell", check.shell),
    ...set("AliasNode", check.aliasNode),
    ...set("AliasService", check.aliasService),
    ...duration("TTL", check.ttl),
    ...duration("Interval", check.interval),
    ...duration("Timeout", check.timeout),
    ...set("TLSSkipVerify", check.tlsSkipVerify),
    ...set("SuccessBeforePassing", check.successBeforePassing),
    ...set("FailuresBeforeCritical", check.failuresBeforeCritical),
    ...duration("DeregisterCriticalServiceAfter", check.deregisterCriticalServiceAfter),
    ...set("OutputMaxSize", check.outputMaxSize),
  };
}

function duration(name: string, millis: number): Readonly<Record<string, Json>> {
  return millis === 0 ? {} : { [name]: formatDuration(millis) };
}

/** One field, or none when the value is Go's zero. */
function set(name: string, value: Json | undefined): Readonly<Record<string, Json>> {
  const zero = value === undefined || value === "" || value === 0 || value === false;
  const empty = typeof value === "object" && value !== null && Object.keys(value).length === 0;
  return zero || empty ? {} : { [name]: value };
}
