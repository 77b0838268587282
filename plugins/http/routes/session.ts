/** /v1/session/: create, destroy, renew, read. */
import { parseDuration } from "../../../core/config/duration.ts";
import type { NewSession } from "../../../core/catalog/commands.ts";
import type { SessionRecord } from "../../../core/catalog/records.ts";
import { sessionFault } from "../../../core/catalog/validate-session.ts";
import type { WriteOptions } from "../../../core/plugin/agent-api.ts";
import { uuid } from "../../../core/ports/crypto.ts";
import type { Millis } from "../../../core/types/ids.ts";
import { fields, list, readBody, rejected, text, texts } from "../bodies.ts";
import { type ApiContext, serveShared } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { any, custom, type DecodedFields, JsonError, slice, string, struct, uint64 } from "../json-decode.ts";
import { jsonArray, jsonString } from "../json-write.ts";
import { isPretty, readParameters, refuseNamespace, writeOptions } from "../query.ts";
import { booleanReply, jsonBody, jsonReply, Refusal } from "../reply.ts";
import { sessionJson } from "../shapes.ts";
import { rendered } from "../shared.ts";
import { requiredName } from "./selection.ts";

export function sessionRoutes(context: ApiContext): readonly Route[] {
  const { agent } = context;
  const begin = (request: HttpRequest) => {
    const parameters = readParameters(request, agent);
    refuseNamespace(request);
    return parameters;
  };
  const shared = { showConsistency: false, errorsCarryIndex: true } as const;
  return [
    { path: "/v1/session/create", methods: ["PUT"], handle: (request) => create(context, request) },
    { path: "/v1/session/destroy/", methods: ["PUT"], handle: (request) => destroy(context, request) },
    { path: "/v1/session/renew/", methods: ["PUT"], handle: (request) => renew(context, request) },
    {
      path: "/v1/session/info/",
      methods: ["GET"],
      handle(request) {
        const parameters = begin(request);
        const id = requiredName(request, "Missing session");
        return serveShared<"session">(context, request, {
          ...shared,
          parameters,
          key: `session\n${id}`,
          query: { kind: "session", id },
          render: (session, meta, pretty) =>
            rendered(200, jsonBody(session === undefined ? "[]" : `[${sessionJson(session)}]`, pretty), meta, undefined),
        });
      },
    },
    {
      path: "/v1/session/list",
      methods: ["GET"],
      handle: (request) =>
        serveShared<"sessions">(context, request, {
          ...shared,
          parameters: begin(request),
          key: "sessions",
          query: { kind: "sessions" },
          render: (sessions, meta, pretty) => rendered(200, jsonBody(jsonArray(sessions, sessionJson), pretty), meta, undefined),
        }),
    },
    {
      path: "/v1/session/node/",
      methods: ["GET"],
      handle(request) {
        const parameters = begin(request);
        const node = requiredName(request, "Missing node name");
        return serveShared<"nodeSessions">(context, request, {
          ...shared,
          parameters,
          key: `node sessions\n${node}`,
          query: { kind: "nodeSessions", node },
          render: (sessions, meta, pretty) => rendered(200, jsonBody(jsonArray(sessions, sessionJson), pretty), meta, undefined),
        });
      },
    },
  ];
}

const lockDelayDefault = 15_000;

const sessionBody = custom(
  struct("struct { LockDelay interface {}; *structs.Alias }", {
    LockDelay: any,
    ID: string,
    Name: string,
    Node: string,
    Behavior: string,
    TTL: string,
    NodeChecks: slice(string),
    ServiceChecks: slice(struct("structs.ServiceCheck", { ID: string, Namespace: string })),
    Checks: slice(string),
    CreateIndex: uint64,
    ModifyIndex: uint64,
  }),
  (value) => {
    lockDelayOf(fields(value)?.["LockDelay"]);
    return value;
  },
);

async function create(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  refuseNamespace(request);
  const { agent } = context;
  // Chunked bodies have no length, and Consul then reads none.
  const length = Number(request.header("content-length") ?? "0");
  const body = length > 0 ? await readBody(request, sessionBody, { unknownFields: "ignore" }) : {};
  const where = writeOptions(request, agent);
  const session = newSession(context, body, where.datacenter === undefined);
  const result = await agent.store.write({ kind: "sessionCreate", session, now: agent.store.now() }, where);
  if (result.kind === "rejected") throw rejected(result.message);
  const id = result.kind === "session" ? result.id : session.id;
  return jsonReply(`{"ID":${jsonString(id)}}`, isPretty(request, agent));
}

/** `here`: for this datacenter. Others have their own idea of what a TTL may be, and say so. */
function newSession(context: ApiContext, body: DecodedFields, here: boolean): NewSession {
  const { config } = context.agent;
  const node = body["Node"] === undefined ? config.nodeName : text(body["Node"]);
  const behavior = text(body["Behavior"]);
  const ttl = text(body["TTL"]);
  const fault = sessionFault({ node, behavior, ttl: here ? ttl : "" }, config.sessionTtlMin);
  if (fault !== undefined) throw rejected(fault);
  const serviceChecks = body["ServiceChecks"];
  return {
    id: uuid(context.crypto),
    name: text(body["Name"]),
    node,
    lockDelay: "LockDelay" in body ? lockDelayOf(body["LockDelay"]) : lockDelayDefault,
    behavior: behavior === "delete" ? "delete" : "release",
    ttl,
    ...sessionChecks(body),
    serviceChecks:
      serviceChecks === undefined || serviceChecks === null
        ? undefined
        : list(serviceChecks).map((check) => ({ id: text(check["ID"]), namespace: text(check["Namespace"]) })),
  };
}

/**
 * The older field `Checks` stands beside `NodeChecks`. Given without the latter it is kept as it is; given empty it
 * empties both, which is how clients ask for a session without checks.
 */
function sessionChecks(body: DecodedFields): Pick<NewSession, "nodeChecks" | "checks"> {
  const given = body["Checks"];
  const checks = given === undefined ? undefined : texts(given);
  if (checks !== undefined && checks.length === 0) return { nodeChecks: [], checks: undefined };
  const nodeChecks = body["NodeChecks"] === undefined ? ["serfHealth"] : texts(body["NodeChecks"]);
  if (checks === undefined || nodeChecks.length === 0) return { nodeChecks, checks: undefined };
  const extra = checks.some((check) => check !== "serfHealth");
  return { nodeChecks, checks: extra ? checks : undefined };
}

/** A duration's text or a number of nanoseconds; what is below 1000 ns is meant as seconds. */
function lockDelayOf(given: unknown): Millis {
  let nanoseconds = 0;
  if (typeof given === "number") nanoseconds = Math.trunc(given);
  if (typeof given === "string") {
    const parsed = parseDuration(given);
    if (parsed.kind === "invalid") throw new JsonError(parsed.problem);
    nanoseconds = Math.round(parsed.millis * 1e6);
  }
  if (given === null) return lockDelayDefault;
  return nanoseconds < 1000 ? Math.max(0, nanoseconds * 1e3) : nanoseconds / 1e6;
}

async function destroy(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  refuseNamespace(request);
  const { agent } = context;
  const id = requiredName(request, "Missing session");
  const result = await agent.store.write({ kind: "sessionDestroy", id, now: agent.store.now() }, writeOptions(request, agent));
  if (result.kind === "rejected") throw rejected(result.message);
  return booleanReply(true, isPretty(request, agent));
}

async function renew(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  refuseNamespace(request);
  const { agent } = context;
  const id = requiredName(request, "Missing session");
  const options = writeOptions(request, agent);
  const session = await find(context, id, options);
  if (session === undefined || !(await agent.store.renewSession(id, options)))
    throw new Refusal(404, `Session id '${id}' not found`);
  return jsonReply(`[${sessionJson(session)}]`, isPretty(request, agent));
}

async function find(context: ApiContext, id: string, options: WriteOptions): Promise<SessionRecord | undefined> {
  const { answer } = await context.agent.store.read<"session">({ kind: "session", id }, { consistency: "default", ...options });
  return answer;
}
