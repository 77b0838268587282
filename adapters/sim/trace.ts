/**
 * The story of a run: a hash over all that happened, and, when asked for, one line for each.
 *
 *     time ms  host  role       term  purged..commit..last  event
 *     412.310  s2    leader        3       0..   12..   14  sends append to s1, 2 entries after 12
 *
 * The hash is made of whole numbers only and must be the same on every JavaScript engine for one seed and one commit.
 */
import type { RaftMachine } from "../../core/raft/raft.ts";
import type { Millis } from "../../core/types/ids.ts";

/** What an event is, as the hash has it. Append only: the numbers are part of pinned hashes. */
export const happened = {
  sent: 1,
  received: 2,
  role: 3,
  written: 4,
  applied: 5,
  started: 6,
  crashed: 7,
  paused: 8,
  resumed: 9,
  partition: 10,
  change: 11,
  snapshotTaken: 12,
  snapshotInstalled: 13,
  called: 14,
  returned: 15,
  healed: 16,
  writeFailed: 17,
  transfer: 18,
  wallJump: 19,
  damaged: 20,
  refusedToStart: 21,
  diskFull: 22,
  diskFree: 23,
  readStale: 24,
} as const;
export type Happened = (typeof happened)[keyof typeof happened];

/** Lines kept: of a longer story the end is what matters. */
const linesMax = 200_000;

export class Trace {
  /** True: lines are kept as well. Callers check it before they make a text. */
  readonly telling: boolean;
  readonly lines: string[] = [];
  events = 0;
  #low = 0x811c9dc5 | 0;
  #high = 0x2545f491 | 0;

  constructor(telling: boolean) {
    this.telling = telling;
  }

  /** `first` and `second` are whole numbers that say what is particular about this event. */
  mark(now: Millis, what: Happened, host: number, first: number, second: number): void {
    this.events++;
    this.#mix(Math.floor(now * 1000) | 0);
    this.#mix((what << 8) | host);
    this.#mix(first | 0);
    this.#mix(second | 0);
  }

  tell(now: Millis, host: string, machine: RaftMachine | undefined, event: string): void {
    if (!this.telling) return;
    if (this.lines.length >= linesMax) this.lines.splice(0, linesMax / 2);
    const state =
      machine === undefined
        ? "-                 -                     -"
        : `${machine.role.padEnd(12)} ${String(machine.term).padStart(5)} ${range(machine)}`;
    this.lines.push(`${now.toFixed(3).padStart(10)}  ${host.padEnd(5)} ${state}  ${event}`);
  }

  /** 16 hex digits over everything marked so far. */
  get hash(): string {
    return (this.#high >>> 0).toString(16).padStart(8, "0") + (this.#low >>> 0).toString(16).padStart(8, "0");
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193);
    this.#low ^= this.#low >>> 13;
    this.#high = Math.imul(this.#high ^ value, 0x85ebca6b) ^ this.#low;
    this.#high ^= this.#high >>> 15;
  }
}

function range(machine: RaftMachine): string {
  const [first, commit, last] = [machine.firstIndex - 1, machine.commitIndex, machine.lastIndex];
  return `${String(first).padStart(5)}..${String(commit).padStart(5)}..${String(last).padStart(5)}`;
}
