/** Services in the catalog: instances, each on a node. */
import type { LogIndex } from "../types/ids.ts";
import { deleteCheck } from "./checks.ts";
import { sameService } from "./equal.ts";
import { markService } from "./marks.ts";
import type { LeaderTime, ServiceFields, ServiceRecord } from "./records.ts";
import { missingNode, Refusal } from "./refusal.ts";
import { foldedKey } from "./table.ts";
import type { Tables } from "./tables.ts";
import { metaFault } from "./validate-service.ts";
import { topics } from "./watch.ts";

/** Registers or updates a service; the same again changes nothing. */
export function putService(tables: Tables, index: LogIndex, node: string, fields: ServiceFields): void {
  if (tables.nodes.get(foldedKey(node)) === undefined) throw new Refusal(missingNode);
  const fault = metaFault(fields.meta);
  if (fault !== undefined) throw new Refusal(`Invalid Service Meta for node ${node} and serviceID ${fields.id}: ${fault}`);
  const before = tables.services.get(foldedKey(node, fields.id));
  if (before !== undefined && before.node === node && sameService(before, fields)) return;
  const service: ServiceRecord = {
    node,
    kind: fields.kind,
    id: fields.id,
    service: fields.service,
    tags: fields.tags,
    address: fields.address,
    taggedAddresses: fields.taggedAddresses,
    meta: fields.meta,
    port: fields.port,
    weights: fields.weights,
    enableTagOverride: fields.enableTagOverride,
    proxy: fields.proxy,
    connectNative: fields.connectNative,
    createIndex: before?.createIndex ?? index,
    modifyIndex: index,
  };
  tables.services.put(service);
  if (before !== undefined && before.service.toLowerCase() !== service.service.toLowerCase()) afterLoss(tables, before, index);
  // Also marks the mesh name that the instance spoke for until now.
  if (before !== undefined) markService(tables, before, index);
  tables.bump(topics.service(service.service), index);
  markService(tables, service, index);
}

/** With its checks, and so the sessions that depend on them. Harmless for an unknown service. */
export function deleteService(tables: Tables, index: LogIndex, node: string, id: string, now: LeaderTime): void {
  const service = tables.services.get(foldedKey(node, id));
  if (service === undefined) return;
  for (const check of tables.checks.by("instance", node.toLowerCase(), id.toLowerCase())) {
    deleteCheck(tables, index, node, check.checkId, now);
  }
  // Consul 1.8 moves the index of the checks here even when there were none.
  tables.bump(topics.checks, index);
  tables.services.delete(foldedKey(node, id));
  afterLoss(tables, service, index);
  markService(tables, service, index);
}

/** The name lost an instance: its index moves on, or ends with the last one. */
function afterLoss(tables: Tables, lost: ServiceRecord, index: LogIndex): void {
  if (tables.services.hasBy("name", lost.service.toLowerCase())) {
    tables.bump(topics.service(lost.service), index);
    return;
  }
  tables.forget(topics.service(lost.service));
  tables.bump(topics.extinctions, index);
}
