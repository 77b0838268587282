/** Full exchange of state over a stream: how often, and what must hold before two pools may become one. */
import { ceilLog2 } from "../structures/log2.ts";
import type { Millis } from "../types/ids.ts";
import type { MemberClaim } from "./messages.ts";

/** Up to this many members the interval is as configured; beyond it grows, because each exchange does. */
const scaleThreshold = 32;

export function pushPullInterval(interval: Millis, memberCount: number): Millis {
  if (memberCount <= scaleThreshold) return interval;
  return interval * (ceilLog2(memberCount) - ceilLog2(scaleThreshold) + 1);
}

/**
 * Why pools that believe `known` and `claims` cannot be merged: someone would speak a protocol that someone else does
 * not understand. Undefined when they can.
 */
export function versionConflict(known: readonly MemberClaim[], claims: readonly MemberClaim[]): string | undefined {
  const both = [known, claims];
  return rangeConflict(both, { kind: "Protocol", at: 0 }) ?? rangeConflict(both, { kind: "Delegate", at: 3 });
}

/** `at`: where min, max and current of this kind start in a version. */
function rangeConflict(
  both: readonly (readonly MemberClaim[])[],
  what: { readonly kind: string; readonly at: number },
): string | undefined {
  let highestMin = 0;
  let lowestMax = 255;
  for (const members of both) {
    for (const { version, condition } of members) {
      if (condition !== "alive") continue;
      highestMin = Math.max(highestMin, version[what.at] ?? 0);
      lowestMax = Math.min(lowestMax, version[what.at + 1] ?? 0);
    }
  }
  for (const members of both) {
    for (const { name, version } of members) {
      const current = version[what.at + 2] ?? 0;
      if (current >= highestMin && current <= lowestMax) continue;
      return `Node '${name}' ${what.kind} version (${current}) is incompatible: [${highestMin}, ${lowestMax}]`;
    }
  }
  return undefined;
}
