import type { Member } from "../plugin/agent-api.ts";
import type { Millis } from "../types/ids.ts";

/** Times in milliseconds; defaults are what Consul 1.8 sets over Serf's own. */
export interface SerfConfig {
  readonly name: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly coordinates: boolean;
  readonly reapInterval: Millis;
  readonly reconnectInterval: Millis;
  /** A failed member is forgotten after this. */
  readonly reconnectTimeout: Millis;
  /** A member that left is forgotten after this. */
  readonly tombstoneTimeout: Millis;
  /** Intents about members nobody has introduced yet are kept this long. */
  readonly recentIntentTimeout: Millis;
  readonly broadcastTimeout: Millis;
  /** Staying up after the goodbye, so that nobody who has not heard it yet sees a failure. */
  readonly leavePropagateDelay: Millis;
  /** Bytes of name and payload of a user event, and of the event encoded. */
  readonly userEventBytesMax: number;
  /** A member's way of asking everyone takes this many gossip intervals per tenfold of the pool. */
  readonly queryTimeoutMult: number;
  readonly gossipInterval: Millis;
  /**
   * Why these members may not be in this pool; undefined: they may. Asked with all of the other side's members on a
   * join, and with one member on each of its announcements.
   */
  readonly refuse: (members: readonly Member[]) => string | undefined;
  /** The same of one member's address (an IP literal), for each of its announcements, however they come. */
  readonly refuseAddress: (address: string) => string | undefined;
}

export const serfDefaults: Omit<SerfConfig, "name" | "tags"> = {
  coordinates: true,
  reapInterval: 15_000,
  reconnectInterval: 30_000,
  reconnectTimeout: 72 * 3_600_000,
  tombstoneTimeout: 24 * 3_600_000,
  recentIntentTimeout: 300_000,
  broadcastTimeout: 5000,
  leavePropagateDelay: 3000,
  userEventBytesMax: 512,
  queryTimeoutMult: 16,
  gossipInterval: 200,
  refuse: () => undefined,
  refuseAddress: () => undefined,
};

/** Serf protocol range and the one spoken, after memberlist's own: what Consul 1.8 announces. */
export const consulVersion: Uint8Array = Uint8Array.of(1, 5, 2, 2, 5, 4);
