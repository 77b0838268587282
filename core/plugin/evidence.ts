/** Why members of a gossip pool were accused of having failed, as this agent heard it; see core/swim/evidence.ts. */
import type { EpochMillis, Millis } from "../types/ids.ts";

export interface Evidence {
  /** How slow this agent thinks it is itself: 0 is healthy. */
  readonly health: number;
  /** Oldest first, and only the latest: a few hundred. */
  readonly accusations: readonly Accusation[];
  /** When this agent stood still, and for how long nothing of what was due was done. */
  readonly stalls: readonly { readonly at: EpochMillis; readonly late: Millis }[];
}

export interface Accusation {
  readonly node: string;
  readonly incarnation: number;
  readonly at: EpochMillis;
  readonly by: string;
  readonly grounds: AccusationGrounds;
  /** Who else accused it meanwhile, each shortening its time to answer. */
  readonly confirmations: readonly { readonly by: string; readonly at: EpochMillis }[];
  readonly outcome: "open" | "refuted" | "dead" | "left";
  readonly settledAt: EpochMillis | undefined;
  /** Who declared it dead. */
  readonly settledBy: string | undefined;
  /** When one that was declared dead was heard again. */
  readonly returnedAt: EpochMillis | undefined;
}

export type AccusationGrounds =
  /** This agent's own probe: a ping, then through helpers, and over a stream. */
  | {
      readonly kind: "probe";
      readonly sentAt: EpochMillis;
      readonly directTimeout: Millis;
      readonly timeout: Millis;
      readonly helpers: readonly { readonly via: string; readonly answer: "nack" | "silence" | "unasked" }[];
      readonly stream: "failed" | "silence" | "unasked";
      readonly health: number;
    }
  /** The accuser's message, and somebody's state in a push-pull exchange. */
  | { readonly kind: "gossip" | "exchange" };

/** Of an agent in no pool. */
export const noEvidence: Evidence = { health: 0, accusations: [], stalls: [] };
