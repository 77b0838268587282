/** Reads of the instances of a service: bare, and with the checks that count for them. */
import { unreachable } from "../types/errors.ts";
import type { LogIndex } from "../types/ids.ts";
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
const nodesServicesAndChecks: readonly Topic[] = [topics.nodes, topics.services, topics.checks];
const nodeOf = (instance: ServiceInstance): string => instance.service.node;

export function serviceInstances(tables: Tables, query: QueryOf<"serviceInstances">): Evaluation<Answers["serviceInstances"]> {
  const found = find(tables, query);
  const { index, stales } = indexOf(tables, found, nodesAndServices);
  const instances = tagged(found.rows, query).flatMap((service) => withNode(tables, service));
  return {
    index,
    answer: select(tables, instances, query, { fields: instanceFields, nodeOf }),
    wakes: [...found.awaited, ...found.names.map(topics.instances)],
    // Checks move the index of a service and do not show here.
    stales: [...found.names.map(topics.service), ...stales, ...nearTopics(query.near)],
  };
}

export function checkedInstances(tables: Tables, query: QueryOf<"checkedInstances">): Evaluation<Answers["checkedInstances"]> {
  const found = find(tables, query);
  const { index, stales } = indexOf(tables, found, nodesServicesAndChecks);
  const instances = tagged(found.rows, query).flatMap((service) => withNode(tables, service));
  const checked = instances.map((instance) => withChecks(tables, instance));
  const selected = select(tables, checked, query, { fields: checkedInstanceFields, nodeOf });
  return {
    index,
    answer: query.passingOnly ? passingInstances(selected) : selected,
    wakes: [...found.awaited, ...found.names.map(topics.service)],
    stales: [...stales, ...nearTopics(query.near)],
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
  /** Before tags narrow them. */
  readonly rows: readonly ServiceRecord[];
  /** The services whose indexes count: of the rows, or when there are none the one asked for; none where nothing can come. */
  readonly names: readonly string[];
  /** What else notices a new instance, and has an index of its own. */
  readonly awaited: readonly Topic[];
}

function find(tables: Tables, { service, through }: ServiceSelection): Found {
  switch (through) {
    case undefined:
      return { rows: tables.services.by("name", foldedKey(service)), names: [service], awaited: [] };
    case "connect": {
      const rows = tables.services.by("connect", foldedKey(service));
      return { rows, names: rows.length > 0 ? namesOf(rows) : [service], awaited: [topics.connect(service)] };
    }
    case "ingress":
      // Which gateways serve a service is said by config entries, and this catalog holds none.
      return { rows: [], names: [], awaited: [] };
    default:
      return unreachable(through);
  }
}

/**
 * The latest index of the services found. Of none: that of the last service to go; before there was any, the service's own,
 * which one has that is there and is only not in the mesh; at last that of the `wider` tables.
 */
function indexOf(
  tables: Tables,
  found: Found,
  wider: readonly Topic[],
): { readonly index: LogIndex; readonly stales: readonly Topic[] } {
  if (found.names.length === 0) return { index: 1, stales: [] };
  const own = tables.maxIndex(...found.names.map(topics.service), ...found.awaited);
  if (found.rows.length > 0) return { index: atLeastOne(own), stales: [] };
  const extinction = tables.maxIndex(topics.extinctions);
  if (extinction > 0) return { index: extinction, stales: [topics.extinctions] };
  if (own > 0) return { index: own, stales: [topics.extinctions] };
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
export function passingInstances(instances: readonly CheckedInstance[]): readonly CheckedInstance[] {
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
