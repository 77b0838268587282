/** Reads of the instances of a service: bare, and with the checks that count for them. */
import { unreachable } from "../types/errors.ts";
import { atLeastOne } from "./at-least-one.ts";
import { nearTopics } from "./evaluate-catalog.ts";
import { checkedInstanceFields, instanceFields } from "./filter-fields.ts";
import type { Answers, Evaluation, QueryOf, ServiceSelection, Topic } from "./queries.ts";
import type { CheckedInstance, NodeRecord, ServiceInstance, ServiceRecord } from "./records.ts";
import { hasTags, select } from "./select.ts";
import { foldedKey } from "./table.ts";
import type { Tables } from "./tables.ts";
import { topics } from "./watch.ts";

const nodesAndServices: readonly Topic[] = [topics.nodes, topics.services];
const nodeOf = (instance: ServiceInstance): string => instance.service.node;

export function serviceInstances(tables: Tables, query: QueryOf<"serviceInstances">): Evaluation<Answers["serviceInstances"]> {
  const found = find(tables, query);
  const { index, stales } = serviceIndex(tables, query.service, found.exists, false);
  const instances = tagged(found.rows, query).flatMap((service) => withNode(tables, service));
  const names = query.through === "connect" ? [...namesOf(found.rows), query.service] : [query.service];
  return {
    index,
    answer: select(tables, instances, query, { fields: instanceFields, nodeOf }),
    wakes: [...found.topics, ...new Set(names.map(topics.instances))],
    stales: [...stales, topics.service(query.service), ...nearTopics(query.near)],
  };
}

export function checkedInstances(tables: Tables, query: QueryOf<"checkedInstances">): Evaluation<Answers["checkedInstances"]> {
  const found = find(tables, query);
  const names = found.rows.length > 0 ? namesOf(found.rows) : [query.service];
  let index = 0;
  const stales = new Set<Topic>(nearTopics(query.near));
  for (const name of names) {
    const own = serviceIndex(tables, name, found.exists, true);
    index = Math.max(index, own.index);
    for (const topic of own.stales) stales.add(topic);
  }
  const instances = tagged(found.rows, query).flatMap((service) => withNode(tables, service));
  const checked = instances.map((instance) => withChecks(tables, instance));
  // Where the filter is broken this throws before anything else is decided.
  const selected = select(tables, checked, query, { fields: checkedInstanceFields, nodeOf });
  return {
    index: atLeastOne(index),
    answer: query.passingOnly ? passing(selected) : selected,
    wakes: [...found.topics, ...new Set(names.map(topics.service))],
    stales: [...stales],
  };
}

export function byAddress(tables: Tables, address: string): Evaluation<Answers["byAddress"]> {
  const nodes = tables.nodes.by("address", address);
  const services = tables.services.by("address", address).flatMap((service) => withNode(tables, service));
  return {
    index: atLeastOne(tables.maxIndex(...nodesAndServices)),
    answer: { nodes, services },
    wakes: nodesAndServices,
    stales: [],
  };
}

interface Found {
  readonly rows: readonly ServiceRecord[];
  /** Before tags narrow them. */
  readonly exists: boolean;
  /** What else must be watched to notice a new instance. */
  readonly topics: readonly Topic[];
}

function find(tables: Tables, query: ServiceSelection): Found {
  switch (query.through) {
    case undefined: {
      const rows = tables.services.by("name", foldedKey(query.service));
      return { rows, exists: rows.length > 0, topics: [] };
    }
    case "connect": {
      const rows = tables.services.by("connect", foldedKey(query.service));
      return { rows, exists: rows.length > 0, topics: [topics.connect(query.service)] };
    }
    case "ingress":
      // Which gateways serve a service is said by config entries, and this catalog holds none.
      return { rows: [], exists: false, topics: [] };
    default:
      return unreachable(query.through);
  }
}

/** The index of a service; where it has none, that of the last service to go, or before there was any, of the tables. */
function serviceIndex(
  tables: Tables,
  name: string,
  exists: boolean,
  withChecks: boolean,
): { readonly index: number; readonly stales: readonly Topic[] } {
  const extinction = exists ? undefined : tables.indexOf(topics.extinctions);
  if (extinction !== undefined) return { index: extinction, stales: [topics.extinctions] };
  const own = tables.indexOf(topics.service(name));
  if (own !== undefined) return { index: own, stales: [] };
  const wider = withChecks ? [...nodesAndServices, topics.checks] : nodesAndServices;
  return { index: atLeastOne(tables.maxIndex(...wider)), stales: [...wider, topics.extinctions] };
}

function namesOf(rows: readonly ServiceRecord[]): string[] {
  const names = new Map<string, string>();
  for (const row of rows) names.set(foldedKey(row.service), row.service);
  return [...names.values()];
}

function tagged(rows: readonly ServiceRecord[], query: ServiceSelection): readonly ServiceRecord[] {
  const { tags } = query;
  return tags === undefined || tags.length === 0 ? rows : rows.filter((row) => hasTags(row.tags, tags));
}

function withNode(tables: Tables, service: ServiceRecord): ServiceInstance[] {
  const node: NodeRecord | undefined = tables.nodes.get(foldedKey(service.node));
  return node === undefined ? [] : [{ node, service }];
}

/** The node's own checks first, then the service's. */
function withChecks(tables: Tables, { node, service }: ServiceInstance): CheckedInstance {
  const ofNode = tables.checks.by("instance", foldedKey(service.node), "");
  const ofService = tables.checks.by("instance", foldedKey(service.node), foldedKey(service.id));
  return { node, service, checks: [...ofNode, ...ofService] };
}

/** Drops instances with a check that is not passing. The order is Consul's: the last instance takes the place of one that goes. */
function passing(instances: readonly CheckedInstance[]): readonly CheckedInstance[] {
  const left = [...instances];
  for (let at = 0; at < left.length; ) {
    const healthy = (left[at] as CheckedInstance).checks.every((check) => check.status === "passing");
    if (healthy) {
      at++;
      continue;
    }
    const last = left.pop() as CheckedInstance;
    if (at < left.length) left[at] = last;
  }
  return left;
}
