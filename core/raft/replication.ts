/**
 * The log on its way: the leader appends and sends, followers check, store and acknowledge, the leader commits.
 *
 *   propose ─► leader's log ─┬─► own disk ─────────────┐
 *                            └─► append ─► follower's  ├─► durable on a majority ─► committed ─► applied
 *                                          log, disk ──┘
 *
 * An acknowledgement means durable. The leader sends while its own disk still writes (dissertation section 10.2.1) and
 * counts itself like any other server, once its disk is done.
 */
import type { LogEntry } from "../ports/storage.ts";
import { assert } from "../types/errors.ts";
import type { LogIndex, NodeId } from "../types/ids.ts";
import { changed, encodeConfiguration } from "./membership.ts";
import {
  type Append,
  type AppendReply,
  type Configuration,
  type DropReason,
  entryConfiguration,
  entryNoop,
  type Heartbeat,
  type HeartbeatReply,
  type MembershipChange,
  type Proposal,
} from "./messages.ts";
import type { Progress } from "./progress.ts";
import { reachedByMajority } from "./quorum.ts";
import { recountRounds, roundAnswered, sendHeartbeats } from "./reads.ts";
import type { RaftState } from "./state.ts";
import { continueTransfer } from "./transfer.ts";

/** Elected: begins the term with an empty entry, since only entries of the own term are committed by counting. */
export function beginLeadership(raft: RaftState): void {
  raft.becomeLeader();
  appendEntry(raft, entryNoop, new Uint8Array(0));
  if (raft.membership.unwritten) writeConfiguration(raft, raft.membership.configuration);
  sendHeartbeats(raft);
}

export function propose(raft: RaftState, id: number, proposals: readonly Proposal[]): void {
  let bytes = 0;
  for (const proposal of proposals) bytes += proposal.data.length;
  const refusal = mayPropose(raft, bytes);
  if (refusal !== undefined) {
    raft.events.push({ kind: "dropped", id, reason: refusal });
    return;
  }
  raft.events.push({ kind: "accepted", id, index: raft.log.last + 1, count: proposals.length, term: raft.term });
  for (const proposal of proposals) appendEntry(raft, proposal.type, proposal.data);
}

export function proposeChange(raft: RaftState, id: number, change: MembershipChange): void {
  const configuration = changed(raft.membership.configuration, change);
  const refusal = mayPropose(raft, 0) ?? mayChange(raft) ?? (configuration === undefined ? "change-refused" : undefined);
  if (refusal !== undefined || configuration === undefined) {
    raft.events.push({ kind: "dropped", id, reason: refusal ?? "change-refused" });
    return;
  }
  raft.events.push({ kind: "accepted", id, index: raft.log.last + 1, count: 1, term: raft.term });
  writeConfiguration(raft, configuration);
}

function writeConfiguration(raft: RaftState, configuration: Configuration): void {
  const entry = appendEntry(raft, entryConfiguration, encodeConfiguration(configuration));
  if (raft.membership.appended([entry])) configurationChanged(raft);
}

function mayPropose(raft: RaftState, bytes: number): DropReason | undefined {
  const { leadership } = raft;
  if (leadership === undefined) return "not-leader";
  if (leadership.transfer !== undefined) return "transferring";
  // One batch always fits, however large, so that a limit set low cannot stop everything.
  const overloaded = leadership.uncommittedBytes > 0 && leadership.uncommittedBytes + bytes > raft.limits.uncommittedBytesMax;
  return overloaded ? "overloaded" : undefined;
}

function mayChange(raft: RaftState): DropReason | undefined {
  const { leadership, log, membership } = raft;
  // Until a leader has committed in its own term, a change of an earlier leader may be under way unseen (Ongaro, raft-dev 2015).
  const settled = leadership !== undefined && membership.index <= log.committed && log.committed >= leadership.firstIndex;
  return settled ? undefined : "change-pending";
}

function appendEntry(raft: RaftState, type: number, data: Uint8Array): LogEntry {
  const entry: LogEntry = { index: raft.log.last + 1, term: raft.term, type, data };
  raft.log.append(entry);
  if (raft.leadership !== undefined) raft.leadership.uncommittedBytes += data.length;
  return entry;
}

/** The configuration in force is another one: by an append, a truncation or a snapshot. */
export function configurationChanged(raft: RaftState): void {
  raft.events.push({ kind: "configuration", configuration: raft.membership.configuration, index: raft.membership.index });
  raft.followServers();
  if (raft.leadership !== undefined) recountRounds(raft);
  else if (raft.role === "follower") raft.drawElectionDeadline(raft.timing.heartbeat);
}

/** Puts into the lane whatever followers may be sent. Called when the lane is pulled, so one message carries a whole turn. */
export function replicate(raft: RaftState): void {
  const { leadership } = raft;
  if (leadership === undefined) return;
  for (const [to, progress] of leadership.progress) while (replicateTo(raft, to, progress));
}

/** Sends one message if there is reason and room; false when there is not. */
function replicateTo(raft: RaftState, to: NodeId, progress: Progress): boolean {
  const { log } = raft;
  if (progress.state === "snapshot" || progress.waiting) return false;
  if (windowFull(raft, progress)) return false;
  const more = progress.next <= log.last;
  const settled = progress.state !== "probe" || progress.match === progress.next - 1;
  if (!more && settled && progress.commitSent >= log.committed) return false;
  if (log.termAt(progress.next - 1) === undefined) {
    requestSnapshot(raft, to, progress);
    return false;
  }
  sendAppend(raft, to, progress);
  return more;
}

function sendAppend(raft: RaftState, to: NodeId, progress: Progress): void {
  const { log, limits } = raft;
  const previousIndex = progress.next - 1;
  const previousTerm = log.termAt(previousIndex);
  assert(previousTerm !== undefined, "what is sent is retained");
  const entries =
    previousIndex < log.last ? log.slice(previousIndex, log.last, limits.appendEntriesMax, limits.appendBytesMax) : [];
  raft.send({ kind: "append", from: raft.id, to, term: raft.term, previousIndex, previousTerm, commit: log.committed, entries });
  progress.commitSent = log.committed;
  if (progress.state === "probe") {
    progress.waiting = true;
    progress.waitingSince = raft.leadership?.round ?? 0;
  } else if (entries.length > 0) {
    let bytes = 0;
    for (const entry of entries) bytes += entry.data.length;
    progress.sent(previousIndex + entries.length, bytes);
  }
}

function requestSnapshot(raft: RaftState, to: NodeId, progress: Progress): void {
  const server = raft.membership.servers.find((candidate) => candidate.id === to);
  assert(server !== undefined, "progress follows the configuration");
  progress.becomeSnapshot();
  raft.events.push({ kind: "sendSnapshot", to, address: server.address });
}

/** A follower's side. The caller follows the sender in its term. */
export function onAppend(raft: RaftState, message: Append): void {
  const { log } = raft;
  const { previousIndex, previousTerm, entries } = message;
  if (!isConsecutive(message)) return;
  if (previousIndex < log.committed) {
    // Old news: up to the commit index our log cannot differ from any leader's.
    raft.matched = Math.max(raft.matched, log.committed);
    acknowledge(raft);
    return;
  }
  if (log.termAt(previousIndex) !== previousTerm) {
    const hint = log.agreementHint(previousIndex, previousTerm);
    raft.send({
      kind: "appendReply",
      from: raft.id,
      to: message.from,
      term: raft.term,
      accepted: false,
      index: previousIndex,
      hintIndex: hint.index,
      hintTerm: hint.term,
    });
    return;
  }
  let at = 0;
  while (at < entries.length && log.termAt((entries[at] as LogEntry).index) === (entries[at] as LogEntry).term) at++;
  if (at < entries.length) {
    const fresh = at === 0 ? entries : entries.slice(at);
    const first = fresh[0] as LogEntry;
    if (first.index <= log.last) truncate(raft, first.index);
    for (const entry of fresh) log.append(entry);
    if (raft.membership.appended(fresh)) configurationChanged(raft);
  }
  raft.matched = Math.max(raft.matched, previousIndex + entries.length);
  // Only what this message covers is known to be the leader's.
  commitTo(raft, Math.min(message.commit, previousIndex + entries.length));
  acknowledge(raft);
}

/** Removes entries of a deposed leader. */
function truncate(raft: RaftState, from: LogIndex): void {
  raft.log.truncate(from);
  if (raft.membership.truncated(from)) configurationChanged(raft);
  if (raft.written >= from) {
    raft.written = from - 1;
    raft.truncateFrom = Math.min(raft.truncateFrom ?? from, from);
  }
  // The write in flight may carry removed entries: when it is confirmed, that says nothing about their successors.
  if (raft.inFlight !== undefined && raft.inFlight.through >= from) raft.inFlight.through = from - 1;
}

/** Tells the leader what is durable here; when the disk is behind, that follows when it is done. */
export function acknowledge(raft: RaftState): void {
  if (raft.matched > raft.log.durable) raft.acknowledgementOwed = true;
  else sendAcknowledgement(raft);
}

/** The disk got further: what is owed can be said, or part of it. */
export function acknowledgeOwed(raft: RaftState): void {
  // Not by a write that began before a snapshot took the log's place.
  const recorded = raft.log.durable >= raft.log.purged;
  if (raft.acknowledgementOwed && recorded && raft.leader !== undefined && raft.role === "follower") sendAcknowledgement(raft);
}

function sendAcknowledgement(raft: RaftState): void {
  assert(raft.leader !== undefined, "only a follower of somebody acknowledges");
  const index = Math.min(raft.matched, raft.log.durable);
  raft.acknowledgementOwed = index < raft.matched;
  raft.send({
    kind: "appendReply",
    from: raft.id,
    to: raft.leader,
    term: raft.term,
    accepted: true,
    index,
    hintIndex: 0,
    hintTerm: 0,
  });
}

export function commitTo(raft: RaftState, index: LogIndex): void {
  const { log, leadership } = raft;
  const target = Math.min(index, log.last);
  if (target <= log.committed) return;
  if (leadership !== undefined) {
    // Only what this leader appended was counted: what it was elected with may be committed after that.
    const counted = Math.max(log.committed, leadership.firstIndex - 1);
    leadership.uncommittedBytes -= log.bytesBetween(counted, target, Number.POSITIVE_INFINITY);
  }
  log.commitTo(target);
}

/** The leader's side. The caller has checked the term. */
export function onAppendReply(raft: RaftState, reply: AppendReply): void {
  const progress = raft.leadership?.progress.get(reply.from);
  if (progress === undefined) return;
  if (!reply.accepted) {
    onRefused(raft, progress, reply);
    return;
  }
  if (reply.index > raft.log.last) return; // no follower of ours says so
  const news = progress.acknowledged(reply.index);
  progress.waiting = false;
  if (progress.state === "probe" || (progress.state === "snapshot" && progress.match >= raft.log.purged && progress.match > 0))
    progress.becomeReplicate();
  if (!news) return;
  advanceCommit(raft);
  continueTransfer(raft);
}

function onRefused(raft: RaftState, progress: Progress, reply: AppendReply): void {
  // Answers may be late: only the one to the newest probe, or to something beyond what is settled, says anything.
  const stale =
    progress.state === "replicate"
      ? reply.index <= progress.match
      : progress.state === "snapshot" || reply.index !== progress.next - 1;
  if (stale) return;
  if (reply.index <= progress.match) progress.forget(); // it has lost what it had acknowledged
  const hint = raft.log.agreementHint(Math.min(reply.hintIndex, reply.index), reply.hintTerm);
  progress.becomeProbe(Math.min(hint.index + 1, Math.max(reply.index, 1)));
}

/** Commits what a majority holds, if its last entry is of this term (section 5.4.2, figure 8). */
export function advanceCommit(raft: RaftState): void {
  const { leadership, log, membership } = raft;
  if (leadership === undefined) return;
  const reached = raft.isSoleVoter
    ? log.durable
    : reachedByMajority(
        membership.voters.map((id) => (id === raft.id ? log.durable : (leadership.progress.get(id)?.match ?? 0))),
      );
  if (reached <= log.committed || log.termAt(reached) !== raft.term) return;
  commitTo(raft, reached);
  // A leader that removed itself serves until its removal is committed, and no longer (dissertation section 4.2.2).
  if (membership.index <= log.committed && !raft.isVoter) raft.becomeFollower(raft.term, undefined);
}

/** The caller follows the sender in its term. */
export function onHeartbeat(raft: RaftState, message: Heartbeat): void {
  // The leader says no more than we acknowledged in its term; a restart loses none of that.
  commitTo(raft, message.commit);
  raft.send({ kind: "heartbeatReply", from: raft.id, to: message.from, term: raft.term, round: message.round });
}

/** The caller has checked the term. Also the time to notice what got lost on the way. */
export function onHeartbeatReply(raft: RaftState, reply: HeartbeatReply): void {
  const progress = raft.leadership?.progress.get(reply.from);
  if (progress === undefined) return;
  roundAnswered(raft, progress, reply.round);
  // What was sent before this round is lost, or its answer is.
  if (reply.round > progress.waitingSince) progress.waiting = false;
  if (progress.state === "replicate" && progress.match < raft.log.last && mustWait(raft, progress))
    sendCheck(raft, reply.from, progress);
}

/** Nothing more can be sent before something is acknowledged. */
function mustWait(raft: RaftState, progress: Progress): boolean {
  return progress.next > raft.log.last || windowFull(raft, progress);
}

function windowFull(raft: RaftState, progress: Progress): boolean {
  return progress.inflightMessages >= raft.limits.inflightMessagesMax || progress.inflightBytes >= raft.limits.inflightBytesMax;
}

/** Asks whether what was sent has arrived. If something of it was lost, this does not fit, and is refused. */
function sendCheck(raft: RaftState, to: NodeId, progress: Progress): void {
  const { log } = raft;
  const previousIndex = progress.next - 1;
  const previousTerm = log.termAt(previousIndex);
  if (previousTerm === undefined) {
    requestSnapshot(raft, to, progress);
    return;
  }
  raft.send({
    kind: "append",
    from: raft.id,
    to,
    term: raft.term,
    previousIndex,
    previousTerm,
    commit: log.committed,
    entries: [],
  });
}

function isConsecutive(message: Append): boolean {
  let index = message.previousIndex;
  let term = message.previousTerm;
  for (const entry of message.entries) {
    if (entry.index !== index + 1 || entry.term < term || entry.term > message.term) return false;
    index = entry.index;
    term = entry.term;
  }
  return true;
}
