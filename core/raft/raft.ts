/**
 * Raft: a group of servers that agree on one log, so that each can apply the same commands in the same order.
 *
 *                     ┌───────────────── RaftMachine ─────────────────┐
 *   messages ────────►│  election.ts    who leads                     ├─► takeMessages()   network lane
 *   proposals, reads ►│  replication.ts the log on its way, commit    ├─► takeWrite(now)   disk lane, one in flight
 *   written, applied ►│  reads.ts       heartbeats, read index, lease ├─► takeCommitted()  state-machine lane
 *   the time ────────►│  snapshots.ts   keeping the log short         ├─► takeEvents()     what others should know
 *                     └──── state.ts: log.ts, membership.ts, progress.ts ─┘
 *
 * Roles: follower → preCandidate → candidate → leader, see election.ts.
 *
 * Invariants, checked by `validate()` and by tests/core/raft/cluster.test.ts over whole groups:
 *  - at most one leader per term; terms and votes are never taken back
 *  - a leader holds every committed entry; logs that agree at an entry agree on all before it
 *  - nothing is said in a term before that term is durable; an acknowledgement means durable
 *  - purged ≤ snapshot ≤ applied ≤ committed ≤ last, and applied ≤ durable unless a snapshot covers it
 *  - a leader whose write has been out for an election timeout has stepped down, unless it is alone: heartbeats must not
 *    keep a leader with a dead disk alive
 *
 * Deviations from the paper, all from Ongaro's dissertation: pre-vote (9.6), leases (6.4.1), membership one server at a
 * time (4.1), transfer (3.10), writing to the leader's disk in parallel (10.2.1).
 */
import type { Machine } from "../machine.ts";
import type { Random } from "../ports/random.ts";
import type { HardState, LogEntry } from "../ports/storage.ts";
import { AgentError, assert, unreachable } from "../types/errors.ts";
import type { EpochMillis, LogIndex, Millis, NodeId, Term } from "../types/ids.ts";
import { onWritten, type TakenWrite, takeWrite } from "./disk.ts";
import {
  electionDue,
  leaderGone,
  mayRaiseTerm,
  onPreVote,
  onPreVoteReply,
  onTimeoutNow,
  onVote,
  onVoteReply,
} from "./election.ts";
import { RaftLog } from "./log.ts";
import { encodeConfiguration } from "./membership.ts";
import {
  type Configuration,
  defaultLimits,
  entryConfiguration,
  type RaftEvent,
  type RaftInput,
  type RaftLimits,
  type RaftMessage,
  type RaftTiming,
  type Role,
  type SnapshotPoint,
} from "./messages.ts";
import { flushReads, leaseValid, majorityContact, requestRead, sendHeartbeats } from "./reads.ts";
import { type Recovered, restoredMembership } from "./recovery.ts";
import {
  configurationChanged,
  onAppend,
  onAppendReply,
  onHeartbeat,
  onHeartbeatReply,
  propose,
  proposeChange,
  replicate,
} from "./replication.ts";
import { onApplied, onSnapshotFailed, onSnapshotInstalled, onSnapshotSent, onSnapshotTaken } from "./snapshots.ts";
import { RaftState } from "./state.ts";
import { beginTransfer, transferDue } from "./transfer.ts";

/** What the stores held when the server started. The state machine must already be at `snapshot`. */
export interface RaftRestored {
  readonly hardState: HardState;
  readonly entries: readonly LogEntry[];
  readonly snapshot: SnapshotPoint | undefined;
  /** Up to where the store dropped entries for a snapshot; 0 for nothing. */
  readonly compacted?: LogIndex;
}

export interface RaftMachineOptions {
  /** This server's. */
  readonly id: NodeId;
  /** A fork of its own. */
  readonly random: Random;
  readonly timing: RaftTiming;
  readonly limits?: Partial<RaftLimits>;
  readonly restored: RaftRestored;
  /** The group's first configuration. Ignored when a log or a snapshot was restored. */
  readonly bootstrap?: Configuration;
  /** What an operator decided after a majority was lost; see recovery.ts. */
  readonly recovered?: Recovered | undefined;
  /** Monotonic. */
  readonly now: Millis;
}

/** A term beyond this is no term that elections could have reached; believing it would leave none to campaign in. */
const termMax: Term = 2 ** 50;

export class RaftMachine implements Machine<RaftInput> {
  readonly #raft: RaftState;

  /** Throws `wal-corrupt` or `snapshot-corrupt` when what was restored does not fit together. */
  constructor(options: RaftMachineOptions) {
    const { id, random, timing, now, restored } = options;
    assert(timing.lease <= timing.heartbeat, "a lease ends before anyone else may be elected");
    const { snapshot } = restored;
    const membership = restoredMembership(restored, options.recovered);
    if (membership === undefined)
      throw new AgentError("snapshot-corrupt", {
        message: `Cannot resume: the snapshot at ${snapshot?.index} names no readable configuration`,
      });
    const { log, staleFrom } = RaftLog.restore(restored.entries, snapshot, restored.compacted ?? 0);
    membership.appended(log.slice(log.purged, log.last, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY));
    const limits = { ...defaultLimits, ...options.limits };
    this.#raft = new RaftState({ id, random, timing, limits, hardState: restored.hardState, log, membership, now });
    this.#raft.truncateFrom = staleFrom;
    if (log.durable < log.snapshot) this.#raft.compactTo = log.snapshot;
    const since = options.recovered?.term ?? 0;
    // Durable before anything is said in it.
    if (this.#raft.term < since) this.#raft.changeHardState(since, undefined);
    const untouched = restored.entries.length === 0 && snapshot === undefined;
    if (options.bootstrap !== undefined && untouched) this.#bootstrap(options.bootstrap);
    this.#raft.drawElectionDeadline(timing.heartbeat);
  }

  step(now: Millis, input: RaftInput): void {
    const raft = this.#raft;
    raft.now = now;
    switch (input.kind) {
      case "wake":
        if (now >= this.wakeAt) this.#onTime();
        break;
      case "clock":
        raft.wallLead = input.wall - now;
        break;
      case "message":
        this.#onMessage(input.message);
        break;
      case "propose":
        propose(raft, input.id, input.entries);
        break;
      case "change":
        proposeChange(raft, input.id, input.change);
        break;
      case "read":
        requestRead(raft, input.id);
        break;
      case "written":
        onWritten(raft, input.ticket);
        break;
      case "applied":
        onApplied(raft, input.index);
        break;
      case "transfer":
        beginTransfer(raft, input.to);
        break;
      case "found":
        this.#found(input.configuration);
        break;
      case "peerGone":
        if (raft.leader === input.peer && raft.role === "follower") leaderGone(raft);
        else raft.leadership?.progress.get(input.peer)?.forget();
        break;
      case "unreachable":
        this.#unreachable(input.peer);
        break;
      case "snapshotSent":
        onSnapshotSent(raft, input);
        break;
      case "snapshotTaken":
        onSnapshotTaken(raft, input.index, input.size ?? 0);
        break;
      case "snapshotFailed":
        onSnapshotFailed(raft);
        break;
      case "snapshotInstalled":
        onSnapshotInstalled(raft, input);
        break;
      default:
        unreachable(input);
    }
  }

  get wakeAt(): Millis {
    const { leadership, electionDeadline, diskDeadline } = this.#raft;
    if (leadership === undefined) return electionDeadline;
    let at = diskDeadline;
    if (leadership.progress.size > 0) at = Math.min(at, leadership.nextHeartbeat);
    if (leadership.transfer !== undefined) at = Math.min(at, leadership.transfer.deadline);
    return at;
  }

  /** Network lane: pull once per turn. What is returned may leave at once. */
  takeMessages(): readonly RaftMessage[] {
    const raft = this.#raft;
    if (raft.leadership !== undefined && raft.leadership.progress.size > 0) {
      flushReads(raft);
      replicate(raft);
    }
    if (raft.messages.length === 0) return nothing;
    const taken = raft.messages;
    raft.messages = [];
    return taken;
  }

  /** Disk lane: pull when the disk is idle. Everything since the last pull is one write, to be confirmed by `written`. */
  takeWrite(now: Millis): TakenWrite | undefined {
    return takeWrite(this.#raft, now);
  }

  /** State-machine lane: pull when it is idle. Consecutive entries, to be confirmed by `applied`. At least one if there is any. */
  takeCommitted(bytesMax: number): readonly LogEntry[] {
    const { log } = this.#raft;
    const { applicable } = log;
    return log.applied === applicable ? nothing : log.slice(log.applied, applicable, Number.POSITIVE_INFINITY, bytesMax);
  }

  takeEvents(): readonly RaftEvent[] {
    const raft = this.#raft;
    if (raft.events.length === 0) return nothing;
    const taken = raft.events;
    raft.events = [];
    return taken;
  }

  get id(): NodeId {
    return this.#raft.id;
  }
  get role(): Role {
    return this.#raft.role;
  }
  get term(): Term {
    return this.#raft.term;
  }
  get votedFor(): NodeId | undefined {
    return this.#raft.votedFor;
  }
  get leader(): NodeId | undefined {
    return this.#raft.leader;
  }
  get lastIndex(): LogIndex {
    return this.#raft.log.last;
  }
  get lastTerm(): Term {
    return this.#raft.log.lastTerm;
  }
  get commitIndex(): LogIndex {
    return this.#raft.log.committed;
  }
  get appliedIndex(): LogIndex {
    return this.#raft.log.applied;
  }
  /** How far the state machine may go now. */
  get applicableIndex(): LogIndex {
    return this.#raft.log.applicable;
  }
  get durableIndex(): LogIndex {
    return this.#raft.log.durable;
  }
  get firstIndex(): LogIndex {
    return this.#raft.log.first;
  }
  get snapshotIndex(): LogIndex {
    return this.#raft.log.snapshot;
  }
  get snapshotTerm(): Term {
    return this.#raft.log.snapshotTerm;
  }
  get configuration(): Configuration {
    return this.#raft.membership.configuration;
  }
  get configurationIndex(): LogIndex {
    return this.#raft.membership.index;
  }
  /** This server alone decides. */
  get isSoleVoter(): boolean {
    return this.#raft.isSoleVoter;
  }
  get limits(): RaftLimits {
    return this.#raft.limits;
  }

  /** A retained entry; for tests and for looking at. */
  entryAt(index: LogIndex): LogEntry | undefined {
    return this.#raft.log.entryAt(index);
  }

  /** A leader with a lease may answer reads from its own state at once. `wall` is read after `now`. */
  leaseValid(now: Millis, wall: EpochMillis): boolean {
    return leaseValid(this.#raft, now, wall);
  }

  /** Milliseconds since a leader was heard of, be it gone or not: 0 for the leader itself, Infinity when never. */
  lastContact(now: Millis): Millis {
    const raft = this.#raft;
    return raft.role === "leader" ? 0 : now - raft.lastLed;
  }

  /** The leader's view of another server; undefined for others than the leader. */
  progressOf(
    id: NodeId,
  ): { readonly match: LogIndex; readonly next: LogIndex; readonly state: string; readonly lastContact: Millis } | undefined {
    return this.#raft.leadership?.progress.get(id);
  }

  /** What a snapshot of the state at `appliedIndex` must carry besides that state. */
  snapshotPoint(): SnapshotPoint {
    const { log, membership } = this.#raft;
    const { configuration, index } = membership.at(log.applied);
    const term = log.termAt(log.applied);
    assert(term !== undefined && log.applied > 0, "something was applied");
    return { index: log.applied, term, configuration: encodeConfiguration(configuration), configurationIndex: index };
  }

  /** Asserts the invariants. Tests call it after each step. */
  validate(): void {
    const raft = this.#raft;
    raft.log.validate();
    raft.membership.validate();
    assert((raft.role === "leader") === (raft.leadership !== undefined), "a leader has its records, nobody else");
    assert(
      raft.hardStateDurable <= raft.hardStateWritten && raft.hardStateWritten <= raft.hardStateVersion,
      "durable ≤ written ≤ current",
    );
    assert(raft.written <= raft.log.last && raft.log.durable <= raft.written, "durable ≤ written ≤ last");
    assert(raft.log.purged <= raft.written, "nothing is purged that the disk has not been given");
    assert(raft.role !== "leader" || raft.leader === raft.id, "a leader follows itself");
    assert(raft.role !== "leader" || raft.hardStateDurable === raft.hardStateVersion, "a leader's term is durable");
    assert((raft.leadership?.uncommittedBytes ?? 0) >= 0, "what is committed was counted before");
    for (const progress of raft.leadership?.progress.values() ?? []) {
      progress.validate();
      assert(progress.match <= raft.log.last, "a follower has no more than its leader sent");
    }
  }

  /** As `bootstrap`, while it runs. Nobody else can lead, so there is no timeout to wait for. */
  #found(configuration: Configuration): void {
    const raft = this.#raft;
    if (raft.log.last > 0 || raft.leader !== undefined) return;
    this.#bootstrap(configuration);
    configurationChanged(raft);
    if (raft.isVoter) electionDue(raft);
  }

  #bootstrap(configuration: Configuration): void {
    const raft = this.#raft;
    // A vote for a group that never came to be leaves a term behind.
    if (raft.term === 0) raft.changeHardState(1, undefined);
    const entry: LogEntry = { index: 1, term: 1, type: entryConfiguration, data: encodeConfiguration(configuration) };
    raft.log.append(entry);
    raft.membership.appended([entry]);
  }

  #onTime(): void {
    const raft = this.#raft;
    if (raft.leadership === undefined) {
      electionDue(raft);
      return;
    }
    transferDue(raft);
    // Without its disk a leader can promise nothing; without a majority it would not notice that another leads.
    if (raft.now >= raft.diskDeadline || raft.now - majorityContact(raft) > raft.timing.lease) {
      raft.becomeFollower(raft.term, undefined);
      return;
    }
    if (raft.now >= raft.leadership.nextHeartbeat) sendHeartbeats(raft);
  }

  #onMessage(message: RaftMessage): void {
    const raft = this.#raft;
    if (message.to !== raft.id || message.from === raft.id || message.term > termMax) return;
    switch (message.kind) {
      case "preVote":
        onPreVote(raft, message);
        return;
      case "preVoteReply":
        onPreVoteReply(raft, message);
        return;
      case "vote":
        if (message.term > raft.term && !mayRaiseTerm(raft, message)) return;
        break;
    }
    if (message.term < raft.term) {
      this.#answerStale(message);
      return;
    }
    const leads = message.kind === "append" || message.kind === "heartbeat" || message.kind === "snapshotChunk";
    if (leads) {
      if (!this.#follow(message.term, message.from)) return;
    } else if (message.term > raft.term) {
      raft.becomeFollower(message.term, undefined);
    }
    const progress = raft.leadership?.progress.get(message.from);
    if (progress !== undefined) progress.lastContact = raft.now;
    switch (message.kind) {
      case "vote":
        onVote(raft, message);
        return;
      case "voteReply":
        onVoteReply(raft, message);
        return;
      case "append":
        onAppend(raft, message);
        return;
      case "appendReply":
        onAppendReply(raft, message);
        return;
      case "heartbeat":
        onHeartbeat(raft, message);
        return;
      case "heartbeatReply":
        onHeartbeatReply(raft, message);
        return;
      case "timeoutNow":
        onTimeoutNow(raft);
        return;
      case "snapshotChunk":
      case "snapshotChunkReply":
        return; // the driver's; the contact is all we want
      default:
        unreachable(message);
    }
  }

  /** A leader spoke. False when that cannot be: two leaders in one term. */
  #follow(term: Term, leader: NodeId): boolean {
    const raft = this.#raft;
    if (term === raft.term && raft.leader !== undefined && raft.leader !== leader) return false;
    if (term > raft.term || raft.leader !== leader) raft.becomeFollower(term, leader);
    else raft.drawElectionDeadline(raft.timing.heartbeat);
    raft.leaderContact = raft.now;
    raft.lastLed = raft.now;
    return true;
  }

  /** Someone lives in an earlier term. Who believes to lead or campaigns must learn of ours; nobody else cares. */
  #answerStale(message: RaftMessage): void {
    const raft = this.#raft;
    const { term } = raft;
    if (message.kind === "vote") raft.send({ kind: "voteReply", from: raft.id, to: message.from, term, granted: false });
    else if (message.kind === "append" || message.kind === "heartbeat" || message.kind === "snapshotChunk")
      raft.send({
        kind: "appendReply",
        from: raft.id,
        to: message.from,
        term,
        accepted: false,
        index: 0,
        hintIndex: 0,
        hintTerm: 0,
      });
  }

  #unreachable(peer: NodeId): void {
    const progress = this.#raft.leadership?.progress.get(peer);
    if (progress === undefined || progress.state !== "replicate") return;
    progress.becomeProbe(progress.match + 1);
  }
}

const nothing: readonly never[] = Object.freeze([]);
