/**
 * Members as operators see them: SWIM's findings and the members' own intents together.
 *
 *            leave intent            SWIM: gone            leave intent
 *   alive ──────────────► leaving ──────────────► left ◄────────────── failed
 *     ▲  ◄── join intent ──┘                        │                    ▲ │
 *     │                            SWIM: joined     │                    │ │
 *     └─────────────────────────────────────────────┴────────────────────┼─┘
 *     └────────────────────────── SWIM: gone ────────────────────────────┘
 *
 * Each change by intent carries a Lamport time and wins only over an older one. A member that goes without a word
 * has failed. One that said goodbye in SWIM's own words has left, also where its intent was not heard: Serf calls that a
 * failure and corrects itself at the next exchange of state.
 */
import type { Member } from "../plugin/agent-api.ts";
import { isSameMeta, type MemberState } from "../swim/members.ts";
import { type Roster, RosterTable } from "../swim/roster.ts";
import { type Bytes, equalBytes } from "../types/bytes.ts";
import type { Millis } from "../types/ids.ts";
import type { JoinIntent, LeaveIntent } from "./messages.ts";
import { decodeTags } from "./wire.ts";

/** Immutable: a change makes another one. */
export interface SerfMember extends Member {
  /** Lamport time of the intent that set the status. */
  readonly statusTime: number;
  /** When it was first seen gone; 0 while it is here. */
  readonly goneAt: Millis;
  /** When it is to be forgotten, for a member that is pruned while leaving. */
  readonly pruneAt: Millis;
  /** What `tags` and the protocols were read from. */
  readonly meta: Bytes | undefined;
  readonly version: Bytes;
}

interface RecentIntent {
  readonly kind: "join" | "leave";
  readonly time: number;
  readonly heardAt: Millis;
}

/** Intents about strangers; beyond it the oldest go. */
const intentsMax = 16_384;
/** Members remembered, gone ones included: twice what SWIM holds at once. Beyond it those gone longest go first. */
const membersMax = 131_072;

/** What a change of membership is called. */
export type MemberEventKind = "join" | "leave" | "failed" | "update" | "reap";

/** What an intent leads to: pass it on, and tell of a change. */
export interface IntentOutcome {
  readonly rebroadcast: boolean;
  readonly event?: MemberEventKind;
}

const ignored: IntentOutcome = { rebroadcast: false };

export class SerfMembers {
  readonly #members: RosterTable<SerfMember>;
  readonly #intents = new Map<string, RecentIntent>();

  constructor(roster: Roster<SerfMember>) {
    this.#members = new RosterTable(roster);
  }

  get(name: string): SerfMember | undefined {
    return this.#members.get(name);
  }

  values(): IterableIterator<SerfMember> {
    return this.#members.values();
  }

  get size(): number {
    return this.#members.size;
  }

  count(status: Member["status"]): number {
    let count = 0;
    for (const member of this.#members.values()) if (member.status === status) count++;
    return count;
  }

  joined(state: MemberState, ownPort: number): SerfMember {
    const known = this.#members.get(state.name);
    if (known === undefined && this.#members.size >= membersMax) this.#forgetLongestGone();
    const intent = known === undefined ? this.#intents.get(state.name) : undefined;
    const found = {
      address: state.host,
      port: portOf(state, ownPort),
      meta: state.meta,
      version: state.version,
      status: intent?.kind === "leave" ? ("leaving" as const) : ("alive" as const),
      statusTime: known?.statusTime ?? intent?.time ?? 0,
    };
    const agreed = this.#members.shared(state.name, (other) => isAlike(other, found));
    return this.#put(agreed ?? { ...memberOf(state, ownPort), ...found, goneAt: 0, pruneAt: Number.POSITIVE_INFINITY });
  }

  updated(state: MemberState, ownPort: number): SerfMember | undefined {
    const member = this.#members.get(state.name);
    if (member === undefined) return undefined;
    const { status } = member;
    const { meta, version } = state;
    return this.#put({ ...member, ...memberOf(state, ownPort), status, meta, version });
  }

  /** SWIM says it is gone, and whether in its own words; whether it left or failed depends on what it said before, too. */
  gone(
    name: string,
    now: Millis,
    saidGoodbye: boolean,
  ): { readonly member: SerfMember; readonly event: "leave" | "failed" } | undefined {
    const member = this.#members.get(name);
    if (member === undefined) return undefined;
    let status: "left" | "failed";
    if (member.status === "leaving" || (saidGoodbye && member.status === "alive")) status = "left";
    else if (member.status === "alive") status = "failed";
    else return undefined;
    return { member: this.#put({ ...member, status, goneAt: now }), event: status === "left" ? "leave" : "failed" };
  }

  joinIntent(now: Millis, intent: JoinIntent): IntentOutcome {
    const member = this.#members.get(intent.node);
    if (member === undefined) return { rebroadcast: this.#remember(now, intent) };
    if (intent.time <= member.statusTime) return ignored;
    const { time: statusTime } = intent;
    // It is here, so nobody is to be forgotten; Serf would erase it from its list while it is probed.
    if (member.status === "leaving") this.#put({ ...member, statusTime, status: "alive", pruneAt: Number.POSITIVE_INFINITY });
    else {
      const later = { ...member, statusTime };
      this.#put(this.#members.shared(member.name, (other) => isAlike(other, later)) ?? later);
    }
    return { rebroadcast: true };
  }

  leaveIntent(now: Millis, intent: LeaveIntent, pruneDelay: Millis): IntentOutcome {
    const member = this.#members.get(intent.node);
    if (member === undefined) return { rebroadcast: this.#remember(now, intent) };
    if (intent.time <= member.statusTime) return ignored;
    const failed = member.status === "failed";
    const status = member.status === "alive" ? "leaving" : failed ? "left" : member.status;
    // One that is still leaving must be gone before it can be forgotten.
    const pruneAt = !intent.prune ? member.pruneAt : status === "leaving" ? now + pruneDelay : now;
    this.#put({ ...member, statusTime: intent.time, status, pruneAt });
    return failed ? { rebroadcast: true, event: "leave" } : { rebroadcast: true };
  }

  forget(name: string): void {
    this.#members.delete(name);
  }

  dropIntents(heardBefore: Millis): void {
    for (const [name, intent] of this.#intents) if (intent.heardAt < heardBefore) this.#intents.delete(name);
  }

  #put(member: SerfMember): SerfMember {
    const number = this.#members.put(member);
    if (member.status === "alive") this.#members.share(number, member);
    return member;
  }

  #forgetLongestGone(): void {
    let longest: SerfMember | undefined;
    for (const member of this.#members.values()) {
      const gone = member.status === "left" || member.status === "failed";
      if (gone && (longest === undefined || member.goneAt < longest.goneAt)) longest = member;
    }
    if (longest !== undefined) this.#members.delete(longest.name);
  }

  #remember(now: Millis, intent: JoinIntent | LeaveIntent): boolean {
    const known = this.#intents.get(intent.node);
    if (known !== undefined && intent.time <= known.time) return false;
    // Deleted first, so that the map stays in the order in which intents were heard.
    this.#intents.delete(intent.node);
    if (this.#intents.size >= intentsMax) this.#intents.delete(this.#intents.keys().next().value as string);
    this.#intents.set(intent.node, { kind: intent.kind, time: intent.time, heardAt: now });
    return true;
  }
}

/** A member as SWIM describes it. */
export function memberOf(state: Omit<MemberState, "incarnation" | "condition" | "goneAt">, ownPort: number): Member {
  const [protocolMin = 0, protocolMax = 0, protocolCur = 0, delegateMin = 0, delegateMax = 0, delegateCur = 0] = state.version;
  return {
    name: state.name,
    address: state.host,
    port: portOf(state, ownPort),
    tags: decodeTags(state.meta),
    status: "none",
    protocolMin,
    protocolMax,
    protocolCur,
    delegateMin,
    delegateMax,
    delegateCur,
  };
}

/** Whether `one` is what `other` is: of two that are here. */
function isAlike(
  one: SerfMember,
  other: Pick<SerfMember, "address" | "port" | "meta" | "version" | "status" | "statusTime">,
): boolean {
  return (
    one.statusTime === other.statusTime &&
    one.status === other.status &&
    one.address === other.address &&
    one.port === other.port &&
    isSameMeta(one.meta, other.meta) &&
    equalBytes(one.version, other.version)
  );
}

function portOf({ port }: { readonly port: number }, ownPort: number): number {
  return port === 0 ? ownPort : port;
}
