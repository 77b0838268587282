/**
 * Handing leadership over (dissertation section 3.10): wait until the successor has the whole log, then tell it to
 * campaign at once. Proposals are refused meanwhile. After one election timeout without success the leader goes on.
 */
import type { LogIndex, NodeId } from "../types/ids.ts";
import type { RaftState } from "./state.ts";

/** Begins handing leadership to `wanted`, or to the voter that has most of the log. */
export function beginTransfer(raft: RaftState, wanted: NodeId | undefined): void {
  const { leadership } = raft;
  if (leadership === undefined) return;
  const to = wanted ?? longestLog(raft);
  if (to === undefined || to === raft.id || !raft.membership.isVoter(to) || !leadership.progress.has(to)) return;
  leadership.transfer = { to, deadline: raft.now + raft.timing.election };
  continueTransfer(raft);
}

/** Tells the successor to campaign as soon as it has the whole log. */
export function continueTransfer(raft: RaftState): void {
  const { leadership } = raft;
  const transfer = leadership?.transfer;
  if (leadership === undefined || transfer === undefined) return;
  if (leadership.progress.get(transfer.to)?.match !== raft.log.last) return;
  leadership.handedOver = true;
  leadership.leaseUntil = Number.NEGATIVE_INFINITY;
  raft.send({ kind: "timeoutNow", from: raft.id, to: transfer.to, term: raft.term });
}

function longestLog(raft: RaftState): NodeId | undefined {
  let best: NodeId | undefined;
  let bestMatch: LogIndex = -1;
  for (const [id, progress] of raft.leadership?.progress ?? []) {
    if (!raft.membership.isVoter(id) || progress.match <= bestMatch) continue;
    best = id;
    bestMatch = progress.match;
  }
  return best;
}

/** When the attempt is over, for better or worse. */
export function transferDue(raft: RaftState): void {
  const { leadership } = raft;
  if (leadership?.transfer !== undefined && raft.now >= leadership.transfer.deadline) leadership.transfer = undefined;
}
