import type { Bytes } from "../types/bytes.ts";
import type { Millis } from "../types/ids.ts";

/** What one member needs to know before it can speak. Times in milliseconds; defaults are memberlist's for a LAN. */
export interface SwimConfig {
  readonly name: string;
  /** Advertised: 4 or 16 bytes. */
  readonly address: Bytes;
  readonly port: number;
  /** Six numbers: protocol min, max, current; delegate min, max, current. */
  readonly version: Bytes;

  readonly probeInterval: Millis;
  readonly probeTimeout: Millis;
  readonly indirectChecks: number;
  readonly gossipInterval: Millis;
  readonly gossipNodes: number;
  /** The dead are still told what happens for this long: one that was only cut off can refute. Then they are forgotten. */
  readonly gossipToTheDead: Millis;
  readonly pushPullInterval: Millis;
  readonly suspicionMult: number;
  readonly suspicionMaxMult: number;
  readonly retransmitMult: number;
  readonly awarenessMax: number;
  /** Ask helpers to say when they got no answer either (Lifeguard section IV-A). Default true. */
  readonly nacks?: boolean;
  /** Tell a suspected member of the suspicion with each ping (Lifeguard section IV-C). Default true. */
  readonly buddy?: boolean;
  /**
   * Being woken later than this is a stall of this process: what others did meanwhile was not heard, so it is not held
   * against them (see stall.ts). Infinity: stalls are not noticed, as in memberlist.
   */
  readonly stallTolerance: Millis;
  /** How long a member must have been dead before another address may take its name. 0: never. */
  readonly deadNodeReclaim: Millis;
  /** Members remembered, of any condition; more are refused. */
  readonly membersMax: number;
}

export const lanDefaults: Omit<SwimConfig, "name" | "address" | "port" | "version"> = {
  probeInterval: 1000,
  probeTimeout: 500,
  indirectChecks: 3,
  gossipInterval: 200,
  gossipNodes: 3,
  gossipToTheDead: 30_000,
  pushPullInterval: 30_000,
  suspicionMult: 4,
  suspicionMaxMult: 6,
  retransmitMult: 4,
  awarenessMax: 8,
  stallTolerance: 250,
  deadNodeReclaim: 30_000,
  membersMax: 65_536,
};
