/** The agent itself: self, members, metrics, join, leave, reload. */
import { utf8 } from "../../../core/types/bytes.ts";
import { goQuote } from "../../../core/config/go-text.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { debugConfig } from "../agent-config.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { jsonArray, jsonMap, jsonString, jsonStringMap, jsonValue } from "../json-write.ts";
import { isReadable, metricsJson } from "../metrics.ts";
import { prometheusText, prometheusType } from "../prometheus.ts";
import { isPretty } from "../query.ts";
import { emptyReply, jsonReply, Refusal } from "../reply.ts";
import { coordinateJson, memberJson } from "../shapes.ts";
import { agentEvidenceRoutes } from "./agent-evidence.ts";
import { isMonitored, monitor } from "./agent-monitor.ts";
import { notSupported } from "./unbuilt.ts";

export function agentControlRoutes(context: ApiContext): readonly Route[] {
  const { agent } = context;
  return [
    { path: "/v1/agent/self", methods: ["GET"], handle: (request) => self(context, request) },
    { path: "/v1/agent/members", methods: ["GET"], handle: (request) => members(context, request) },
    ...agentEvidenceRoutes(context),
    { path: "/v1/agent/host", methods: ["GET"], handle: (request) => host(context, request) },
    { path: "/v1/agent/metrics", methods: ["GET"], handle: (request) => metrics(context, request) },
    { path: "/v1/agent/monitor", methods: ["GET"], streams: isMonitored, handle: (request) => monitor(context, request) },
    {
      path: "/v1/agent/reload",
      methods: ["PUT"],
      async handle() {
        await agent.reload();
        return emptyReply();
      },
    },
    {
      path: "/v1/agent/leave",
      methods: ["PUT"],
      async handle({ query }) {
        // "force" is not Consul's: see core/agent/server-leave.ts.
        await agent.leave({ force: query.has("force") });
        return emptyReply();
      },
    },
    {
      path: "/v1/agent/join/",
      methods: ["PUT"],
      async handle(request) {
        await agent.cluster.join([request.rest], request.query.get("wan") === "" ? "lan" : "wan");
        return emptyReply();
      },
    },
    {
      path: "/v1/agent/force-leave/",
      methods: ["PUT"],
      async handle(request) {
        await agent.cluster.forceLeave(request.rest, request.query.has("prune"));
        return emptyReply();
      },
    },
  ];
}

function self(context: ApiContext, request: HttpRequest): HttpReply {
  const { agent } = context;
  const { config } = agent;
  const summary =
    `{"Datacenter":${jsonString(config.datacenter)},"NodeName":${jsonString(config.nodeName)},"NodeID":${jsonString(agent.nodeId)},` +
    `"Revision":"","Server":${config.server},"Version":${jsonString(agent.version)}}`;
  const coordinate = config.disableCoordinates ? "null" : coordinateJson(agent.cluster.coordinate());
  const json =
    `{"Config":${summary},"DebugConfig":${jsonValue(debugConfig(agent))},"Coord":${coordinate},"Member":${memberJson(agent.cluster.self())},` +
    `"Stats":${jsonMap(agent.stats(), jsonStringMap)},"Meta":${jsonStringMap({ ...config.nodeMeta, "consul-network-segment": "" })}}`;
  return jsonReply(json, isPretty(request, agent));
}

function members(context: ApiContext, request: HttpRequest): HttpReply {
  const { agent } = context;
  const { query } = request;
  const wan = query.get("wan") !== "";
  const segment = query.get("segment");
  if (wan && segment !== "" && segment !== "_all") throw new Refusal(400, "Cannot provide a segment with wan=true");
  if (segment !== "" && segment !== "_all") {
    const told = agent.config.server
      ? "Network segments are not supported in this version of Consul"
      : `segment ${goQuote(segment)} not found`;
    throw new AgentError("rejected", { message: told });
  }
  const found = agent.cluster.members(wan ? "wan" : "lan");
  // Who is in no such pool has no list at all.
  const json = wan && found.length === 0 ? "null" : jsonArray(found, memberJson);
  return jsonReply(json, isPretty(request, agent));
}

async function host(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  if (context.host?.report === undefined) throw notSupported("/v1/agent/host on this runtime");
  const { memory, cpus, host, disk } = await context.host.report();
  const nanoseconds = `${Math.trunc(context.clock.wall())}000000`;
  const json = (value: unknown): string => JSON.stringify(value);
  return jsonReply(
    `{"Memory":${json(memory)},"CPU":${json(cpus)},"Host":${json(host)},"Disk":${json(disk)},` +
      `"CollectionTime":${nanoseconds},"Errors":null}`,
    isPretty(request, context.agent),
  );
}

function metrics(context: ApiContext, request: HttpRequest): HttpReply {
  const accept = request.header("accept") ?? "";
  const { metrics: readable } = context;
  const prometheus = request.query.get("format") === "prometheus" || /openmetrics|version=0\.0\.4/.test(accept);
  const totals = prometheus && isReadable(readable) ? readable.totals() : undefined;
  if (totals !== undefined) return { status: 200, headers: ["Content-Type", prometheusType], body: utf8(prometheusText(totals)) };
  if (prometheus) throw new Refusal(415, "Prometheus is not enabled since its retention time is not positive");
  if (!isReadable(readable)) throw notSupported("/v1/agent/metrics on this runtime");
  return jsonReply(metricsJson(readable), isPretty(request, context.agent));
}
