import type { Address } from "../ports/net.ts";
import { below, type Random, shuffle } from "../ports/random.ts";
import type { Bytes } from "../types/bytes.ts";
import type { Incarnation, Millis } from "../types/ids.ts";
import type { MemberClaim, MemberCondition } from "./messages.ts";

/** One member as this one believes it to be. */
export interface MemberState {
  readonly name: string;
  readonly address: Bytes;
  readonly port: number;
  /** `address` as text. */
  readonly host: string;
  readonly meta: Bytes | undefined;
  readonly version: Bytes;
  readonly incarnation: Incarnation;
  readonly condition: MemberCondition;
  /** When `condition` last changed. */
  readonly changedAt: Millis;
}

export type MemberRecord = { -readonly [Field in keyof MemberState]: MemberState[Field] };

/** Where a member is reached. Port 0 means "the same as mine". */
export function addressOf(member: MemberState, ownPort: number): Address {
  return { host: member.host, port: member.port === 0 ? ownPort : member.port };
}

export function isGone(member: MemberState): boolean {
  return member.condition === "dead" || member.condition === "left";
}

/** The highest memberlist protocol a member understands; 0 when it did not say. */
export function protocolMax(member: MemberState): number {
  return member.version[1] ?? 0;
}

export function claimOf(member: MemberState): MemberClaim {
  const { name, address, port, incarnation, meta, version } = member;
  return { name, address, port, incarnation, meta, state: member.condition, version };
}

/**
 * Everyone ever heard of and not yet forgotten, by name and in the order in which they are probed.
 * Newcomers stand at a random place, so that members who joined together are not probed together.
 */
export class MemberTable {
  readonly #random: Random;
  readonly #membersMax: number;
  readonly #byName = new Map<string, MemberRecord>();
  #order: MemberRecord[] = [];
  #probeAt = 0;

  constructor(random: Random, membersMax: number) {
    this.#random = random;
    this.#membersMax = membersMax;
  }

  /** Includes the dead and the left. */
  get size(): number {
    return this.#order.length;
  }

  get(name: string): MemberRecord | undefined {
    return this.#byName.get(name);
  }

  all(): readonly MemberRecord[] {
    return this.#order;
  }

  /** False when the table is full and nobody in it is gone. */
  add(member: MemberRecord): boolean {
    if (this.#order.length >= this.#membersMax && !this.#forgetLongestGone()) return false;
    this.#byName.set(member.name, member);
    const at = below(this.#random, this.#order.length + 1);
    this.#order.push(member);
    // Swap, as memberlist does: cheaper than moving the tail and as random.
    const last = this.#order.length - 1;
    this.#order[last] = this.#order[at] as MemberRecord;
    this.#order[at] = member;
    return true;
  }

  /** The next to probe, undefined when there is none. At the end of a round the long dead are forgotten and the order is drawn anew. */
  nextToProbe(deadBefore: Millis, eligible: (member: MemberState) => boolean): MemberRecord | undefined {
    for (let looked = 0; looked <= this.#order.length; looked++) {
      if (this.#probeAt >= this.#order.length) {
        this.#forgetDead(deadBefore);
        shuffle(this.#random, this.#order);
        this.#probeAt = 0;
        if (this.#order.length === 0) return undefined;
      }
      const member = this.#order[this.#probeAt++] as MemberRecord;
      if (eligible(member)) return member;
    }
    return undefined;
  }

  /** Up to `count` different members at random. Gives up after three tries each: in a large pool of the dead that is enough. */
  sample(count: number, eligible: (member: MemberState) => boolean): readonly MemberRecord[] {
    const chosen: MemberRecord[] = [];
    const size = this.#order.length;
    if (size <= 3 * count) {
      const candidates = shuffle(this.#random, this.#order.filter(eligible));
      return candidates.slice(0, count);
    }
    for (let tries = 0; tries < 3 * size && chosen.length < count; tries++) {
      const member = this.#order[below(this.#random, size)] as MemberRecord;
      if (eligible(member) && !chosen.includes(member)) chosen.push(member);
    }
    return chosen;
  }

  /** Those who left stay: their names must not be taken for newcomers when an old message speaks of them. */
  #forgetDead(deadBefore: Millis): void {
    this.#order = this.#order.filter((member) => {
      if (member.condition !== "dead" || member.changedAt > deadBefore) return true;
      this.#byName.delete(member.name);
      return false;
    });
  }

  #forgetLongestGone(): boolean {
    let longest: MemberRecord | undefined;
    for (const member of this.#order) {
      if (isGone(member) && (longest === undefined || member.changedAt < longest.changedAt)) longest = member;
    }
    if (longest === undefined) return false;
    this.#order.splice(this.#order.indexOf(longest), 1);
    this.#byName.delete(longest.name);
    return true;
  }
}
