/**
 * Three kinds of failure, three treatments.
 *
 * An expected outcome is a value. The world failing (disk, socket, timeout) throws {@link AgentError}. Our own mistake
 * is an {@link assert}: crash, never continue.
 */

/** Stable codes: callers branch on these, never on the text. */
export type ErrorCode =
  | "bad-request" //          the caller's input is wrong; HTTP 400
  | "rejected" //             understood and refused, in Consul's words; HTTP 500 with the raw text
  | "permission-denied" //    HTTP 403
  | "not-found" //            HTTP 404
  | "too-large" //            HTTP 413
  | "rate-limited" //         HTTP 429
  | "not-supported" //        a feature that is not built yet; HTTP 501
  | "no-leader" //            "No cluster leader"; HTTP 500
  | "no-datacenter" //        "No path to datacenter"; HTTP 500
  | "config-invalid" //       a configuration file or flag is wrong
  | "address-in-use"
  | "connection-refused"
  | "connection-closed"
  | "timeout"
  | "cancelled"
  | "wal-corrupt"
  | "snapshot-corrupt"
  | "storage-failed"
  | "closed";

export interface AgentErrorOptions {
  /** A sentence: what could not be done, why, and what the reader can do. Consul's own text where clients match on it. */
  readonly message: string;
  readonly cause?: unknown;
}

/** The world failed, or a request was refused. */
export class AgentError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, options: AgentErrorOptions) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "AgentError";
    this.code = code;
  }
}

/** In Consul's words: no such datacenter is known, or none of its servers. */
export function noPathToDatacenter(): AgentError {
  return new AgentError("no-datacenter", { message: "No path to datacenter" });
}

/** We failed: a condition that our own code guarantees does not hold. */
export function assert(condition: boolean, claim: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${claim}`);
}

/** The end of a `switch` over a union: the compiler proves it is never reached, and at run time it throws. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
