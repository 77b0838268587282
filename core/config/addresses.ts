/** Address settings to addresses: templates filled in, each checked, in the words of Consul's messages. */
import type { Host } from "../ports/host.ts";
import { formatAddress } from "../ports/net.ts";
import type { ListenAddress } from "./config.ts";
import { goQuote } from "./go-text.ts";
import { inNetworks, parseIp, specialNetworks } from "./ip.ts";
import { expandTemplate } from "./sockaddr.ts";

export type Expander = Pick<Host, "interfaces">;

/** IP literals without brackets, and Unix sockets' paths. */
export type ExpandedAddress = { readonly host: string } | { readonly path: string };

/**
 * Addresses separated by spaces. When one is wrong the problem is noted and there are none: the callers go on, so
 * that what they find is told as well.
 */
export function expandAddresses(key: string, text: string, host: Expander, problems: string[]): readonly ExpandedAddress[] {
  const words = expandWords(key, text, host, problems);
  const addresses: ExpandedAddress[] = [];
  for (const word of words) {
    if (word.startsWith("unix://")) {
      addresses.push({ path: word.slice("unix://".length) });
      continue;
    }
    const bare = word.startsWith("[") && word.endsWith("]") ? word.slice(1, -1) : word;
    if (parseIp(bare) === undefined) {
      problems.push(`${key}: invalid ip address: ${word}`);
      return [];
    }
    addresses.push({ host: bare });
  }
  return addresses;
}

/** One IP address at most. Undefined when there is none, or when it is wrong; the latter is noted. */
export function expandIp(key: string, text: string, host: Expander, problems: string[]): string | undefined {
  const words = expandWords(key, text, host, problems);
  if (words.length > 1) {
    problems.push(`${key}: multiple addresses found: ${words.join(" ")}`);
    return undefined;
  }
  if (words[0]?.startsWith("unix://")) {
    problems.push(`${key} cannot be a unix socket`);
    return undefined;
  }
  const address = expandAddresses(key, words.join(" "), host, problems)[0];
  return address !== undefined && "host" in address ? address.host : undefined;
}

function expandWords(key: string, text: string, host: Expander, problems: string[]): readonly string[] {
  const expanded = expandTemplate(text, host);
  if (expanded.kind === "text") return expanded.text.split(/\s+/).filter((word) => word !== "");
  problems.push(`${key}: error parsing ${goQuote(text)}: ${expanded.problem}`);
  return [];
}

/** Where a surface listens. Nowhere when its port is off. */
export function listenAddresses(addresses: readonly ExpandedAddress[], port: number): readonly ListenAddress[] {
  if (port < 0) return [];
  return addresses.map((address) => ("path" in address ? address : { host: address.host, port }));
}

export function formatListen(address: ListenAddress): string {
  return "path" in address ? address.path : formatAddress(address);
}

const loopbackAndLink = ["127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10"];

export type Detected =
  | { readonly kind: "found"; readonly address: string }
  | { readonly kind: "problem"; readonly problem: string };

/**
 * The address to advertise when the agent binds to all: the one private IPv4 address, or the one public IPv6 address.
 * Loopback counts only on a machine that has nothing else.
 */
export function detectAddress(family: 4 | 6, host: Expander): Detected {
  const all = host.interfaces();
  const outward = all.filter((entry) => !entry.internal);
  const candidates = (outward.length > 0 ? outward : all)
    .filter((entry) => entry.family === family)
    .map((entry) => entry.address.replace(/%.*$/, ""))
    .filter((address) => {
      const ip = parseIp(address);
      return ip !== undefined && inNetworks(ip, [...specialNetworks, ...loopbackAndLink]) === (family === 4);
    });
  const kind = family === 4 ? "private IPv4" : "public IPv6";
  if (candidates.length > 1) {
    return { kind: "problem", problem: `Multiple ${kind} addresses found. Please configure one with 'bind' and/or 'advertise'.` };
  }
  const address = candidates[0];
  return address === undefined ? { kind: "problem", problem: `No ${kind} address found` } : { kind: "found", address };
}
