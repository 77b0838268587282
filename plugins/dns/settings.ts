import type { AgentConfig } from "../../core/config/config.ts";
import type { Address } from "../../core/ports/net.ts";
import type { Millis } from "../../core/types/ids.ts";
import { parseIp } from "./ip.ts";
import { splitName, type Zones } from "./names.ts";
import type { SizeRules } from "./size.ts";

/** What the agent's configuration means for DNS, worked out once per configuration. */
export interface Settings {
  readonly config: AgentConfig;
  readonly zones: Zones;
  /** The primary domain without the last dot. */
  readonly domain: string;
  readonly datacenter: string;
  /** Seconds. */
  readonly nodeTtl: number;
  readonly recursors: readonly Address[];
  /** Entries of `recursors` that are no IP address: they are left out. */
  readonly badRecursors: readonly string[];
  readonly sizes: SizeRules;
  /** Seconds, for a service's name in lower case. */
  serviceTtl(service: string): number;
}

const dnsPort = 53;

export function settingsOf(config: AgentConfig): Settings {
  const domain = splitName(config.domain);
  const altDomain = splitName(config.altDomain);
  const recursors: Address[] = [];
  const badRecursors: string[] = [];
  for (const text of config.recursors) {
    const address = recursorAddress(text);
    if (address === undefined) badRecursors.push(text);
    else recursors.push(address);
  }
  const { udpAnswerLimit, enableTruncate, disableCompression } = config.dns;
  return {
    config,
    zones: { domain, altDomain: altDomain.length === 0 ? undefined : altDomain },
    domain: domain.join("."),
    datacenter: config.datacenter.toLowerCase(),
    nodeTtl: seconds(config.dns.nodeTtl),
    recursors,
    badRecursors,
    sizes: { udpAnswerLimit, enableTruncate, compress: !disableCompression },
    serviceTtl: serviceTtls(config.dns.serviceTtl),
  };
}

/** "8.8.8.8", "8.8.8.8:53", "2001:db8::1", "[2001:db8::1]:53". */
function recursorAddress(text: string): Address | undefined {
  if (parseIp(text) !== undefined) return { host: text, port: dnsPort };
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? "";
  const port = match?.[3] === undefined ? dnsPort : Number(match[3]);
  return parseIp(host) === undefined || port === 0 || port > 65535 ? undefined : { host, port };
}

/** The service's own name wins, then the longest prefix that ends in "*". */
function serviceTtls(ttls: Readonly<Record<string, Millis>>): (service: string) => number {
  const exact = new Map(Object.entries(ttls));
  const prefixes = [...exact].filter(([name]) => name.endsWith("*")).map(([name, ttl]) => ({ prefix: name.slice(0, -1), ttl }));
  prefixes.sort((left, right) => right.prefix.length - left.prefix.length);
  return (service) => seconds(exact.get(service) ?? prefixes.find(({ prefix }) => service.startsWith(prefix))?.ttl ?? 0);
}

/** Whole seconds within the 31 bits a TTL has (RFC 2181 section 8). */
function seconds(duration: Millis): number {
  return Math.min(Math.max(Math.floor(duration / 1000), 0), 0x7fffffff);
}
