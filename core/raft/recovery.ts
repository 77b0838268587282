/**
 * A group that lost its majority for ever goes on by an operator's word: who is left is told, on each server, who the
 * group is from now on.
 *
 *   old terms …  7  8 │ first = 2²⁰ │ 2²⁰+1 …          no election of the lost group came near `first`
 *   old configurations│ ignored     │ the leader writes the new configuration into the log, behind its empty entry
 *
 * The word changes no entry: whatever the survivors' logs hold is settled among them as after any election, by the
 * longest log of the newest term, so a survivor that has more than another loses nothing to it. (Consul 1.8 applies
 * whatever each survivor's log holds, committed or not.) All that is new is a term that nobody was elected in, and a
 * configuration in force from the beginning, which configurations of earlier terms in the log do not replace.
 * A snapshot of a later term carries the new configuration, and ends the need for the record.
 */
import { encode, tryDecode } from "../codec/cbor.ts";
import type { HardState, LogEntry } from "../ports/storage.ts";
import type { Bytes } from "../types/bytes.ts";
import { checkedInteger, type Term } from "../types/ids.ts";
import { decodeConfiguration, encodeConfiguration, Membership, serversMax } from "./membership.ts";
import type { Configuration, SnapshotPoint } from "./messages.ts";

/** What the stores held when the server started. */
export interface Held {
  readonly hardState: HardState;
  readonly entries: readonly LogEntry[];
  readonly snapshot: SnapshotPoint | undefined;
}

export interface Recovered {
  readonly configuration: Configuration;
  /** This server is at least here, and configurations of earlier terms count no more. */
  readonly term: Term;
}

/**
 * Terms go on from the next multiple of this. Survivors may be some terms apart and must agree on where the new time
 * begins, so it is far more than the elections that a group lives through.
 */
export const recoveryTerms: Term = 2 ** 20;

/** No server of the old group was in this term. `before`: what an earlier attempt wrote, which a crash may have followed. */
export function recoveryTerm(held: Held, before: Recovered | undefined): Term {
  const { hardState, entries, snapshot } = held;
  const term = Math.max(hardState.term, entries[entries.length - 1]?.term ?? 0, snapshot?.term ?? 0);
  // Nothing was said in it yet.
  if (before !== undefined && term <= before.term) return before.term;
  return (Math.floor(term / recoveryTerms) + 1) * recoveryTerms;
}

/** Nothing was ever stored here: there is no group to recover. */
export function isUntouched({ hardState, entries, snapshot }: Held): boolean {
  return hardState.term === 0 && entries.length === 0 && snapshot === undefined;
}

/** A snapshot taken since carries the configuration. */
export function isOutdated(recovered: Recovered, held: Held): boolean {
  return held.snapshot !== undefined && held.snapshot.term >= recovered.term;
}

/** The membership to resume with; undefined when the snapshot's configuration cannot be read. */
export function restoredMembership(held: Held, recovered: Recovered | undefined): Membership | undefined {
  const { snapshot } = held;
  const index = snapshot?.configurationIndex ?? 0;
  if (recovered !== undefined && !isOutdated(recovered, held))
    return new Membership(recovered.configuration, index, recovered.term);
  const base = snapshot === undefined ? { servers: [] } : decodeConfiguration(snapshot.configuration);
  return base === undefined ? undefined : new Membership(base, index);
}

/** The newest configuration that is known here, committed or not. */
export function lastConfiguration(held: Held, recovered: Recovered | undefined): Configuration {
  const membership = restoredMembership(held, recovered);
  membership?.appended(held.entries);
  return membership?.configuration ?? { servers: [] };
}

/** Why a group cannot be made of these servers, in the words of Consul 1.8; undefined: it can. */
export function configurationFault({ servers }: Configuration): string | undefined {
  const ids = new Set<string>();
  const addresses = new Set<string>();
  for (const server of servers) {
    if (server.id === "") return `Empty ID in configuration: ${describe(servers)}`;
    if (server.address === "") return `Empty address in configuration: ${describeServer(server)}`;
    if (ids.has(server.id)) return `Found duplicate ID in configuration: ${server.id}`;
    if (addresses.has(server.address)) return `Found duplicate address in configuration: ${server.address}`;
    ids.add(server.id);
    addresses.add(server.address);
  }
  if (servers.length > serversMax) return `Too many servers in configuration: ${servers.length} > ${serversMax}`;
  return servers.some((server) => server.voter) ? undefined : `Need at least one voter in configuration: ${describe(servers)}`;
}

function describe(servers: Configuration["servers"]): string {
  return `{[${servers.map(describeServer).join(" ")}]}`;
}

function describeServer({ id, address, voter }: Configuration["servers"][number]): string {
  return `{${voter ? "Voter" : "Nonvoter"} ${id} ${address}}`;
}

export function encodeRecovered({ configuration, term }: Recovered): Bytes {
  return encode({ configuration: encodeConfiguration(configuration), term });
}

/** Undefined for bytes that are no such record. */
export function decodeRecovered(bytes: Bytes): Recovered | undefined {
  const value = tryDecode(bytes)?.value;
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Readonly<Record<string, unknown>>;
  const term = checkedInteger(fields["term"]);
  const configuration = fields["configuration"] instanceof Uint8Array ? decodeConfiguration(fields["configuration"]) : undefined;
  return term === undefined || configuration === undefined ? undefined : { configuration, term };
}
