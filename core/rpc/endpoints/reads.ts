/**
 * Consul 1.8's reading methods as a table: which method asks which of our queries, and how each side writes it.
 *
 *   client   query ──encode──► request          reply ──decodeAnswer──► answer
 *   server   request ──decode──► query          answer ──encodeAnswer──► reply (beside the meta)
 *
 * Each row is one method and one kind of query; the fields of `Datacenter` and of the options are common to all.
 */
import type { Fields } from "../../codec/fields.ts";
import type { Encodable } from "../../codec/msgpack.ts";
import { passingInstances } from "../../catalog/evaluate-instances.ts";
import type { Answers, QueryKind, QueryOf, Selection, ServiceSelection } from "../../catalog/queries.ts";
import { compareAsUtf8 } from "../../structures/ordered-map.ts";
import { AgentError } from "../../types/errors.ts";
import { decodeFilter, decodeSelection, type Encoded, encodeSelection } from "./query-options.ts";
import { decodeTxnOps, decodeTxnOutcome, encodeTxnOps, encodeTxnOutcome } from "./transactions.ts";
import {
  decodeCheck,
  decodeCheckedInstance,
  decodeCoordinateEntry,
  decodeInstance,
  decodeKv,
  decodeNode,
  decodeServiceRecord,
  decodeSession,
  encodeCheck,
  encodeCheckedInstance,
  encodeCoordinateEntry,
  encodeInstance,
  encodeKv,
  encodeNode,
  encodeService,
  encodeSession,
} from "./wire-records.ts";
import { exactText, listOrNil, structs } from "./wire-values.ts";

export interface ReadMethod<Kind extends QueryKind = QueryKind> {
  readonly method: string;
  readonly kind: Kind;
  /** The request's own fields. `datacenter` is the one that is asked. */
  encode(query: QueryOf<Kind>, datacenter: string): Encoded;
  /** `datacenter` is the answering server's. Throws `Malformed`, and `rejected` with Consul's text for what Consul refuses. */
  decode(fields: Fields, datacenter: string): QueryOf<Kind>;
  encodeAnswer(answer: Answers[Kind], query: QueryOf<Kind>): Encoded;
  /** Throws `Malformed`. */
  decodeAnswer(fields: Fields, query: QueryOf<Kind>): Answers[Kind];
}

const kvGet: ReadMethod<"kvGet"> = {
  method: "KVS.Get",
  kind: "kvGet",
  encode: ({ key }) => ({ Key: key }),
  decode: (fields) => ({ kind: "kvGet", key: exactText(fields, "Key") }),
  encodeAnswer: (record) => ({ Entries: record === undefined ? null : [encodeKv(record)] }),
  decodeAnswer: (fields) => structs(fields, "Entries").map(decodeKv)[0],
};

const kvList: ReadMethod<"kvList"> = {
  method: "KVS.List",
  kind: "kvList",
  encode: ({ prefix }) => ({ Key: prefix }),
  decode: (fields) => ({ kind: "kvList", prefix: exactText(fields, "Key") }),
  encodeAnswer: (records) => ({ Entries: listOrNil(records.map(encodeKv)) }),
  decodeAnswer: (fields) => structs(fields, "Entries").map(decodeKv),
};

const kvKeys: ReadMethod<"kvKeys"> = {
  method: "KVS.ListKeys",
  kind: "kvKeys",
  // The misspelling is on the wire.
  encode: ({ prefix, separator }) => ({ Prefix: prefix, Seperator: separator }),
  decode: (fields) => ({ kind: "kvKeys", prefix: exactText(fields, "Prefix"), separator: exactText(fields, "Seperator") }),
  encodeAnswer: (keys) => ({ Keys: listOrNil(keys) }),
  decodeAnswer: (fields) => fields.texts("Keys"),
};

const nodes: ReadMethod<"nodes"> = {
  method: "Catalog.ListNodes",
  kind: "nodes",
  encode: (query, datacenter) => encodeSelection(query, datacenter),
  decode: (fields, datacenter) => ({ kind: "nodes", ...decodeSelection(fields, datacenter) }),
  encodeAnswer: (found, query) => ({ Nodes: list(found.map(encodeNode), query) }),
  decodeAnswer: (fields) => structs(fields, "Nodes").map(decodeNode),
};

const services: ReadMethod<"services"> = {
  method: "Catalog.ListServices",
  kind: "services",
  encode: (query, datacenter) => encodeSelection(query, datacenter),
  decode: (fields, datacenter) => ({ kind: "services", ...decodeNodeMeta(fields, datacenter) }),
  encodeAnswer: (found) => ({ Services: new Map(found.map(({ service, tags }) => [service, tags])) }),
  decodeAnswer(fields) {
    const tagsOf = fields.fields("Services");
    return [...tagsOf.names()]
      .sort(compareAsUtf8)
      .map((service) => ({ service, tags: [...tagsOf.texts(service)].sort(compareAsUtf8) }));
  },
};

/** The names alone (since Consul 1.8). */
const serviceNames: ReadMethod<"services"> = {
  ...services,
  method: "Catalog.ServiceList",
  encodeAnswer: (found) => ({ Services: listOrNil(found.map(({ service }) => ({ Name: service }))) }),
  decodeAnswer: (fields) => structs(fields, "Services").map((entry) => ({ service: entry.text("Name"), tags: [] })),
};

const serviceInstances: ReadMethod<"serviceInstances"> = {
  method: "Catalog.ServiceNodes",
  kind: "serviceInstances",
  encode: encodeServiceSelection,
  decode: (fields, datacenter) => ({ kind: "serviceInstances", ...decodeServiceSelection(fields, datacenter) }),
  encodeAnswer: (found, query) => ({ ServiceNodes: list(found.map(encodeInstance), query) }),
  decodeAnswer: (fields) => structs(fields, "ServiceNodes").map(decodeInstance),
};

const checkedInstances: ReadMethod<"checkedInstances"> = {
  method: "Health.ServiceNodes",
  kind: "checkedInstances",
  encode: encodeServiceSelection,
  decode: (fields, datacenter) => ({
    kind: "checkedInstances",
    passingOnly: false,
    ...decodeServiceSelection(fields, datacenter),
  }),
  encodeAnswer: (found, query) => ({ Nodes: list(found.map(encodeCheckedInstance), query) }),
  // The wire knows no "passing": the agent that was asked drops the others.
  decodeAnswer(fields, { passingOnly }) {
    const found = structs(fields, "Nodes").map(decodeCheckedInstance);
    return passingOnly ? passingInstances(found) : found;
  },
};

const nodeServices: ReadMethod<"nodeServices"> = {
  method: "Catalog.NodeServices",
  kind: "nodeServices",
  encode: ({ node }) => ({ Node: node }),
  decode: (fields) => ({ kind: "nodeServices", node: requiredNode(fields), ...decodeFilter(fields) }),
  encodeAnswer: (answer) => ({
    NodeServices:
      answer === undefined
        ? null
        : {
            Node: encodeNode(answer.node),
            Services: new Map(answer.services.map((service) => [service.id, encodeService(service)])),
          },
  }),
  decodeAnswer(fields) {
    const found = fields.fields("NodeServices");
    if (found.value("Node") === null) return undefined;
    const node = decodeNode(found.fields("Node"));
    const byId = found.fields("Services");
    return { node, services: [...byId.names()].sort(compareAsUtf8).map((id) => decodeServiceRecord(byId.fields(id), node.node)) };
  },
};

const nodeServiceList: ReadMethod<"nodeServices"> = {
  ...nodeServices,
  method: "Catalog.NodeServiceList",
  encodeAnswer: (answer, query) => ({
    NodeServices: {
      Node: answer === undefined ? null : encodeNode(answer.node),
      Services: list((answer?.services ?? []).map(encodeService), query),
    },
  }),
  decodeAnswer(fields) {
    const found = fields.fields("NodeServices");
    if (found.value("Node") === null) return undefined;
    const node = decodeNode(found.fields("Node"));
    return { node, services: structs(found, "Services").map((service) => decodeServiceRecord(service, node.node)) };
  },
};

const nodeChecks: ReadMethod<"nodeChecks"> = {
  method: "Health.NodeChecks",
  kind: "nodeChecks",
  encode: ({ node }) => ({ Node: node }),
  decode: (fields) => ({ kind: "nodeChecks", node: fields.text("Node"), ...decodeFilter(fields) }),
  ...checkAnswers(),
};

const serviceChecks: ReadMethod<"serviceChecks"> = {
  method: "Health.ServiceChecks",
  kind: "serviceChecks",
  encode: encodeServiceSelection,
  decode: (fields, datacenter) => ({
    kind: "serviceChecks",
    service: fields.text("ServiceName"),
    ...decodeSelection(fields, datacenter),
  }),
  ...checkAnswers(),
};

const checksInState: ReadMethod<"checksInState"> = {
  method: "Health.ChecksInState",
  kind: "checksInState",
  encode: (query, datacenter) => ({ State: query.state, ...encodeSelection(query, datacenter) }),
  decode: (fields, datacenter) => ({
    kind: "checksInState",
    state: fields.text("State"),
    ...decodeSelection(fields, datacenter),
  }),
  ...checkAnswers(),
};

/** Old and new clients name the session under two names; both are filled in. */
const session: ReadMethod<"session"> = {
  method: "Session.Get",
  kind: "session",
  encode: ({ id }) => ({ Session: id, SessionID: id }),
  decode: (fields) => ({ kind: "session", id: sessionId(fields) }),
  encodeAnswer: (found) => ({ Sessions: found === undefined ? null : [encodeSession(found)] }),
  decodeAnswer: (fields) => structs(fields, "Sessions").map(decodeSession)[0],
};

const sessions: ReadMethod<"sessions"> = {
  method: "Session.List",
  kind: "sessions",
  encode: () => ({ Session: "", SessionID: "" }),
  decode: () => ({ kind: "sessions" }),
  ...sessionAnswers(),
};

const nodeSessions: ReadMethod<"nodeSessions"> = {
  method: "Session.NodeSessions",
  kind: "nodeSessions",
  encode: ({ node }) => ({ Node: node }),
  decode: (fields) => ({ kind: "nodeSessions", node: fields.text("Node") }),
  ...sessionAnswers(),
};

const coordinates: ReadMethod<"coordinates"> = {
  method: "Coordinate.ListNodes",
  kind: "coordinates",
  encode: (_query, datacenter) => encodeSelection({}, datacenter),
  decode: () => ({ kind: "coordinates" }),
  ...coordinateAnswers(),
};

const coordinate: ReadMethod<"coordinate"> = {
  method: "Coordinate.Node",
  kind: "coordinate",
  encode: ({ node }) => ({ Node: node }),
  decode: (fields) => ({ kind: "coordinate", node: fields.text("Node") }),
  ...coordinateAnswers(),
};

const txnRead: ReadMethod<"txnRead"> = {
  method: "Txn.Read",
  kind: "txnRead",
  encode: ({ ops }) => ({ Ops: encodeTxnOps(ops) }),
  decode: (fields) => ({ kind: "txnRead", ops: decodeTxnOps(fields) }),
  encodeAnswer: encodeTxnOutcome,
  decodeAnswer: decodeTxnOutcome,
};

/** Instances at an IP address: the one use of `ServiceAddress`. The nodes at it are found in the list of all. */
export const instancesByAddress: ReadMethod<"byAddress"> = {
  method: "Catalog.ServiceNodes",
  kind: "byAddress",
  encode: ({ address }, datacenter) => ({
    ...encodeServiceSelection({ service: "" }, datacenter),
    ServiceAddress: address,
  }),
  decode: (fields) => ({ kind: "byAddress", address: fields.text("ServiceAddress") }),
  encodeAnswer: ({ services: found }) => ({ ServiceNodes: listOrNil(found.map(encodeInstance)) }),
  decodeAnswer: (fields) => ({ nodes: [], services: structs(fields, "ServiceNodes").map(decodeInstance) }),
};

const rows = [
  kvGet,
  kvList,
  kvKeys,
  nodes,
  services,
  serviceInstances,
  nodeServices,
  nodeChecks,
  serviceChecks,
  checksInState,
  checkedInstances,
  session,
  sessions,
  nodeSessions,
  coordinates,
  coordinate,
  txnRead,
] as unknown as readonly ReadMethod[];
const otherRows = [serviceNames, nodeServiceList] as unknown as readonly ReadMethod[];

/** What a client calls for a kind of query. `byAddress` is two calls and not here. */
export const readMethodByKind: ReadonlyMap<QueryKind, ReadMethod> = new Map(rows.map((row) => [row.kind, row]));
/** What a server answers, by method. `Catalog.ServiceNodes` may turn out to be {@link instancesByAddress}. */
export const readMethods: ReadonlyMap<string, ReadMethod> = new Map([...rows, ...otherRows].map((row) => [row.method, row]));

function encodeServiceSelection(
  query: Selection & { readonly service: string } & Partial<ServiceSelection>,
  datacenter: string,
): Encoded {
  const { service, tags = [], through } = query;
  return {
    ...encodeSelection(query, datacenter),
    Connect: through === "connect",
    Ingress: through === "ingress",
    ServiceAddress: "",
    ServiceName: service,
    ServiceTag: "",
    ServiceTags: listOrNil(tags),
    TagFilter: tags.length > 0,
  };
}

/** Agents before 1.3 know one tag only; theirs counts where it is given. */
function decodeServiceSelection(fields: Fields, datacenter: string): ServiceSelection {
  const service = fields.text("ServiceName");
  if (service === "") throw refused("Must provide service name");
  const oldTag = fields.text("ServiceTag");
  const given = fields.texts("ServiceTags");
  const tags = !fields.flag("TagFilter") ? [] : oldTag === "" ? given : [oldTag];
  const through = fields.flag("Connect") ? "connect" : fields.flag("Ingress") ? "ingress" : undefined;
  return {
    service,
    ...decodeSelection(fields, datacenter),
    ...(tags.length === 0 ? {} : { tags }),
    ...(through === undefined ? {} : { through }),
  };
}

function decodeNodeMeta(fields: Fields, datacenter: string): Pick<Selection, "nodeMeta"> {
  const { nodeMeta } = decodeSelection(fields, datacenter);
  return nodeMeta === undefined ? {} : { nodeMeta };
}

function checkAnswers() {
  return {
    encodeAnswer: (found: Answers["nodeChecks"], query: Selection): Encoded => ({
      HealthChecks: list(found.map(encodeCheck), query),
    }),
    decodeAnswer: (fields: Fields): Answers["nodeChecks"] => structs(fields, "HealthChecks").map(decodeCheck),
  };
}

function sessionAnswers() {
  return {
    encodeAnswer: (found: Answers["sessions"]): Encoded => ({ Sessions: listOrNil(found.map(encodeSession)) }),
    decodeAnswer: (fields: Fields): Answers["sessions"] => structs(fields, "Sessions").map(decodeSession),
  };
}

function coordinateAnswers() {
  return {
    encodeAnswer: (found: Answers["coordinates"]): Encoded => ({ Coordinates: listOrNil(found.map(encodeCoordinateEntry)) }),
    decodeAnswer: (fields: Fields): Answers["coordinates"] => structs(fields, "Coordinates").map(decodeCoordinateEntry),
  };
}

export function sessionId(fields: Fields): string {
  return fields.text("SessionID") || fields.text("Session");
}

function requiredNode(fields: Fields): string {
  const node = fields.text("Node");
  if (node === "") throw refused("Must provide node");
  return node;
}

/** Nothing found is nil; nothing left by a filter is an empty list. */
function list(items: readonly Encodable[], query: Pick<Selection, "filter">): Encodable {
  return query.filter === undefined || query.filter === "" ? listOrNil(items) : items;
}

function refused(message: string): AgentError {
  return new AgentError("rejected", { message });
}
