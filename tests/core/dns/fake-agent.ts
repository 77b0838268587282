/** An agent whose catalog is three lists: enough of the store's interface for DNS, by the plainest means. */
import type { Answers, QueryKind, QueryOf } from "../../../core/catalog/queries.ts";
import type { CheckedInstance, CheckRecord, NodeRecord, ServiceRecord } from "../../../core/catalog/records.ts";
import type { AgentConfig, DnsConfig } from "../../../core/config/config.ts";
import type { AgentApi, Consistency, Shared, SharedRead, StoreApi } from "../../../core/plugin/agent-api.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { formatIp, parseIp } from "../../../plugins/dns/ip.ts";

export const dnsDefaults: DnsConfig = {
  allowStale: true,
  maxStale: 87_600 * 3_600_000,
  aRecordLimit: 0,
  udpAnswerLimit: 3,
  disableCompression: false,
  enableTruncate: false,
  nodeTtl: 0,
  serviceTtl: {},
  onlyPassing: false,
  recursorTimeout: 2000,
  nodeMetaTxt: true,
  soa: { refresh: 3600, retry: 600, expire: 86400, minTtl: 0 },
};

const baseConfig = {
  nodeName: "node-a",
  datacenter: "dc1",
  domain: "consul.",
  altDomain: "",
  recursors: [] as readonly string[],
  translateWanAddrs: false,
  dnsAddrs: [{ host: "127.0.0.1", port: 0 }],
  dns: dnsDefaults,
};

export class FakeStore {
  readonly nodes: NodeRecord[] = [];
  readonly services: ServiceRecord[] = [];
  readonly checks: CheckRecord[] = [];
  /** False: nothing can be answered at once, as on a client agent. */
  local = true;
  /** Thrown by every read. */
  failure: AgentError | undefined;
  /** How often the lists were searched. */
  evaluations = 0;
  lastContact = 0;
  readonly #shared = new Map<string, object>();

  changed(): void {
    this.#shared.clear();
  }

  async read<Kind extends QueryKind>(
    query: QueryOf<Kind>,
    options: { readonly datacenter?: string; readonly consistency: Consistency },
  ) {
    if (this.failure !== undefined) throw this.failure;
    if (
      options.datacenter !== undefined &&
      options.datacenter !== "" &&
      options.datacenter !== "dc1" &&
      options.datacenter !== "dc2"
    ) {
      throw new AgentError("no-datacenter", { message: "No path to datacenter" });
    }
    return { meta: { index: 1, knownLeader: true, lastContact: this.lastContact }, answer: this.#evaluate(query) };
  }

  readNow<Kind extends QueryKind>(query: QueryOf<Kind>) {
    if (this.failure !== undefined) throw this.failure;
    if (!this.local) return undefined;
    return { meta: { index: 1, knownLeader: true, lastContact: this.lastContact }, answer: this.#evaluate(query) };
  }

  async readShared<Kind extends QueryKind, Rendered extends object>(
    request: SharedRead<Kind, Rendered>,
  ): Promise<Shared<Rendered>> {
    const { meta, answer } = await this.read(request.query, request.options);
    const rendered = request.render(answer, meta);
    this.#shared.set(request.key, rendered);
    return { meta, rendered };
  }

  sharedNow<Rendered extends object>(key: string): Shared<Rendered> | undefined {
    const rendered = this.local ? this.#shared.get(key) : undefined;
    return rendered === undefined
      ? undefined
      : { meta: { index: 1, knownLeader: true, lastContact: this.lastContact }, rendered: rendered as Rendered };
  }

  #evaluate<Kind extends QueryKind>(query: QueryOf<Kind>): Answers[Kind] {
    this.evaluations++;
    const asked = query as QueryOf<QueryKind>;
    switch (asked.kind) {
      case "checkedInstances":
        return this.#instances(asked) as unknown as Answers[Kind];
      case "nodeServices": {
        const name = asked.node.toLowerCase();
        const node =
          this.nodes.find((one) => one.node.toLowerCase() === name) ??
          (name.length >= 2 ? this.nodes.find((one) => one.id.startsWith(name)) : undefined);
        return (node === undefined ? undefined : { node, services: [] }) as Answers[Kind];
      }
      case "byAddress": {
        const same = (address: string): boolean => {
          const ip = parseIp(address);
          return ip !== undefined && formatIp(ip) === asked.address;
        };
        const nodes = this.nodes.filter((node) => same(node.address));
        const services = this.services
          .filter((service) => same(service.address))
          .map((service) => ({ service, node: this.#nodeOf(service) }));
        return { nodes, services } as unknown as Answers[Kind];
      }
      default:
        throw new Error(`DNS asked for ${asked.kind}`);
    }
  }

  #instances(query: QueryOf<"checkedInstances">): CheckedInstance[] {
    return this.services
      .filter((service) => {
        if (query.through === "connect") return service.kind === "connect-proxy" && service.meta?.["for"] === query.service;
        return query.through === undefined && service.service.toLowerCase() === query.service;
      })
      .filter((service) => (query.tags ?? []).every((tag) => service.tags.some((own) => own.toLowerCase() === tag)))
      .map((service) => {
        const checks = this.checks.filter(
          (check) => check.node === service.node && (check.serviceId === "" || check.serviceId === service.id),
        );
        return { service, node: this.#nodeOf(service), checks };
      })
      .filter(({ checks }) => !query.passingOnly || checks.every((check) => check.status === "passing"));
  }

  #nodeOf(service: ServiceRecord): NodeRecord {
    const node = this.nodes.find((one) => one.node === service.node);
    if (node === undefined) throw new Error(`no node ${service.node}`);
    return node;
  }
}

export interface FakeAgent {
  readonly agent: AgentApi;
  readonly store: FakeStore;
  /** Replaces the configuration, as a reload does. */
  configure(changes: { readonly [Key in keyof AgentConfig]?: AgentConfig[Key] }): void;
}

export function fakeAgent(): FakeAgent {
  const store = new FakeStore();
  const held = { config: baseConfig as unknown as AgentConfig, store: store as unknown as StoreApi };
  return {
    agent: held as unknown as AgentApi,
    store,
    configure(changes) {
      held.config = { ...held.config, ...changes };
    },
  };
}

export function nodeRecord(fields: Partial<NodeRecord> & Pick<NodeRecord, "node" | "address">): NodeRecord {
  return { id: "", datacenter: "dc1", taggedAddresses: undefined, meta: undefined, createIndex: 1, modifyIndex: 1, ...fields };
}

export function serviceRecord(fields: Partial<ServiceRecord> & Pick<ServiceRecord, "node" | "service">): ServiceRecord {
  return {
    kind: "",
    id: fields.service,
    tags: [],
    address: "",
    taggedAddresses: undefined,
    meta: undefined,
    port: 0,
    weights: { passing: 1, warning: 1 },
    enableTagOverride: false,
    proxy: undefined,
    connectNative: false,
    createIndex: 1,
    modifyIndex: 1,
    ...fields,
  };
}

export function checkRecord(fields: Partial<CheckRecord> & Pick<CheckRecord, "node" | "status">): CheckRecord {
  return {
    checkId: `check-${fields.serviceId ?? ""}`,
    name: "",
    notes: "",
    output: "",
    serviceId: "",
    serviceName: "",
    serviceTags: [],
    type: "ttl",
    definition: {},
    createIndex: 1,
    modifyIndex: 1,
    ...fields,
  };
}
