/** What Consul 1.8 refuses about a new session before it looks at the catalog. */
import { formatDuration, parseDuration } from "../config/duration.ts";
import type { Millis } from "../types/ids.ts";

/** The lowest TTL, where `session_ttl_min` does not say another. */
const ttlMin: Millis = 10_000;
const ttlMax: Millis = 86_400_000;

/** Why the session is refused; undefined when it is not. `configuredTtlMin` 0: the default. */
export function sessionFault(
  session: { readonly node: string; readonly behavior: string; readonly ttl: string },
  configuredTtlMin: Millis,
): string | undefined {
  const { node, behavior, ttl } = session;
  if (node === "") return "Must provide Node";
  if (behavior !== "" && behavior !== "release" && behavior !== "delete") return `Invalid Behavior setting '${behavior}'`;
  if (ttl === "") return undefined;
  const parsed = parseDuration(ttl);
  if (parsed.kind === "invalid") return `Session TTL '${ttl}' invalid: ${parsed.problem}`;
  const lowest = configuredTtlMin > 0 ? configuredTtlMin : ttlMin;
  if (parsed.millis === 0 || (parsed.millis >= lowest && parsed.millis <= ttlMax)) return undefined;
  const nanoseconds = BigInt(Math.round(parsed.millis * 1e6));
  return `Invalid Session TTL '${nanoseconds}', must be between [${formatDuration(lowest)}=24h0m0s]`;
}
