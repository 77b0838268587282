/**
 * What a message about a member does to what this member believes (SWIM section 4, with memberlist's additions).
 *
 *              alive(i ≥ …)                 suspect(i)                 dead(i)
 *   unknown    learn                        –                          –
 *   alive      newer i: adopt               i ≥ known: suspect         i ≥ known: dead, or left if it says so itself
 *   suspect    newer i: alive again         confirm                    same
 *   dead/left  newer i: back; or a new      –                          –
 *              address takes the name
 *   self       refute unless an echo        refute                     refute unless leaving
 *
 * Invariants: the own incarnation never falls · a suspicion exists exactly while its member is suspect.
 */
import { type Bytes, equalBytes } from "../types/bytes.ts";
import type { Incarnation, Millis } from "../types/ids.ts";
import { unreachable } from "../types/errors.ts";
import type { Awareness } from "./awareness.ts";
import type { SwimConfig } from "./config.ts";
import type { SwimDelegate } from "./delegate.ts";
import { EvidenceLog, type Grounds } from "./evidence.ts";
import type { GossipQueue } from "./gossip-queue.ts";
import { isIpLength, ipText } from "./ip.ts";
import { isGone, isSameMeta, type MemberState, type MemberTable, type Said } from "./members.ts";
import type { Alive, Dead, MemberClaim, Suspect } from "./messages.ts";
import { Suspicion } from "./suspicion.ts";
import { encodeMessage } from "./wire.ts";

/**
 * Incarnations travel in 32 bits. One this high leaves too little room to refute, and is believed only as the next few of a
 * member that stands there already: so a forged one cannot take a member's last word away from it.
 */
const incarnationMax = 0xffff0000;
const incarnationStepMax = 256;
/** Protocol and delegate, three numbers each. */
const versionLength = 6;

export interface MembershipParts {
  readonly config: SwimConfig;
  readonly table: MemberTable;
  readonly queue: GossipQueue;
  readonly awareness: Awareness;
  readonly delegate: SwimDelegate;
}

const heard: Grounds = { kind: "gossip" };

export class Membership {
  readonly evidence = new EvidenceLog();
  readonly #config: SwimConfig;
  readonly #table: MemberTable;
  readonly #queue: GossipQueue;
  readonly #awareness: Awareness;
  readonly #delegate: SwimDelegate;
  readonly #suspicions = new Map<string, Suspicion>();
  /** The earliest deadline of all suspicions; undefined when it must be looked up. */
  #nextDeadline: Millis | undefined = Number.POSITIVE_INFINITY;
  #incarnation: Incarnation = 0;
  #leaving = false;

  constructor(parts: MembershipParts) {
    this.#config = parts.config;
    this.#table = parts.table;
    this.#queue = parts.queue;
    this.#awareness = parts.awareness;
    this.#delegate = parts.delegate;
  }

  get leaving(): boolean {
    return this.#leaving;
  }

  get wakeAt(): Millis {
    if (this.#nextDeadline === undefined) {
      let next = Number.POSITIVE_INFINITY;
      for (const suspicion of this.#suspicions.values()) next = Math.min(next, suspicion.deadline);
      this.#nextDeadline = next;
    }
    return this.#nextDeadline;
  }

  /** Declares dead whose time is up. */
  wake(now: Millis): void {
    if (now < this.wakeAt) return;
    for (const [name, suspicion] of [...this.#suspicions]) {
      if (suspicion.deadline > now) continue;
      const member = this.#table.get(name);
      if (member === undefined) continue;
      if (!suspicion.isConfirmed) this.#delegate.measured?.("degradedTimeout", 1);
      this.#delegate.log(
        "info",
        `memberlist: Marking ${name} as failed, suspect timeout reached (${suspicion.confirmations} peer confirmations)`,
      );
      this.dead(now, { kind: "dead", node: name, incarnation: member.incarnation, from: this.#config.name });
    }
    this.#nextDeadline = undefined;
  }

  /** Nothing was heard for a while because this process stood still: the suspected get that time back, see stall.ts. */
  postpone(by: Millis): void {
    for (const suspicion of this.#suspicions.values()) suspicion.postpone(by);
    this.#nextDeadline = undefined;
  }

  /** Announces this member: at start, and when its meta changed. */
  announce(now: Millis): void {
    const { name, address, port, version } = this.#config;
    const alive: Alive = {
      kind: "alive",
      node: name,
      incarnation: ++this.#incarnation,
      address,
      port,
      meta: this.#delegate.meta(),
      version,
    };
    this.#adopt(now, alive);
  }

  alive(now: Millis, alive: Alive): void {
    const own = alive.node === this.#config.name;
    if ((own && this.#leaving) || !this.#isSane(alive)) return;
    const known = this.#table.get(alive.node);
    if (!isCredible(alive.incarnation, (known?.incarnation ?? 0) + incarnationStepMax)) return;
    const moved = known !== undefined && (known.port !== alive.port || !equalBytes(known.address, alive.address));
    // Old news, which most of an exchange is. The layer above need not be asked about it.
    if (known !== undefined && !own && !moved && alive.incarnation <= known.incarnation) return;
    const refusal = this.#delegate.refuseAlive(alive);
    if (refusal !== undefined) {
      this.#delegate.log("warn", `memberlist: ignoring alive message for '${alive.node}': ${refusal}`);
      return;
    }
    if (known === undefined) {
      this.#adopt(now, alive);
      return;
    }
    const takesOver = moved && this.#mayTakeOver(known, now);
    if (moved && !takesOver) {
      this.#delegate.log(
        "error",
        `memberlist: Conflicting address for ${alive.node}. Mine: ${known.host}:${known.port} Theirs: ${ipText(alive.address)}:${alive.port}`,
        {
          old_state: known.condition,
        },
      );
      this.#delegate.conflicted(known, alive);
      return;
    }
    if (own) this.#hearOfSelf(known, alive);
    else this.#adopt(now, alive);
  }

  suspect(now: Millis, suspect: Suspect, grounds: Grounds = heard): void {
    const member = this.#table.get(suspect.node);
    if (member === undefined || suspect.incarnation < member.incarnation) return;
    if (!isCredible(suspect.incarnation, member.incarnation)) return;
    const suspicion = this.#suspicions.get(member.name);
    if (suspicion !== undefined) {
      if (!suspicion.confirm(suspect.from)) return;
      this.evidence.confirmed(now, member.name, suspect.from);
      this.#dueBy(suspicion.deadline);
      this.#broadcast(member.name, suspect);
      return;
    }
    if (member.condition !== "alive") return;
    this.evidence.accused(now, suspect, grounds);
    if (member.name === this.#config.name) {
      this.#refute(member, suspect.incarnation);
      this.evidence.refuted(now, member.name);
      this.#delegate.log("warn", `memberlist: Refuting a suspect message (from: ${suspect.from})`);
      return;
    }
    this.#broadcast(member.name, suspect);
    this.#table.put({ ...member, incarnation: suspect.incarnation, condition: "suspect" });
    const begun = new Suspicion(this.#config, this.#table.size, suspect.from, now);
    this.#suspicions.set(member.name, begun);
    this.#dueBy(begun.deadline);
  }

  dead(now: Millis, dead: Dead, sent?: () => void): void {
    const member = this.#table.get(dead.node);
    if (member === undefined || dead.incarnation < member.incarnation) return;
    if (!isCredible(dead.incarnation, member.incarnation)) return;
    this.#clearSuspicion(member.name);
    if (isGone(member)) return;
    this.evidence.gone(now, dead);
    if (member.name === this.#config.name && !this.#leaving) {
      this.evidence.refuted(now, member.name);
      this.#refute(member, dead.incarnation);
      this.#delegate.log("warn", `memberlist: Refuting a dead message (from: ${dead.from})`);
      return;
    }
    this.#broadcast(member.name, dead, sent);
    const condition = dead.from === dead.node ? "left" : "dead";
    const gone: MemberState = { ...member, incarnation: dead.incarnation, condition, goneAt: now };
    this.#table.put(gone);
    this.#delegate.gone(gone);
  }

  /** Says goodbye. `sent` is called when everyone should have heard, at once when there is nobody. */
  leave(now: Millis, sent: () => void): void {
    this.#leaving = true;
    const self = this.#table.get(this.#config.name);
    if (self === undefined || isGone(self)) {
      sent();
      return;
    }
    const heard = this.#table.all().some((member) => member !== self && !isGone(member));
    this.dead(now, { kind: "dead", node: self.name, incarnation: self.incarnation, from: self.name }, heard ? sent : undefined);
    if (!heard) sent();
  }

  /** One side of a push-pull exchange. A remote "dead" only raises suspicion: the accused may be reachable from here. */
  merge(now: Millis, claim: MemberClaim): void {
    const { name: node, incarnation } = claim;
    switch (claim.condition) {
      case "alive":
        this.alive(now, {
          kind: "alive",
          node,
          incarnation,
          address: claim.address,
          port: claim.port,
          meta: claim.meta,
          version: claim.version,
        });
        return;
      case "left":
        this.dead(now, { kind: "dead", node, incarnation, from: node });
        return;
      case "suspect":
      case "dead":
        this.suspect(now, { kind: "suspect", node, incarnation, from: this.#config.name }, { kind: "exchange" });
        return;
      default:
        unreachable(claim.condition);
    }
  }

  /** A member everyone knows already: nothing is passed on. */
  introduce(claim: MemberClaim): void {
    const member = this.#table.agreed(claim.name, claim) ?? stateOf(claim.name, claim);
    if (member !== undefined && this.#table.put(member)) this.#delegate.joined(member);
  }

  /** Takes over what `alive` says, whether or not the member was known, and tells everyone. */
  #adopt(now: Millis, alive: Alive): void {
    const known = this.#table.get(alive.node);
    const member = this.#table.agreed(alive.node, alive) ?? stateOf(alive.node, alive);
    if (member === undefined) return;
    if (!this.#table.put(member)) {
      this.#delegate.log("warn", `memberlist: no room for '${alive.node}': ${this.#config.membersMax} members are known`);
      return;
    }
    this.#clearSuspicion(member.name);
    this.#broadcast(member.name, alive);
    if (known !== undefined) this.evidence.refuted(now, member.name);
    if (known === undefined || isGone(known)) this.#delegate.joined(member);
    else if (!isSameMeta(known.meta, member.meta)) this.#delegate.updated(member);
  }

  /** An echo of our own words, or an older life of ours that others still remember. */
  #hearOfSelf(self: MemberState, alive: Alive): void {
    if (alive.incarnation < self.incarnation) return;
    const echo =
      alive.incarnation === self.incarnation && isSameMeta(alive.meta, self.meta) && equalBytes(alive.version, self.version);
    if (echo) return;
    this.#refute(self, alive.incarnation);
    this.#delegate.log("warn", `memberlist: Refuting an alive message for '${self.name}' (${self.host}:${self.port})`);
  }

  #refute(self: MemberState, accused: Incarnation): void {
    this.#incarnation = Math.max(this.#incarnation, accused) + 1;
    this.#table.put({ ...self, incarnation: this.#incarnation });
    // Having been accused wrongly says that we were slow.
    this.#awareness.apply(1);
    const { name, address, port, version } = this.#config;
    const alive: Alive = { kind: "alive", node: name, incarnation: this.#incarnation, address, port, meta: self.meta, version };
    // Under another key than the name: the accusation keeps travelling, and so does the answer.
    this.#queue.add({ content: encodeMessage(alive), key: `refutation of ${self.host}` });
  }

  #isSane(alive: Alive): boolean {
    if (alive.node === "" || alive.version.length < versionLength || !isIpLength(alive.address)) return false;
    const [min = 0, max = 0] = alive.version;
    return min > 0 && min <= max;
  }

  #mayTakeOver(known: MemberState, now: Millis): boolean {
    if (known.condition === "left") return true;
    const { deadNodeReclaim } = this.#config;
    return known.condition === "dead" && deadNodeReclaim > 0 && now - known.goneAt > deadNodeReclaim;
  }

  #clearSuspicion(name: string): void {
    const suspicion = this.#suspicions.get(name);
    if (suspicion === undefined) return;
    this.#suspicions.delete(name);
    if (suspicion.deadline === this.#nextDeadline) this.#nextDeadline = undefined;
  }

  #dueBy(deadline: Millis): void {
    if (this.#nextDeadline !== undefined) this.#nextDeadline = Math.min(this.#nextDeadline, deadline);
  }

  #broadcast(key: string, message: Alive | Suspect | Dead, finished?: () => void): void {
    this.#queue.add({ content: encodeMessage(message), key, ...(finished === undefined ? {} : { finished }) });
  }
}

/** Whether `incarnation` is low enough to be answered, or no higher than `expected`. */
function isCredible(incarnation: Incarnation, expected: Incarnation): boolean {
  return incarnation <= incarnationMax || incarnation <= expected;
}

function stateOf(name: string, said: Said): MemberState | undefined {
  const { address, port, incarnation, meta, version } = said;
  const host = ipText(address);
  if (host === undefined) return undefined;
  return {
    name,
    address: owned(address),
    port,
    incarnation,
    meta: meta === undefined ? undefined : owned(meta),
    condition: "alive",
    version: owned(version.length === versionLength ? version : version.subarray(0, versionLength)),
    host,
    goneAt: 0,
  };
}

/** A view would keep the whole packet it came in. */
function owned(bytes: Bytes): Bytes {
  return bytes.length === bytes.buffer.byteLength ? bytes : bytes.slice();
}
