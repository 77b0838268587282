/**
 * Reads that do not go through the log (dissertation section 6.4), and the heartbeats they stand on.
 *
 * read index: note the commit index, let one round of heartbeats prove that we still lead, wait until that index is
 * applied. All reads that arrive while a round is out share the next one: group commit for reads.
 *
 * lease: a majority answered a round that was sent at t; each of them refuses votes for `heartbeat` after receiving it,
 * so nobody else leads before t + lease. A tenth is kept back for clocks that run at different speeds.
 *
 * The monotonic clock of a machine that is suspended (a laptop that is closed, a virtual machine that is moved) stands
 * still, and others elect meanwhile. The wall clock is set again when it wakes. So a lease holds only while both clocks say
 * so: what the wall clock has advanced since the round was sent counts as much. Where it was set back, nobody knows how
 * long it has been, and the lease is over, too; either way the next round renews it, and a read meanwhile takes a read
 * index. A machine both of whose clocks stood still, as that of a virtual machine may until it asks for the time, cannot
 * know; who suspends such machines should use consistent reads.
 */
import type { EpochMillis, Millis } from "../types/ids.ts";
import type { Progress } from "./progress.ts";
import { reachedByMajority } from "./quorum.ts";
import type { Leadership, RaftState } from "./state.ts";

/** A leader sends this many rounds per heartbeat timeout. */
const roundsPerTimeout = 10;
/** Sending times remembered; an answer to an older round proves nothing any more. */
const roundTimesMax = 64;
/** The part of the lease that may be used. */
const leaseShare = 0.9;
/** By how much the wall clock may fall behind the monotonic one since a round was sent: both are read one after the other, and rounded. */
const wallBackMax: Millis = 5;

export function sendHeartbeats(raft: RaftState): void {
  const { leadership, log } = raft;
  if (leadership === undefined) return;
  leadership.nextHeartbeat = raft.now + raft.timing.heartbeat / roundsPerTimeout;
  if (leadership.progress.size === 0) return;
  leadership.round++;
  leadership.roundTimes.push(raft.now);
  leadership.roundLeads.push(raft.wallLead);
  if (leadership.roundTimes.length > roundTimesMax) {
    leadership.roundTimes.shift();
    leadership.roundLeads.shift();
  }
  for (const [to, progress] of leadership.progress) {
    // Never more than it is known to hold: beyond that its log may still differ from ours.
    const commit = Math.min(log.committed, progress.match);
    raft.send({ kind: "heartbeat", from: raft.id, to, term: raft.term, commit, round: leadership.round });
  }
}

/** A server answered a round. */
export function roundAnswered(raft: RaftState, progress: Progress, round: number): void {
  const { leadership } = raft;
  if (leadership === undefined || round > leadership.round || round <= progress.round) return;
  progress.round = round;
  advanceRound(raft, leadership);
}

/** The configuration changed, so other servers make the majority. */
export function recountRounds(raft: RaftState): void {
  const { leadership } = raft;
  if (leadership === undefined) return;
  // A lease that rested on being alone is over; the next round renews it.
  leadership.leaseUntil = Number.NEGATIVE_INFINITY;
  if (raft.isSoleVoter) releaseReads(raft, leadership, Number.POSITIVE_INFINITY);
  else sendHeartbeats(raft);
}

export function requestRead(raft: RaftState, id: number): void {
  const { leadership, log } = raft;
  if (leadership === undefined || leadership.reads.length >= raft.limits.readsMax) {
    raft.events.push({ kind: "readDropped", id });
    return;
  }
  // Until the first entry of the term is committed, the commit index may be behind what earlier leaders acknowledged.
  const index = Math.max(log.committed, leadership.firstIndex);
  if (raft.isSoleVoter) raft.events.push({ kind: "readReady", id, index });
  else leadership.reads.push({ id, round: leadership.round + 1, index });
}

/** Called when the message lane is pulled: one round for all reads of the turn, and none while a round for reads is out. */
export function flushReads(raft: RaftState): void {
  const { leadership } = raft;
  const first = leadership?.reads[0];
  if (leadership !== undefined && first !== undefined && first.round > leadership.round) sendHeartbeats(raft);
}

/** `wall`: the wall clock, read after the monotonic one. */
export function leaseValid(raft: RaftState, now: Millis, wall: EpochMillis): boolean {
  const { leadership } = raft;
  if (leadership === undefined || raft.log.committed < leadership.firstIndex) return false;
  if (!raft.isSoleVoter && !clocksAgree(leadership, now, wall)) return false;
  return raft.isSoleVoter || (now < leadership.leaseUntil && !leadership.handedOver);
}

/** By the wall clock it is the same time as by the monotonic one, or at least before the end of the lease. */
function clocksAgree(leadership: Leadership, now: Millis, wall: EpochMillis): boolean {
  const byWall = wall - leadership.leaseLead;
  return byWall < leadership.leaseUntil && byWall >= now - wallBackMax;
}

/** When a majority was last heard of, at the latest; a leader that is alone hears itself. */
export function majorityContact(raft: RaftState): Millis {
  const { leadership } = raft;
  if (leadership === undefined || raft.isSoleVoter) return raft.now;
  const times: Millis[] = [];
  for (const id of raft.membership.voters)
    times.push(id === raft.id ? raft.now : (leadership.progress.get(id)?.lastContact ?? 0));
  return reachedByMajority(times);
}

function advanceRound(raft: RaftState, leadership: Leadership): void {
  const rounds: number[] = [];
  for (const id of raft.membership.voters)
    rounds.push(id === raft.id ? leadership.round : (leadership.progress.get(id)?.round ?? 0));
  const acknowledged = reachedByMajority(rounds);
  if (acknowledged <= leadership.roundAcknowledged) return;
  leadership.roundAcknowledged = acknowledged;
  const oldest = leadership.round - leadership.roundTimes.length + 1;
  const sentAt = leadership.roundTimes[acknowledged - oldest];
  if (sentAt !== undefined && !leadership.handedOver) {
    leadership.leaseUntil = sentAt + raft.timing.lease * leaseShare;
    leadership.leaseLead = leadership.roundLeads[acknowledged - oldest] ?? Number.NEGATIVE_INFINITY;
  }
  releaseReads(raft, leadership, acknowledged);
}

function releaseReads(raft: RaftState, leadership: Leadership, round: number): void {
  let ready = 0;
  for (; ready < leadership.reads.length; ready++) {
    const read = leadership.reads[ready];
    if (read === undefined || read.round > round) break;
    raft.events.push({ kind: "readReady", id: read.id, index: read.index });
  }
  if (ready > 0) leadership.reads.splice(0, ready);
}
