import type { Accusation, Evidence } from "../plugin/evidence.ts";
import type { Accusation as Heard } from "../swim/evidence.ts";
import type { SwimMachine } from "../swim/swim.ts";
import type { Millis } from "../types/ids.ts";

/** SWIM's log with times that mean something to people: `toWall` is wall time less monotonic time, as of now. */
export function evidenceOf(swim: SwimMachine, node: string | undefined, toWall: number): Evidence {
  const { evidence, healthScore } = swim;
  return {
    health: healthScore,
    accusations: evidence.accusations(node).map((accusation) => dated(accusation, toWall)),
    stalls: evidence.stalls.map(({ at, late }) => ({ at: at + toWall, late })),
  };
}

function dated(heard: Heard, toWall: number): Accusation {
  const { grounds, confirmations } = heard;
  const wall = (time: Millis | undefined): number | undefined => (time === undefined ? undefined : time + toWall);
  return {
    ...heard,
    at: heard.at + toWall,
    grounds: grounds.kind === "probe" ? { ...grounds, sentAt: grounds.sentAt + toWall } : grounds,
    confirmations: confirmations.map(({ by, at }) => ({ by, at: at + toWall })),
    settledAt: wall(heard.settledAt),
    returnedAt: wall(heard.returnedAt),
  };
}
