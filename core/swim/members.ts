import type { Address } from "../ports/net.ts";
import { below, type Random, shuffle } from "../ports/random.ts";
import { type Bytes, emptyBytes, equalBytes } from "../types/bytes.ts";
import type { Millis } from "../types/ids.ts";
import type { Alive, MemberClaim, MemberCondition } from "./messages.ts";
import { type Roster, RosterTable } from "./roster.ts";

/** One member as this one believes it to be, and as it is told in a push-pull exchange. Immutable, and so are its bytes. */
export interface MemberState extends MemberClaim {
  /** `address` as text. */
  readonly host: string;
  /** When it was found dead or left; 0 while it is here. */
  readonly goneAt: Millis;
}

/** Where a member is reached. Port 0 means "the same as mine". */
export function addressOf(member: MemberState, ownPort: number): Address {
  return { host: member.host, port: member.port === 0 ? ownPort : member.port };
}

export function isGone(member: { readonly condition: MemberCondition }): boolean {
  return member.condition === "dead" || member.condition === "left";
}

/** The highest memberlist protocol a member understands; 0 when it did not say. */
export function protocolMax(member: MemberState): number {
  return member.version[1] ?? 0;
}

/** What a member says of itself besides its name. */
export type Said = Omit<Alive, "kind" | "node">;

/** Whether `said` is what is known of a member, its incarnation aside. */
function isSameAs(known: MemberState, said: Said): boolean {
  return (
    known.port === said.port &&
    equalBytes(known.address, said.address) &&
    isSameMeta(known.meta, said.meta) &&
    equalBytes(known.version, said.version)
  );
}

export function isSameMeta(left: Bytes | undefined, right: Bytes | undefined): boolean {
  return left === right || equalBytes(left ?? emptyBytes, right ?? emptyBytes);
}

const capacityMin = 8;

/**
 * Everyone ever heard of and not yet forgotten, by name and in the order in which they are probed.
 * Newcomers stand at a random place, so that members who joined together are not probed together.
 */
export class MemberTable {
  readonly #random: Random;
  readonly #membersMax: number;
  readonly #states: RosterTable<MemberState>;
  /** Numbers of the roster; the first `size` count. */
  #order = new Uint32Array(capacityMin);
  #probeAt = 0;

  constructor(random: Random, membersMax: number, roster: Roster<MemberState>) {
    this.#random = random;
    this.#membersMax = membersMax;
    this.#states = new RosterTable(roster);
  }

  /** Includes the dead and the left. */
  get size(): number {
    return this.#states.size;
  }

  get(name: string): MemberState | undefined {
    return this.#states.get(name);
  }

  /** In the order in which they are probed. */
  all(): readonly MemberState[] {
    const all: MemberState[] = [];
    for (let at = 0; at < this.size; at++) all.push(this.#inOrder(at));
    return all;
  }

  /** Puts `member` in the place of what was believed of it. False when it is new, the table is full and nobody in it is gone. */
  put(member: MemberState): boolean {
    const full = this.size >= this.#membersMax && this.#states.get(member.name) === undefined;
    if (full && !this.#forgetLongestGone()) return false;
    const { size } = this;
    const number = this.#states.put(member);
    if (this.size > size) this.#enter(number);
    if (member.condition === "alive") this.#states.share(number, member);
    return true;
  }

  /** What this member or another one of this process believes already, of one that says `said`. */
  agreed(name: string, said: Said): MemberState | undefined {
    return this.#states.shared(name, (state) => state.incarnation === said.incarnation && isSameAs(state, said));
  }

  /** The next to probe, undefined when there is none. At the end of a round the long dead are forgotten and the order is drawn anew. */
  nextToProbe(deadBefore: Millis, eligible: (member: MemberState) => boolean): MemberState | undefined {
    for (let looked = 0; looked <= this.size; looked++) {
      if (this.#probeAt >= this.size) {
        this.#forgetDead(deadBefore);
        this.#order.set(shuffle(this.#random, [...this.#order.subarray(0, this.size)]));
        this.#probeAt = 0;
        if (this.size === 0) return undefined;
      }
      const member = this.#inOrder(this.#probeAt++);
      if (eligible(member)) return member;
    }
    return undefined;
  }

  /** Up to `count` different members at random. Gives up after three tries each: in a large pool of the dead that is enough. */
  sample(count: number, eligible: (member: MemberState) => boolean): readonly MemberState[] {
    const { size } = this;
    if (size <= 3 * count) return shuffle(this.#random, this.all().filter(eligible)).slice(0, count);
    const chosen: MemberState[] = [];
    for (let tries = 0; tries < 3 * size && chosen.length < count; tries++) {
      const member = this.#inOrder(below(this.#random, size));
      if (eligible(member) && !chosen.includes(member)) chosen.push(member);
    }
    return chosen;
  }

  #inOrder(at: number): MemberState {
    return this.#states.at(this.#order[at] as number);
  }

  #enter(number: number): void {
    const last = this.size - 1;
    if (last === this.#order.length) {
      const wider = new Uint32Array(last + (last >> 1));
      wider.set(this.#order);
      this.#order = wider;
    }
    // Swap, as memberlist does: cheaper than moving the tail and as random.
    const at = below(this.#random, last + 1);
    this.#order[last] = this.#order[at] as number;
    this.#order[at] = number;
  }

  /** Those who left stay: their names must not be taken for newcomers when an old message speaks of them. */
  #forgetDead(deadBefore: Millis): void {
    const { size } = this;
    let kept = 0;
    for (let at = 0; at < size; at++) {
      const number = this.#order[at] as number;
      const { name, condition, goneAt } = this.#states.at(number);
      if (condition === "dead" && goneAt <= deadBefore) this.#states.delete(name);
      else this.#order[kept++] = number;
    }
  }

  #forgetLongestGone(): boolean {
    let longest: MemberState | undefined;
    let longestAt = 0;
    for (let at = 0; at < this.size; at++) {
      const member = this.#inOrder(at);
      if (!isGone(member) || (longest !== undefined && member.goneAt >= longest.goneAt)) continue;
      longest = member;
      longestAt = at;
    }
    if (longest === undefined) return false;
    this.#order.copyWithin(longestAt, longestAt + 1, this.size);
    // Whoever stood next to be probed still does.
    if (longestAt < this.#probeAt) this.#probeAt--;
    this.#states.delete(longest.name);
    return true;
  }
}
