/**
 * The state of one Raft machine, shared by the files of this folder that each hold one part of the protocol.
 *
 * Nothing outside this folder sees it. Functions of the other files take it as their first argument and change it in
 * place; what is to be sent or told is put into `messages` and `events`, from where the lanes of raft.ts hand it out.
 */
import { between, type Random } from "../ports/random.ts";
import type { HardState } from "../ports/storage.ts";
import { assert } from "../types/errors.ts";
import type { LogIndex, Millis, NodeId, Term } from "../types/ids.ts";
import type { RaftLog } from "./log.ts";
import type { Membership } from "./membership.ts";
import type { RaftEvent, RaftLimits, RaftMessage, RaftTiming, Role, WriteTicket } from "./messages.ts";
import { Progress } from "./progress.ts";

/** Messages waiting for a term to become durable. Beyond it the oldest is dropped, as a network might have done. */
const heldMax = 256;

/** The write that the disk lane has taken and not yet confirmed. */
export interface WriteInFlight {
  readonly ticket: WriteTicket;
  readonly startedAt: Millis;
  readonly hardStateVersion: number;
  /** Durable when confirmed; lowered when entries are removed meanwhile. */
  through: LogIndex;
}

/** What only a leader has; gone when it steps down. */
export class Leadership {
  /** All other servers of the configuration, learners too. */
  readonly progress = new Map<NodeId, Progress>();
  /** The no-op with which the term began. Once committed, everything before is (section 5.4.2). */
  readonly firstIndex: LogIndex;
  nextHeartbeat: Millis;
  /** Number of the newest round of heartbeats; 0 before the first. */
  round = 0;
  /** When the rounds were sent: roundTimes[0] belongs to round `round - roundTimes.length + 1`. */
  readonly roundTimes: Millis[] = [];
  /** What {@link RaftState.wallLead} was at each of them. */
  readonly roundLeads: Millis[] = [];
  /** The newest round that a majority answered. */
  roundAcknowledged = 0;
  /** Reads may be answered at once before this. */
  leaseUntil: Millis = Number.NEGATIVE_INFINITY;
  /** …by the monotonic clock, and by the wall clock where that was ahead by this much. */
  leaseLead: Millis = Number.NEGATIVE_INFINITY;
  /** Waiting for `round` to be acknowledged; rounds rise. */
  readonly reads: { readonly id: number; readonly round: number; readonly index: LogIndex }[] = [];
  transfer: { readonly to: NodeId; readonly deadline: Millis } | undefined;
  /** Someone was told to campaign in this term: the lease is worth nothing from then on. */
  handedOver = false;
  /** Of the entries that this leader appended. */
  uncommittedBytes = 0;

  constructor(firstIndex: LogIndex, now: Millis) {
    this.firstIndex = firstIndex;
    this.nextHeartbeat = now;
  }
}

export interface RaftStateOptions {
  readonly id: NodeId;
  readonly random: Random;
  readonly timing: RaftTiming;
  readonly limits: RaftLimits;
  readonly hardState: HardState;
  readonly log: RaftLog;
  readonly membership: Membership;
  readonly now: Millis;
}

export class RaftState {
  readonly id: NodeId;
  readonly random: Random;
  readonly timing: RaftTiming;
  readonly limits: RaftLimits;
  readonly log: RaftLog;
  readonly membership: Membership;

  /** Time of the current step. */
  now: Millis;
  /** How far the wall clock was ahead of the monotonic one when it was last told; until then there is no lease. */
  wallLead: Millis = Number.NEGATIVE_INFINITY;
  term: Term;
  votedFor: NodeId | undefined;
  role: Role = "follower";
  leader: NodeId | undefined = undefined;
  /** role = "leader" ⇔ leadership ≠ undefined */
  leadership: Leadership | undefined = undefined;

  /** When to campaign next; Infinity for a leader and for who may not. */
  electionDeadline: Millis = Number.POSITIVE_INFINITY;
  /** When a leader was last heard of; −Infinity when it is known to be gone. */
  leaderContact: Millis;
  /** The same for whoever asks how old our state may be: not taken back when the leader ends. −Infinity: there was none yet. */
  lastLed: Millis;
  /** (Pre-)candidate: who granted. The own vote counts once it is durable. */
  readonly votes = new Set<NodeId>();

  /** Follower: the log equals the leader's of this term up to here. */
  matched: LogIndex = 0;
  /** Follower: the leader waits for an acknowledgement that the disk still delays. */
  acknowledgementOwed = false;

  /** Rises with each change of term or vote.  durable ≤ written ≤ current */
  hardStateVersion = 0;
  hardStateWritten = 0;
  hardStateDurable = 0;
  /** Entries up to here were handed to the disk lane. */
  written: LogIndex;
  /** The next write must first remove this index and all after it. */
  truncateFrom: LogIndex | undefined = undefined;
  /** The next write is to be followed by dropping everything up to here. */
  compactTo: LogIndex | undefined = undefined;
  inFlight: WriteInFlight | undefined = undefined;
  ticketLast: WriteTicket = 0;

  snapshotRequested = false;
  /** Bytes of entries applied since the last snapshot. */
  appliedBytes = 0;
  /** The size of our last snapshot; 0 before the first since the start. */
  snapshotBytes = 0;
  /** When our last snapshot was taken; at first, when we started. */
  snapshotAt: Millis;

  messages: RaftMessage[] = [];
  /** Of a term that is not durable yet. */
  held: RaftMessage[] = [];
  events: RaftEvent[] = [];

  constructor(options: RaftStateOptions) {
    this.id = options.id;
    this.random = options.random;
    this.timing = options.timing;
    this.limits = options.limits;
    this.log = options.log;
    this.membership = options.membership;
    this.now = options.now;
    this.term = options.hardState.term;
    this.votedFor = options.hardState.votedFor;
    this.written = options.log.last;
    // We may have promised a leader not to vote, just before we stopped: its lease must run out first.
    this.leaderContact = options.now;
    this.lastLed = options.hardState.term > 0 ? options.now : Number.NEGATIVE_INFINITY;
    this.snapshotAt = options.now;
  }

  get isVoter(): boolean {
    return this.membership.isVoter(this.id);
  }
  /**
   * A voter, or one that is losing its vote by an entry not known to be committed: while that has not spread, a majority
   * may need the only server that holds it to lead (dissertation section 4.2.2). Pre-votes keep it harmless afterwards.
   */
  get mayCampaign(): boolean {
    return this.isVoter || this.membership.isVoterSince(this.log.committed, this.id);
  }
  get isSoleVoter(): boolean {
    return this.membership.voters.length === 1 && this.membership.voters[0] === this.id;
  }

  /**
   * Sends once the current term and vote are durable: what we say in a term must not be forgotten in a crash, or we
   * could say its opposite after the restart.
   */
  send(message: RaftMessage): void {
    if (this.hardStateDurable === this.hardStateVersion) {
      this.messages.push(message);
      return;
    }
    if (this.held.length >= heldMax) this.held.shift();
    this.held.push(message);
  }

  changeHardState(term: Term, votedFor: NodeId | undefined): void {
    assert(
      term > this.term || (term === this.term && (this.votedFor === undefined || this.votedFor === votedFor)),
      "terms and votes are never taken back",
    );
    this.term = term;
    this.votedFor = votedFor;
    this.hardStateVersion++;
  }

  /** Follows `leader`, or nobody yet, in `term`. */
  becomeFollower(term: Term, leader: NodeId | undefined): void {
    assert(term >= this.term, "a term never falls");
    // Also when the leader stays the same: in between it may have lost what it had sent and not stored.
    if (term > this.term || this.leader !== leader || this.role !== "follower") {
      this.matched = 0;
      this.acknowledgementOwed = false;
    }
    if (term > this.term) this.changeHardState(term, undefined);
    this.#dropLeadership();
    this.#become("follower", leader);
    this.drawElectionDeadline(this.timing.heartbeat);
  }

  becomePreCandidate(): void {
    this.#dropLeadership();
    this.#become("preCandidate", undefined);
    this.votes.clear();
    this.drawElectionDeadline(this.timing.election);
  }

  becomeCandidate(): void {
    assert(this.role !== "leader", "a leader does not campaign");
    this.changeHardState(this.term + 1, this.id);
    this.#become("candidate", undefined);
    this.votes.clear();
    this.drawElectionDeadline(this.timing.election);
    // Alone, there is nothing to wait for but the own vote's way to the disk.
    if (this.isSoleVoter) this.electionDeadline = Number.POSITIVE_INFINITY;
  }

  becomeLeader(): Leadership {
    assert(this.role === "candidate", "only a candidate is elected");
    assert(this.hardStateDurable === this.hardStateVersion, "a leader's own vote is durable");
    const leadership = new Leadership(this.log.last + 1, this.now);
    this.leadership = leadership;
    this.electionDeadline = Number.POSITIVE_INFINITY;
    this.#become("leader", this.id);
    this.followServers();
    return leadership;
  }

  /** Makes the leader's records agree with the configuration in force. */
  followServers(): void {
    const { leadership } = this;
    if (leadership === undefined) return;
    const wanted = new Set<NodeId>();
    for (const server of this.membership.servers) {
      if (server.id === this.id) continue;
      wanted.add(server.id);
      if (!leadership.progress.has(server.id)) leadership.progress.set(server.id, new Progress(this.log.last + 1, this.now));
    }
    for (const id of leadership.progress.keys()) if (!wanted.has(id)) leadership.progress.delete(id);
  }

  /**
   * A learner never campaigns; a voter that is alone need not wait for anybody. But one that is about to become alone may
   * have answered a leader's heartbeat: that leader has a lease, and may answer reads until it learns of its own removal.
   */
  drawElectionDeadline(timeout: Millis): void {
    if (!this.mayCampaign) this.electionDeadline = Number.POSITIVE_INFINITY;
    else if (this.isSoleVoter && !this.membership.othersVoteSince(this.log.committed, this.id)) this.electionDeadline = this.now;
    else this.electionDeadline = this.now + between(this.random, timeout, 2 * timeout);
  }

  /** The disk has held a write for so long that nothing may be promised any more. */
  get diskStalled(): boolean {
    return this.inFlight !== undefined && this.now >= this.inFlight.startedAt + this.timing.election;
  }

  /**
   * When a leader gives its office up for the write that its disk holds. Never, when it is alone: nobody else could lead
   * meanwhile, and what it was given would be lost to those who wait for it.
   */
  get diskDeadline(): Millis {
    if (this.inFlight === undefined || this.isSoleVoter) return Number.POSITIVE_INFINITY;
    return this.inFlight.startedAt + this.timing.election;
  }

  #dropLeadership(): void {
    const { leadership } = this;
    if (leadership === undefined) return;
    this.leadership = undefined;
    this.lastLed = this.now;
    for (const read of leadership.reads) this.events.push({ kind: "readDropped", id: read.id });
  }

  #become(role: Role, leader: NodeId | undefined): void {
    this.role = role;
    this.leader = leader;
    this.events.push({ kind: "role", role, term: this.term, leader });
  }
}
