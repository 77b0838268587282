/**
 * Names for numbers and strings that must not be mixed up.
 *
 * Each is its base type with an optional tag: a literal fits, but a `Term` is not accepted where a `LogIndex` is asked for.
 * Numbers are exact up to 2^53; codecs check that with {@link checkedInteger}.
 */

/** Milliseconds on the monotonic clock, or a duration in milliseconds. */
export type Millis = number & { readonly tag?: "Millis" };
/** Wall time: milliseconds since 1970. For people and records, never for timeouts. */
export type EpochMillis = number & { readonly tag?: "EpochMillis" };
/** A Raft term. */
export type Term = number & { readonly tag?: "Term" };
/** A position in the Raft log; also Consul's CreateIndex and ModifyIndex. */
export type LogIndex = number & { readonly tag?: "LogIndex" };
/** A server's or agent's UUID. */
export type NodeId = string & { readonly tag?: "NodeId" };
/** How often a member has refuted or re-announced itself (SWIM section 4.2). */
export type Incarnation = number & { readonly tag?: "Incarnation" };

/** `value` when it is a whole number in [0, 2^53), undefined otherwise. */
export function checkedInteger(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
