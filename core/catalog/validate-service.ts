/** What Consul 1.8 refuses about a service wherever it is registered: the agent, the catalog, a transaction. */
import { errorList } from "../config/go-text.ts";
import { utf8 } from "../types/bytes.ts";
import type { ServiceFields, StringMap } from "./records.ts";

/** Consul's limits on a service's metadata. */
const metaPairsMax = 64;
const metaKeyBytesMax = 128;
const metaValueBytesMax = 512;
const metaReservedPrefix = "consul-";

/** Why the catalog refuses the service; undefined when it does not. */
export function serviceFault(service: ServiceFields): string | undefined {
  const proxyFaults = service.kind === "connect-proxy" ? connectProxyFaults(service) : [];
  if (proxyFaults.length > 0) return errorList(proxyFaults);
  if (service.id !== "" && service.service === "") return "Must provide service name with ID";
  if (service.address === "0.0.0.0" || service.address === "::" || service.address === "[::]") return "Invalid service address";
  return undefined;
}

function connectProxyFaults(service: ServiceFields): string[] {
  const faults: string[] = [];
  const destination = service.proxy?.["DestinationServiceName"];
  if (typeof destination !== "string" || destination.trim() === "") {
    faults.push("Proxy.DestinationServiceName must be non-empty for Connect proxy services");
  }
  if (service.port === 0) faults.push("Port must be set for a Connect proxy");
  if (service.connectNative) faults.push("A Proxy cannot also be Connect Native, only typical services");
  return faults;
}

/** Why a service's metadata is refused; undefined when it is not. */
export function metaFault(meta: StringMap | undefined): string | undefined {
  const pairs = Object.entries(meta ?? {});
  if (pairs.length > metaPairsMax) return `Node metadata cannot contain more than ${metaPairsMax} key/value pairs`;
  for (const [key, value] of pairs) {
    const fault = pairFault(key, value);
    if (fault !== undefined) return `Couldn't load metadata pair ('${key}', '${value}'): ${fault}`;
  }
  return undefined;
}

function pairFault(key: string, value: string): string | undefined {
  if (key === "") return "Key cannot be blank";
  if (!/^[a-zA-Z0-9_-]+$/.test(key)) return "Key contains invalid characters";
  if (utf8(key).length > metaKeyBytesMax) return `Key is too long (limit: ${metaKeyBytesMax} characters)`;
  if (key.startsWith(metaReservedPrefix)) return `Key prefix '${metaReservedPrefix}' is reserved for internal use`;
  if (utf8(value).length > metaValueBytesMax) return `Value is too long (limit: ${metaValueBytesMax} characters)`;
  return undefined;
}
