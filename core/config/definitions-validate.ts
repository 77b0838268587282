/** What a definition's values must be together. Each function gives Consul's sentence, or undefined when all is well. */
import type { StringMap, Weights } from "../catalog/records.ts";
import type { CheckDefinition, ServiceDefinition } from "./definitions.ts";
import { errorList } from "./go-text.ts";
import { proxyProblems } from "./proxy-validate.ts";

/** The order of the rules is Consul's, since the first one broken is the one that is told. */
export function validateServiceDefinition(service: ServiceDefinition): string | undefined {
  if (service.name === "") return "Missing service name";
  if (isAnyAddress(service.address)) return "Invalid service address";
  const weights = service.weights === undefined ? undefined : weightsProblem(service.weights);
  if (weights !== undefined) return `Invalid Weights: ${weights}`;
  const meta = metadataProblem(service.meta ?? {}, false);
  if (meta !== undefined) return `Invalid Service Meta: ${meta}`;
  const rules = proxyProblems(service);
  if (rules.length > 0) return errorList(rules);
  return (
    service.checks.reduce<string | undefined>((found, check) => found ?? serviceCheckProblem(check), undefined) ??
    (service.sidecar?.checks ?? []).reduce<string | undefined>((found, check) => found ?? sidecarCheckProblem(check), undefined)
  );
}

/** A check on its own, as /v1/agent/check/register takes it. */
export function validateCheckDefinition(check: CheckDefinition): string | undefined {
  if (check.name === "") return "Missing check name";
  if (!isStatus(check.status)) return "Bad check status";
  const problem = checkTypeProblem(check);
  return problem === undefined ? undefined : `Invalid check: ${problem}`;
}

/** Whether the fields of a check make one of the known kinds, without saying where the check stands. */
export function checkTypeProblem(check: CheckDefinition): string | undefined {
  const byInterval = check.args.length > 0 || check.http !== "" || check.tcp !== "" || check.grpc !== "";
  const alias = check.aliasNode !== "" || check.aliasService !== "";
  if (check.interval > 0 && check.ttl > 0) return "Interval and TTL cannot both be specified";
  if (byInterval && check.interval <= 0) return "Interval must be > 0 for Script, HTTP, or TCP checks";
  if (alias && byInterval) return "Interval cannot be set for Alias checks";
  if (alias && check.ttl > 0) return "TTL must be not be set for Alias checks";
  if (!byInterval && !alias && check.ttl <= 0) return "TTL must be > 0 for TTL checks";
  if (check.outputMaxSize < 0) return "MaxOutputMaxSize must be positive";
  return undefined;
}

const metadataPairsMax = 64;
const metadataKeyBytesMax = 128;
const metadataValueBytesMax = 512;
const encoder = new TextEncoder();

/** Metadata of a node or a service. Keys that begin with "consul-" are Consul's own, unless `reservedAllowed`. */
export function metadataProblem(meta: StringMap, reservedAllowed: boolean): string | undefined {
  const pairs = Object.entries(meta);
  if (pairs.length > metadataPairsMax) return `Node metadata cannot contain more than ${metadataPairsMax} key/value pairs`;
  for (const [key, value] of pairs) {
    const problem = pairProblem(key, value, reservedAllowed);
    if (problem !== undefined) return `Couldn't load metadata pair ('${key}', '${value}'): ${problem}`;
  }
  return undefined;
}

function pairProblem(key: string, value: string, reservedAllowed: boolean): string | undefined {
  if (key === "") return "Key cannot be blank";
  if (!/^[a-zA-Z0-9_-]+$/.test(key)) return "Key contains invalid characters";
  if (encoder.encode(key).length > metadataKeyBytesMax) return `Key is too long (limit: ${metadataKeyBytesMax} characters)`;
  if (key.startsWith("consul-") && !reservedAllowed) return "Key prefix 'consul-' is reserved for internal use";
  if (encoder.encode(value).length > metadataValueBytesMax)
    return `Value is too long (limit: ${metadataValueBytesMax} characters)`;
  return undefined;
}

const weightMax = 65535;

export function weightsProblem(weights: Weights): string | undefined {
  if (weights.passing < 1) return "Passing must be greater than 0";
  if (weights.warning < 0) return "Warning must be greater or equal than 0";
  if (weights.passing > weightMax || weights.warning > weightMax) return `DNS Weight must be between 0 and ${weightMax}`;
  return undefined;
}

function serviceCheckProblem(check: CheckDefinition): string | undefined {
  const problem = checkTypeProblem(check);
  if (problem !== undefined) return `Invalid check: ${problem}`;
  return isStatus(check.status) ? undefined : "Status for checks must 'passing', 'warning', 'critical'";
}

function sidecarCheckProblem(check: CheckDefinition): string | undefined {
  const problem = checkTypeProblem(check);
  if (problem !== undefined) return `Invalid check in sidecar_service: ${problem}`;
  return isStatus(check.status) ? undefined : "Status for checks must 'passing', 'warning', 'critical'";
}

function isStatus(status: string): boolean {
  return status === "" || status === "passing" || status === "warning" || status === "critical";
}

/** Addresses that stand for every interface and so can be nobody's address. */
export function isAnyAddress(address: string): boolean {
  return address === "0.0.0.0" || address === "::" || address === "[::]";
}
