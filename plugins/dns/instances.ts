/**
 * A service's instances as records, worked out once per change of the catalog and shared by all questions.
 *
 *   ServiceView ── entries(SRV) ──► one SRV record, its address and its node's metadata, per instance
 *              └── entries(A)   ──► one address, or the host name to ask about, per instance
 */
import type { CheckedInstance, NodeRecord } from "../../core/catalog/records.ts";
import { toHex } from "../../core/types/bytes.ts";
import { parseIp } from "./ip.ts";
import { encodeTxt, nameFits } from "./message.ts";
import { addressRecord, type DnsRecord, metaTexts, type Owner, recordTypes, wantsAddress } from "./records.ts";
import type { Settings } from "./settings.ts";
import type { Share, SharedView } from "./shared-view.ts";

export interface Entry {
  /** Entries with equal keys are one answer. */
  readonly key: string;
  readonly answer: DnsRecord;
  readonly additionals: readonly DnsRecord[];
  /** The instance's address is this name: its own records belong to the answer. "" otherwise. */
  readonly host: string;
  /** Beside a host name: the same instance by its node's address. */
  readonly ofNode?: Entry;
}

export interface Entries {
  readonly list: readonly Entry[];
  /** Several entries have one key. */
  readonly duplicates: boolean;
  readonly hosts: boolean;
}

/** Questions of these types see the same entries. */
type EntryKind = "srv" | "a" | "aaaa" | "any" | "none";

export class ServiceView implements SharedView {
  readonly instances: readonly CheckedInstance[];
  readonly share: Share | undefined;
  #settings: Settings | undefined;
  readonly #entries = new Map<EntryKind, Entries>();

  constructor(instances: readonly CheckedInstance[], share: Share | undefined) {
    this.instances = instances;
    this.share = share;
  }

  /** `datacenter` and `service` are those of the look-up; a view is asked with one of each. */
  entries(type: number, service: string, datacenter: string, settings: Settings): Entries {
    if (this.#settings !== settings) {
      this.#settings = settings;
      this.#entries.clear();
    }
    const kind = entryKind(type);
    let entries = this.#entries.get(kind);
    if (entries === undefined) {
      entries = makeEntries(this.instances, kind, type, { datacenter, ttl: settings.serviceTtl(service), settings });
      this.#entries.set(kind, entries);
    }
    return entries;
  }
}

interface View {
  readonly datacenter: string;
  readonly ttl: number;
  readonly settings: Settings;
}

function entryKind(type: number): EntryKind {
  switch (type) {
    case recordTypes.SRV:
      return "srv";
    case recordTypes.A:
      return "a";
    case recordTypes.AAAA:
      return "aaaa";
    case recordTypes.ANY:
    case recordTypes.TXT:
      return "any";
    default:
      return "none";
  }
}

function makeEntries(instances: readonly CheckedInstance[], kind: EntryKind, type: number, view: View): Entries {
  const list: Entry[] = [];
  for (const instance of instances) {
    const make = (one: CheckedInstance): Entry | undefined =>
      kind === "srv" ? srvEntry(one, view) : addressEntry(one, type, view);
    const entry = make(instance);
    const ofNode = entry === undefined || entry.host === "" ? undefined : make(byNode(instance));
    if (entry !== undefined) list.push(ofNode === undefined || ofNode.host !== "" ? entry : { ...entry, ofNode });
  }
  return {
    list,
    duplicates: new Set(list.map((entry) => entry.key)).size < list.length,
    hosts: list.some((entry) => entry.host !== ""),
  };
}

/** As if the service had no address of its own. */
function byNode({ node, service, checks }: CheckedInstance): CheckedInstance {
  return { node, checks, service: { ...service, address: "", taggedAddresses: undefined } };
}

function addressEntry(instance: CheckedInstance, type: number, view: View): Entry | undefined {
  const remote = isRemote(view);
  const address = serviceAddress(instance, type, remote) || nodeAddress(instance.node, type, remote);
  if (address === "") return undefined;
  const ip = parseIp(address);
  if (ip === undefined) return hostEntry(address, view.ttl);
  if (!wantsAddress(type, ip)) return undefined;
  return { key: toHex(ip), answer: addressRecord(undefined, view.ttl, ip), additionals: [], host: "" };
}

function hostEntry(address: string, ttl: number): Entry | undefined {
  const host = bareName(address);
  if (!nameFits(host)) return undefined;
  return { key: host, answer: alias(undefined, ttl, host), additionals: [], host };
}

/** A CNAME. */
export function alias(owner: Owner, ttl: number, target: string): DnsRecord {
  return { kind: "name", type: recordTypes.CNAME, owner, ttl, target };
}

function srvEntry(instance: CheckedInstance, view: View): Entry | undefined {
  const { node, service } = instance;
  const remote = isRemote(view);
  const ofService = serviceAddress(instance, recordTypes.SRV, remote);
  const address = ofService || nodeAddress(node, recordTypes.SRV, remote);
  if (address === "") return undefined;
  const port = (remote && service.taggedAddresses?.["wan"]?.port) || service.port;
  const ip = parseIp(address);
  const nodeName = `${node.node}.node.${view.datacenter}.${view.settings.domain}`;
  const nodeNameFits = nameFits(nodeName);
  const host = ip === undefined ? bareName(address) : "";
  let target = host;
  if (ip !== undefined) {
    // A node's own address goes by the node's name, unless a translation changed it or DNS cannot carry the name.
    const named = ofService === "" && address === node.address && nodeNameFits;
    target = named ? nodeName : `${toHex(ip)}.addr.${view.datacenter}.${view.settings.domain}`;
  }
  if (!nameFits(target)) return undefined;
  const additionals: DnsRecord[] = ip === undefined ? [] : [addressRecord(target, view.ttl, ip)];
  if (view.settings.config.dns.nodeMetaTxt && nodeNameFits) additionals.push(...metaRecords(nodeName, view.ttl, node));
  return {
    key: `${node.node}\n${ofService}\n${port}`,
    answer: { kind: "srv", owner: undefined, ttl: view.ttl, priority: 1, weight: weightOf(instance), port, target },
    additionals,
    host,
  };
}

/** One TXT record for each pair of a node's metadata. */
export function metaRecords(owner: Owner, ttl: number, node: NodeRecord): DnsRecord[] {
  return metaTexts(node.meta ?? {}).map((text) => ({ kind: "data", type: recordTypes.TXT, owner, ttl, data: encodeTxt([text]) }));
}

/** By the worst of the checks that count for the instance. */
function weightOf({ service, checks }: CheckedInstance): number {
  let worst = "passing";
  for (const check of checks) {
    if (check.serviceName !== service.service && check.serviceName !== "") continue;
    if (check.status === "critical") return 0;
    if (check.status === "warning") worst = "warning";
  }
  const weight = worst === "warning" ? service.weights.warning : service.weights.passing;
  return Math.min(Math.max(weight, 0), 65535);
}

function isRemote(view: View): boolean {
  return view.settings.config.translateWanAddrs && view.datacenter !== view.settings.datacenter;
}

function serviceAddress({ service }: CheckedInstance, type: number, remote: boolean): string {
  const tagged = service.taggedAddresses;
  if (tagged === undefined) return service.address;
  return translated(service.address, (tag) => tagged[tag]?.address, type, remote);
}

/** The node's address for a question of this type: a tagged address where one fits better. */
export function nodeAddress(node: NodeRecord, type: number, remote: boolean): string {
  const tagged = node.taggedAddresses;
  if (tagged === undefined) return node.address;
  return translated(node.address, (tag) => tagged[tag], type, remote);
}

/** Consul 1.8: an A question prefers the IPv4 address, every other the IPv6 address; from another datacenter the WAN ones. */
function translated(address: string, tagged: (tag: string) => string | undefined, type: number, remote: boolean): string {
  const plain = (remote && tagged("wan")) || address;
  const v4 = (remote && tagged("wan_ipv4")) || tagged("lan_ipv4") || "";
  const v6 = (remote && tagged("wan_ipv6")) || tagged("lan_ipv6") || "";
  if (type === recordTypes.A) return v4 || plain;
  if (type === recordTypes.AAAA) return v6 || plain;
  return v6 || v4 || plain;
}

/** Without the dot at the end. */
export function bareName(name: string): string {
  return name.endsWith(".") ? name.slice(0, -1) : name;
}
