/** What is said of requests in the log. */
import type { Logger } from "../../core/ports/telemetry.ts";
import { AgentError, type ErrorCode, messageOf } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import { formatDuration } from "../../core/config/duration.ts";
import { Refusal } from "./reply.ts";

interface Logged {
  readonly method: string;
  readonly target: string;
  readonly from: { readonly host: string; readonly port: number };
}

/** Tokens never reach the log. */
export function redact(target: string): string {
  return target
    .replace(/([?&;]token=)[^&;#]*/g, "$1<hidden>")
    .replace(/^(\/v1\/acl\/(?:create|update|destroy|info|clone|list)\/)[^?]+/, "$1<hidden>");
}

const fieldsOf = (request: Logged) => ({
  method: request.method,
  url: redact(request.target),
  from: `${request.from.host}:${request.from.port}`,
});

/** What no operator can do anything about: the client's own mistakes, and clients that went away. */
const unlogged: ReadonlySet<ErrorCode> = new Set([
  "bad-request",
  "not-found",
  "too-large",
  "not-supported",
  "cancelled",
  "connection-closed",
]);

export function logError(context: { readonly logger: Logger }, request: Logged, error: unknown): void {
  if (error instanceof Refusal || (error instanceof AgentError && unlogged.has(error.code))) return;
  context.logger.log("error", "Request error", { ...fieldsOf(request), error: messageOf(error) });
}

export function logFinished(context: { readonly logger: Logger }, request: Logged, took: Millis): void {
  if (!context.logger.enabled("debug")) return;
  context.logger.log("debug", "Request finished", { ...fieldsOf(request), latency: formatDuration(took) });
}
