/**
 * Which indexes and watchers a change of one row moves. In one place, because forgetting one is a lost wake-up.
 *
 *   a node      nodes, and every service on it, because instances show their node
 *   a service   services, service:NAME, its node's list, the mesh name it speaks for
 *   a check     checks; its service, or for a check of the node every service on it
 */
import type { LogIndex } from "../types/ids.ts";
import type { CheckRecord, ServiceRecord } from "./records.ts";
import { foldedKey } from "./table.ts";
import { connectName, type Tables } from "./tables.ts";
import { topics } from "./watch.ts";

export function markNode(tables: Tables, name: string, index: LogIndex): void {
  tables.bump(topics.nodes, index);
  tables.touch(topics.node(name));
  for (const service of tables.services.rows(name.toLowerCase())) {
    tables.bump(topics.service(service.service), index);
    markInstance(tables, service, index);
  }
}

/** A service row came, went or changed; the table is up to date. The index of its name is the caller's: it depends on what remains. */
export function markService(tables: Tables, service: ServiceRecord, index: LogIndex): void {
  tables.bump(topics.services, index);
  tables.touch(topics.nodeServices(service.node));
  markInstance(tables, service, index);
}

/** What shows the instance: reads of its name, and mesh reads of the name it speaks for. */
function markInstance(tables: Tables, service: ServiceRecord, index: LogIndex): void {
  tables.touch(topics.instances(service.service));
  const name = connectName(service);
  if (name === undefined) return;
  if (tables.services.hasBy("connect", foldedKey(name))) tables.bump(topics.connect(name), index);
  else {
    // As with services, the last one to go leaves its index to all that are missing.
    tables.forget(topics.connect(name));
    tables.bump(topics.extinctions, index);
  }
}

export function markCheck(tables: Tables, check: CheckRecord, index: LogIndex): void {
  tables.bump(topics.checks, index);
  tables.touch(topics.nodeChecks(check.node));
  tables.touch(topics.checksInState(check.status));
  if (check.serviceName !== "") tables.touch(topics.serviceChecks(check.serviceName));
  if (check.serviceId !== "") {
    // Where another service took over the ID meanwhile, it counts this check too.
    const current = tables.services.get(foldedKey(check.node, check.serviceId));
    if (current !== undefined) tables.bump(topics.service(current.service), index);
    if (check.serviceName !== "" && tables.services.hasBy("name", check.serviceName.toLowerCase())) {
      tables.bump(topics.service(check.serviceName), index);
    }
    return;
  }
  for (const service of tables.services.rows(check.node.toLowerCase())) tables.bump(topics.service(service.service), index);
}
