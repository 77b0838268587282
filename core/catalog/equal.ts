/**
 * When a registration changes nothing: agents repeat themselves, and a repetition must move no index and wake nobody.
 */
import type { CheckRecord, NodeRecord, ServiceFields } from "./records.ts";

/** Deep equality of plain data. An absent map and an empty one differ, as they do in Consul and in its JSON. */
export function sameData(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) return false;
  if (Array.isArray(left)) {
    if (!Array.isArray(right) || left.length !== right.length) return false;
    for (let at = 0; at < left.length; at++) if (!sameData(left[at], right[at])) return false;
    return true;
  }
  const ours = left as Record<string, unknown>;
  const theirs = right as Record<string, unknown>;
  const keys = Object.keys(ours);
  if (keys.length !== Object.keys(theirs).length) return false;
  for (const key of keys) if (!Object.hasOwn(theirs, key) || !sameData(ours[key], theirs[key])) return false;
  return true;
}

type NodeFields = Omit<NodeRecord, "createIndex" | "modifyIndex">;

export function sameNode(left: NodeFields, right: NodeFields): boolean {
  return (
    left.id === right.id &&
    left.node === right.node &&
    left.address === right.address &&
    left.datacenter === right.datacenter &&
    sameData(left.taggedAddresses, right.taggedAddresses) &&
    sameData(left.meta, right.meta)
  );
}

export function sameService(left: ServiceFields, right: ServiceFields): boolean {
  return (
    left.id === right.id &&
    left.service === right.service &&
    left.kind === right.kind &&
    left.address === right.address &&
    left.port === right.port &&
    left.enableTagOverride === right.enableTagOverride &&
    left.connectNative === right.connectNative &&
    left.weights.passing === right.weights.passing &&
    left.weights.warning === right.weights.warning &&
    sameData(left.tags, right.tags) &&
    sameData(left.meta, right.meta) &&
    sameData(left.taggedAddresses, right.taggedAddresses) &&
    sameData(left.proxy, right.proxy)
  );
}

type CheckContent = Omit<CheckRecord, "createIndex" | "modifyIndex">;

export function sameCheck(left: CheckContent, right: CheckContent): boolean {
  return (
    left.node === right.node &&
    left.checkId === right.checkId &&
    left.name === right.name &&
    left.status === right.status &&
    left.notes === right.notes &&
    left.output === right.output &&
    left.serviceId === right.serviceId &&
    left.serviceName === right.serviceName &&
    sameData(left.serviceTags, right.serviceTags) &&
    sameData(left.definition, right.definition)
  );
}
