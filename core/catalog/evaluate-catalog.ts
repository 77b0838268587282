/** Reads of nodes, services by node or name, and checks. */
import { compareAsUtf8 } from "../structures/ordered-map.ts";
import { atLeastOne } from "./at-least-one.ts";
import { checkFields, nodeFields, serviceFields } from "./filter-fields.ts";
import type { Answers, Evaluation, QueryOf, Topic } from "./queries.ts";
import type { CheckRecord, NodeRecord } from "./records.ts";
import { hasMeta, select, type Selectable } from "./select.ts";
import { compileFilter } from "./filter.ts";
import { foldedKey } from "./table.ts";
import type { Tables } from "./tables.ts";
import { idPrefixKey } from "./uuid.ts";
import { topics } from "./watch.ts";

const nodeRows: Selectable<NodeRecord> = { fields: nodeFields, nodeOf: (node) => node.node };
const checkRows: Selectable<CheckRecord> = { fields: checkFields, nodeOf: (check) => check.node };

const nodesOnly: readonly Topic[] = [topics.nodes];
const servicesOnly: readonly Topic[] = [topics.services];
const lostNodes: readonly Topic[] = [topics.nodeExtinctions];
const checksOnly: readonly Topic[] = [topics.checks];
const nodesAndServices: readonly Topic[] = [topics.nodes, topics.services];
const nodesAndChecks: readonly Topic[] = [topics.nodes, topics.checks];
const coordinatesToo: readonly Topic[] = [topics.coordinates];

/** Consul looks nodes up by the beginning of their ID from this length on. */
const idPrefixLengthMin = 2;

export function nodes(tables: Tables, query: QueryOf<"nodes">): Evaluation<Answers["nodes"]> {
  const answer = select(tables, tables.nodes.rows(), query, nodeRows);
  return { index: atLeastOne(tables.maxIndex(topics.nodes)), answer, wakes: nodesOnly, stales: nearTopics(query.near) };
}

export function services(tables: Tables, query: QueryOf<"services">): Evaluation<Answers["services"]> {
  const wanted = query.nodeMeta ?? {};
  const narrowed = Object.keys(wanted).length > 0;
  const tagsOf = new Map<string, Set<string>>();
  for (const service of tables.services.rows()) {
    if (narrowed) {
      const node = tables.nodes.get(foldedKey(service.node));
      if (node === undefined || !hasMeta(node, wanted)) continue;
    }
    let tags = tagsOf.get(service.service);
    if (tags === undefined) {
      tags = new Set();
      tagsOf.set(service.service, tags);
    }
    for (const tag of service.tags) tags.add(tag);
  }
  const answer = [...tagsOf]
    .sort(([left], [right]) => compareAsUtf8(left, right))
    .map(([service, tags]) => ({ service, tags: [...tags].sort(compareAsUtf8) }));
  const wakes = narrowed ? nodesAndServices : servicesOnly;
  return { index: atLeastOne(tables.maxIndex(...wakes)), answer, wakes, stales: [] };
}

export function nodeServices(tables: Tables, query: QueryOf<"nodeServices">): Evaluation<Answers["nodeServices"]> {
  const matches = compileFilter(query.filter ?? "", serviceFields);
  const named = tables.nodes.get(foldedKey(query.node));
  const byId = named === undefined && query.node.length >= idPrefixLengthMin;
  const node = byId ? nodeByIdPrefix(tables, query.node) : named;
  // By ID any node may come to match; who knows a node by name waits for that name.
  const awaited = byId ? topics.nodes : topics.node(query.node);
  if (node === undefined) {
    // Consul 1.8 answers 1 here, so that who waits for a node is not told of its end.
    const index = atLeastOne(tables.maxIndex(topics.nodeExtinctions));
    return { index, answer: undefined, wakes: [awaited], stales: lostNodes };
  }
  const onNode = tables.services.rows(foldedKey(node.node));
  return {
    index: atLeastOne(tables.maxIndex(...nodesAndServices)),
    answer: { node, services: matches === undefined ? onNode : onNode.filter(matches) },
    wakes: [awaited, topics.nodeServices(node.node)],
    stales: nodesAndServices,
  };
}

/** The one node whose ID starts so; undefined when there are several. */
function nodeByIdPrefix(tables: Tables, text: string): NodeRecord | undefined {
  const prefix = idPrefixKey(text);
  if (prefix === undefined) return undefined;
  const found: NodeRecord[] = [];
  tables.nodes.scanBy("id", prefix, (node) => {
    found.push(node);
    return found.length < 2;
  });
  return found.length === 1 ? found[0] : undefined;
}

export function nodeChecks(tables: Tables, query: QueryOf<"nodeChecks">): Evaluation<Answers["nodeChecks"]> {
  const answer = select(tables, tables.checks.rows(foldedKey(query.node)), query, checkRows);
  return {
    index: atLeastOne(tables.maxIndex(topics.checks)),
    answer,
    wakes: [topics.nodeChecks(query.node)],
    stales: checksOnly,
  };
}

export function serviceChecks(tables: Tables, query: QueryOf<"serviceChecks">): Evaluation<Answers["serviceChecks"]> {
  const answer = select(tables, tables.checks.by("service", foldedKey(query.service)), query, checkRows);
  const own = topics.serviceChecks(query.service);
  if (isNarrowed(query.nodeMeta)) {
    const index = tables.indexOf(topics.service(query.service)) ?? tables.maxIndex(topics.nodes, topics.services, topics.checks);
    const stales = [topics.services, topics.checks, topics.service(query.service), ...nearTopics(query.near)];
    return { index: atLeastOne(index), answer, wakes: [own, topics.nodes], stales };
  }
  return {
    index: atLeastOne(tables.maxIndex(topics.checks)),
    answer,
    wakes: [own],
    stales: [...checksOnly, ...nearTopics(query.near)],
  };
}

export function checksInState(tables: Tables, query: QueryOf<"checksInState">): Evaluation<Answers["checksInState"]> {
  const any = query.state === "any";
  const rows = any ? tables.checks.rows() : tables.checks.by("status", query.state);
  const answer = select(tables, rows, query, checkRows);
  const own = any ? topics.checks : topics.checksInState(query.state);
  const stales = [...checksOnly, ...nearTopics(query.near)];
  if (isNarrowed(query.nodeMeta)) {
    return { index: atLeastOne(tables.maxIndex(...nodesAndChecks)), answer, wakes: [own, topics.nodes], stales };
  }
  return { index: atLeastOne(tables.maxIndex(topics.checks)), answer, wakes: [own], stales };
}

function isNarrowed(nodeMeta: object | undefined): boolean {
  return nodeMeta !== undefined && Object.keys(nodeMeta).length > 0;
}

/** Coordinates move all the time: they reorder the answer of a new read and wake nobody. */
export function nearTopics(near: string | undefined): readonly Topic[] {
  return near === undefined || near === "" ? [] : coordinatesToo;
}
