/**
 * What a check's definition comes to: which kind it is, how often it runs, how much of its output is kept.
 *
 * A definition with several triggers is the first of TTL, HTTP, TCP, gRPC, Docker, script, alias (Consul 1.8).
 */
import type { CheckDefinition } from "../config/definitions.ts";
import type { Millis } from "../types/ids.ts";

export type CheckPlan =
  | (PlanHead & { readonly kind: "ttl"; readonly ttl: Millis })
  | (PlanHead & Repeated & { readonly kind: "http" | "tcp" | "script" })
  | (PlanHead & { readonly kind: "alias" });

interface PlanHead {
  readonly id: string;
  /** "" for a check of the node. */
  readonly serviceId: string;
  /** A service is removed when this check has been critical for longer; Infinity for never. */
  readonly reapAfter: Millis;
}

interface Repeated {
  readonly interval: Millis;
  readonly timeout: Millis;
  /** So many results in a row it takes to leave, or to become, critical. */
  readonly successesNeeded: number;
  readonly failuresNeeded: number;
}

/** Consul 1.8: checks.MinInterval; a shorter interval is raised. */
export const intervalMin: Millis = 1000;
const reapAfterMin: Millis = 60_000;
const networkTimeout: Millis = 10_000;
const scriptTimeout: Millis = 30_000;

type CheckKind = CheckPlan["kind"] | "grpc" | "docker" | "none";

/** Undefined for a definition that triggers nothing: its status is only ever set from outside. */
export function planCheck(definition: CheckDefinition): CheckPlan | undefined {
  const { id, serviceId, timeout } = definition;
  const after = definition.deregisterCriticalServiceAfter;
  const reapAfter = after > 0 && serviceId !== "" ? Math.max(after, reapAfterMin) : Number.POSITIVE_INFINITY;
  const head: PlanHead = { id, serviceId, reapAfter };
  const kind = kindOf(definition);
  switch (kind) {
    case "ttl":
      return { ...head, kind, ttl: definition.ttl };
    case "alias":
      return { ...head, kind };
    case "http":
    case "tcp":
    case "script":
      return {
        ...head,
        kind,
        interval: Math.max(definition.interval, intervalMin),
        timeout: timeout > 0 ? timeout : kind === "script" ? scriptTimeout : networkTimeout,
        successesNeeded: definition.successBeforePassing,
        failuresNeeded: definition.failuresBeforeCritical,
      };
    default:
      return undefined;
  }
}

function kindOf(definition: CheckDefinition): CheckKind {
  if (definition.ttl > 0) return "ttl";
  if (definition.http !== "" && definition.interval > 0) return "http";
  if (definition.tcp !== "" && definition.interval > 0) return "tcp";
  if (definition.grpc !== "" && definition.interval > 0) return "grpc";
  if (definition.dockerContainerId !== "" && definition.args.length > 0 && definition.interval > 0) return "docker";
  if (definition.args.length > 0 && definition.interval > 0) return "script";
  if (definition.aliasNode !== "" || definition.aliasService !== "") return "alias";
  return "none";
}

/** Why a check cannot run here, in a sentence; undefined when it can. `nodeName`: an alias of this node is a local one. */
export function unsupportedCheck(definition: CheckDefinition, nodeName?: string): string | undefined {
  switch (kindOf(definition)) {
    case "grpc":
      return "gRPC checks are not supported yet: use an HTTP or a TCP check";
    case "docker":
      return "Docker checks are not supported yet: use a script check that calls `docker exec`";
    case "alias": {
      const own = definition.aliasNode === "" || definition.aliasNode.toLowerCase() === nodeName?.toLowerCase();
      return own
        ? undefined
        : "Alias checks of another node are not supported yet: leave alias_node out for a service of this agent";
    }
    default:
      return undefined;
  }
}

/** How many bytes of output a check keeps: its own limit where that is below the agent's. */
export function outputLimit(definition: CheckDefinition, agentMax: number): number {
  return definition.outputMaxSize > 0 ? Math.min(definition.outputMaxSize, agentMax) : agentMax;
}
