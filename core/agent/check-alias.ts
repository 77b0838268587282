import type { CheckFields } from "../catalog/records.ts";
import type { CheckOutcome } from "./checks.ts";

/** What an alias looks at. */
export interface AliasView {
  /** The checks of a service of this agent; of the node for "". */
  checksOf(serviceId: string): readonly CheckFields[];
  serviceExists(serviceId: string): boolean;
  /** The service and the node that a check is an alias of; undefined when it is no alias. */
  targetOf(checkId: string): AliasTarget | undefined;
}

export interface AliasTarget {
  /** "" for the node's checks alone. */
  readonly service: string;
  /** As the definition names it: "" for this one. */
  readonly node: string;
}

/**
 * The worst of the target's checks and the node's.
 *
 * An alias among them stands for what it is an alias of, and is not asked itself. (In Consul 1.8 two aliases that once
 * saw each other critical stay so for ever.)
 */
export function aliasOutcome(checkId: string, target: AliasTarget, view: AliasView): CheckOutcome {
  return worstOf(target, view, new Set([checkId]));
}

function worstOf(target: AliasTarget, view: AliasView, seen: Set<string>): CheckOutcome {
  if (target.service !== "" && !view.serviceExists(target.service))
    return settled("critical", `Service ${target.service} could not be found on node ${target.node}`);
  let found = false;
  let worst: CheckOutcome | undefined;
  for (const serviceId of target.service === "" ? [""] : ["", target.service]) {
    for (const check of view.checksOf(serviceId)) {
      if (seen.has(check.checkId)) continue;
      const inner = view.targetOf(check.checkId);
      if (inner !== undefined) seen.add(check.checkId);
      const { status, output } = inner === undefined ? check : worstOf(inner, view, seen);
      found = true;
      const failing = `Aliased check ${JSON.stringify(check.name)} failing: ${output}`;
      if (status === "critical") return settled("critical", failing);
      if (status === "warning") worst ??= settled("warning", failing);
    }
  }
  if (worst !== undefined) return worst;
  return settled("passing", found ? "All checks passing." : "No checks found.");
}

function settled(status: "passing" | "warning" | "critical", output: string): CheckOutcome {
  return { status, output, certain: true };
}
