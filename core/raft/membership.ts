/**
 * Who is in the group. A configuration is an entry of the log and is in force from the moment it is appended, committed
 * or not (section 6 of the paper); when the entry is truncated, the one before is in force again.
 *
 *   remembered:  base (from the snapshot, an operator's word, or empty) ← entry at 1 ← entry at 90 ← …   the last one is in force
 *
 * Only one voter changes per entry, and the next change waits until the last is committed: then any two majorities of
 * neighbouring configurations share a server, and no joint configurations are needed (dissertation section 4.1).
 */
import { encode, tryDecode } from "../codec/cbor.ts";
import type { LogEntry } from "../ports/storage.ts";
import type { Bytes } from "../types/bytes.ts";
import { assert, unreachable } from "../types/errors.ts";
import type { LogIndex, NodeId, Term } from "../types/ids.ts";
import { type Configuration, entryConfiguration, type MembershipChange, type RaftServer } from "./messages.ts";

/** Servers in one configuration. */
export const serversMax = 255;

export function encodeConfiguration(configuration: Configuration): Bytes {
  return encode(configuration.servers.map((server) => ({ id: server.id, address: server.address, voter: server.voter })));
}

/** Undefined for bytes that are no configuration. */
export function decodeConfiguration(bytes: Bytes): Configuration | undefined {
  const value = tryDecode(bytes)?.value;
  if (!Array.isArray(value) || value.length > serversMax) return undefined;
  const servers: RaftServer[] = [];
  const seen = new Set<NodeId>();
  for (const item of value as readonly unknown[]) {
    if (typeof item !== "object" || item === null) return undefined;
    const { id, address, voter } = item as Readonly<Record<string, unknown>>;
    if (typeof id !== "string" || id === "" || typeof address !== "string" || typeof voter !== "boolean" || seen.has(id))
      return undefined;
    seen.add(id);
    servers.push({ id, address, voter });
  }
  return { servers };
}

/** The configuration after one change; undefined when it would leave no voter or names a server that is not there. */
export function changed(configuration: Configuration, change: MembershipChange): Configuration | undefined {
  const servers = configuration.servers.slice();
  const at = servers.findIndex((server) => server.id === (change.kind === "add" ? change.server.id : change.id));
  switch (change.kind) {
    case "add": {
      const { id, address, voter } = change.server;
      const existing = servers[at];
      // Adding as a learner does not demote: an agent that restarts announces itself as a learner again.
      if (existing !== undefined) servers[at] = { id, address, voter: existing.voter || voter };
      else servers.push({ id, address, voter });
      break;
    }
    case "demote": {
      const existing = servers[at];
      if (existing === undefined) return undefined;
      servers[at] = { ...existing, voter: false };
      break;
    }
    case "remove":
      if (at < 0) return undefined;
      servers.splice(at, 1);
      break;
    default:
      return unreachable(change);
  }
  return servers.some((server) => server.voter) && servers.length <= serversMax ? { servers } : undefined;
}

interface Remembered {
  readonly index: LogIndex;
  readonly configuration: Configuration;
  readonly unwritten: boolean;
}

/** The configurations that the retained log holds, oldest first. */
export class Membership {
  /** indexes rise; never empty */
  readonly #remembered: Remembered[];
  /** Entries of earlier terms say nothing any more: the base is an operator's word (recovery.ts). */
  readonly #sinceTerm: Term;
  #voters: readonly NodeId[] = [];

  constructor(base: Configuration, index: LogIndex, sinceTerm: Term = 0) {
    this.#remembered = [{ index, configuration: base, unwritten: sinceTerm > 0 }];
    this.#sinceTerm = sinceTerm;
    this.#refresh();
  }

  /** The one in force is an operator's word and stands in nobody's log. */
  get unwritten(): boolean {
    return this.#latest.unwritten;
  }

  /** The one in force. */
  get configuration(): Configuration {
    return this.#latest.configuration;
  }

  /** Where the one in force stands in the log. */
  get index(): LogIndex {
    return this.#latest.index;
  }

  get voters(): readonly NodeId[] {
    return this.#voters;
  }

  get servers(): readonly RaftServer[] {
    return this.configuration.servers;
  }

  isVoter(id: NodeId): boolean {
    return this.#voters.includes(id);
  }

  /** True when it votes in the configuration in force at `index`, or in a later one. */
  isVoterSince(index: LogIndex, id: NodeId): boolean {
    return this.#someVoterSince(index, (voter) => voter === id);
  }

  /** True when another than `id` votes in the configuration in force at `index`, or in a later one. */
  othersVoteSince(index: LogIndex, id: NodeId): boolean {
    return this.#someVoterSince(index, (voter) => voter !== id);
  }

  /** What was in force at `index`, for a snapshot taken there. */
  at(index: LogIndex): { readonly index: LogIndex; readonly configuration: Configuration } {
    for (let slot = this.#remembered.length - 1; slot > 0; slot--) {
      const remembered = this.#remembered[slot] as Remembered;
      if (remembered.index <= index) return remembered;
    }
    return this.#remembered[0] as Remembered;
  }

  /** Tells of appended entries. True when one of them was a configuration. A broken one is ignored: no leader of ours sends it. */
  appended(entries: readonly LogEntry[]): boolean {
    let found = false;
    for (const entry of entries) {
      if (entry.type !== entryConfiguration || entry.index <= this.index || entry.term < this.#sinceTerm) continue;
      const configuration = decodeConfiguration(entry.data);
      if (configuration === undefined) continue;
      this.#remembered.push({ index: entry.index, configuration, unwritten: false });
      found = true;
    }
    if (found) this.#refresh();
    return found;
  }

  /** Tells that this index and all after it were removed. True when that changed the configuration in force. */
  truncated(from: LogIndex): boolean {
    let found = false;
    while (this.#remembered.length > 1 && this.#latest.index >= from) {
      this.#remembered.pop();
      found = true;
    }
    if (found) this.#refresh();
    return found;
  }

  /** Forgets what only entries up to `index` needed. */
  compacted(index: LogIndex): void {
    while (this.#remembered.length > 1 && (this.#remembered[1] as Remembered).index <= index) this.#remembered.shift();
  }

  /** A snapshot replaced the log. */
  replaced(configuration: Configuration, index: LogIndex): void {
    this.#remembered.length = 0;
    this.#remembered.push({ index, configuration, unwritten: false });
    this.#refresh();
  }

  validate(): void {
    for (let at = 1; at < this.#remembered.length; at++) {
      const before = this.#remembered[at - 1] as Remembered;
      const after = this.#remembered[at] as Remembered;
      assert(before.index < after.index, "configurations are in log order");
    }
  }

  #someVoterSince(index: LogIndex, matches: (id: NodeId) => boolean): boolean {
    for (let slot = this.#remembered.length - 1; slot >= 0; slot--) {
      const { configuration, index: since } = this.#remembered[slot] as Remembered;
      if (configuration.servers.some((server) => server.voter && matches(server.id))) return true;
      if (since <= index) return false;
    }
    return false;
  }

  get #latest(): Remembered {
    return this.#remembered[this.#remembered.length - 1] as Remembered;
  }

  #refresh(): void {
    this.#voters = this.configuration.servers.filter((server) => server.voter).map((server) => server.id);
  }
}
