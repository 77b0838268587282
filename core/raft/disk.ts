/**
 * The disk lane: what is to be made durable next, and what follows when it is.
 *
 *   log:   …──────────┤durable├─────────┤written├──────────┤last
 *                         in flight        the next write
 *
 * One write is in flight at most; whatever arrives meanwhile becomes the next one: that is group commit. The lane is
 * pulled, never pushed, so that a slow disk has one write to finish and not a queue of them, with votes waiting behind.
 */
import type { RaftWrite } from "../ports/storage.ts";
import { assert } from "../types/errors.ts";
import type { LogIndex, Millis } from "../types/ids.ts";
import { ownVoteDurable } from "./election.ts";
import type { WriteTicket } from "./messages.ts";
import { acknowledgeOwed, advanceCommit } from "./replication.ts";
import type { RaftState } from "./state.ts";

export interface TakenWrite {
  readonly write: RaftWrite;
  /** Drop everything up to here after the write, in the same turn of the disk. */
  readonly compactTo: LogIndex | undefined;
  readonly ticket: WriteTicket;
}

export function takeWrite(raft: RaftState, now: Millis): TakenWrite | undefined {
  assert(raft.inFlight === undefined, "one write in flight");
  const { log, truncateFrom, compactTo } = raft;
  const hardStateDue = raft.hardStateWritten < raft.hardStateVersion;
  if (!hardStateDue && truncateFrom === undefined && compactTo === undefined && raft.written === log.last) return undefined;
  const entries =
    raft.written === log.last ? [] : log.slice(raft.written, log.last, Number.POSITIVE_INFINITY, raft.limits.writeBytesMax);
  raft.written += entries.length;
  raft.hardStateWritten = raft.hardStateVersion;
  raft.truncateFrom = undefined;
  raft.compactTo = undefined;
  raft.ticketLast++;
  raft.inFlight = { ticket: raft.ticketLast, startedAt: now, hardStateVersion: raft.hardStateVersion, through: raft.written };
  const write: RaftWrite = {
    ...(hardStateDue ? { hardState: { term: raft.term, votedFor: raft.votedFor } } : undefined),
    ...(truncateFrom === undefined ? undefined : { truncateFrom }),
    entries,
  };
  return { write, compactTo, ticket: raft.ticketLast };
}

/** The write is durable. */
export function onWritten(raft: RaftState, ticket: WriteTicket): void {
  const done = raft.inFlight;
  assert(done !== undefined && done.ticket === ticket, "the confirmed write is the one in flight");
  const stalled = raft.diskStalled;
  raft.inFlight = undefined;
  raft.log.durableTo(done.through);
  if (done.hardStateVersion > raft.hardStateDurable) {
    raft.hardStateDurable = done.hardStateVersion;
    if (raft.hardStateDurable === raft.hardStateVersion) {
      release(raft);
      ownVoteDurable(raft);
    }
  }
  if (stalled && raft.role !== "leader") raft.drawElectionDeadline(raft.timing.heartbeat);
  acknowledgeOwed(raft);
  advanceCommit(raft);
}

/** Lets go what waited for the term. What was said in an earlier term interests nobody any more. */
function release(raft: RaftState): void {
  for (const message of raft.held) if (message.term === raft.term) raft.messages.push(message);
  raft.held = [];
}
