/**
 * Runs the scripts of tests/cases/catalog: commands at the left margin, what must come of each indented below it.
 *
 *   === a plain write keeps the holder            a case: a fresh catalog, log indexes from 1, time 1000000
 *   register n1 10.0.0.1 service=web:web1:80 tags=a,b check=c1:passing:web1
 *     1 done                                      the log index and the result
 *     touches node:n1 nodes …                     the topics it touched, sorted
 *   set k v flags=3
 *   ? get k                                       a query; its index, wakes, stales and rows are below it
 *   at +5000                                      the leader's clock moves
 *
 * Sessions are called s1, s2… and nodes' IDs id1, id2…: they stand for UUIDs.
 */
import { Catalog } from "../../../core/catalog/catalog.ts";
import type { Command, CommandResult, RegisterCommand, TxnKvVerb, TxnOp, TxnResult } from "../../../core/catalog/commands.ts";
import type { Evaluation, Query, Selection } from "../../../core/catalog/queries.ts";
import type {
  CheckRecord,
  KvRecord,
  NodeRecord,
  ServiceFields,
  ServiceRecord,
  SessionRecord,
} from "../../../core/catalog/records.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import { messageOf } from "../../../core/types/errors.ts";

export interface Case {
  readonly title: string;
  /** The commands, each with what the file says comes of it. */
  readonly steps: readonly { readonly line: string; readonly expected: readonly string[] }[];
}

export function parseCases(script: string): Case[] {
  const cases: { title: string; steps: { line: string; expected: string[] }[] }[] = [];
  for (const line of script.split("\n")) {
    if (line.startsWith("=== ")) cases.push({ title: line.slice(4), steps: [] });
    else if (line.startsWith("  ")) cases.at(-1)?.steps.at(-1)?.expected.push(line.slice(2));
    else if (line !== "" && !line.startsWith("#")) cases.at(-1)?.steps.push({ line, expected: [] });
  }
  return cases;
}

/** What comes of each step, in the form of the file. */
export function runCase({ steps }: Case): string[][] {
  const script = new Script();
  return steps.map(({ line }) => script.run(line).map(named));
}

const sessionUuid = (name: string): string =>
  /^s[0-9]$/.test(name) ? `5e551011-0000-0000-0000-00000000000${name.slice(1)}` : name;
const nodeUuid = (name: string): string =>
  /^id[0-9]$/.test(name) ? `${name.slice(2)}0de0000-0000-0000-0000-000000000000` : name;
const named = (line: string): string =>
  line
    .replaceAll(/5e551011-0000-0000-0000-00000000000([0-9])/g, "s$1")
    .replaceAll(/5e551011000000000000000000000000?([0-9])/g, "s$1")
    .replaceAll(/([0-9])0de0000-0000-0000-0000-000000000000/g, "id$1");

class Script {
  readonly #catalog = new Catalog();
  readonly #touched = new Set<string>();
  #index = 0;
  #now = 1_000_000;

  constructor() {
    const { watches } = this.#catalog;
    const { touch, touchKey } = watches;
    watches.touch = (topic) => {
      if (!topic.startsWith("kv:")) this.#touched.add(topic);
      touch.call(watches, topic);
    };
    watches.touchKey = (key) => {
      this.#touched.add(`kv:${key}`);
      touchKey.call(watches, key);
    };
  }

  run(line: string): string[] {
    const words = line.match(/(?:'[^']*'|[^\s'])+/g)?.map((word) => word.replaceAll("'", "")) ?? [];
    const [verb = "", ...rest] = words;
    if (verb === "at") {
      this.#now += Number(rest[0]);
      return [];
    }
    if (verb === "?") return this.#query(rest);
    const command = this.#command(verb, rest);
    this.#touched.clear();
    const result = this.#catalog.apply(++this.#index, command);
    const touches = this.#touched.size === 0 ? [] : [`touches ${[...this.#touched].sort().join(" ")}`];
    return [...showResult(this.#index, result), ...touches];
  }

  #command(verb: string, words: readonly string[]): Command {
    const now = this.#now;
    const { plain, options } = split(words);
    const [first = "", second = "", third = ""] = plain;
    const value = utf8(second);
    const flags = Number(options.get("flags")?.[0] ?? 0);
    switch (verb) {
      case "register":
        return this.#register(first, second, options, plain.includes("skip"));
      case "deregister":
        return {
          kind: "deregister",
          node: first,
          serviceId: options.get("service")?.[0],
          checkId: options.get("check")?.[0],
          now,
        };
      case "set":
        return { kind: "kv", now, op: { op: "set", key: first, value, flags } };
      case "cas":
        return { kind: "kv", now, op: { op: "cas", key: first, value, flags, index: Number(third) } };
      case "acquire":
      case "release":
        return { kind: "kv", now, op: { op: verb, key: first, value, flags, session: sessionUuid(third) } };
      case "delete":
        return { kind: "kv", now, op: { op: "delete", key: first } };
      case "delete-cas":
        return { kind: "kv", now, op: { op: "deleteCas", key: first, index: Number(second) } };
      case "delete-tree":
        return { kind: "kv", now, op: { op: "deleteTree", prefix: first } };
      case "session":
        return {
          kind: "sessionCreate",
          now,
          session: {
            id: sessionUuid(first),
            name: "",
            node: second,
            lockDelay: Number(options.get("delay")?.[0] ?? 15_000),
            behavior: options.get("behavior")?.[0] === "delete" ? "delete" : "release",
            ttl: "",
            nodeChecks: options.get("checks")?.[0]?.split(",") ?? [],
            serviceChecks: options
              .get("serviceChecks")?.[0]
              ?.split(",")
              .map((id) => ({ id, namespace: "" })),
            checks: undefined,
          },
        };
      case "end":
        return { kind: "sessionDestroy", id: sessionUuid(first), now };
      case "reap":
        return { kind: "tombstonesReap", index: Number(first) };
      case "place":
        return {
          kind: "coordinates",
          updates: [{ node: first, segment: "", coordinate: { vec: [Number(second), 0], error: 1, adjustment: 0, height: 0 } }],
        };
      case "txn":
        return { kind: "txn", ops: txnOps(words), now };
      default:
        throw new Error(`unknown command ${verb}`);
    }
  }

  #register(node: string, address: string, options: Options, skip: boolean): RegisterCommand {
    const checks = (options.get("check") ?? []).map((shown) => {
      const [checkId = "", status = "", serviceId = ""] = shown.split(":");
      const fields = {
        checkId,
        name: checkId,
        status,
        notes: "",
        output: options.get("output")?.[0] ?? "",
        serviceId,
        type: "",
        definition: {},
      };
      const other = options.get("checkNode")?.[0];
      return other === undefined ? fields : { ...fields, node: other };
    });
    return {
      kind: "register",
      node,
      id: nodeUuid(options.get("id")?.[0] ?? ""),
      address: skip ? "" : address,
      datacenter: "dc1",
      taggedAddresses: undefined,
      nodeMeta: pairs(options.get("meta")?.[0]),
      skipNodeUpdate: skip,
      service: service(options),
      checks,
      now: this.#now,
    };
  }

  #query(words: readonly string[]): string[] {
    const { plain, options } = split(words);
    const [kind = "", first = "", second = ""] = plain;
    try {
      return showEvaluation(this.#catalog.evaluate(query(kind, first, second, options)));
    } catch (error) {
      return [`error ${messageOf(error)}`];
    }
  }
}

type Options = ReadonlyMap<string, readonly string[]>;

function split(words: readonly string[]): { readonly plain: readonly string[]; readonly options: Options } {
  const plain: string[] = [];
  const options = new Map<string, string[]>();
  for (const word of words) {
    const [, key, value] = /^([a-zA-Z]+)=(.*)$/s.exec(word) ?? [];
    if (key === undefined || value === undefined) plain.push(word);
    else options.set(key, [...(options.get(key) ?? []), value]);
  }
  return { plain, options };
}

function pairs(shown: string | undefined): Record<string, string> | undefined {
  if (shown === undefined) return undefined;
  return Object.fromEntries(shown.split(",").map((pair) => pair.split(":") as [string, string]));
}

function service(options: Options): ServiceFields | undefined {
  const [shown] = options.get("service") ?? [];
  if (shown === undefined) return undefined;
  const [name = "", id = "", port = "0", address = ""] = shown.split(":");
  const destination = options.get("proxyFor")?.[0];
  return {
    kind: destination === undefined ? "" : "connect-proxy",
    id,
    service: name,
    tags: options.get("tags")?.[0]?.split(",") ?? [],
    address,
    taggedAddresses: undefined,
    meta: pairs(options.get("serviceMeta")?.[0]),
    port: Number(port),
    weights: { passing: 1, warning: 1 },
    enableTagOverride: false,
    proxy: destination === undefined ? undefined : { DestinationServiceName: destination },
    connectNative: options.has("native"),
  };
}

/** `set a 1 / get a / lock k v s1 / node-get n1`: operations between slashes. */
function txnOps(words: readonly string[]): TxnOp[] {
  const ops: TxnOp[] = [];
  for (const op of words.join(" ").split(" / ")) {
    const [verb = "", first = "", second = "", third = ""] = op.split(" ");
    const [, on, rest] = /^(node|service|check)-(.*)$/.exec(verb) ?? [];
    const modifyIndex = Number(third === "" ? 0 : third);
    if (on === "node" && rest !== undefined) {
      const node = {
        id: "",
        node: first,
        address: second,
        datacenter: "dc1",
        taggedAddresses: undefined,
        meta: undefined,
        modifyIndex,
      };
      ops.push({ on, verb: rest as "get", node });
    } else if (on === "service" && rest !== undefined) {
      const fields = service(new Map([["service", [`${second}:${second}`]]])) as ServiceFields;
      ops.push({ on, verb: rest as "get", node: first, service: { ...fields, modifyIndex } });
    } else if (
      on === "check" &&
      rest !== undefined &&
      !verb.startsWith("check-index") &&
      !verb.startsWith("check-session") &&
      verb !== "check-not-exists"
    ) {
      const check = {
        checkId: second,
        name: second,
        status: "passing",
        notes: "",
        output: "",
        serviceId: "",
        type: "",
        definition: {},
        modifyIndex,
      };
      ops.push({ on, verb: rest as "get", node: first, check });
    } else {
      const takesSession = verb === "lock" || verb === "unlock";
      ops.push({
        on: "kv",
        verb: verb as TxnKvVerb,
        key: first === "''" ? "" : first,
        value: utf8(verb === "set" || verb === "cas" || takesSession ? second : ""),
        flags: 0,
        index: verb === "cas" ? modifyIndex : verb === "check-index" || verb === "delete-cas" ? Number(second) : 0,
        session: sessionUuid(takesSession ? third : verb === "check-session" ? second : ""),
      });
    }
  }
  return ops;
}

function query(kind: string, first: string, second: string, options: Options): Query {
  const [filter] = options.get("filter") ?? [];
  const [near] = options.get("near") ?? [];
  const nodeMeta = pairs(options.get("meta")?.[0]);
  const selection: Selection = {
    ...(filter === undefined ? {} : { filter }),
    ...(near === undefined ? {} : { near }),
    ...(nodeMeta === undefined ? {} : { nodeMeta }),
  };
  const tags = options.get("tag");
  const through: "connect" | "ingress" | undefined = second === "connect" || second === "ingress" ? second : undefined;
  const narrowed = {
    ...selection,
    service: first,
    ...(tags === undefined ? {} : { tags }),
    ...(through === undefined ? {} : { through }),
  };
  switch (kind) {
    case "get":
      return { kind: "kvGet", key: first };
    case "list":
      return { kind: "kvList", prefix: first };
    case "keys":
      return { kind: "kvKeys", prefix: first, separator: second };
    case "nodes":
      return { kind: "nodes", ...selection };
    case "services":
      return { kind: "services", ...(nodeMeta === undefined ? {} : { nodeMeta }) };
    case "instances":
      return { kind: "serviceInstances", ...narrowed };
    case "health":
      return { kind: "checkedInstances", passingOnly: second === "passing", ...narrowed };
    case "node":
      return { kind: "nodeServices", node: nodeUuid(first), ...(filter === undefined ? {} : { filter }) };
    case "node-checks":
      return { kind: "nodeChecks", node: first };
    case "service-checks":
      return { kind: "serviceChecks", service: first, ...selection };
    case "state":
      return { kind: "checksInState", state: first, ...selection };
    case "session":
      return { kind: "session", id: sessionUuid(first) };
    case "sessions":
      return { kind: "sessions" };
    case "node-sessions":
      return { kind: "nodeSessions", node: first };
    case "coordinates":
      return { kind: "coordinates" };
    case "address":
      return { kind: "byAddress", address: first };
    default:
      throw new Error(`unknown query ${kind}`);
  }
}

function showResult(index: number, result: CommandResult): string[] {
  switch (result.kind) {
    case "done":
      return [`${index} done`];
    case "took":
      return [`${index} ${result.effect}`];
    case "session":
      return [`${index} session ${result.id}`];
    case "rejected":
      return [`${index} rejected ${JSON.stringify(result.message).slice(1, -1).replaceAll('\\"', '"')}`];
    case "txn":
      return [
        `${index} ${result.errors.length === 0 ? "committed" : "rolled back"}`,
        ...result.results.map((entry) => `- ${showTxnResult(entry)}`),
        ...result.errors.map((error) => `- operation ${error.opIndex}: ${error.what}`),
      ];
  }
}

function showTxnResult(result: TxnResult): string {
  return show(result.record);
}

function showEvaluation({ index, answer, wakes, stales }: Evaluation<unknown>): string[] {
  const topics = `index ${index} wakes ${wakes.join(" ")}${stales.length === 0 ? "" : ` stales ${stales.join(" ")}`}`;
  const rows = Array.isArray(answer) ? answer : answer === undefined ? [] : [answer];
  return [topics, ...rows.map(show)];
}

function show(row: unknown): string {
  if (typeof row === "string") return row;
  const record = row as Record<string, unknown>;
  if ("lockIndex" in record) return showKv(row as KvRecord);
  if ("checks" in record && "service" in record) {
    const { service: instance, node, checks } = row as { service: ServiceRecord; node: NodeRecord; checks: CheckRecord[] };
    return `${instance.id} at ${node.node} ${node.address} with ${checks.map((check) => `${check.checkId}:${check.status}`).join(" ") || "no checks"}`;
  }
  if ("services" in record && "nodes" in record) {
    const { nodes, services } = row as { nodes: NodeRecord[]; services: { service: ServiceRecord }[] };
    return `nodes ${nodes.map((node) => node.node).join(" ") || "none"}, services ${services.map((entry) => entry.service.id).join(" ") || "none"}`;
  }
  if ("services" in record) {
    const { node, services } = row as { node: NodeRecord; services: ServiceRecord[] };
    return `${show(node)}: ${services.map((entry) => entry.id).join(" ") || "no services"}`;
  }
  if ("service" in record && typeof record["service"] === "object") {
    const { service: instance, node } = row as { service: ServiceRecord; node: NodeRecord };
    return `${show(instance)} at ${node.address}`;
  }
  if ("weights" in record) return showService(row as ServiceRecord);
  if ("checkId" in record) return showCheck(row as CheckRecord);
  if ("lockDelay" in record) return showSession(row as SessionRecord);
  if ("tags" in record) return `${record["service"]} [${(record["tags"] as string[]).join(" ")}]`;
  if ("coordinate" in record) return `${record["node"]} ${(record["coordinate"] as { vec: number[] }).vec[0]}`;
  const node = row as NodeRecord;
  return `node ${node.node} ${node.address}${node.id === "" ? "" : ` ${node.id}`} ${indexes(node)}`;
}

function showKv(record: KvRecord): string {
  const lock = record.session === undefined ? "" : ` held by ${record.session}`;
  return `${record.key} = "${text(record.value)}" flags ${record.flags} lock ${record.lockIndex}${lock} ${indexes(record)}`;
}

function showService(record: ServiceRecord): string {
  return `service ${record.service} ${record.id} on ${record.node} [${record.tags.join(" ")}] ${indexes(record)}`;
}

function showCheck(record: CheckRecord): string {
  const of = record.serviceId === "" ? "" : ` of ${record.serviceId} (${record.serviceName} [${record.serviceTags.join(" ")}])`;
  return `check ${record.checkId} on ${record.node}${of} ${record.status} ${indexes(record)}`;
}

function showSession(record: SessionRecord): string {
  return `session ${record.id} on ${record.node} ${record.behavior} ${indexes(record)}`;
}

function indexes(record: { readonly createIndex: number; readonly modifyIndex: number }): string {
  return `(${record.createIndex}, ${record.modifyIndex})`;
}
