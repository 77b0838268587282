/**
 * When to take a snapshot, how much of the log to keep behind it, and what changes when one arrives.
 *
 *              purged                snapshot        applied
 *   ─────────────┤├─ trailing entries ──┤├──────────────┤
 *    gone         kept for followers that are a little behind
 *
 * Contents are the driver's business (snapshot-transfer.ts); the machine knows only up to where they reach.
 */
import { assert } from "../types/errors.ts";
import type { LogIndex } from "../types/ids.ts";
import { decodeConfiguration } from "./membership.ts";
import type { RaftInput } from "./messages.ts";
import { acknowledge, configurationChanged } from "./replication.ts";
import type { RaftState } from "./state.ts";

/** A follower that is in touch may hold back purging by up to this many times the trailing entries. */
const patience = 4;

export function onApplied(raft: RaftState, index: LogIndex): void {
  const { log, limits } = raft;
  raft.appliedBytes += log.bytesBetween(log.applied, index, Number.POSITIVE_INFINITY);
  log.appliedTo(index);
  if (raft.snapshotRequested) return;
  const many = log.applied - log.snapshot >= limits.snapshotThreshold && raft.now >= raft.snapshotAt + limits.snapshotInterval;
  const bytesMax = Math.min(limits.snapshotBytesThreshold, Math.max(limits.snapshotBytesMin, raft.snapshotBytes));
  if (!many && raft.appliedBytes < bytesMax) return;
  raft.snapshotRequested = true;
  raft.events.push({ kind: "snapshotDue", index: log.applied });
}

/** Our own snapshot up to `index` is durable: forget what lies far enough behind it. */
export function onSnapshotTaken(raft: RaftState, index: LogIndex, size: number): void {
  const { log } = raft;
  raft.snapshotBytes = size;
  raft.snapshotRequested = false;
  raft.snapshotAt = raft.now;
  if (index <= log.snapshot) return; // a leader's snapshot overtook it
  log.snapshotTo(index);
  raft.appliedBytes = log.bytesBetween(index, log.applied, Number.POSITIVE_INFINITY);
  purge(raft);
}

/** The driver gave up on its snapshot; it will be asked again. */
export function onSnapshotFailed(raft: RaftState): void {
  raft.snapshotRequested = false;
}

function purge(raft: RaftState): void {
  const { log, limits } = raft;
  let target = log.snapshot - limits.trailingEntries;
  // Cutting the log under a follower that nearly caught up would send it round in circles, from snapshot to snapshot.
  for (const progress of raft.leadership?.progress.values() ?? []) {
    const inTouch = raft.now - progress.lastContact < raft.timing.election;
    if (inTouch && progress.state !== "snapshot")
      target = Math.min(target, Math.max(progress.match, log.snapshot - patience * limits.trailingEntries));
  }
  target = Math.max(target, log.purged, 0);
  while (target < log.snapshot && log.bytesBetween(target, log.snapshot, limits.trailingBytesMax) >= limits.trailingBytesMax) {
    target = Math.ceil((target + log.snapshot) / 2);
  }
  target = Math.min(target, raft.written);
  if (target <= log.purged) return;
  log.purge(target);
  raft.membership.compacted(log.purged);
  raft.compactTo = log.purged;
}

/** A leader's snapshot is durable here and the state machine was replaced by it. */
export function onSnapshotInstalled(raft: RaftState, input: Extract<RaftInput, { kind: "snapshotInstalled" }>): void {
  const { log } = raft;
  const { point } = input;
  raft.snapshotRequested = false;
  assert(point.index > log.applied, "the driver installs only what is ahead of the state machine");
  if (log.termAt(point.index) === point.term) {
    // The log has it all, it was only not applied yet.
    if (point.index > log.committed) log.commitTo(point.index);
    log.appliedTo(point.index);
    log.snapshotTo(point.index);
  } else {
    const configuration = decodeConfiguration(point.configuration);
    assert(configuration !== undefined, "the driver checks a snapshot's configuration before it installs");
    log.replace(point.index, point.term);
    raft.membership.replaced(configuration, point.configurationIndex);
    raft.written = point.index;
    // The store begins anew: what it holds, or is just being given, need not fit what follows the snapshot.
    raft.truncateFrom = 1;
    raft.compactTo = point.index;
    if (raft.inFlight !== undefined) raft.inFlight.through = 0;
    configurationChanged(raft);
  }
  raft.appliedBytes = 0;
  if (raft.role !== "follower" || raft.term !== input.term || raft.leader !== input.from) return;
  raft.matched = Math.max(raft.matched, point.index);
  // Once the log, too, says that it begins there: should the snapshot be damaged later, a restart must not go on from an
  // older one as if nothing had been acknowledged since.
  acknowledge(raft);
}

/** The driver finished, or gave up, sending a snapshot. */
export function onSnapshotSent(raft: RaftState, input: Extract<RaftInput, { kind: "snapshotSent" }>): void {
  const progress = raft.leadership?.progress.get(input.to);
  if (progress === undefined || progress.state !== "snapshot") return;
  if (input.ok) progress.becomeProbe(input.index + 1);
  else progress.becomeProbe(progress.match + 1);
  // Not at once: the next answer to a heartbeat shows that it is there.
  progress.waiting = true;
  progress.waitingSince = raft.leadership?.round ?? 0;
}
