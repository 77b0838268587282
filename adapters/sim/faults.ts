/**
 * What goes wrong in one run of a simulated group, and how badly.
 *
 * Swarm testing: each seed draws its own subset of the families and its own strengths, and many are off in each run,
 * because faults that are always on hide one another. Limits of the protocol are drawn as well: an append of at most one
 * entry reaches states that no loss of packets does.
 */
import { below, type Random } from "../../core/ports/random.ts";
import type { RaftLimits, RaftMessage, RaftTiming } from "../../core/raft/messages.ts";
import type { Millis } from "../../core/types/ids.ts";

/** Rates are per mille. A mean time of 0 means never. Times are of the world. */
export interface Faults {
  /** Of messages between servers, and of requests. */
  readonly loss: number;
  readonly duplication: number;
  readonly delayMax: Millis;
  /** Messages of this kind suffer `dropRate` besides. */
  readonly dropKind: RaftMessage["kind"] | undefined;
  readonly dropRate: number;
  /** Mean time between new partitions; each holds until the next. Some are one-way, some between two servers only, some heal. */
  readonly partitionEvery: Millis;
  /** Clocks run at 1 ± this. Must leave room for the lease: see core/raft/reads.ts. */
  readonly clockSpread: number;
  /** Wall clocks jump by up to a minute, forward or back. */
  readonly wallJumpEvery: Millis;
  /** A server stops for up to `pauseMax` and goes on as if nothing had been. */
  readonly pauseEvery: Millis;
  readonly pauseMax: Millis;
  /** Per mille of these stops that are of the whole machine, as when a laptop is closed: its monotonic clock stands still, too. */
  readonly sleep: number;
  readonly crashEvery: Millis;
  /** How long a crashed server is down, at most. */
  readonly downMax: Millis;
  /**
   * Per mille of delicate moments (a server was elected, has applied for the first time since, changes members or hands
   * over; another campaigns against it) that are followed by a crash or the isolation of the leader: chance alone
   * seldom strikes just then.
   */
  readonly strike: number;
  readonly strikeWithin: Millis;
  /** Followers may be told that a process ended. */
  readonly noticeCrashes: boolean;
  readonly diskMax: Millis;
  /** Of writes: take many election timeouts. */
  readonly stall: number;
  /** Of writes: fail; nobody knows what was stored, the server stops and is restarted. */
  readonly writeError: number;
  /** A disk has no room for up to `fullMax`: no file on it grows. */
  readonly fullEvery: Millis;
  readonly fullMax: Millis;
  /** A bit of a log or a snapshot turns, a write is lost or goes astray; damage.ts says where that may be. */
  readonly damageEvery: Millis;
  /** Where a segment of the log ends, and by how much its file grows at once. */
  readonly segmentBytes: number;
  readonly extendBytes: number;
  readonly changeEvery: Millis;
  /** Changes that are asked for at once, at most. */
  readonly changesMax: number;
  readonly transferEvery: Millis;
  /** Operators do not go below this many voters. */
  readonly votersMin: number;
  /** Inputs that arrive together share a turn, as they do under an event loop. */
  readonly coalesce: boolean;
  /** The state machine takes at most this much at once. */
  readonly applyBytesMax: number;
  /** …and then has other things to do for up to this long. */
  readonly applyPauseMax: Millis;
  readonly timing: RaftTiming;
  readonly limits: Partial<RaftLimits>;
}

/** What can be switched off alone; {@link withoutFamily}. */
export const faultFamilies = [
  "loss",
  "delay",
  "partitions",
  "clocks",
  "pauses",
  "crashes",
  "disk",
  "damage",
  "members",
  "limits",
] as const;
export type FaultFamily = (typeof faultFamilies)[number];

const calmTiming: RaftTiming = { heartbeat: 100, election: 100, lease: 50 };

/** Nothing goes wrong. */
export const noFaults: Faults = {
  loss: 0,
  duplication: 0,
  delayMax: 2,
  dropKind: undefined,
  dropRate: 0,
  partitionEvery: 0,
  clockSpread: 0,
  wallJumpEvery: 0,
  pauseEvery: 0,
  pauseMax: 0,
  sleep: 0,
  crashEvery: 0,
  downMax: 1000,
  strike: 0,
  strikeWithin: 0,
  noticeCrashes: false,
  diskMax: 2,
  stall: 0,
  writeError: 0,
  fullEvery: 0,
  fullMax: 0,
  damageEvery: 0,
  segmentBytes: 65_536,
  extendBytes: 4096,
  changeEvery: 0,
  changesMax: 1,
  transferEvery: 0,
  votersMin: 2,
  coalesce: true,
  applyBytesMax: 1_000_000,
  applyPauseMax: 0,
  timing: calmTiming,
  limits: {},
};

const messageKinds: readonly RaftMessage["kind"][] = ["preVote", "vote", "voteReply", "append", "appendReply", "heartbeat"];

/** What the swarm leans towards: leaders that change all the time, disks that are bad, or a little of everything. */
export const profiles = ["turbulent", "brittle", "mixed"] as const;
export type Profile = (typeof profiles)[number];

/** The swarm's draw for one seed. */
export function drawFaults(random: Random, wanted?: Profile): Faults {
  const maybe = (value: number): number => (below(random, 3) === 0 ? 0 : value);
  const either = (): boolean => below(random, 2) === 0;
  const small = either();
  const longLease = either();
  const drawn = profiles[below(random, profiles.length)];
  const profile = wanted ?? drawn;
  // Entries of several terms wait to be committed at once.
  const turbulent = profile === "turbulent";
  // Files are small, so that they come and go, snapshots frequent, and crashes, too.
  const brittle = profile === "brittle";
  const delayMax = 1 + below(random, either() ? 8 : 50);
  return {
    loss: maybe(below(random, 150)),
    duplication: maybe(below(random, 100)),
    delayMax,
    dropKind: below(random, 4) === 0 ? messageKinds[below(random, messageKinds.length)] : undefined,
    dropRate: 200 + below(random, 600),
    partitionEvery: maybe(turbulent ? 60 + below(random, 300) : 200 + below(random, 1500)),
    // Within the tenth that a lease keeps back, where it lasts as long as followers wait; more where it lasts half as long.
    clockSpread: maybe(longLease ? 40 : 100) / 1000,
    wallJumpEvery: maybe(500 + below(random, 2000)),
    pauseEvery: maybe(400 + below(random, 2500)),
    pauseMax: 50 + below(random, 1000),
    sleep: maybe(500),
    crashEvery: maybe(turbulent || brittle ? 50 + below(random, 200) : 200 + below(random, 2000)),
    downMax: turbulent || brittle ? 50 + below(random, 250) : 1200,
    strike: maybe(turbulent ? 700 : 300),
    strikeWithin: 1 + below(random, either() ? 4 : 6 * delayMax),
    noticeCrashes: either(),
    diskMax: 1 + below(random, either() ? 4 : 50),
    stall: maybe(below(random, 20)),
    writeError: maybe(below(random, 6)),
    fullEvery: !turbulent && below(random, 3) === 0 ? 500 + below(random, 3000) : 0,
    fullMax: 20 + below(random, 1500),
    damageEvery: turbulent ? 0 : brittle ? 100 + below(random, 1500) : maybe(200 + below(random, 3000)),
    segmentBytes: brittle ? 256 + below(random, either() ? 512 : 8192) : either() ? 512 + below(random, 4096) : 65_536,
    extendBytes: either() ? 256 : 4096,
    changeEvery: maybe(200 + below(random, 1500)),
    changesMax: 1 + below(random, 3),
    transferEvery: maybe(turbulent ? 100 + below(random, 500) : 300 + below(random, 2000)),
    votersMin: 1 + below(random, 3),
    coalesce: either(),
    applyBytesMax: either() ? 1 : 100_000,
    applyPauseMax: maybe(below(random, 8)),
    timing: { ...calmTiming, lease: longLease ? 100 : 50 },
    limits: {
      appendEntriesMax: small || turbulent ? 1 + below(random, 2) : 64,
      appendBytesMax: either() ? 100 : 100_000,
      inflightMessagesMax: 1 + below(random, 6),
      writeBytesMax: either() ? 100 : 100_000,
      readsMax: either() ? 2 : 1000,
      uncommittedBytesMax: either() ? 500 : 100_000,
      snapshotThreshold: brittle || either() ? 8 + below(random, brittle ? 12 : 40) : 16_384,
      trailingEntries: either() ? 0 : below(random, 20),
    },
  };
}

/** The same run without one kind of trouble. */
export function withoutFamily(faults: Faults, family: FaultFamily): Faults {
  const calm = noFaults;
  switch (family) {
    case "loss":
      return { ...faults, loss: 0, duplication: 0, dropKind: undefined };
    case "delay":
      return { ...faults, delayMax: calm.delayMax };
    case "partitions":
      return { ...faults, partitionEvery: 0 };
    case "clocks":
      return { ...faults, clockSpread: 0, wallJumpEvery: 0, sleep: 0 };
    case "pauses":
      return { ...faults, pauseEvery: 0 };
    case "crashes":
      return { ...faults, crashEvery: 0, strike: 0, writeError: 0 };
    case "disk":
      return { ...faults, diskMax: calm.diskMax, stall: 0, writeError: 0, fullEvery: 0 };
    case "damage":
      return { ...faults, damageEvery: 0 };
    case "members":
      return { ...faults, changeEvery: 0, transferEvery: 0 };
    case "limits":
      return { ...faults, limits: {}, applyBytesMax: calm.applyBytesMax, applyPauseMax: 0, coalesce: true };
  }
}
