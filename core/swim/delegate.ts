import type { LogLevel } from "../ports/telemetry.ts";
import type { Bytes } from "../types/bytes.ts";
import type { Millis } from "../types/ids.ts";
import type { MemberState } from "./members.ts";
import type { Alive, MemberClaim } from "./messages.ts";
import type { SwimMeasure } from "./metrics.ts";

/**
 * The layer above SWIM, as SWIM sees it. Called from within a step: it answers at once, changes only its own state and
 * must not step the machine.
 */
export interface SwimDelegate {
  /** What this member says of itself: at most `metaBytesMax`. Read at start and when told of an update. */
  meta(): Bytes;
  /** Rides on each ack. */
  ackPayload(): Bytes | undefined;
  /** `member` answered a direct ping in time. */
  acked(member: MemberState, roundTrip: Millis, payload: Bytes | undefined): void;
  /** A user message arrived. */
  received(payload: Bytes): void;
  /** Broadcasts of its own that fit into `bytesMax`, each costing `overhead` more than its length. */
  broadcasts(overhead: number, bytesMax: number): readonly Bytes[];
  /** The layer's state for a push-pull exchange. */
  localState(join: boolean): Bytes;
  /** `joining`: this member asked to be let in, so that what happened before is no news to it. */
  mergeState(state: Bytes, joining: boolean): void;
  /** Why `claims` may not be merged; undefined: they may. Asked for joins only. */
  refuseMerge(claims: readonly MemberClaim[]): string | undefined;
  /** Why this member may not be here; undefined: it may. */
  refuseAlive(alive: Alive): string | undefined;

  joined(member: MemberState): void;
  /** Dead or left: `member.condition` says which, in SWIM's eyes. */
  gone(member: MemberState): void;
  updated(member: MemberState): void;
  /** Another address claims a name that is taken. */
  conflicted(member: MemberState, other: Alive): void;
  /** For metrics: milliseconds a probe took, whatever came of it; with how many are told, that a round of gossip begins; else 1. */
  measured?(what: SwimMeasure, value: number): void;
  log(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void;
}
