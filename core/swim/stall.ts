/**
 * What a member does about its own standstills: a long garbage collection, a blocked event loop, a stopped process.
 *
 *        due                    woken: late by this much
 *   ──────●──────── stall ────────●───grace───┐
 *         answers wait in the socket          └─ from here on silence counts again
 *
 * Timers fire before the packets that came meanwhile are read, so that a member that just woke would accuse whoever it
 * waited for, although the answer lies in its own socket. Lifeguard cannot see that: it learns of its own slowness from
 * answers it missed, one probe later. Here the time between when a timer was due and when it fired is the sensor.
 *
 * All that is inferred from silence gets the lost time back, and a grace in which the waiting packets are read; and the
 * own health score falls by one, and by one more for each probe that could not be made.
 */
import type { Millis } from "../types/ids.ts";
import type { SwimConfig } from "./config.ts";

export interface Consequence {
  readonly late: Millis;
  /** Added to the health score: positive is worse. */
  readonly awareness: number;
  /** Added to every deadline whose passing would accuse somebody. */
  readonly postpone: Millis;
}

/** Probes faster than this (Consul's -dev has ten a second) count as one a second: a hiccup is no illness. */
const probeCountedMin: Millis = 1000;

/** `dueAt` is when the machine asked to be woken. Undefined: near enough. */
export function stallOf(of: {
  readonly dueAt: Millis;
  readonly now: Millis;
  readonly config: Pick<SwimConfig, "stallTolerance" | "probeInterval" | "probeTimeout">;
}): Consequence | undefined {
  const late = of.now - of.dueAt;
  const { stallTolerance, probeInterval, probeTimeout } = of.config;
  if (!(late > stallTolerance)) return undefined;
  const missed = Math.floor(late / Math.max(probeInterval, probeCountedMin));
  return { late, awareness: 1 + missed, postpone: late + probeTimeout };
}
