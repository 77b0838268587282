/** /v1/kv/: the key-value store. */
import type { KvOp } from "../../../core/catalog/commands.ts";
import type { KvRecord } from "../../../core/catalog/records.ts";
import type { WriteOptions } from "../../../core/plugin/agent-api.ts";
import { type Bytes, emptyBytes } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { type ApiContext, serveShared } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { parseUint64 } from "../go.ts";
import { jsonArray, jsonStrings } from "../json-write.ts";
import { isPretty, readParameters, refuseNamespace, writeOptions } from "../query.ts";
import type { QueryValues } from "../query-string.ts";
import { booleanReply, jsonBody, Refusal } from "../reply.ts";
import { kvJson } from "../shapes.ts";
import { rendered } from "../shared.ts";

export function kvRoutes(context: ApiContext): readonly Route[] {
  return [
    {
      path: "/v1/kv/",
      methods: ["GET", "PUT", "DELETE"],
      handle(request) {
        const parameters = readParameters(request, context.agent);
        refuseNamespace(request);
        requireUtf8(request);
        if (request.method === "PUT") return put(context, request);
        if (request.method === "DELETE") return remove(context, request);
        if (request.query.has("keys")) return keys(context, request, parameters);
        return request.query.has("recurse") ? list(context, request, parameters) : get(context, request, parameters);
      },
    },
  ];
}

type Parameters = ReturnType<typeof readParameters>;

/**
 * Keys are text here. Consul keeps the bytes of a key that is not UTF-8 and shows U+FFFD for them; taking U+FFFD itself
 * would make different keys one, so such a key is refused.
 */
function requireUtf8(request: HttpRequest): void {
  if (request.rest.includes("\ufffd") && !/%EF%BF%BD|\ufffd/i.test(request.target)) {
    throw new Refusal(400, "Bad request: the key is not valid UTF-8");
  }
}

function requireKey(request: HttpRequest): string {
  if (request.rest === "") throw new Refusal(400, "Missing key name");
  return request.rest;
}

const rawHeaders = ["Content-Type", "text/plain", "X-Content-Type-Options", "nosniff", "Content-Security-Policy", "sandbox"];

function get(context: ApiContext, request: HttpRequest, parameters: Parameters): Promise<HttpReply> {
  const key = requireKey(request);
  const raw = request.query.has("raw");
  return serveShared<"kvGet">(context, request, {
    key: `kv${raw ? "\nraw" : ""}\n${key}`,
    query: { kind: "kvGet", key },
    parameters,
    showConsistency: false,
    errorsCarryIndex: false,
    render(record, meta, pretty) {
      if (record === undefined) return rendered(404, emptyBytes, meta, undefined, []);
      if (raw) return rendered(200, record.value, meta, undefined, rawHeaders);
      return rendered(200, jsonBody(`[${kvJson(record)}]`, pretty), meta, undefined);
    },
  });
}

const kvWithValue = (record: KvRecord): string => kvJson(record);

function list(context: ApiContext, request: HttpRequest, parameters: Parameters): Promise<HttpReply> {
  return serveShared<"kvList">(context, request, {
    key: `kv list\n${request.rest}`,
    query: { kind: "kvList", prefix: request.rest },
    parameters,
    showConsistency: false,
    errorsCarryIndex: false,
    render(records, meta, pretty) {
      if (records.length === 0) return rendered(404, emptyBytes, meta, undefined, []);
      return rendered(200, jsonBody(jsonArray(records, kvWithValue), pretty), meta, undefined);
    },
  });
}

function keys(context: ApiContext, request: HttpRequest, parameters: Parameters): Promise<HttpReply> {
  const { query } = request;
  // The misspelling is Consul's own, kept for old clients.
  const separator = query.has("separator") ? query.get("separator") : query.get("seperator");
  const prefix = request.rest;
  return serveShared<"kvKeys">(context, request, {
    key: `kv keys\n${separator}\n${prefix}`,
    query: { kind: "kvKeys", prefix, separator },
    parameters,
    showConsistency: false,
    errorsCarryIndex: false,
    render(found, meta, pretty) {
      // The root is never "not found".
      if (found.length === 0 && prefix !== "") return rendered(404, emptyBytes, meta, undefined, []);
      return rendered(200, jsonBody(jsonStrings(found), pretty), meta, undefined);
    },
  });
}

async function put(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const key = requireKey(request);
  refuseConflicts(request.query, ["cas", "acquire", "release"]);
  const change = kvChange(request.query);
  const value = await kvBody(context, request);
  return applyKv(context, request, kvOp(key, change, value));
}

/** What a PUT asks for, besides its key and value. */
export type KvChange =
  | { readonly op: "set"; readonly flags: number | bigint }
  | { readonly op: "cas"; readonly flags: number | bigint; readonly index: number }
  | { readonly op: "acquire" | "release"; readonly flags: number | bigint; readonly session: string };

function kvChange(query: QueryValues): KvChange {
  const flags = query.has("flags") ? uint64(query.get("flags")) : 0;
  if (query.has("cas")) return { op: "cas", flags, index: Number(uint64(query.get("cas"))) };
  if (query.has("acquire")) return { op: "acquire", flags, session: query.get("acquire") };
  if (query.has("release")) return { op: "release", flags, session: query.get("release") };
  return { op: "set", flags };
}

export function kvOp(key: string, change: KvChange, value: Bytes): KvOp {
  switch (change.op) {
    case "set":
      return { op: "set", key, value, flags: change.flags };
    case "cas":
      return { op: "cas", key, value, flags: change.flags, index: change.index };
    default:
      return { op: change.op, key, value, flags: change.flags, session: change.session };
  }
}

async function kvBody(context: ApiContext, request: HttpRequest): Promise<Bytes> {
  const { kvMaxValueSize } = context.agent.config.limits;
  try {
    return await request.body(kvMaxValueSize);
  } catch (error) {
    if (error instanceof AgentError && error.code === "too-large") {
      throw new Refusal(413, `${error.message} See https://www.consul.io/docs/agent/options.html#kv_max_value_size.`);
    }
    throw error;
  }
}

function remove(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const { query } = request;
  refuseConflicts(query, ["recurse", "cas"]);
  if (query.has("recurse")) return applyKv(context, request, { op: "deleteTree", prefix: request.rest });
  const key = requireKey(request);
  if (query.has("cas")) return applyKv(context, request, { op: "deleteCas", key, index: Number(uint64(query.get("cas"))) });
  return applyKv(context, request, { op: "delete", key });
}

async function applyKv(context: ApiContext, request: HttpRequest, op: KvOp): Promise<HttpReply> {
  const { agent } = context;
  const effect = await writeKv(context, op, writeOptions(request, agent));
  return booleanReply(effect, isPretty(request, agent));
}

/** Whether it took effect. Only operations with a condition can fail to. */
export async function writeKv(context: ApiContext, op: KvOp, options: WriteOptions): Promise<boolean> {
  const { store } = context.agent;
  const result = await store.write({ kind: "kv", op, now: store.now() }, options);
  if (result.kind === "rejected") throw new AgentError("rejected", { message: result.message });
  if (op.op === "set" || op.op === "delete" || op.op === "deleteTree") return true;
  return result.kind === "took" && result.effect;
}

function refuseConflicts(query: QueryValues, names: readonly string[]): void {
  if (names.filter((name) => query.has(name)).length > 1) throw new Refusal(400, `Conflicting flags: ${query.encode()}`);
}

function uint64(text: string): number | bigint {
  const parsed = parseUint64(text);
  if ("error" in parsed) throw new AgentError("rejected", { message: parsed.error });
  return parsed.value;
}
