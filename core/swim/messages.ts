/** What members say to each other, without the shapes of the wire (see wire.ts). */
import type { Bytes } from "../types/bytes.ts";
import type { Incarnation } from "../types/ids.ts";

/** Where an answer is to go, when that is not the packet's own source. */
export interface Origin {
  readonly address: Bytes;
  readonly port: number;
  readonly node: string;
}

/** `sequence` matches an answer to its question: one counter per process, 32 bits. */
export interface Ping {
  readonly kind: "ping";
  readonly sequence: number;
  /** Who is meant; "" is whoever receives it. */
  readonly node: string;
  readonly origin: Origin | undefined;
}

/** "Please ping `node` for me." */
export interface IndirectPing {
  readonly kind: "indirectPing";
  readonly sequence: number;
  readonly node: string;
  readonly target: Bytes;
  readonly port: number;
  /** Say so when the target did not answer (Lifeguard). */
  readonly nack: boolean;
  readonly origin: Origin | undefined;
}

export interface Ack {
  readonly kind: "ack";
  readonly sequence: number;
  /** The sender's network coordinate, opaque here. */
  readonly payload: Bytes | undefined;
}

/** "I heard your indirect ping and got no answer from the target." */
export interface Nack {
  readonly kind: "nack";
  readonly sequence: number;
}

/** SWIM section 4.2. `incarnation` is the one that is suspected. */
export interface Suspect {
  readonly kind: "suspect";
  readonly node: string;
  readonly incarnation: Incarnation;
  readonly from: string;
}

/** `address` is 4 or 16 bytes and compared byte for byte: never converted on the way through. */
export interface Alive {
  readonly kind: "alive";
  readonly node: string;
  readonly incarnation: Incarnation;
  readonly address: Bytes;
  readonly port: number;
  /** Opaque here: Serf's tags. At most `metaBytesMax`. */
  readonly meta: Bytes | undefined;
  /** Six numbers: protocol min, max, current; delegate min, max, current. */
  readonly version: Bytes;
}

/** Said by the member itself (`from` equals `node`) it means "I leave". */
export interface Dead {
  readonly kind: "dead";
  readonly node: string;
  readonly incarnation: Incarnation;
  readonly from: string;
}

/** Carried for the layer above. */
export interface User {
  readonly kind: "user";
  readonly payload: Bytes;
}

/** The other side could not take part in a stream exchange, in its words. */
export interface Refusal {
  readonly kind: "refusal";
  readonly reason: string;
}

export type SwimMessage = Ping | IndirectPing | Ack | Nack | Suspect | Alive | Dead | User | Refusal;

/** What a push-pull exchange says of one member. */
export interface MemberClaim {
  readonly name: string;
  readonly address: Bytes;
  readonly port: number;
  readonly incarnation: Incarnation;
  readonly meta: Bytes | undefined;
  readonly condition: MemberCondition;
  readonly version: Bytes;
}

export type MemberCondition = "alive" | "suspect" | "dead" | "left";

/** Both directions of a push-pull exchange. */
export interface PushPull {
  readonly join: boolean;
  readonly members: readonly MemberClaim[];
  /** The layer above's state, opaque here. */
  readonly userState: Bytes;
}

/** memberlist's limit on what a member may say of itself. */
export const metaBytesMax = 512;
/** Ours: no operator writes longer names, and a table of hostile ones must stay small. */
export const nameBytesMax = 1024;
