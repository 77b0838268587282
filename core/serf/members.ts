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
import type { MemberState } from "../swim/members.ts";
import type { Millis } from "../types/ids.ts";
import type { JoinIntent, LeaveIntent } from "./messages.ts";
import { decodeTags } from "./wire.ts";

export type SerfMember = { -readonly [Field in keyof Member]: Member[Field] } & {
  /** Lamport time of the intent that set the status. */
  statusTime: number;
  /** When it was first seen gone; 0 while it is here. */
  goneAt: Millis;
  /** When it is to be forgotten, for a member that is pruned while leaving. */
  pruneAt: Millis;
};

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
  readonly #members = new Map<string, SerfMember>();
  readonly #intents = new Map<string, RecentIntent>();

  get(name: string): SerfMember | undefined {
    return this.#members.get(name);
  }

  values(): IterableIterator<SerfMember> {
    return this.#members.values() as IterableIterator<SerfMember>;
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
    if (known !== undefined) {
      describe(known, state, ownPort);
      known.status = "alive";
      known.goneAt = 0;
      known.pruneAt = Number.POSITIVE_INFINITY;
      return known;
    }
    const member: SerfMember = {
      name: state.name,
      address: "",
      port: 0,
      tags: {},
      status: "alive",
      protocolMin: 0,
      protocolMax: 0,
      protocolCur: 0,
      delegateMin: 0,
      delegateMax: 0,
      delegateCur: 0,
      statusTime: 0,
      goneAt: 0,
      pruneAt: Number.POSITIVE_INFINITY,
    };
    describe(member, state, ownPort);
    if (this.#members.size >= membersMax) this.#forgetLongestGone();
    const intent = this.#intents.get(state.name);
    if (intent !== undefined) {
      member.statusTime = intent.time;
      if (intent.kind === "leave") member.status = "leaving";
    }
    this.#members.set(state.name, member);
    return member;
  }

  updated(state: MemberState, ownPort: number): SerfMember | undefined {
    const member = this.#members.get(state.name);
    if (member !== undefined) describe(member, state, ownPort);
    return member;
  }

  /** SWIM says it is gone, and whether in its own words; whether it left or failed depends on what it said before, too. */
  gone(
    name: string,
    now: Millis,
    saidGoodbye: boolean,
  ): { readonly member: SerfMember; readonly event: "leave" | "failed" } | undefined {
    const member = this.#members.get(name);
    if (member === undefined) return undefined;
    if (member.status === "leaving" || (saidGoodbye && member.status === "alive")) member.status = "left";
    else if (member.status === "alive") member.status = "failed";
    else return undefined;
    member.goneAt = now;
    return { member, event: member.status === "left" ? "leave" : "failed" };
  }

  joinIntent(now: Millis, intent: JoinIntent): IntentOutcome {
    const member = this.#members.get(intent.node);
    if (member === undefined) return { rebroadcast: this.#remember(now, intent) };
    if (intent.time <= member.statusTime) return ignored;
    member.statusTime = intent.time;
    if (member.status === "leaving") {
      member.status = "alive";
      // It is here, so nobody is to be forgotten; Serf would erase it from its list while it is probed.
      member.pruneAt = Number.POSITIVE_INFINITY;
    }
    return { rebroadcast: true };
  }

  leaveIntent(now: Millis, intent: LeaveIntent, pruneDelay: Millis): IntentOutcome {
    const member = this.#members.get(intent.node);
    if (member === undefined) return { rebroadcast: this.#remember(now, intent) };
    if (intent.time <= member.statusTime) return ignored;
    member.statusTime = intent.time;
    const failed = member.status === "failed";
    if (member.status === "alive") member.status = "leaving";
    else if (failed) member.status = "left";
    // One that is still leaving must be gone before it can be forgotten.
    if (intent.prune) member.pruneAt = member.status === "leaving" ? now + pruneDelay : now;
    return failed ? { rebroadcast: true, event: "leave" } : { rebroadcast: true };
  }

  forget(name: string): void {
    this.#members.delete(name);
  }

  dropIntents(heardBefore: Millis): void {
    for (const [name, intent] of this.#intents) if (intent.heardAt < heardBefore) this.#intents.delete(name);
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
    port: state.port === 0 ? ownPort : state.port,
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

function describe(member: SerfMember, state: MemberState, ownPort: number): void {
  const { status } = member;
  Object.assign(member, memberOf(state, ownPort), { status });
}
