/** /v1/operator/autopilot/: how the leader looks after the servers, and how they are. */
import type { AutopilotRecord, AutopilotSettings } from "../../../core/catalog/records.ts";
import { formatDuration, parseDuration } from "../../../core/config/duration.ts";
import { goQuote } from "../../../core/config/go-text.ts";
import type { AutopilotApi, GroupHealth, ServerHealth } from "../../../core/plugin/agent-api.ts";
import type { Millis } from "../../../core/types/ids.ts";
import { fields, jsonBodyBytesMax, text } from "../bodies.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { parseUint64 } from "../go.ts";
import {
  any,
  bool,
  custom,
  type Decoded,
  type DecodedFields,
  decode,
  JsonError,
  readJson,
  string,
  struct,
  uint,
  uint64,
} from "../json-decode.ts";
import { jsonArray, jsonString } from "../json-write.ts";
import { isPretty, readParameters, writeOptions } from "../query.ts";
import { booleanReply, jsonBody, jsonReply, Refusal, textReply } from "../reply.ts";
import { notSupported } from "./unbuilt.ts";

export function autopilotRoutes(context: ApiContext): readonly Route[] {
  return [
    {
      path: "/v1/operator/autopilot/configuration",
      methods: ["GET", "PUT"],
      handle: (request) => (request.method === "GET" ? configuration(context, request) : configure(context, request)),
    },
    { path: "/v1/operator/autopilot/health", methods: ["GET"], handle: (request) => health(context, request) },
  ];
}

function autopilotOf({ agent }: ApiContext, request: HttpRequest): AutopilotApi {
  if (agent.autopilot === undefined) throw notSupported(request.path);
  return agent.autopilot;
}

async function configuration(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const { options } = readParameters(request, context.agent);
  const record = await autopilotOf(context, request).configuration(options);
  return jsonReply(configurationJson(record), isPretty(request, context.agent));
}

function configurationJson(record: AutopilotRecord): string {
  const { redundancyZoneTag, upgradeVersionTag, lastContactThreshold, serverStabilizationTime } = record;
  return (
    `{"CleanupDeadServers":${record.cleanupDeadServers},"LastContactThreshold":${durationJson(lastContactThreshold)},` +
    `"MaxTrailingLogs":${record.maxTrailingLogs},"MinQuorum":${record.minQuorum},` +
    `"ServerStabilizationTime":${durationJson(serverStabilizationTime)},"RedundancyZoneTag":${jsonString(redundancyZoneTag)},` +
    `"DisableUpgradeMigration":${record.disableUpgradeMigration},"UpgradeVersionTag":${jsonString(upgradeVersionTag)},` +
    `"CreateIndex":${record.createIndex},"ModifyIndex":${record.modifyIndex}}`
  );
}

const durationJson = (millis: Millis): string => jsonString(formatDuration(millis));

/** A text with units, or a number of nanoseconds; in milliseconds. */
const duration = custom(any, (value) => {
  if (value === null || value === undefined) return 0;
  if (typeof value === "number") return Math.trunc(value) / 1e6;
  if (typeof value !== "string") {
    throw new JsonError(`strconv.ParseFloat: parsing ${goQuote(JSON.stringify(value))}: invalid syntax`);
  }
  const parsed = parseDuration(value);
  if (parsed.kind === "invalid") throw new JsonError(parsed.problem);
  return parsed.millis;
});

const configurationType = struct("api.AutopilotConfiguration", {
  CleanupDeadServers: bool,
  LastContactThreshold: duration,
  MaxTrailingLogs: uint64,
  MinQuorum: uint,
  ServerStabilizationTime: duration,
  RedundancyZoneTag: string,
  DisableUpgradeMigration: bool,
  UpgradeVersionTag: string,
  CreateIndex: uint64,
  ModifyIndex: uint64,
});

/** What is left out becomes zero: the settings are replaced as a whole. */
async function configure(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const { agent } = context;
  const where = writeOptions(request, agent);
  const settings = settingsOf(await readBody(request));
  const { query } = request;
  const pretty = isPretty(request, agent);
  if (!query.has("cas")) {
    await autopilotOf(context, request).configure(settings, where);
    return booleanReply(true, pretty);
  }
  const index = parseUint64(query.get("cas"));
  if ("error" in index) throw new Refusal(400, `Bad request: Error parsing cas value: ${index.error}`);
  return booleanReply(await autopilotOf(context, request).configure(settings, { ...where, index: Number(index.value) }), pretty);
}

async function readBody(request: HttpRequest): Promise<DecodedFields> {
  try {
    return fields(decode(configurationType, readJson(await request.body(jsonBodyBytesMax)), { unknownFields: "refuse" })) ?? {};
  } catch (error) {
    if (error instanceof JsonError) throw new Refusal(400, `Bad request: Error parsing autopilot config: ${error.message}`);
    throw error;
  }
}

function settingsOf(given: DecodedFields): AutopilotSettings {
  const wide = (value: Decoded): number | bigint => (typeof value === "number" || typeof value === "bigint" ? value : 0);
  return {
    cleanupDeadServers: given["CleanupDeadServers"] === true,
    lastContactThreshold: Number(wide(given["LastContactThreshold"])),
    maxTrailingLogs: wide(given["MaxTrailingLogs"]),
    minQuorum: wide(given["MinQuorum"]),
    serverStabilizationTime: Number(wide(given["ServerStabilizationTime"])),
    redundancyZoneTag: text(given["RedundancyZoneTag"]),
    disableUpgradeMigration: given["DisableUpgradeMigration"] === true,
    upgradeVersionTag: text(given["UpgradeVersionTag"]),
  };
}

/** 429 where a server is unwell: load balancers and monitors look at the status alone. Such an answer is not declared as JSON. */
async function health(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const { options } = readParameters(request, context.agent);
  const pretty = isPretty(request, context.agent);
  const found = await autopilotOf(context, request).health(options);
  const json = healthJson(found);
  if (found.healthy) return jsonReply(json, pretty);
  return { ...textReply(429, "-"), body: jsonBody(json, pretty) };
}

function healthJson({ healthy, failureTolerance, servers }: GroupHealth): string {
  const judged = servers === undefined ? "null" : jsonArray(servers, serverJson);
  return `{"Healthy":${healthy},"FailureTolerance":${failureTolerance},"Servers":${judged}}`;
}

function serverJson(server: ServerHealth): string {
  return (
    `{"ID":${jsonString(server.id)},"Name":${jsonString(server.name)},"Address":${jsonString(server.address)},` +
    `"SerfStatus":${jsonString(server.status)},"Version":${jsonString(server.version)},"Leader":${server.leader},` +
    `"LastContact":${durationJson(server.lastContact)},"LastTerm":${server.lastTerm},"LastIndex":${server.lastIndex},` +
    `"Healthy":${server.healthy},"Voter":${server.voter},"StableSince":${jsonString(timeOf(server.stableSince))}}`
  );
}

/** To the second, rounded; Go's zero time for none. */
function timeOf(time: number | undefined): string {
  if (time === undefined) return "0001-01-01T00:00:00Z";
  return new Date(Math.round(time / 1000) * 1000).toISOString().replace(".000Z", "Z");
}
