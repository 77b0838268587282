/**
 * Address templates: `{{ GetPrivateIP }}`, `{{ GetInterfaceIP "eth0" }}`,
 * `{{ GetPrivateInterfaces | include "network" "10.0.0.0/8" | attr "address" }}`.
 *
 * The functions of hashicorp/go-sockaddr that people use, over the interfaces the host reports. What needs the routing
 * table, and what is not here, is refused by name.
 */
import type { Host } from "../ports/host.ts";
import { inNetworks, type Ip, isIp, networkContains, parseIp, parseNetwork, specialNetworks } from "./ip.ts";

export type Expanded = { readonly kind: "text"; readonly text: string } | { readonly kind: "invalid"; readonly problem: string };

interface InterfaceAddress {
  readonly name: string;
  readonly address: string;
  readonly ip: Ip;
  readonly internal: boolean;
}

/** What never leaves a machine or a link, and so is nobody's address for others. */
const unroutedNetworks = ["127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10"];

const templateLengthMax = 1024;

/** Text without `{{` is given back as it is. */
export function expandTemplate(text: string, host: Pick<Host, "interfaces">): Expanded {
  if (!text.includes("{{")) return { kind: "text", text };
  if (text.length > templateLengthMax)
    return { kind: "invalid", problem: `template is longer than ${templateLengthMax} characters` };
  let out = "";
  let rest = text;
  for (;;) {
    const open = rest.indexOf("{{");
    if (open < 0) return { kind: "text", text: out + rest };
    const close = rest.indexOf("}}", open);
    if (close < 0) return { kind: "invalid", problem: "unclosed action" };
    const value = evaluate(
      rest
        .slice(open + 2, close)
        .replace(/^-/, "")
        .replace(/-$/, ""),
      host,
    );
    if (value.kind === "invalid") return value;
    out += rest.slice(0, open) + value.text;
    rest = rest.slice(close + 2);
  }
}

function evaluate(action: string, host: Pick<Host, "interfaces">): Expanded {
  let value: string | readonly InterfaceAddress[] | undefined;
  for (const stage of splitPipeline(action)) {
    const [name, ...args] = wordsOf(stage) ?? [];
    if (name === undefined) return { kind: "invalid", problem: `cannot read ${JSON.stringify(action.trim())}` };
    const next = value === undefined ? call(name, args, host) : filter(name, args, value);
    if (typeof next === "object" && "kind" in next) return next;
    value = next;
  }
  if (typeof value === "string") return { kind: "text", text: value };
  return { kind: "invalid", problem: 'a list of interfaces is no address: end with | attr "address" or | join "address" " "' };
}

type Value = string | readonly InterfaceAddress[];
type Invalid = { readonly kind: "invalid"; readonly problem: string };

function call(name: string, args: readonly string[], host: Pick<Host, "interfaces">): Value | Invalid {
  const all = allAddresses(host);
  const routed = all.filter((entry) => !entry.internal && !inNetworks(entry.ip, unroutedNetworks));
  const ofPrivate = routed.filter((entry) => inNetworks(entry.ip, specialNetworks));
  const ofPublic = routed.filter((entry) => !inNetworks(entry.ip, specialNetworks));
  switch (name) {
    case "GetAllInterfaces":
      return all;
    case "GetPrivateInterfaces":
      return ofPrivate;
    case "GetPublicInterfaces":
      return ofPublic;
    case "GetPrivateIP":
      return ofPrivate[0]?.address ?? "";
    case "GetPrivateIPs":
      return addressesOf(ofPrivate);
    case "GetPublicIP":
      return ofPublic[0]?.address ?? "";
    case "GetPublicIPs":
      return addressesOf(ofPublic);
    case "GetInterfaceIP":
      return all.find((entry) => entry.name === args[0])?.address ?? "";
    case "GetInterfaceIPs":
      return addressesOf(all.filter((entry) => entry.name === args[0]));
    default:
      return isIp(name) ? name : { kind: "invalid", problem: `function "${name}" is not supported` };
  }
}

function filter(name: string, args: readonly string[], value: Value): Value | Invalid {
  if (typeof value === "string") return { kind: "invalid", problem: `"${name}" needs a list of interfaces` };
  const count = Number(args[0]);
  switch (name) {
    case "include":
    case "exclude": {
      const matches = matcher(args[0], args[1]);
      if (matches === undefined)
        return { kind: "invalid", problem: `${name} by "${args[0] ?? ""}" "${args[1] ?? ""}" is not supported` };
      return value.filter((entry) => matches(entry) === (name === "include"));
    }
    case "sort":
      return sorted(args[0] ?? "", value);
    case "limit":
      return Number.isInteger(count) && count >= 0 ? value.slice(0, count) : { kind: "invalid", problem: "limit needs a number" };
    case "offset":
      return Number.isInteger(count) ? value.slice(count) : { kind: "invalid", problem: "offset needs a number" };
    case "attr":
      return args[0] === "address" || args[0] === "name"
        ? (value[0]?.[args[0]] ?? "")
        : { kind: "invalid", problem: `attr "${args[0] ?? ""}" is not supported` };
    case "join":
      if (args[0] !== "address" && args[0] !== "name")
        return { kind: "invalid", problem: `join "${args[0] ?? ""}" is not supported` };
      return value.map((entry) => entry[args[0] as "address" | "name"]).join(args[1] ?? " ");
    default:
      return { kind: "invalid", problem: `function "${name}" is not supported` };
  }
}

function matcher(by: string | undefined, wanted: string | undefined): ((entry: InterfaceAddress) => boolean) | undefined {
  if (wanted === undefined) return undefined;
  switch (by) {
    case "name":
      return (entry) => entry.name === wanted;
    case "address":
      return (entry) => entry.address === wanted;
    case "network": {
      const network = parseNetwork(wanted);
      return network === undefined ? undefined : (entry) => networkContains(network, entry.ip);
    }
    case "type":
      if (wanted === "ip") return () => true;
      if (wanted !== "ipv4" && wanted !== "ipv6") return undefined;
      return (entry) => entry.ip.family === (wanted === "ipv4" ? 4 : 6);
    case "rfc":
      return wanted === "6890" || wanted === "1918" ? (entry) => inNetworks(entry.ip, specialNetworks) : undefined;
    case "flags":
      return flagMatcher(wanted.split("|"));
    default:
      return undefined;
  }
}

function flagMatcher(flags: readonly string[]): ((entry: InterfaceAddress) => boolean) | undefined {
  const known: Readonly<Record<string, (entry: InterfaceAddress) => boolean>> = {
    up: () => true,
    loopback: (entry) => entry.internal,
    forwardable: (entry) => !inNetworks(entry.ip, unroutedNetworks),
  };
  const tests = flags.map((flag) => known[flag]);
  return tests.includes(undefined) ? undefined : (entry) => tests.every((test) => test?.(entry));
}

function sorted(order: string, value: readonly InterfaceAddress[]): Value | Invalid {
  const out = [...value];
  for (const key of order.split(",").reverse()) {
    const descending = key.startsWith("-");
    const by = key.replace(/^[+-]/, "");
    if (by !== "address" && by !== "name" && by !== "type")
      return { kind: "invalid", problem: `sort by "${by}" is not supported` };
    out.sort((left, right) => compare(by, left, right) * (descending ? -1 : 1));
  }
  return out;
}

function compare(by: "address" | "name" | "type", left: InterfaceAddress, right: InterfaceAddress): number {
  if (by === "name") return left.name < right.name ? -1 : left.name > right.name ? 1 : 0;
  const family = left.ip.family - right.ip.family;
  if (by === "type" || family !== 0) return family;
  for (const [at, byte] of left.ip.bytes.entries()) {
    const difference = byte - (right.ip.bytes[at] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

function allAddresses(host: Pick<Host, "interfaces">): readonly InterfaceAddress[] {
  return host.interfaces().flatMap(({ name, address, internal }) => {
    const bare = address.replace(/%.*$/, "");
    const ip = parseIp(bare);
    return ip === undefined ? [] : [{ name, address: bare, ip, internal }];
  });
}

function addressesOf(entries: readonly InterfaceAddress[]): string {
  return entries.map((entry) => entry.address).join(" ");
}

/** At each "|" that stands outside quotes. */
function splitPipeline(action: string): readonly string[] {
  return action.match(/(?:"[^"]*"|`[^`]*`|[^|"`])+/g) ?? [];
}

/** A name and its arguments, quoted or bare. Undefined when there is anything else. */
function wordsOf(stage: string): readonly string[] | undefined {
  const words: string[] = [];
  let rest = stage.trim();
  while (rest !== "") {
    const word = /^(?:"([^"]*)"|`([^`]*)`|([\w.+-]+))(?:\s+|$)/.exec(rest);
    if (word === null) return undefined;
    words.push(word[1] ?? word[2] ?? (word[3] as string));
    rest = rest.slice(word[0].length);
  }
  return words;
}
