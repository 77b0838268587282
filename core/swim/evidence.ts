/**
 * Who accused whom, and on what evidence: what an operator asks after "why was this member declared failed?".
 *
 *   accused ──► confirmed by others ──► refuted by the member itself
 *                                  └──► dead, perhaps returned later          └──► left
 *
 * A bounded ring: the oldest accusation goes first. Nothing here decides anything.
 */
import type { Incarnation, Millis } from "../types/ids.ts";

/** How a helper answered when it was asked to ping the target. */
export interface HelperAnswer {
  readonly via: string;
  /** "unasked": its protocol has no nacks, so that its silence says nothing about it. */
  readonly answer: "nack" | "silence" | "unasked";
}

/** What the accusation rests on. */
export type Grounds =
  /** Our own probe: no answer to the ping, through helpers, or over a stream. */
  | {
      readonly kind: "probe";
      readonly sentAt: Millis;
      /** How long the direct ping, and all of it, was waited for. */
      readonly directTimeout: Millis;
      readonly timeout: Millis;
      readonly helpers: readonly HelperAnswer[];
      readonly stream: "failed" | "silence" | "unasked";
      /** Our own health score when the probe failed: 0 is healthy. */
      readonly health: number;
    }
  /** A message of the accuser reached us by gossip. */
  | { readonly kind: "gossip" }
  /** Somebody's state said so in a push-pull exchange; the protocol does not tell on whose word. */
  | { readonly kind: "exchange" };

export type AccusationOutcome = "open" | "refuted" | "dead" | "left";

export interface Accusation {
  readonly node: string;
  readonly incarnation: Incarnation;
  readonly at: Millis;
  /** Who accuses: for an exchange this member itself, as memberlist has it. */
  readonly by: string;
  readonly grounds: Grounds;
  /** Independent accusers that shortened the time to answer, in order. */
  readonly confirmations: readonly { readonly by: string; readonly at: Millis }[];
  readonly outcome: AccusationOutcome;
  /** When the outcome was reached. */
  readonly settledAt: Millis | undefined;
  /** Who declared it dead. */
  readonly settledBy: string | undefined;
  /** When a member that was declared dead was heard again. */
  readonly returnedAt: Millis | undefined;
}

/** A stall of this process: for `late` it did nothing that was due. */
export interface Stall {
  readonly at: Millis;
  readonly late: Millis;
}

type AccusationRecord = { -readonly [Field in keyof Accusation]: Accusation[Field] } & {
  confirmations: { readonly by: string; readonly at: Millis }[];
};

const accusationsMax = 512;
const stallsMax = 64;
/** More accusers than any suspicion waits for. */
const confirmationsMax = 16;

export class EvidenceLog {
  #accusations: AccusationRecord[] = [];
  #stalls: Stall[] = [];
  /** The last accusation of each member in the ring. */
  readonly #latest = new Map<string, AccusationRecord>();

  /** Oldest first; of one member when `node` is given. */
  accusations(node?: string): readonly Accusation[] {
    return this.#accusations.filter((accusation) => node === undefined || accusation.node === node);
  }

  get stalls(): readonly Stall[] {
    return this.#stalls;
  }

  accused(
    now: Millis,
    about: { readonly node: string; readonly incarnation: Incarnation; readonly from: string },
    grounds: Grounds,
  ): void {
    this.#open(now, about, grounds);
  }

  confirmed(now: Millis, node: string, by: string): void {
    const open = this.#latest.get(node);
    if (open?.outcome === "open" && open.confirmations.length < confirmationsMax) open.confirmations.push({ by, at: now });
  }

  /** The member spoke for itself under a higher incarnation. */
  refuted(now: Millis, node: string): void {
    const latest = this.#latest.get(node);
    if (latest === undefined) return;
    if (latest.outcome === "open") {
      latest.outcome = "refuted";
      latest.settledAt = now;
    } else if (latest.outcome === "dead") latest.returnedAt ??= now;
  }

  /** `from` declares `node` dead, or says goodbye for itself. */
  gone(now: Millis, about: { readonly node: string; readonly incarnation: Incarnation; readonly from: string }): void {
    const left = about.from === about.node;
    let latest = this.#latest.get(about.node);
    if (latest?.outcome !== "open") {
      if (left) return;
      // Somebody's verdict came before any suspicion did.
      latest = this.#open(now, about, { kind: "gossip" });
    }
    latest.outcome = left ? "left" : "dead";
    latest.settledAt = now;
    latest.settledBy = about.from;
  }

  stalled(now: Millis, late: Millis): void {
    this.#stalls.push({ at: now, late });
    if (this.#stalls.length > stallsMax) this.#stalls = this.#stalls.slice(-stallsMax / 2);
  }

  #open(
    now: Millis,
    about: { readonly node: string; readonly incarnation: Incarnation; readonly from: string },
    grounds: Grounds,
  ): AccusationRecord {
    const accusation: AccusationRecord = {
      node: about.node,
      incarnation: about.incarnation,
      at: now,
      by: about.from,
      grounds,
      confirmations: [],
      outcome: "open",
      settledAt: undefined,
      settledBy: undefined,
      returnedAt: undefined,
    };
    this.#accusations.push(accusation);
    this.#latest.set(about.node, accusation);
    if (this.#accusations.length > accusationsMax) this.#forgetOlderHalf();
    return accusation;
  }

  #forgetOlderHalf(): void {
    const kept = this.#accusations.slice(-accusationsMax / 2);
    for (const forgotten of this.#accusations.slice(0, -accusationsMax / 2)) {
      if (this.#latest.get(forgotten.node) === forgotten) this.#latest.delete(forgotten.node);
    }
    this.#accusations = kept;
  }
}
