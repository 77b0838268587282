/** Health checks in the catalog: of a node, or of one service on it. */
import type { LogIndex } from "../types/ids.ts";
import type { CheckFields, CheckRecord, LeaderTime } from "./records.ts";
import { sameCheck } from "./equal.ts";
import { markCheck } from "./marks.ts";
import { missingNode, missingService, Refusal } from "./refusal.ts";
import { endSessionsOfCheck } from "./sessions.ts";
import { foldedKey } from "./table.ts";
import type { Tables } from "./tables.ts";

/**
 * Registers or updates a check. The name and tags of its service are copied in as they are now; a later change of the
 * service shows only when the check is registered again (as in Consul 1.8).
 */
export function putCheck(tables: Tables, index: LogIndex, node: string, fields: CheckFields, now: LeaderTime): void {
  if (tables.nodes.get(foldedKey(node)) === undefined) throw new Refusal(missingNode);
  const service = fields.serviceId === "" ? undefined : tables.services.get(foldedKey(node, fields.serviceId));
  if (fields.serviceId !== "" && service === undefined) throw new Refusal(missingService);

  if (fields.checkId === "") throw new Refusal("failed inserting check: object missing primary index");
  const before = tables.checks.get(foldedKey(node, fields.checkId));
  const check: CheckRecord = {
    node,
    checkId: fields.checkId,
    name: fields.name,
    status: fields.status === "" ? "critical" : fields.status,
    notes: fields.notes,
    output: fields.output,
    serviceId: fields.serviceId,
    serviceName: service?.service ?? "",
    serviceTags: service?.tags ?? [],
    type: fields.type,
    definition: fields.definition,
    createIndex: before?.createIndex ?? index,
    modifyIndex: index,
  };
  // Also when nothing changed: a session may have been created since, on a check that a race left critical.
  if (check.status === "critical") endSessionsOfCheck(tables, index, node, check.checkId, now);
  if (before !== undefined && sameCheck(before, check)) return;
  tables.checks.put(check);
  // Who showed the check until now no longer does. Consul 1.8 forgets to tell them when a check changes its owner.
  if (
    before !== undefined &&
    (before.status !== check.status || before.serviceId !== check.serviceId || before.serviceName !== check.serviceName)
  ) {
    markCheck(tables, before, index);
  }
  markCheck(tables, check, index);
}

/** Harmless for an unknown check. */
export function deleteCheck(tables: Tables, index: LogIndex, node: string, checkId: string, now: LeaderTime): void {
  const check = tables.checks.delete(foldedKey(node, checkId));
  if (check === undefined) return;
  markCheck(tables, check, index);
  endSessionsOfCheck(tables, index, node, checkId, now);
}
