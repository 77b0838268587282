/**
 * From a question to the records that answer it.
 *
 *   labels ─► Target (names.ts) ─► one catalog read ─► records ─► Outcome
 *                                       │                  └── host names: again from the top, or to the recursors
 *                                       └── a service's instances are kept as a ServiceView until the catalog changes
 */
import type { NodeRecord } from "../../core/catalog/records.ts";
import type { Clock, Random } from "../../core/ports/mod.ts";
import { AgentError, unreachable } from "../../core/types/errors.ts";
import { CatalogReads, type CatalogParts, isOwn } from "./catalog-reads.ts";
import { Draws } from "./draws.ts";
import { type Eventually, then } from "./eventually.ts";
import { alias, bareName, type Entry, type Entries, metaRecords, nodeAddress, type ServiceView } from "./instances.ts";
import { parseIp } from "./ip.ts";
import { nameFits } from "./message.ts";
import { insideZones, type ServiceTarget, splitName, type Target, targetOf } from "./names.ts";
import { addressRecord, type DnsRecord, type Owner, rcodes, recordType, recordTypes, wantsAddress } from "./records.ts";
import type { Settings } from "./settings.ts";
import type { Share } from "./shared-view.ts";

export interface Question {
  readonly labels: readonly string[];
  readonly type: number;
  /** The owner of the answers: undefined for the name that the message asks for. */
  readonly owner: Owner;
  /** More answers than this do not reach the client. */
  readonly answersMax: number;
  readonly edns: boolean;
  /** How often a host name may still lead back into our own zones. */
  readonly depth: number;
}

export interface Outcome {
  readonly rcode: number;
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
  /** There are answers beyond `answersMax`. */
  readonly more: boolean;
  /** Instances of a service: any few of them will do, so that the limit on their number holds. */
  readonly anyFew: boolean;
  /** With the question and the settings, this view and the draws alone made the answer. */
  readonly from?: Share | undefined;
}

export interface LookupParts extends CatalogParts {
  readonly clock: Clock;
  readonly random: Random;
  /** Asks the recursors for the addresses of a name outside our zones. */
  readonly resolve: (name: string, settings: Settings) => Promise<readonly DnsRecord[]>;
}

/** A host name that leads to a host name that …: further ones are not followed. */
export const depthMax = 2;
const nameserversMax = 3;
/** Without EDNS, so many records of a host name accompany an answer. */
const hostRecordsMax = 5;
const consulService: ServiceTarget = { kind: "service", service: "consul", tag: "", through: undefined, datacenter: "" };

export class Lookup {
  readonly #parts: LookupParts;
  readonly #catalog: CatalogReads;
  readonly draws: Draws;

  constructor(parts: LookupParts) {
    this.#parts = parts;
    this.draws = new Draws(parts.random);
    this.#catalog = new CatalogReads(parts);
  }

  /** For a target inside our zones or in reverse; a reverse name that nothing has gives undefined. Rejects when the catalog cannot be read. */
  find(target: Exclude<Target, { kind: "outside" }>, question: Question, settings: Settings): Eventually<Outcome | undefined> {
    if (target.kind === "reverse") return this.#reverse(target.address, question, settings);
    switch (question.type) {
      case recordTypes.SOA:
      case recordTypes.NS:
        return this.#zone(question, settings);
      case recordTypes.AXFR:
        return { ...nothing, rcode: rcodes.notImplemented };
      default:
        return this.#dispatch(target, question, settings);
    }
  }

  /** Whether what was answered from this view would be answered from it again. */
  isFresh(share: Share, settings: Settings): boolean {
    return this.#catalog.sharedNow(share.key, settings)?.share === share;
  }

  /** The start of authority, and its refusal of a name. */
  missing(settings: Settings): Outcome {
    return { ...nothing, rcode: rcodes.nameError, authorities: [this.#soa(settings)] };
  }

  #dispatch(
    target: Exclude<Target, { kind: "outside" | "reverse" }>,
    question: Question,
    settings: Settings,
  ): Eventually<Outcome> {
    switch (target.kind) {
      case "service":
        return then(this.#catalog.serviceView(target, settings), (view) => this.#service(view, target, question, settings));
      case "node":
        return this.#node(target.node, target.datacenter, question, settings);
      case "address":
        return { ...nothing, answers: [addressRecord(target.owner, settings.nodeTtl, target.address)] };
      case "empty":
        return nothing;
      case "missing":
        return this.missing(settings);
      default:
        return unreachable(target);
    }
  }

  // Services

  #service(view: ServiceView, target: ServiceTarget, question: Question, settings: Settings): Eventually<Outcome> {
    if (view.instances.length === 0) return this.missing(settings);
    const all = view.entries(question.type, target.service, target.datacenter || settings.datacenter, settings);
    const entries = all.hosts ? withoutLoops(all, question.labels) : all;
    const from = all.hosts ? undefined : view.share;
    if (question.type === recordTypes.SRV) {
      const drawn = this.#draw(entries, question.answersMax);
      return then(this.#srvAdditionals(drawn.entries, question, settings), (additionals) =>
        this.#withSoaWhenEmpty(
          { ...nothing, answers: drawn.entries.map((entry) => entry.answer), additionals, more: drawn.more, anyFew: true, from },
          settings,
        ),
      );
    }
    return then(this.#addresses(entries, question, settings), (outcome) =>
      this.#withSoaWhenEmpty(from === undefined ? outcome : { ...outcome, from }, settings),
    );
  }

  #addresses(entries: Entries, question: Question, settings: Settings): Eventually<Outcome> {
    const addresses = entries.hosts ? entries.list.filter((entry) => entry.host === "") : entries.list;
    if (addresses.length === 0) {
      const host = entries.list[this.draws.below(entries.list.length)];
      return host === undefined ? nothing : this.#alias(host, question, settings);
    }
    const limit = settings.config.dns.aRecordLimit;
    const limited = limit > 0 && limit <= question.answersMax;
    const drawn = this.#draw({ ...entries, list: addresses }, limited ? limit : question.answersMax);
    return {
      ...nothing,
      answers: drawn.entries.map((entry) => owned(entry.answer, question.owner)),
      more: drawn.more && !limited,
      anyFew: true,
    };
  }

  #alias(entry: Entry, question: Question, settings: Settings): Eventually<Outcome> {
    return then(this.#hostRecords(entry.host, question, settings), (records) => {
      const following = accompanying(records, entry.answer.ttl, question.edns);
      return { ...nothing, answers: [owned(entry.answer, question.owner), ...following], anyFew: true };
    });
  }

  #srvAdditionals(entries: readonly Entry[], question: Question, settings: Settings): Eventually<DnsRecord[]> {
    const additionals: DnsRecord[] = [];
    if (entries.every((entry) => entry.host === "")) {
      for (const entry of entries) additionals.push(...entry.additionals);
      return additionals;
    }
    return (async () => {
      for (const entry of entries) {
        if (entry.host !== "") {
          const records = await this.#hostRecords(entry.host, question, settings);
          additionals.push(...accompanying(records, entry.answer.ttl, question.edns));
        }
        additionals.push(...entry.additionals);
      }
      return additionals;
    })();
  }

  /** `count` of the entries in random order, equal ones once. */
  #draw(entries: Entries, count: number): { readonly entries: readonly Entry[]; readonly more: boolean } {
    const pool = entries.list.slice();
    const drawn: Entry[] = [];
    const seen = entries.duplicates ? new Set<string>() : undefined;
    for (let at = 0; at < pool.length; at++) {
      if (seen === undefined && drawn.length === count) return { entries: drawn, more: true };
      // Fisher–Yates from the front, stopped when there are enough.
      const other = at + this.draws.below(pool.length - at);
      const entry = pool[other] as Entry;
      if (seen?.has(entry.key) !== true) {
        if (drawn.length === count) return { entries: drawn, more: true };
        seen?.add(entry.key);
        drawn.push(entry);
      }
      pool[other] = pool[at] as Entry;
    }
    return { entries: drawn, more: false };
  }

  // Nodes, addresses, zones

  #node(name: string, datacenter: string, question: Question, settings: Settings): Eventually<Outcome> {
    const { type } = question;
    if (type !== recordTypes.A && type !== recordTypes.AAAA && type !== recordTypes.ANY && type !== recordTypes.TXT)
      return nothing;
    return then(this.#catalog.nodeView(name, datacenter, settings), ({ node, share }) => {
      if (node === undefined) return this.missing(settings);
      const addresses = type === recordTypes.TXT ? [] : this.#nodeRecords(node, datacenter, question, settings);
      return then(addresses, (records): Outcome => {
        const inAnswer = type === recordTypes.TXT || type === recordTypes.ANY;
        // A host name that leads to a node asks for its addresses alone.
        const wanted = question.owner === undefined && (inAnswer || settings.config.dns.nodeMetaTxt);
        const texts = wanted ? metaRecords(question.owner, settings.nodeTtl, node) : [];
        return {
          ...nothing,
          answers: inAnswer ? [...records, ...texts] : records,
          additionals: inAnswer ? [] : texts,
          // An alias leads to other views.
          from: records.every((record) => record.kind === "data") ? share : undefined,
        };
      });
    });
  }

  #nodeRecords(node: NodeRecord, datacenter: string, question: Question, settings: Settings): Eventually<readonly DnsRecord[]> {
    const remote = settings.config.translateWanAddrs && !isOwn(datacenter, settings);
    const address = nodeAddress(node, question.type, remote);
    const ip = parseIp(address);
    if (ip !== undefined) return wantsAddress(question.type, ip) ? [addressRecord(question.owner, settings.nodeTtl, ip)] : [];
    const host = bareName(address);
    if (host === "" || !nameFits(host)) return [];
    const records = this.#hostRecords(host, question, settings);
    return then(records, (following) => [alias(question.owner, settings.nodeTtl, host), ...following]);
  }

  #reverse(address: string | undefined, question: Question, settings: Settings): Eventually<Outcome | undefined> {
    if (address === undefined) return undefined;
    return then(this.#catalog.read({ kind: "byAddress", address }, "", settings), ({ nodes, services }): Outcome | undefined => {
      const [node, instance] = [nodes[0], services[0]];
      const prefix =
        node !== undefined ? `${node.node}.node` : instance !== undefined ? `${instance.service.service}.service` : undefined;
      const target = `${prefix}.${settings.datacenter}.${settings.domain}`;
      if (prefix === undefined || !nameFits(target)) return undefined;
      const authorities = question.type === recordTypes.SOA ? [this.#soa(settings)] : [];
      return {
        ...nothing,
        answers: [{ kind: "name", type: recordTypes.PTR, owner: question.owner, ttl: 0, target }],
        authorities,
      };
    });
  }

  /** SOA and NS questions, whatever the name: the zone's authority and its servers. */
  #zone(question: Question, settings: Settings): Eventually<Outcome> {
    return then(this.#catalog.serviceView(consulService, settings), (view) => {
      const servers: DnsRecord[] = [];
      const glue: DnsRecord[] = [];
      const nodes = view.instances.map((instance) => instance.node);
      while (nodes.length > 0 && servers.length < nameserversMax) {
        const [node] = nodes.splice(this.draws.below(nodes.length), 1) as [NodeRecord];
        if (!/^[A-Za-z0-9-]+$/.test(node.node)) continue;
        const name = `${node.node}.node.${settings.datacenter}.${settings.domain}`.toLowerCase();
        const ip = parseIp(nodeAddress(node, recordTypes.ANY, false));
        if (!nameFits(name) || ip === undefined) continue;
        servers.push({ kind: "name", type: recordTypes.NS, owner: settings.domain, ttl: settings.nodeTtl, target: name });
        glue.push(addressRecord(name, settings.nodeTtl, ip));
      }
      if (question.type === recordTypes.NS) return { ...nothing, answers: servers, additionals: glue };
      return { ...nothing, answers: [this.#soa(settings)], authorities: servers, additionals: glue };
    });
  }

  #soa(settings: Settings): DnsRecord {
    const { refresh, retry, expire, minTtl } = settings.config.dns.soa;
    const serial = Math.floor(this.#parts.clock.wall() / 1000);
    return {
      kind: "soa",
      owner: settings.domain,
      ttl: minTtl,
      primary: `ns.${settings.domain}`,
      mailbox: `hostmaster.${settings.domain}`,
      numbers: [serial, refresh, retry, expire, minTtl],
    };
  }

  #withSoaWhenEmpty(outcome: Outcome, settings: Settings): Outcome {
    return outcome.answers.length > 0 ? outcome : { ...outcome, authorities: [this.#soa(settings)], from: undefined };
  }

  // What both need

  /** The records of a host name that a service or node has for an address; none when it cannot be resolved. */
  #hostRecords(host: string, question: Question, settings: Settings): Eventually<readonly DnsRecord[]> {
    const labels = splitName(host);
    if (!insideZones(labels, settings.zones)) {
      return settings.recursors.length === 0 ? [] : this.#parts.resolve(host, settings);
    }
    if (question.depth < 1) {
      this.#parts.logger.log("error", "Infinite recursion detected for name, won't perform any CNAME resolution.", {
        name: host,
      });
      return [];
    }
    const target = targetOf(labels, recordTypes.ANY, settings.zones);
    if (target.kind === "outside" || target.kind === "reverse") return [];
    const answersMax = Math.max(question.answersMax, hostRecordsMax);
    const inner: Question = { ...question, labels, type: recordTypes.ANY, owner: host, answersMax, depth: question.depth - 1 };
    return then(this.#dispatch(target, inner, settings), (outcome) => outcome.answers);
  }
}

const nothing: Outcome = { rcode: rcodes.success, answers: [], authorities: [], additionals: [], more: false, anyFew: false };

/** The rcode for a look-up that failed. */
export function rcodeOf(error: unknown): number {
  return error instanceof AgentError && error.code === "no-datacenter" ? rcodes.nameError : rcodes.serverFailure;
}

/** A service whose address is the very name that was asked for would lead nowhere: its node's address stands in. */
function withoutLoops(entries: Entries, asked: readonly string[]): Entries {
  const name = asked.join(".");
  const list = entries.list.map((entry) => (entry.host.toLowerCase() === name ? (entry.ofNode ?? entry) : entry));
  return { ...entries, list, duplicates: true };
}

function owned(record: DnsRecord, owner: Owner): DnsRecord {
  return owner === undefined ? record : { ...record, owner };
}

/** A host name's records beside an answer: under the answer's TTL, few of them without EDNS. */
function accompanying(records: readonly DnsRecord[], ttl: number, edns: boolean): DnsRecord[] {
  const types: readonly number[] = [recordTypes.CNAME, recordTypes.A, recordTypes.AAAA, recordTypes.TXT];
  const usable = records.filter((record) => types.includes(recordType(record)));
  return usable.slice(0, edns ? usable.length : hostRecordsMax).map((record) => ({ ...record, ttl }));
}
