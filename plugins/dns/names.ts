/**
 * What a name asks for. The zone is cut off, then the labels are read from the right to the first keyword:
 *
 *   primary . db . service . dc1 . consul
 *   └─ tag ─┘ └┬┘  keyword   └┬┘   └ zone
 *           service       datacenter
 */
import { type Bytes, fromHex } from "../../core/types/bytes.ts";
import { formatIp } from "./ip.ts";
import { recordTypes } from "./records.ts";

export type Target =
  | ServiceTarget
  | { readonly kind: "node"; readonly node: string; readonly datacenter: string }
  /** The address is in the name itself. `owner` is the name in lower case, below the primary domain. */
  | { readonly kind: "address"; readonly address: Bytes; readonly owner: string }
  /** A PTR look-up; undefined when the name spells no whole address. */
  | { readonly kind: "reverse"; readonly address: string | undefined }
  /** Exists and has no records. */
  | { readonly kind: "empty" }
  /** In a zone of ours, and no such name. */
  | { readonly kind: "missing" }
  | { readonly kind: "outside" };

export interface ServiceTarget {
  readonly kind: "service";
  readonly service: string;
  /** "" for none. */
  readonly tag: string;
  readonly through: "connect" | "ingress" | undefined;
  /** "" for the agent's own. */
  readonly datacenter: string;
}

export interface Zones {
  /** Labels in lower case. */
  readonly domain: readonly string[];
  /** Undefined when none is set. */
  readonly altDomain: readonly string[] | undefined;
}

const missing: Target = { kind: "missing" };
const keywords: ReadonlySet<string> = new Set(["service", "connect", "ingress", "node", "query", "addr"]);

/** "Consul." as labels: ["consul"]. */
export function splitName(name: string): string[] {
  const bare = name.endsWith(".") ? name.slice(0, -1) : name;
  return bare === "" ? [] : bare.toLowerCase().split(".");
}

/** `labels` in lower case, from left to right. */
export function targetOf(labels: readonly string[], type: number, zones: Zones): Target {
  const above = zoneLength(labels, zones);
  if (above === undefined) {
    return labels[labels.length - 1] === "arpa" ? { kind: "reverse", address: reversed(labels) } : { kind: "outside" };
  }
  for (let at = above - 1; at >= 0; at--) {
    const label = labels[at] as string;
    if (keywords.has(label)) {
      return label === "addr" ? addressTarget(labels, at, above, zones) : keywordTarget(labels, at, at + 1, above, label);
    }
    // "_db._tcp.consul": the word "service" may be left out of an SRV query.
    if (type === recordTypes.SRV && label.startsWith("_")) return keywordTarget(labels, at + 1, at + 1, above, "service");
  }
  return missing;
}

/** True when `labels` lie in the primary or the alternative domain. */
export function insideZones(labels: readonly string[], zones: Zones): boolean {
  return zoneLength(labels, zones) !== undefined;
}

/** How many labels are left of the zone; undefined outside. */
function zoneLength(labels: readonly string[], zones: Zones): number | undefined {
  if (endsWith(labels, zones.domain)) return labels.length - zones.domain.length;
  if (zones.altDomain !== undefined && endsWith(labels, zones.altDomain)) return labels.length - zones.altDomain.length;
  return undefined;
}

function endsWith(labels: readonly string[], suffix: readonly string[]): boolean {
  const start = labels.length - suffix.length;
  if (start < 0) return false;
  for (let at = 0; at < suffix.length; at++) if (labels[start + at] !== suffix[at]) return false;
  return true;
}

/** The query is labels[0, end), the datacenter labels[after, above): at most one. */
function keywordTarget(labels: readonly string[], end: number, after: number, above: number, keyword: string): Target {
  if (end < 1 || above - after > 1) return missing;
  const datacenter = above - after === 1 ? (labels[after] as string) : "";
  const last = labels[end - 1] as string;
  switch (keyword) {
    case "node":
      return { kind: "node", node: labels.slice(0, end).join("."), datacenter };
    case "connect":
    case "ingress":
      return { kind: "service", service: last, tag: "", through: keyword, datacenter };
    case "service": {
      const first = labels[0] as string;
      if (end === 2 && first.startsWith("_") && last.startsWith("_")) {
        const tag = last.slice(1);
        return { kind: "service", service: first.slice(1), tag: tag === "tcp" ? "" : tag, through: undefined, datacenter };
      }
      return { kind: "service", service: last, tag: labels.slice(0, end - 1).join("."), through: undefined, datacenter };
    }
    default:
      // "query": no prepared query has ever been stored, so none has this name.
      return missing;
  }
}

/** "7f000001.addr.dc1.consul". The datacenter is not looked at. */
function addressTarget(labels: readonly string[], at: number, above: number, zones: Zones): Target {
  if (at !== 1) return missing;
  const hex = labels[0] as string;
  const bytes = hex.length >> 1;
  if (bytes !== 4 && bytes !== 16) return { kind: "empty" };
  const address = fromHex(hex);
  if (address === undefined) return missing;
  return { kind: "address", address, owner: [...labels.slice(0, above), ...zones.domain].join(".") };
}

/** The address that "4.3.2.1.in-addr.arpa" or its IPv6 counterpart spells. */
function reversed(labels: readonly string[]): string | undefined {
  const zone = labels[labels.length - 2];
  const digits = labels.slice(0, -2).reverse();
  if (zone === "in-addr") {
    if (digits.length !== 4 || !digits.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) return undefined;
    return digits.map(Number).join(".");
  }
  if (zone !== "ip6" || digits.length !== 32 || !digits.every((digit) => digit.length === 1)) return undefined;
  const address = fromHex(digits.join(""));
  return address === undefined ? undefined : formatIp(address);
}
