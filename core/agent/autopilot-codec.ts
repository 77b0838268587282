/** The servers' health as one server tells it to another, in CBOR. What is not of this form is refused. */
import type { GroupHealth, ServerHealth } from "../plugin/agent-api.ts";
import { serversMax } from "../raft/membership.ts";
import { checkedInteger } from "../types/ids.ts";
import type { RaftStats } from "./server-health.ts";

const statuses: readonly ServerHealth["status"][] = ["none", "alive", "leaving", "left", "failed"];

/** Undefined for a value that is none. */
export function decodeGroupHealth(value: unknown): GroupHealth | undefined {
  const { healthy, failureTolerance, servers } = fieldsOf(value);
  const tolerance = checkedInteger(failureTolerance);
  if (typeof healthy !== "boolean" || tolerance === undefined) return undefined;
  if (servers === undefined) return { healthy, failureTolerance: tolerance, servers: undefined };
  if (!Array.isArray(servers) || servers.length > serversMax) return undefined;
  const decoded = servers.map(decodeServerHealth);
  if (decoded.some((server) => server === undefined)) return undefined;
  return { healthy, failureTolerance: tolerance, servers: decoded as readonly ServerHealth[] };
}

function decodeServerHealth(value: unknown): ServerHealth | undefined {
  const fields = fieldsOf(value);
  const { id, name, address, version, leader, healthy, voter, lastContact, stableSince } = fields;
  const status = statuses.find((known) => known === fields["status"]);
  const lastTerm = checkedInteger(fields["lastTerm"]);
  const lastIndex = checkedInteger(fields["lastIndex"]);
  if (typeof id !== "string" || typeof name !== "string" || typeof address !== "string" || typeof version !== "string")
    return undefined;
  if (typeof leader !== "boolean" || typeof healthy !== "boolean" || typeof voter !== "boolean") return undefined;
  if (typeof lastContact !== "number" || status === undefined || lastTerm === undefined || lastIndex === undefined)
    return undefined;
  if (stableSince !== undefined && typeof stableSince !== "number") return undefined;
  return { id, name, address, status, version, leader, lastContact, lastTerm, lastIndex, healthy, voter, stableSince };
}

/** Undefined for a value that is none. */
export function decodeRaftStats(value: unknown): RaftStats | undefined {
  const { lastContact, ...rest } = fieldsOf(value);
  const lastTerm = checkedInteger(rest["lastTerm"]);
  const lastIndex = checkedInteger(rest["lastIndex"]);
  if (typeof lastContact !== "number" || lastTerm === undefined || lastIndex === undefined) return undefined;
  return { lastContact: lastContact < 0 ? Number.POSITIVE_INFINITY : lastContact, lastTerm, lastIndex };
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
