/**
 * Nodes in the catalog, and whole registrations.
 *
 * A node is known by its name, without case. Its ID, where it has one, outlives the name: registering a known ID under
 * another name renames the node, which forgets everything registered under the old one.
 */
import { goQuote } from "../config/go-text.ts";
import type { LogIndex } from "../types/ids.ts";
import { deleteCheck, putCheck } from "./checks.ts";
import type { DeregisterCommand, RegisterCommand } from "./commands.ts";
import { sameNode } from "./equal.ts";
import { markNode } from "./marks.ts";
import type { LeaderTime, NodeRecord, ServiceFields } from "./records.ts";
import { Refusal, refusingWith } from "./refusal.ts";
import { deleteService, putService } from "./services.ts";
import { endSessionsOfNode } from "./sessions.ts";
import { foldedKey } from "./table.ts";
import type { Tables } from "./tables.ts";
import { idFault, idKey } from "./uuid.ts";
import { serviceFault } from "./validate-service.ts";
import { topics } from "./watch.ts";

export type NodeFields = Omit<NodeRecord, "createIndex" | "modifyIndex">;

/** The check that Consul's leader keeps for each member of the gossip pool. */
const serfHealth = "serfHealth";

/** A node, one service and any number of checks at once: all or nothing. */
export function register(tables: Tables, index: LogIndex, command: RegisterCommand): void {
  checkNodeFields(command.node, command.id);
  if (command.address === "" && !command.skipNodeUpdate) {
    throw new Refusal("Must provide address if SkipNodeUpdate is not set");
  }
  const service = command.service === undefined ? undefined : withServiceId(command.service);

  const node: NodeFields = {
    id: command.id,
    node: command.node,
    address: command.address,
    datacenter: command.datacenter,
    taggedAddresses: command.taggedAddresses,
    meta: command.nodeMeta,
  };
  const known = tables.nodes.get(foldedKey(command.node));
  const changes = known === undefined || (!command.skipNodeUpdate && !sameNode(known, node));
  if (changes)
    refusingWith(
      (text) => `failed inserting node: ${text}`,
      () => putNode(tables, index, node, command.now),
    );
  if (service !== undefined) {
    refusingWith(
      (text) => `failed inserting service: ${text}`,
      () => putService(tables, index, command.node, service),
    );
  }
  for (const check of command.checks) {
    const owner = check.node ?? command.node;
    if (owner !== command.node) throw new Refusal(`check node ${goQuote(owner)} does not match node ${goQuote(command.node)}`);
    const checkId = check.checkId === "" ? check.name : check.checkId;
    refusingWith(
      (text) => `failed inserting check: ${text} on node ${goQuote(owner)}`,
      () => putCheck(tables, index, command.node, { ...check, checkId }, command.now),
    );
  }
}

export function deregister(tables: Tables, index: LogIndex, command: DeregisterCommand): void {
  if (command.node === "") throw new Refusal("Must provide node");
  const { node, serviceId, checkId, now } = command;
  if (serviceId !== undefined && serviceId !== "") deleteService(tables, index, node, serviceId, now);
  else if (checkId !== undefined && checkId !== "") deleteCheck(tables, index, node, checkId, now);
  else deleteNode(tables, index, node, now);
}

/** Registers or updates a node; the same again changes nothing. */
export function putNode(tables: Tables, index: LogIndex, node: NodeFields, now: LeaderTime): void {
  let before = tables.nodes.get(foldedKey(node.node));
  if (node.id !== "") {
    const owner = findNodeById(tables, node.id);
    if (owner !== undefined && owner.node !== node.node) {
      const taken = nameTaken(tables, node, false);
      if (taken !== undefined) throw new Refusal(`Error while renaming Node ID: ${goQuote(node.id)} (${node.address}): ${taken}`);
      deleteNode(tables, index, owner.node, now);
      before = owner;
    } else if (owner !== undefined) before = owner;
    else {
      const taken = nameTaken(tables, node, true);
      if (taken !== undefined) throw new Refusal(`Error while renaming Node ID: ${goQuote(node.id)}: ${taken}`);
    }
  }
  if (before !== undefined && sameNode(before, node) && tables.nodes.get(foldedKey(node.node)) !== undefined) return;
  // Who found the node by the start of its ID does not any more: for them it has ended.
  if (before !== undefined && before.id !== "" && before.id !== node.id) tables.bump(topics.nodeExtinctions, index);
  tables.nodes.put({ ...node, createIndex: before?.createIndex ?? index, modifyIndex: index });
  markNode(tables, node.node, index);
}

/** With everything on it. Harmless for an unknown node. */
export function deleteNode(tables: Tables, index: LogIndex, name: string, now: LeaderTime): void {
  const folded = name.toLowerCase();
  const node = tables.nodes.get(foldedKey(name));
  if (node === undefined) return;
  for (const service of tables.services.rows(folded)) deleteService(tables, index, name, service.id, now);
  for (const check of tables.checks.rows(folded)) deleteCheck(tables, index, name, check.checkId, now);
  for (const entry of tables.coordinates.rows(folded)) {
    tables.coordinates.delete(foldedKey(entry.node, entry.segment));
    tables.bump(topics.coordinates, index);
    tables.touch(topics.coordinate(entry.node));
  }
  tables.nodes.delete(foldedKey(name));
  tables.bump(topics.nodeExtinctions, index);
  markNode(tables, name, index);
  endSessionsOfNode(tables, index, name, now);
}

export function findNodeById(tables: Tables, id: string): NodeRecord | undefined {
  return tables.nodes.by("id", idKey(id))[0];
}

/** What Consul refuses before it looks at the catalog. */
export function checkNodeFields(name: string, id: string): void {
  if (name === "") throw new Refusal("Must provide node");
  const fault = id === "" ? undefined : idFault(id);
  if (fault !== undefined) throw new Refusal(`Bad node ID: ${fault}`);
}

/** What Consul refuses about a service, and its ID, which defaults to the name. */
export function withServiceId<Fields extends ServiceFields>(service: Fields): Fields {
  const fault = serviceFault(service);
  if (fault !== undefined) throw new Refusal(fault);
  return service.id === "" ? { ...service, id: service.service } : service;
}

/** Why `node` may not take its name: a healthy node with another ID has it. `fromNameless`: a node without ID may be taken over. */
function nameTaken(tables: Tables, node: NodeFields, fromNameless: boolean): string | undefined {
  const holder = tables.nodes.get(foldedKey(node.node));
  if (holder === undefined || holder.id === node.id) return undefined;
  if (holder.id === "" && fromNameless) return undefined;
  const health = tables.checks.get(foldedKey(holder.node, serfHealth));
  // Without that check it is an external node, or one that is gone: its name may be reused.
  if (health === undefined || health.status === "critical") return undefined;
  return `Node name ${node.node} is reserved by node ${holder.id} with name ${holder.node} (${holder.address})`;
}
