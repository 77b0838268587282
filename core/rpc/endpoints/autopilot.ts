/** Operator.Autopilot… and Operator.ServerHealth: autopilot.Config and autopilot.OperatorHealthReply of Consul 1.8, both ways. */
import type { AutopilotRecord, AutopilotSettings } from "../../catalog/records.ts";
import { Fields } from "../../codec/fields.ts";
import { type Encodable, Malformed, type Value } from "../../codec/msgpack.ts";
import type { GroupHealth, ServerHealth } from "../../plugin/agent-api.ts";
import type { Bytes } from "../../types/bytes.ts";
import type { EpochMillis } from "../../types/ids.ts";
import { indexField, millisField, nanoseconds, structs } from "./wire-values.ts";

export function encodeAutopilot(settings: AutopilotSettings & Partial<AutopilotRecord>): Encodable {
  return {
    CleanupDeadServers: settings.cleanupDeadServers,
    CreateIndex: settings.createIndex ?? 0,
    DisableUpgradeMigration: settings.disableUpgradeMigration,
    LastContactThreshold: nanoseconds(settings.lastContactThreshold),
    MaxTrailingLogs: settings.maxTrailingLogs,
    MinQuorum: settings.minQuorum,
    ModifyIndex: settings.modifyIndex ?? 0,
    RedundancyZoneTag: settings.redundancyZoneTag,
    ServerStabilizationTime: nanoseconds(settings.serverStabilizationTime),
    UpgradeVersionTag: settings.upgradeVersionTag,
  };
}

/** Throws `Malformed`. */
export function decodeAutopilot(fields: Fields): AutopilotRecord {
  return {
    cleanupDeadServers: fields.flag("CleanupDeadServers"),
    lastContactThreshold: millisField(fields, "LastContactThreshold"),
    maxTrailingLogs: fields.wide("MaxTrailingLogs"),
    minQuorum: fields.wide("MinQuorum"),
    serverStabilizationTime: millisField(fields, "ServerStabilizationTime"),
    redundancyZoneTag: fields.text("RedundancyZoneTag"),
    disableUpgradeMigration: fields.flag("DisableUpgradeMigration"),
    upgradeVersionTag: fields.text("UpgradeVersionTag"),
    createIndex: indexField(fields, "CreateIndex"),
    modifyIndex: indexField(fields, "ModifyIndex"),
  };
}

/** By number: serf's states of a member. */
const statuses: readonly ServerHealth["status"][] = ["none", "alive", "leaving", "left", "failed"];

export function encodeGroupHealth({ healthy, failureTolerance, servers }: GroupHealth): Encodable {
  return { FailureTolerance: failureTolerance, Healthy: healthy, Servers: servers?.map(encodeServerHealth) ?? null };
}

function encodeServerHealth(health: ServerHealth): Encodable {
  return {
    Address: health.address,
    Healthy: health.healthy,
    ID: health.id,
    LastContact: nanoseconds(health.lastContact),
    LastIndex: health.lastIndex,
    LastTerm: health.lastTerm,
    Leader: health.leader,
    Name: health.name,
    SerfStatus: statuses.indexOf(health.status),
    StableSince: encodeTime(health.stableSince),
    Version: health.version,
    Voter: health.voter,
  };
}

/** Throws `Malformed`. */
export function decodeGroupHealth(value: Value): GroupHealth {
  const fields = new Fields(value);
  return {
    healthy: fields.flag("Healthy"),
    failureTolerance: fields.unsigned("FailureTolerance"),
    servers: fields.value("Servers") === null ? undefined : structs(fields, "Servers").map(decodeServerHealth),
  };
}

function decodeServerHealth(fields: Fields): ServerHealth {
  return {
    id: fields.text("ID"),
    name: fields.text("Name"),
    address: fields.text("Address"),
    status: statuses[fields.unsigned("SerfStatus")] ?? "none",
    version: fields.text("Version"),
    leader: fields.flag("Leader"),
    lastContact: millisField(fields, "LastContact"),
    lastTerm: indexField(fields, "LastTerm"),
    lastIndex: indexField(fields, "LastIndex"),
    healthy: fields.flag("Healthy"),
    voter: fields.flag("Voter"),
    stableSince: decodeTime(fields.bytes("StableSince")),
  };
}

/** From the year 1, where Go's zero time is, to 1970. */
const secondsBefore1970 = 62_135_596_800n;
const timeBytes = 15;

/** As Go's time.Time writes itself: a version, seconds since the year 1, nanoseconds, minutes east of UTC (−1: UTC). */
function encodeTime(time: EpochMillis | undefined): Bytes {
  const bytes = new Uint8Array(timeBytes);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 1);
  view.setInt16(13, -1);
  if (time === undefined) return bytes;
  const whole = Math.floor(time / 1000);
  view.setBigInt64(1, BigInt(whole) + secondsBefore1970);
  view.setInt32(9, Math.round((time - whole * 1000) * 1e6));
  return bytes;
}

/** Undefined for the zero time. */
function decodeTime(bytes: Bytes | undefined): EpochMillis | undefined {
  if (bytes === undefined || bytes.length === 0) return undefined;
  if (bytes.length !== timeBytes || bytes[0] !== 1) throw new Malformed("StableSince is no time");
  const view = new DataView(bytes.buffer, bytes.byteOffset, timeBytes);
  const seconds = view.getBigInt64(1);
  if (seconds === 0n) return undefined;
  return Number(seconds - secondsBefore1970) * 1000 + view.getInt32(9) / 1e6;
}
