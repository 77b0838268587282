/** What this agent itself registered: /v1/agent/services, service/:id, checks. */
import type { CheckRecord, ServiceFields } from "../../../core/catalog/records.ts";
import { toHex, utf8 } from "../../../core/types/bytes.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { jsonString, jsonStrings, sortByBytes } from "../json-write.ts";
import { LocalChanges } from "../local-changes.ts";
import { isPretty, parseWait, refuseNamespace } from "../query.ts";
import { jsonReply, Refusal } from "../reply.ts";
import { agentServiceJson, checkHead } from "../shapes.ts";
import { checkFilter, serviceFilter } from "../filters.ts";

export function agentLocalRoutes(context: ApiContext): readonly Route[] {
  const { agent } = context;
  const changes = new LocalChanges(agent.local, context.clock);
  return [
    { path: "/v1/agent/services", methods: ["GET"], handle: (request) => services(context, request) },
    { path: "/v1/agent/service/", methods: ["GET"], handle: (request) => service(context, changes, request) },
    { path: "/v1/agent/checks", methods: ["GET"], handle: (request) => checks(context, request) },
  ];
}

function services(context: ApiContext, request: HttpRequest): HttpReply {
  const { agent } = context;
  refuseNamespace(request);
  const keep = serviceFilter(request.query.get("filter"));
  const shown = sorted(agent.local.services).filter(([, entry]) => keep === undefined || keep(entry.service));
  const json = `{${shown.map(([id, entry]) => `${jsonString(id)}:${agentServiceJson(entry.service, "")}`).join(",")}}`;
  return jsonReply(json, isPretty(request, agent));
}

async function service(context: ApiContext, changes: LocalChanges, request: HttpRequest): Promise<HttpReply> {
  const { agent } = context;
  refuseNamespace(request);
  const id = request.rest;
  const hash = request.query.get("hash");
  const { config } = agent;
  const wait = hash === "" ? 0 : Math.min(parseWait(request.query.get("wait")) || config.defaultQueryTime, config.maxQueryTime);
  const deadline = changes.now() + wait;
  for (;;) {
    const version = agent.local.version;
    const entry = agent.local.services.get(id);
    if (entry === undefined) throw new Refusal(404, `unknown service ID: ${id}`);
    const current = contentHash(context, entry.service);
    if (current !== hash || changes.now() >= deadline || request.cancel.aborted) {
      return jsonReply(agentServiceJson(entry.service, current), isPretty(request, agent), 200, [
        "X-Consul-Contenthash",
        current,
      ]);
    }
    await changes.wait(version, deadline, request.cancel);
  }
}

/** Sixteen hex digits that change when the reply does. Consul's are another function of the same content. */
function contentHash(context: ApiContext, fields: ServiceFields): string {
  return toHex(context.crypto.sha256(utf8(agentServiceJson(fields, ""))).subarray(0, 8));
}

function checks(context: ApiContext, request: HttpRequest): HttpReply {
  const { agent } = context;
  refuseNamespace(request);
  const keep = checkFilter(request.query.get("filter"));
  const node = agent.config.nodeName;
  const shown = sorted(agent.local.checks).filter(
    ([, { check }]) => keep === undefined || keep({ ...check, node, createIndex: 0, modifyIndex: 0 } satisfies CheckRecord),
  );
  const json = shown.map(([id, { check }]) => {
    const head = checkHead(check, node, check.serviceName, jsonStrings(check.serviceTags));
    return `${jsonString(id)}:${head}"Type":${jsonString(check.type)},"Definition":{},"CreateIndex":0,"ModifyIndex":0}`;
  });
  return jsonReply(`{${json.join(",")}}`, isPretty(request, agent));
}

function sorted<Entry>(entries: ReadonlyMap<string, Entry>): [string, Entry][] {
  const ids = [...entries.keys()];
  sortByBytes(ids);
  return ids.map((id) => [id, entries.get(id) as Entry]);
}
