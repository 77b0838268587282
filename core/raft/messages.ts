/**
 * Everything that goes into a Raft machine and comes out of it: messages between servers, inputs, events, limits.
 *
 * Names follow the Raft paper (Ongaro and Ousterhout 2014) and Ongaro's dissertation (2014), which sections are cited
 * throughout this folder.
 */
import type { LogEntry, SnapshotMeta } from "../ports/storage.ts";
import type { Bytes } from "../types/bytes.ts";
import type { EpochMillis, LogIndex, Millis, NodeId, Term } from "../types/ids.ts";

/** `LogEntry.type`: a command of the state machine. */
export const entryCommand = 0;
/** `LogEntry.type`: nothing; a leader's first entry, by which it learns what is committed. */
export const entryNoop = 1;
/** `LogEntry.type`: a configuration, encoded by membership.ts. */
export const entryConfiguration = 2;

/** `LogEntry.type`: a part of a command that is too large for one entry: see pieces.ts. */
export const entryPiece = 3;

/** One server of the group. */
export interface RaftServer {
  readonly id: NodeId;
  /** "ip:port" of its server port; the machine only carries it. */
  readonly address: string;
  /** False: a learner. It gets the log and counts in no majority. */
  readonly voter: boolean;
}

export interface Configuration {
  readonly servers: readonly RaftServer[];
}

/** One step from a configuration to the next; each changes at most one voter (dissertation section 4.1). */
export type MembershipChange =
  /** A new server, or a new address for a known one. Adding a voter makes an existing learner one. */
  | { readonly kind: "add"; readonly server: RaftServer }
  | { readonly kind: "demote"; readonly id: NodeId }
  | { readonly kind: "remove"; readonly id: NodeId };

interface Envelope {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly term: Term;
}

/** "Would you vote for me?" Changes nobody's term; `term` is the one the sender would campaign in (section 9.6). */
export interface PreVote extends Envelope {
  readonly kind: "preVote";
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
}
/** When granted, `term` is the one asked for; when refused, the voter's own. */
export interface PreVoteReply extends Envelope {
  readonly kind: "preVoteReply";
  readonly granted: boolean;
}
export interface Vote extends Envelope {
  readonly kind: "vote";
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** The old leader asked for this election: voters need not wait for it to fall silent (section 4.2.3). */
  readonly transfer: boolean;
}
export interface VoteReply extends Envelope {
  readonly kind: "voteReply";
  readonly granted: boolean;
}
export interface Append extends Envelope {
  readonly kind: "append";
  readonly previousIndex: LogIndex;
  readonly previousTerm: Term;
  readonly commit: LogIndex;
  /** Consecutive, the first at `previousIndex + 1`. */
  readonly entries: readonly LogEntry[];
}
export interface AppendReply extends Envelope {
  readonly kind: "appendReply";
  readonly accepted: boolean;
  /** Accepted: all up to here is durable and equal to the leader's log. Refused: the `previousIndex` that did not fit. */
  readonly index: LogIndex;
  /** Refused: the highest entry of the follower that may still agree, and its term. */
  readonly hintIndex: LogIndex;
  readonly hintTerm: Term;
}
/** Sent to all at once; `round` numbers these within a term, so that an answer proves leadership at the time of sending. */
export interface Heartbeat extends Envelope {
  readonly kind: "heartbeat";
  readonly commit: LogIndex;
  readonly round: number;
}
export interface HeartbeatReply extends Envelope {
  readonly kind: "heartbeatReply";
  readonly round: number;
}
/** "Campaign now": the leader hands over. */
export interface TimeoutNow extends Envelope {
  readonly kind: "timeoutNow";
}
/** What a snapshot stands for: everything in {@link SnapshotMeta} that is not about one server's disk. */
export interface SnapshotPoint {
  readonly index: LogIndex;
  readonly term: Term;
  readonly configuration: Bytes;
  readonly configurationIndex: LogIndex;
}
/** A piece of a snapshot. Handled by the driver (snapshot-transfer.ts); the machine only notes the contact. */
export interface SnapshotChunk extends Envelope {
  readonly kind: "snapshotChunk";
  readonly point: SnapshotPoint;
  /** Tells apart two attempts to send the same snapshot. */
  readonly attempt: number;
  readonly offset: number;
  readonly data: Bytes;
  readonly last: boolean;
}
export interface SnapshotChunkReply extends Envelope {
  readonly kind: "snapshotChunkReply";
  readonly attempt: number;
  /** Bytes taken so far: where the next piece goes on. */
  readonly offset: number;
  /** `installing`: all of it arrived, the state machine is being replaced. */
  readonly status: "more" | "installing" | "installed" | "refused";
}

export type RaftMessage =
  | PreVote
  | PreVoteReply
  | Vote
  | VoteReply
  | Append
  | AppendReply
  | Heartbeat
  | HeartbeatReply
  | TimeoutNow
  | SnapshotChunk
  | SnapshotChunkReply;

export interface Proposal {
  readonly type: number;
  readonly data: Bytes;
}

/** Names one `takeWrite`. Compared by identity of number; never reused. */
export type WriteTicket = number & { readonly tag?: "WriteTicket" };

export type RaftInput =
  | { readonly kind: "wake" }
  /** What the wall clock shows, read before the monotonic one: told before each `wake`. Leases stand on it, see reads.ts. */
  | { readonly kind: "clock"; readonly wall: EpochMillis }
  | { readonly kind: "message"; readonly message: RaftMessage }
  /** Answered by `accepted` or `dropped` with the same `id`. All of them enter the log together or not at all. */
  | { readonly kind: "propose"; readonly id: number; readonly entries: readonly Proposal[] }
  /** Answered as a proposal is. */
  | { readonly kind: "change"; readonly id: number; readonly change: MembershipChange }
  /** Answered by `readReady` or `readDropped` with the same `id`. */
  | { readonly kind: "read"; readonly id: number }
  /** What `takeWrite` returned with this ticket is durable. */
  | { readonly kind: "written"; readonly ticket: WriteTicket }
  /** The state machine holds everything up to `index`. */
  | { readonly kind: "applied"; readonly index: LogIndex }
  /** Hand leadership to this voter, or to the one with the longest log. */
  | { readonly kind: "transfer"; readonly to: NodeId | undefined }
  /**
   * This server's process has ended: its connections closed and a new one was refused. Its followers campaign at once.
   * A mere broken connection is `unreachable`: a leader that lives keeps its lease, and nobody may be elected meanwhile.
   */
  | { readonly kind: "peerGone"; readonly peer: NodeId }
  /** Founds a group with this configuration and campaigns at once. Ignored where a log or a snapshot is. Only one server may. */
  | { readonly kind: "found"; readonly configuration: Configuration }
  /** A message to this server could not be delivered: what was sent optimistically may be lost. */
  | { readonly kind: "unreachable"; readonly peer: NodeId }
  /** The end of what event `sendSnapshot` asked for. `index`: the snapshot's. */
  | { readonly kind: "snapshotSent"; readonly to: NodeId; readonly ok: boolean; readonly index: LogIndex }
  /** Our own state up to here was saved, and is durable. */
  | {
      readonly kind: "snapshotTaken";
      readonly index: LogIndex;
      /** In bytes; 0 when left out. */
      readonly size?: number;
    }
  /** Saving our own state failed; the machine will ask again. */
  | { readonly kind: "snapshotFailed" }
  /** A leader's snapshot was saved, is durable, and the state machine was replaced by it. */
  | { readonly kind: "snapshotInstalled"; readonly from: NodeId; readonly term: Term; readonly point: SnapshotPoint };

export type Role = "follower" | "preCandidate" | "candidate" | "leader";

export type DropReason =
  | "not-leader"
  /** Leadership is being handed over. */
  | "transferring"
  /** More than `uncommittedBytesMax` wait to be committed. */
  | "overloaded"
  /** A change of membership is still under way, or this leader has committed nothing yet. */
  | "change-pending"
  /** It would leave no voter, or names a server that is not there. */
  | "change-refused";

export type RaftEvent =
  /** Role, term or leader changed. */
  | { readonly kind: "role"; readonly role: Role; readonly term: Term; readonly leader: NodeId | undefined }
  | { readonly kind: "accepted"; readonly id: number; readonly index: LogIndex; readonly count: number; readonly term: Term }
  | { readonly kind: "dropped"; readonly id: number; readonly reason: DropReason }
  /** A read may be answered once the state machine has applied `index`. */
  | { readonly kind: "readReady"; readonly id: number; readonly index: LogIndex }
  | { readonly kind: "readDropped"; readonly id: number }
  /** This server lacks entries that are no longer retained; answer with `snapshotSent`. */
  | { readonly kind: "sendSnapshot"; readonly to: NodeId; readonly address: string }
  /** Enough was applied since the last snapshot; answer with `snapshotTaken`, some time. */
  | { readonly kind: "snapshotDue"; readonly index: LogIndex }
  /** The configuration in force: the newest in the log, committed or not. */
  | { readonly kind: "configuration"; readonly configuration: Configuration; readonly index: LogIndex };

/** Durations of the protocol. Consul 1.8: 1000/1000/500 ms times `raft_multiplier`; in dev mode 35/52/20 ms. */
export interface RaftTiming {
  /** A follower that hears nothing for this long, up to twice as long, campaigns. A leader sends ten times as often. */
  readonly heartbeat: Millis;
  /** A candidate tries again after this long, up to twice as long. A write may be out this long. */
  readonly election: Millis;
  /** A leader without a majority for this long steps down. At most `heartbeat`. */
  readonly lease: Millis;
}

/** Everything that may grow has a bound. */
export interface RaftLimits {
  /** Entries and bytes of one `append`. A single larger entry still travels, alone. */
  readonly appendEntriesMax: number;
  readonly appendBytesMax: number;
  /** Sent to one follower and not yet acknowledged. */
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
  /** Proposed and not yet committed; beyond it proposals are dropped as `overloaded`. */
  readonly uncommittedBytesMax: number;
  /** One entry's data. */
  readonly entryBytesMax: number;
  /** One disk write; one entry always fits. */
  readonly writeBytesMax: number;
  /** Reads waiting for a round of heartbeats. */
  readonly readsMax: number;
  /** Entries applied since the last snapshot that make the next one due. Consul 1.8: 16384. */
  readonly snapshotThreshold: number;
  /** The threshold above waits until this long after the last snapshot, so that a busy server does not do nothing else. */
  readonly snapshotInterval: Millis;
  /**
   * As above, in bytes of the log, and without waiting: entries live in memory. As many as the last snapshot had, so that
   * a large state is not written again for a few changes; but not below the first nor beyond the second of these.
   */
  readonly snapshotBytesMin: number;
  readonly snapshotBytesThreshold: number;
  /** Entries kept before a snapshot, for followers that are a little behind. Consul 1.8: 10240. */
  readonly trailingEntries: number;
  /** Bytes of those. */
  readonly trailingBytesMax: number;
}

export const defaultLimits: RaftLimits = {
  appendEntriesMax: 1024,
  appendBytesMax: 512 * 1024,
  inflightMessagesMax: 64,
  inflightBytesMax: 8 * 1024 * 1024,
  uncommittedBytesMax: 64 * 1024 * 1024,
  entryBytesMax: 16 * 1024 * 1024,
  writeBytesMax: 16 * 1024 * 1024,
  readsMax: 65_536,
  snapshotThreshold: 16_384,
  snapshotInterval: 0,
  snapshotBytesMin: 8 * 1024 * 1024,
  snapshotBytesThreshold: 64 * 1024 * 1024,
  trailingEntries: 10_240,
  trailingBytesMax: 32 * 1024 * 1024,
};

/** The durations of Consul 1.8 for a `raft_multiplier` in 1..10, or those of dev mode. */
export function raftTiming(multiplier: number, devMode: boolean): RaftTiming {
  if (devMode) return { heartbeat: 35, election: 52, lease: 20 };
  return { heartbeat: 1000 * multiplier, election: 1000 * multiplier, lease: 500 * multiplier };
}

/** The part of a stored snapshot that the protocol speaks of. */
export function snapshotPoint(meta: SnapshotMeta): SnapshotPoint {
  return { index: meta.index, term: meta.term, configuration: meta.configuration, configurationIndex: meta.configurationIndex };
}
