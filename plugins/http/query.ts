/**
 * The parameters common to most endpoints: consistency, blocking, datacenter, namespace; with the texts of their errors.
 * They are read in Consul's order, because only the first error is told.
 */
import { parseDuration } from "../../core/config/duration.ts";
import { goQuote } from "../../core/config/go-text.ts";
import type { AgentApi, Blocking, Consistency, ReadOptions, WriteOptions } from "../../core/plugin/agent-api.ts";
import type { Millis } from "../../core/types/ids.ts";
import type { HttpRequest } from "./extension.ts";
import { parseUint64 } from "./go.ts";
import { Refusal } from "./reply.ts";

export interface ReadParameters {
  readonly options: ReadOptions;
  readonly consistency: Consistency;
  readonly blocking: Blocking | undefined;
  /** Accept what this agent has kept, up to this old. */
  readonly cached: boolean;
  readonly filter: string;
  /** A stale answer older than this is asked again of the leader. 0: any age. */
  readonly maxStale: Millis;
}

/** Throws {@link Refusal}. `discovery`: a catalog or health read, to which `discovery_max_stale` applies. */
export function readParameters(request: HttpRequest, agent: AgentApi, scope: "discovery" | "other" = "other"): ReadParameters {
  const { query } = request;
  const { consistency, cached, maxStale } = readConsistency(request, agent, scope);
  checkCacheControl(request);
  const datacenter = readDatacenter(request, agent);
  const token = readToken(request);
  return {
    options: {
      consistency,
      cancel: request.cancel,
      ...(datacenter === undefined ? {} : { datacenter }),
      ...(token === undefined ? {} : { token }),
    },
    consistency,
    blocking: readBlocking(request),
    cached,
    filter: query.get("filter"),
    maxStale,
  };
}

function readConsistency(request: HttpRequest, agent: AgentApi, scope: "discovery" | "other") {
  const { query } = request;
  let stale = query.has("stale");
  const consistent = query.has("consistent");
  const cached = query.has("cached");
  let maxStale = 0;
  let asked = stale || consistent || cached || query.has("leader");
  const bound = query.get("max_stale");
  if (bound !== "") {
    const duration = parseDuration(bound);
    if (duration.kind === "invalid") throw new Refusal(400, `Invalid max_stale value ${goQuote(bound)}`);
    if (duration.millis > 0) {
      maxStale = duration.millis;
      stale = true;
      asked = true;
    }
  }
  if (!asked && scope === "discovery" && agent.config.discoveryMaxStale > 0) {
    maxStale = agent.config.discoveryMaxStale;
    stale = true;
  }
  if (stale && consistent) throw new Refusal(400, "Cannot specify ?stale with ?consistent, conflicting semantics.");
  if (cached && consistent) throw new Refusal(400, "Cannot specify ?cached with ?consistent, conflicting semantics.");
  const consistency: Consistency = stale ? "stale" : consistent ? "consistent" : "default";
  return { consistency, cached, maxStale };
}

/** The header matters to cached reads alone, but a broken one is refused everywhere. */
function checkCacheControl(request: HttpRequest): void {
  const header = request.header("cache-control");
  if (header === undefined || header === "") return;
  for (const part of header.toLowerCase().split(",")) {
    const [name, value] = part.trim().split("=");
    if ((name === "max-age" || name === "stale-if-error") && !/^[+-]?\d+$/.test(value ?? "")) {
      throw new Refusal(400, "Invalid Cache-Control header.");
    }
  }
}

function readBlocking(request: HttpRequest): Blocking | undefined {
  const { query } = request;
  const wait = parseWait(query.get("wait"));
  const index = query.get("index");
  if (index === "") return undefined;
  const parsed = parseUint64(index);
  if ("error" in parsed) throw new Refusal(400, "Invalid index");
  const minIndex = Number(parsed.value);
  return minIndex === 0 ? undefined : { minIndex, wait, cancel: request.cancel };
}

/** Milliseconds; 0 for none or a negative one, which both mean the default. */
export function parseWait(wait: string): Millis {
  if (wait === "") return 0;
  const duration = parseDuration(wait);
  if (duration.kind === "invalid") throw new Refusal(400, "Invalid wait time");
  return Math.max(0, duration.millis);
}

/** Undefined for this agent's own. */
export function readDatacenter(request: HttpRequest, agent: AgentApi): string | undefined {
  const datacenter = request.query.get("dc");
  return datacenter === "" || datacenter === agent.config.datacenter ? undefined : datacenter;
}

const bearer = /^bearer +(\S+)/i;

/** `?token`, then `X-Consul-Token`, then `Authorization: Bearer`. */
export function readToken(request: HttpRequest): string | undefined {
  const token =
    request.query.get("token") || request.header("x-consul-token") || bearer.exec(request.header("authorization") ?? "")?.[1];
  return token === undefined || token === "" ? undefined : token;
}

/** For proposals: where to, with whose rights, and who waits. */
export function writeOptions(request: HttpRequest, agent: AgentApi): WriteOptions {
  const datacenter = readDatacenter(request, agent);
  const token = readToken(request);
  return {
    cancel: request.cancel,
    ...(datacenter === undefined ? {} : { datacenter }),
    ...(token === undefined ? {} : { token }),
  };
}

/** Namespaces exist in Consul Enterprise alone; naming one is refused. Throws {@link Refusal}. */
export function refuseNamespace(request: HttpRequest): void {
  if ((request.header("x-consul-namespace") ?? "") !== "") {
    throw new Refusal(400, 'Bad request: Invalid header: "X-Consul-Namespace" - Namespaces are a Consul Enterprise feature');
  }
  if (request.query.get("ns") !== "") {
    throw new Refusal(400, 'Bad request: Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature');
  }
}

export function isPretty(request: HttpRequest, agent: AgentApi): boolean {
  return agent.config.devMode || request.query.has("pretty");
}

/** `node-meta=key:value`, repeatable; without ":" the value is empty. Undefined when not given. */
export function readNodeMeta(request: HttpRequest): Readonly<Record<string, string>> | undefined {
  const given = request.query.all("node-meta");
  if (given.length === 0) return undefined;
  const pairs: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const pair of given) {
    const colon = pair.indexOf(":");
    pairs[colon < 0 ? pair : pair.slice(0, colon)] = colon < 0 ? "" : pair.slice(colon + 1);
  }
  return pairs;
}

/** `near=node`; `_agent` is the agent that answers. Undefined when not given. */
export function readNear(request: HttpRequest, agent: AgentApi): string | undefined {
  const near = request.query.get("near");
  if (near === "") return undefined;
  return near === "_agent" ? agent.config.nodeName : near;
}
