/**
 * Elections: timeouts, pre-vote, vote.
 *
 *   follower ──silence──► preCandidate ──majority would vote──► candidate ──majority votes──► leader
 *      ▲                       │  ▲                                │ ▲
 *      │                       └──┘ timeout                        └─┘ timeout: pre-vote again
 *      └──── a leader of this term, or any higher term ────────────┘
 *
 * Pre-vote (dissertation section 9.6) keeps a server that was cut off from raising terms and so unseating a good leader
 * when it comes back. A voter that heard of a leader within the heartbeat timeout refuses both kinds of vote (4.2.3);
 * the leader's lease stands on that.
 */
import type { PreVote, PreVoteReply, Vote, VoteReply } from "./messages.ts";
import { majority } from "./quorum.ts";
import { beginLeadership } from "./replication.ts";
import type { RaftState } from "./state.ts";

/** A turn is long enough for a vote to reach the disks, and for its news to reach those who wait. */
const turnsPerTimeout = 50;
/** In turns: until the others have learned it, too, and no longer refuse for their leader's sake. */
const firstTurn = 0.25;

/** The election timeout ran out. */
export function electionDue(raft: RaftState): void {
  if (raft.diskStalled || !raft.mayCampaign) {
    // Nothing we could promise would become durable: leave it to the others until the disk is back. Or our vote is gone for good.
    raft.electionDeadline = Number.POSITIVE_INFINITY;
    return;
  }
  if (raft.isSoleVoter) campaign(raft, false);
  else preCampaign(raft);
}

/** Asks who would vote for us. */
export function preCampaign(raft: RaftState): void {
  raft.becomePreCandidate();
  raft.votes.add(raft.id);
  const { last, lastTerm } = raft.log;
  for (const to of raft.membership.voters) {
    if (to === raft.id) continue;
    raft.messages.push({ kind: "preVote", from: raft.id, to, term: raft.term + 1, lastIndex: last, lastTerm });
  }
}

/** Asks for votes in a new term. They leave once our own vote is durable, and count from then on. */
export function campaign(raft: RaftState, transfer: boolean): void {
  raft.becomeCandidate();
  const { last, lastTerm } = raft.log;
  for (const to of raft.membership.voters) {
    if (to === raft.id) continue;
    raft.send({ kind: "vote", from: raft.id, to, term: raft.term, lastIndex: last, lastTerm, transfer });
  }
}

/** Our own term and vote became durable. */
export function ownVoteDurable(raft: RaftState): void {
  if (raft.role !== "candidate") return;
  raft.votes.add(raft.id);
  countVotes(raft);
}

export function onPreVote(raft: RaftState, request: PreVote): void {
  const granted = request.term > raft.term && !hearsLeader(raft) && raft.log.isUpToDate(request.lastIndex, request.lastTerm);
  // Changes nothing here, so it need not wait for the disk.
  raft.messages.push({
    kind: "preVoteReply",
    from: raft.id,
    to: request.from,
    term: granted ? request.term : raft.term,
    granted,
  });
}

export function onPreVoteReply(raft: RaftState, reply: PreVoteReply): void {
  if (!reply.granted) {
    if (reply.term > raft.term) raft.becomeFollower(reply.term, undefined);
    return;
  }
  if (raft.role !== "preCandidate" || reply.term !== raft.term + 1) return;
  raft.votes.add(reply.from);
  if (hasMajority(raft)) campaign(raft, false);
}

/** The caller has made sure that the request's term is not below ours, and has stepped down for a higher one. */
export function onVote(raft: RaftState, request: Vote): void {
  const free = raft.votedFor === undefined || raft.votedFor === request.from;
  const granted =
    free && raft.role === "follower" && raft.leader === undefined && raft.log.isUpToDate(request.lastIndex, request.lastTerm);
  if (granted) {
    if (raft.votedFor === undefined) raft.changeHardState(raft.term, request.from);
    raft.drawElectionDeadline(raft.timing.heartbeat);
  }
  raft.send({ kind: "voteReply", from: raft.id, to: request.from, term: raft.term, granted });
}

export function onVoteReply(raft: RaftState, reply: VoteReply): void {
  if (raft.role !== "candidate" || !reply.granted) return;
  raft.votes.add(reply.from);
  countVotes(raft);
}

/** The leader hands over to us. The caller has checked the term. */
export function onTimeoutNow(raft: RaftState): void {
  if (raft.role === "leader" || !raft.isVoter || raft.diskStalled) return;
  campaign(raft, true);
}

/**
 * Our leader's process has ended: no lease of its can be in force. All its followers learn that in the same moment, so
 * they take turns, by ID: two who campaign together would split the vote, and that costs an election timeout.
 */
export function leaderGone(raft: RaftState): void {
  const { leader } = raft;
  raft.becomeFollower(raft.term, undefined);
  raft.leaderContact = Number.NEGATIVE_INFINITY;
  if (!raft.isVoter) return;
  const turn = raft.membership.voters.filter((id) => id !== leader && id < raft.id).length;
  raft.electionDeadline = raft.now + ((turn + firstTurn) * raft.timing.heartbeat) / turnsPerTimeout;
}

/** True while a leader is, or was a moment ago, in touch: then no other may be helped to power. In term 0 there was none yet. */
export function hearsLeader(raft: RaftState): boolean {
  return raft.role === "leader" || (raft.term > 0 && raft.now < raft.leaderContact + raft.timing.heartbeat);
}

function countVotes(raft: RaftState): void {
  // Votes of others may come back before our own is durable, and must wait for it.
  if (raft.votes.has(raft.id) && hasMajority(raft)) beginLeadership(raft);
}

function hasMajority(raft: RaftState): boolean {
  let granted = 0;
  for (const voter of raft.membership.voters) if (raft.votes.has(voter)) granted++;
  return granted >= majority(raft.membership.voters.length);
}

/** A message of a higher term makes us follow it, except where that would let a returning server unseat a good leader. */
export function mayRaiseTerm(raft: RaftState, vote: Vote): boolean {
  return vote.transfer || !hearsLeader(raft);
}
