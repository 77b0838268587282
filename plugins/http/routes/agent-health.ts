/** /v1/agent/health/service/: the aggregated state of a service on this agent, as a status code for load balancers. */
import type { LocalCheck, LocalService } from "../../../core/plugin/agent-api.ts";
import { utf8 } from "../../../core/types/bytes.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { jsonArray, jsonString, jsonStrings } from "../json-write.ts";
import { isPretty, refuseNamespace } from "../query.ts";
import { jsonReply, Refusal } from "../reply.ts";
import { agentServiceJson, checkHead } from "../shapes.ts";

export function agentHealthRoutes(context: ApiContext): readonly Route[] {
  return [
    { path: "/v1/agent/health/service/id/", methods: ["GET"], handle: (request) => byId(context, request) },
    { path: "/v1/agent/health/service/name/", methods: ["GET"], handle: (request) => byName(context, request) },
  ];
}

type Status = "passing" | "warning" | "critical" | "maintenance";
/** From best to worst. */
const order: readonly Status[] = ["passing", "warning", "critical", "maintenance"];
const codes: Readonly<Record<Status, number>> = { passing: 200, warning: 429, critical: 503, maintenance: 503 };

function byId(context: ApiContext, request: HttpRequest): HttpReply {
  const id = request.rest;
  if (id === "") throw new Refusal(500, "Bad request: Missing serviceID");
  refuseNamespace(request);
  const entry = context.agent.local.services.get(id);
  if (entry === undefined) {
    const reason = `ServiceId ${id} not found`;
    const json = wantsText(request) ? jsonString(reason) : '{"AggregatedStatus":"critical","Service":null,"Checks":null}';
    return jsonReply(json, isPretty(request, context.agent), 404, ["X-Consul-Reason", headerText(reason)]);
  }
  const { status, json } = health(context, entry);
  return answer(context, request, codes[status], status, json);
}

function byName(context: ApiContext, request: HttpRequest): HttpReply {
  const name = request.rest;
  if (name === "") throw new Refusal(500, "Bad request: Missing service Name");
  refuseNamespace(request);
  const instances = [...context.agent.local.services.values()]
    .filter(({ service }) => service.service === name)
    .map((entry) => health(context, entry));
  if (instances.length === 0) return answer(context, request, 404, `ServiceName ${name} Not Found`, "[]");
  // The worst code decides; of several with that code the first.
  const worst = instances.reduce((found, next) => (codes[next.status] > codes[found.status] ? next : found));
  return answer(
    context,
    request,
    codes[worst.status],
    worst.status,
    jsonArray(instances, (instance) => instance.json),
  );
}

function answer(context: ApiContext, request: HttpRequest, code: number, reason: string, json: string): HttpReply {
  const headers = ["X-Consul-Reason", headerText(reason)];
  if (wantsText(request)) return { status: code, headers: ["Content-Type", "text/plain", ...headers], body: utf8(reason) };
  return jsonReply(json, isPretty(request, context.agent), code, headers);
}

/** Names come from the path; a header takes no line break and, on some runtimes, nothing beyond Latin-1. */
function headerText(reason: string): string {
  return reason.replace(/[^\u0020-\u007e]/g, "?");
}

function wantsText(request: HttpRequest): boolean {
  return request.query.get("format") === "text" || request.header("accept") === "text/plain";
}

function health(context: ApiContext, { service }: LocalService): { readonly status: Status; readonly json: string } {
  const checks = [...context.agent.local.checks.values()].filter(
    ({ check }) => check.serviceId === service.id || check.serviceId === "",
  );
  const status = checks.reduce<Status>((worst, check) => worse(worst, statusOf(check)), "passing");
  const node = context.agent.config.nodeName;
  const checksJson = jsonArray(checks, (check) => clientCheckJson(check, node));
  return { status, json: `{"AggregatedStatus":"${status}","Service":${agentServiceJson(service, "")},"Checks":${checksJson}}` };
}

function statusOf({ check }: LocalCheck): Status {
  if (check.checkId === "_node_maintenance" || check.checkId.startsWith("_service_maintenance:")) return "maintenance";
  return check.status === "passing" ? "passing" : check.status === "warning" ? "warning" : "critical";
}

const worse = (left: Status, right: Status): Status => (order.indexOf(right) > order.indexOf(left) ? right : left);

/** Consul shows these checks through its client library, which drops the type and fills an empty definition in. */
function clientCheckJson({ check }: LocalCheck, node: string): string {
  const tags = check.serviceTags.length === 0 ? "null" : jsonStrings(check.serviceTags);
  const definition =
    '{"Interval":"0s","Timeout":"0s","DeregisterCriticalServiceAfter":"0s","HTTP":"","Header":null,"Method":"","Body":"","TLSSkipVerify":false,"TCP":""}';
  return `${checkHead(check, node, check.serviceName, tags)}"Type":"","Definition":${definition},"CreateIndex":0,"ModifyIndex":0}`;
}
