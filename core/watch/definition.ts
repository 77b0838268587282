/** An element of the `watches` of an agent's configuration: what to follow, and what to call. Texts are Consul 1.8.7's. */
import { parseDuration } from "../config/duration.ts";
import type { Millis } from "../types/ids.ts";
import { messageOf } from "../types/errors.ts";
import { type GivenParameters, goText, invalid, WatchParameters } from "./parameters.ts";
import { type WatchQuery, watchQuery } from "./query.ts";

export interface WatchDefinition {
  readonly type: string;
  /** "": this agent's own. */
  readonly datacenter: string;
  /** "": none. Secret. */
  readonly token: string;
  readonly watch: WatchQuery;
  readonly handler: WatchHandler;
}

export type WatchHandler =
  | { readonly kind: "program"; readonly argv: readonly [string, ...string[]] }
  /** For the shell. */
  | { readonly kind: "script"; readonly script: string }
  | { readonly kind: "http"; readonly request: WatchRequest };

/** The `http_handler_config`. */
export interface WatchRequest {
  /** A URL. */
  readonly path: string;
  readonly method: string;
  readonly header: Readonly<Record<string, readonly string[]>>;
  /** Of the whole exchange. */
  readonly timeout: Millis;
  readonly tlsSkipVerify: boolean;
}

export const requestTimeoutDefault: Millis = 10_000;

/** Throws `AgentError("config-invalid")`. `warn` is told what is deprecated. */
export function watchDefinition(given: GivenParameters, warn: (warning: string) => void): WatchDefinition {
  const handlerType = given["handler_type"] ?? "script";
  if (handlerType !== "http" && handlerType !== "script") throw invalid(`Handler type '${goText(handlerType)}' not recognized`);
  const type = given["type"];
  if (typeof type === "string" && type.startsWith("connect_")) {
    throw invalid(`Watch type ${type} is not allowed in agent config`);
  }
  const parameters = new WatchParameters({ ...given, handler_type: handlerType });
  let parsed: Parsed;
  try {
    parsed = parse(parameters);
  } catch (error) {
    throw invalid(`Failed to parse watch (${parameters.shown()}): ${messageOf(error)}`);
  }
  const { rest, request, handler, args } = parsed;
  if (handler !== undefined) warn(handlerDeprecated);
  return { ...rest, handler: chooseHandler(request, handler, args) };
}

const handlerDeprecated =
  "The 'handler' field in watches has been deprecated and replaced with the 'args' field. " +
  "See https://www.consul.io/docs/agent/watches.html";

interface Parsed {
  readonly rest: Omit<WatchDefinition, "handler">;
  readonly request: WatchRequest | undefined;
  readonly handler: unknown;
  readonly args: unknown;
}

/** In Consul's order, since the first problem is the one that is told. */
function parse(parameters: WatchParameters): Parsed {
  const datacenter = parameters.text("datacenter");
  const token = parameters.text("token");
  const type = parameters.text("type");
  if (type === "") throw invalid("Watch type must be specified");
  let request: WatchRequest | undefined;
  if (parameters.text("handler_type") === "http") {
    if (!parameters.has("http_handler_config")) throw invalid("Handler type 'http' requires 'http_handler_config' to be set");
    request = parameters.takeIf("http_handler_config", watchRequest);
  }
  const watch = watchQuery(type, parameters);
  const handler = parameters.take("handler");
  const args = parameters.take("args");
  parameters.refuseRest();
  return { rest: { type, datacenter, token, watch }, request, handler, args };
}

function chooseHandler(request: WatchRequest | undefined, handler: unknown, args: unknown): WatchHandler {
  if (handler !== undefined && typeof handler !== "string") throw invalid("Watch handler must be a string");
  const argv = args === undefined ? undefined : argumentList(args);
  const given = [request, handler, argv].filter((each) => each !== undefined);
  if (given.length > 1) throw invalid("Only one watch handler allowed");
  if (request !== undefined) return { kind: "http", request };
  if (handler !== undefined) return { kind: "script", script: handler };
  if (argv === undefined) throw invalid("Must define a watch handler");
  const [program, ...rest] = argv;
  // As in Consul: a list of no words is an empty script.
  return program === undefined ? { kind: "script", script: "" } : { kind: "program", argv: [program, ...rest] };
}

function argumentList(args: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(args) ? args : [args];
  if (list.some((word) => typeof word !== "string")) throw invalid("Watch args must be a list of strings");
  return list as readonly string[];
}

function watchRequest(config: unknown): WatchRequest {
  const failed = (problem: string) => invalid(`Failed to parse 'http_handler_config': ${problem}`);
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw failed(`'' expected a map, got '${kindOf(config)}'`);
  }
  const problems: string[] = [];
  const fields = foldNames(config as GivenParameters);
  const read = <Value>(name: string, none: Value, goType: string, wanted: "string" | "boolean"): Value => {
    const value = fields.get(name) ?? none;
    if (typeof value === wanted) return value as Value;
    problems.push(`'${name}' expected type '${goType}', got unconvertible type '${kindOf(value)}'`);
    return none;
  };
  const header = readHeader(fields.get("header"), problems);
  const method = read("method", "", "string", "string");
  const path = read("path", "", "string", "string");
  const timeoutText = read("timeout", "", "string", "string");
  const tlsSkipVerify = read("tls_skip_verify", false, "bool", "boolean");
  if (problems.length > 0)
    throw failed(`${problems.length} error(s) decoding:\n\n${problems.map((each) => `* ${each}`).join("\n")}`);
  if (path === "") throw failed("Requires 'path' to be set");
  const timeout = timeoutText === "" ? { kind: "duration" as const, millis: requestTimeoutDefault } : parseDuration(timeoutText);
  if (timeout.kind === "invalid") throw failed(`Failed to parse timeout: ${timeout.problem}`);
  return { path, method: method || "POST", header, timeout: timeout.millis, tlsSkipVerify };
}

/** Keys match in any letter case; unknown ones are passed over. */
function foldNames(config: GivenParameters): ReadonlyMap<string, unknown> {
  const fields = new Map<string, unknown>();
  for (const [name, value] of Object.entries(config)) fields.set(name.toLowerCase(), value);
  for (const [name, value] of Object.entries(config)) if (name === name.toLowerCase()) fields.set(name, value);
  return fields;
}

/** A single value may stand without its list: Consul refuses a list of one, which its own reading of files takes apart. */
function readHeader(given: unknown, problems: string[]): WatchRequest["header"] {
  if (given === undefined || given === null) return {};
  if (typeof given !== "object" || Array.isArray(given)) {
    problems.push(`'header' expected a map, got '${kindOf(given)}'`);
    return {};
  }
  const header: [string, readonly string[]][] = [];
  for (const [name, value] of Object.entries(given)) {
    const list: readonly unknown[] = Array.isArray(value) ? value : [value];
    for (const [at, each] of list.entries()) {
      if (typeof each === "string") continue;
      const where = Array.isArray(value) ? `'header[${name}][${at}]'` : `'header[${name}]'`;
      problems.push(`${where} expected type 'string', got unconvertible type '${kindOf(each)}'`);
    }
    header.push([name, list as readonly string[]]);
  }
  return Object.fromEntries(header);
}

function kindOf(value: unknown): string {
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float64";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "string") return "string";
  return Array.isArray(value) ? "[]interface {}" : "map[string]interface {}";
}
