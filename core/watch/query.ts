/** What of the state a watch follows: its type and parameters (Consul 1.8: api/watch) as a query of the HTTP API. */
import { isObject, type Json } from "../codec/exact-json.ts";
import type { QueryParameters } from "../codec/go-url.ts";
import { invalid, type WatchParameters } from "./parameters.ts";
import { watchShapes } from "./shapes.ts";

export interface WatchQuery {
  /** Unescaped: "/v1/kv/a b". */
  readonly path: string;
  readonly query: QueryParameters;
  /** What is handed on of an answer; undefined stands for 404. */
  readonly show: (answer: Json | undefined) => Json;
  /**
   * What of an answer came after the index that was seen last. Where this is set, indexes do not grow: one that differs is
   * news, and a smaller one no restart.
   */
  readonly newsSince?: (shown: Json, seen: bigint) => Json;
}

/**
 * Takes the parameters of that type. Throws `AgentError("config-invalid")` with Consul's text; types that Consul has and
 * that are not built are refused by name.
 */
export function watchQuery(type: string, parameters: WatchParameters): WatchQuery {
  switch (type) {
    case "key": {
      const query = staleness(parameters);
      return { path: `/v1/kv/${keyPath(parameters, "key")}`, query, show: watchShapes.pair };
    }
    case "keyprefix": {
      const query = { ...staleness(parameters), recurse: "" };
      return { path: `/v1/kv/${keyPath(parameters, "prefix")}`, query, show: watchShapes.pairs };
    }
    case "services":
      return { path: "/v1/catalog/services", query: staleness(parameters), show: watchShapes.tagsByService };
    case "nodes":
      return { path: "/v1/catalog/nodes", query: staleness(parameters), show: watchShapes.nodes };
    case "service": {
      const query = staleness(parameters);
      const service = needed(parameters, "service");
      const tag = parameters.texts("tag");
      const passing = parameters.flag("passingonly") ? { passing: "1" } : {};
      return { path: `/v1/health/service/${service}`, query: { ...query, tag, ...passing }, show: watchShapes.instances };
    }
    case "checks": {
      const query = staleness(parameters);
      const service = parameters.text("service");
      const state = parameters.text("state");
      if (service !== "" && state !== "") throw invalid("Cannot specify service and state");
      const path = service !== "" ? `/v1/health/checks/${service}` : `/v1/health/state/${state || "any"}`;
      return { path, query, show: watchShapes.checks };
    }
    case "event": {
      const name = parameters.text("name");
      const query = name === "" ? {} : { name };
      return { path: "/v1/event/list", query, show: watchShapes.events, newsSince: eventsSince };
    }
    case "connect_roots":
    case "connect_leaf":
    case "agent_service":
      throw invalid(`Watch type ${type} is not supported yet by Proconsul`);
    default:
      throw invalid(`Unsupported watch type: ${type}`);
  }
}

function staleness(parameters: WatchParameters): QueryParameters {
  return parameters.flag("stale") ? { stale: "" } : {};
}

function needed(parameters: WatchParameters, name: string): string {
  const value = parameters.text(name);
  if (value === "") throw invalid(`Must specify a single ${name} to watch`);
  return value;
}

/** As Consul's client, which leaves one leading slash out. */
function keyPath(parameters: WatchParameters, name: "key" | "prefix"): string {
  return needed(parameters, name).replace(/^\//, "");
}

/** The events after the one whose folded ID is `seen`; all, when it is not among them. */
function eventsSince(shown: Json, seen: bigint): Json {
  if (!Array.isArray(shown)) return shown;
  const at = shown.findIndex((event: Json) => isObject(event) && foldedId(String(event["ID"])) === seen);
  return shown.slice(at + 1);
}

/** As the agent makes the index of a list of events from its newest one. */
function foldedId(id: string): bigint | undefined {
  const digits = id.replaceAll("-", "");
  if (!/^[0-9a-f]{32}$/i.test(digits)) return undefined;
  return BigInt(`0x${digits.slice(0, 16)}`) ^ BigInt(`0x${digits.slice(16)}`);
}
