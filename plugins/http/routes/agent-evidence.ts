/**
 * Why a member was declared failed: who accused it, on what grounds, who confirmed it, and what came of it. Ours alone:
 * Consul 1.8 answers 404 here.
 */
import type { Accusation, AccusationGrounds, Evidence } from "../../../core/plugin/evidence.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { jsonArray, jsonString } from "../json-write.ts";
import { isPretty } from "../query.ts";
import { jsonReply, Refusal } from "../reply.ts";

export function agentEvidenceRoutes(context: ApiContext): readonly Route[] {
  return [{ path: "/v1/agent/evidence", methods: ["GET"], handle: (request) => evidence(context, request) }];
}

/** `?node=NAME` of one member, `?wan=1` of the pool of servers of all datacenters. */
function evidence({ agent }: ApiContext, request: HttpRequest): HttpReply {
  const { query } = request;
  if (agent.cluster.evidence === undefined) throw new Refusal(501, "This agent is in no gossip pool");
  const node = query.get("node");
  const found = agent.cluster.evidence(query.get("wan") === "" ? "lan" : "wan", node === "" ? undefined : node);
  return jsonReply(evidenceJson(found), isPretty(request, agent));
}

function evidenceJson({ health, accusations, stalls }: Evidence): string {
  const stall = (one: Evidence["stalls"][number]): string => `{"Time":${timeJson(one.at)},"LateMillis":${whole(one.late)}}`;
  return `{"HealthScore":${health},"Accusations":${jsonArray(accusations, accusationJson)},"Stalls":${jsonArray(stalls, stall)}}`;
}

function accusationJson(accusation: Accusation): string {
  const { node, incarnation, at, by, grounds, confirmations, outcome, settledAt, settledBy, returnedAt } = accusation;
  const confirmed = jsonArray(confirmations, (one) => `{"By":${jsonString(one.by)},"Time":${timeJson(one.at)}}`);
  return (
    `{"Node":${jsonString(node)},"Incarnation":${incarnation},"Time":${timeJson(at)},"By":${jsonString(by)},` +
    `"Grounds":${groundsJson(grounds)},"Confirmations":${confirmed},"Outcome":${jsonString(outcome)},` +
    `"Settled":${timeJson(settledAt)},"SettledBy":${settledBy === undefined ? "null" : jsonString(settledBy)},"Returned":${timeJson(returnedAt)}}`
  );
}

function groundsJson(grounds: AccusationGrounds): string {
  if (grounds.kind !== "probe") return `{"Kind":${jsonString(grounds.kind)}}`;
  const { sentAt, directTimeout, timeout, helpers, stream, health } = grounds;
  const indirect = jsonArray(helpers, ({ via, answer }) => `{"Via":${jsonString(via)},"Answer":${jsonString(answer)}}`);
  return (
    `{"Kind":"probe","Sent":${timeJson(sentAt)},"DirectMillis":${whole(directTimeout)},"TotalMillis":${whole(timeout)},` +
    `"Indirect":${indirect},"TCP":${jsonString(stream)},"HealthScore":${health}}`
  );
}

function timeJson(at: number | undefined): string {
  return at === undefined ? "null" : jsonString(new Date(Math.round(at)).toISOString());
}

function whole(millis: number): string {
  return String(Math.round(millis));
}
