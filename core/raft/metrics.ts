/** What Raft tells of itself, under the names of Consul 1.8 (HashiCorp's raft). Times are milliseconds. */
import { type Counter, type Metrics, noMetrics, type Sample } from "../ports/telemetry.ts";
import type { LogEntry } from "../ports/storage.ts";
import type { Millis, NodeId } from "../types/ids.ts";
import { entryCommand, type RaftMessage, type Role } from "./messages.ts";

/** Servers that are told apart; more than a group can have. */
const peersMax = 64;

interface PeerMetrics {
  readonly rpc: Sample;
  readonly logs: Counter;
  readonly heartbeat: Sample;
  /** The first that is not answered yet; undefined: all are. */
  appendSentAt: Millis | undefined;
  heartbeatSentAt: Millis | undefined;
}

export class RaftMetrics {
  /** Proposals. */
  readonly apply: Counter;
  readonly verifyLeader: Counter;
  /** From the proposal to its result. */
  readonly commitTime: Sample;
  readonly fsmApply: Sample;
  /** A leader's write of its log, and a follower's. */
  readonly dispatchLog: Sample;
  readonly storeLogs: Sample;
  readonly processLogs: Sample;
  readonly dispatchNumLogs: { set(value: number): void };
  readonly commitNumLogs: { set(value: number): void };
  readonly appendEntries: Sample;
  readonly processHeartbeat: Sample;
  readonly requestVote: Sample;
  readonly installSnapshot: Sample;
  readonly takeSnapshot: Sample;
  readonly persistSnapshot: Sample;
  /** The same, as Consul's state machine counts it. */
  readonly fsmPersist: Sample;
  readonly fsmSnapshot: Sample;
  readonly fsmRestore: Sample;
  readonly #metrics: Metrics;
  readonly #states: Readonly<Record<Role, Counter | undefined>>;
  readonly #heartbeatTimeout: Counter;
  readonly #leaseTimeout: Counter;
  readonly #electSelf: Sample;
  readonly #peers = new Map<NodeId, PeerMetrics>();
  #role: Role | undefined;
  #candidateSince: Millis = 0;

  constructor(metrics: Metrics = noMetrics) {
    this.#metrics = metrics;
    this.apply = metrics.counter("raft.apply");
    this.verifyLeader = metrics.counter("raft.verify_leader");
    this.commitTime = metrics.sample("raft.commitTime");
    this.fsmApply = metrics.sample("raft.fsm.apply");
    this.dispatchLog = metrics.sample("raft.leader.dispatchLog");
    this.storeLogs = metrics.sample("raft.rpc.appendEntries.storeLogs");
    this.processLogs = metrics.sample("raft.rpc.appendEntries.processLogs");
    this.dispatchNumLogs = metrics.gauge("raft.leader.dispatchNumLogs");
    this.commitNumLogs = metrics.gauge("raft.commitNumLogs");
    this.appendEntries = metrics.sample("raft.rpc.appendEntries");
    this.processHeartbeat = metrics.sample("raft.rpc.processHeartbeat");
    this.requestVote = metrics.sample("raft.rpc.requestVote");
    this.installSnapshot = metrics.sample("raft.rpc.installSnapshot");
    this.takeSnapshot = metrics.sample("raft.snapshot.takeSnapshot");
    this.persistSnapshot = metrics.sample("raft.snapshot.persist");
    this.fsmPersist = metrics.sample("fsm.persist");
    this.fsmSnapshot = metrics.sample("raft.fsm.snapshot");
    this.fsmRestore = metrics.sample("raft.fsm.restore");
    this.#states = {
      follower: metrics.counter("raft.state.follower"),
      // Consul's Raft asks for votes at once.
      preCandidate: undefined,
      candidate: metrics.counter("raft.state.candidate"),
      leader: metrics.counter("raft.state.leader"),
    };
    this.#heartbeatTimeout = metrics.counter("raft.transition.heartbeat_timeout");
    this.#leaseTimeout = metrics.counter("raft.transition.leader_lease_timeout");
    this.#electSelf = metrics.sample("raft.candidate.electSelf");
  }

  /** Of role, term or leader. */
  onRole(role: Role, leader: NodeId | undefined, now: Millis): void {
    const before = this.#role;
    if (role === before) return;
    this.#role = role;
    this.#states[role]?.add(1);
    const wasCandidate = before === "candidate" || before === "preCandidate";
    const isCandidate = role === "candidate" || role === "preCandidate";
    if (isCandidate && !wasCandidate) {
      this.#candidateSince = now;
      this.#heartbeatTimeout.add(1);
    }
    if (wasCandidate && !isCandidate) this.#electSelf.observe(now - this.#candidateSince);
    if (before === "leader" && role === "follower" && leader === undefined) this.#leaseTimeout.add(1);
  }

  onSent(message: RaftMessage, now: Millis): void {
    if (message.kind !== "append" && message.kind !== "heartbeat") return;
    const peer = this.#peer(message.to);
    if (peer === undefined) return;
    if (message.kind === "heartbeat") {
      peer.heartbeatSentAt ??= now;
      return;
    }
    peer.appendSentAt ??= now;
    if (message.entries.length > 0) peer.logs.add(message.entries.length);
  }

  /** `took`: handling it. */
  onReceived(message: RaftMessage, now: Millis, took: Millis): void {
    switch (message.kind) {
      case "append":
        this.appendEntries.observe(took);
        return;
      case "heartbeat":
        this.processHeartbeat.observe(took);
        return;
      case "vote":
      case "preVote":
        this.requestVote.observe(took);
        return;
      case "appendReply": {
        const peer = this.#peers.get(message.from);
        if (peer?.appendSentAt === undefined) return;
        peer.rpc.observe(now - peer.appendSentAt);
        peer.appendSentAt = undefined;
        return;
      }
      case "heartbeatReply": {
        const peer = this.#peers.get(message.from);
        if (peer?.heartbeatSentAt === undefined) return;
        peer.heartbeat.observe(now - peer.heartbeatSentAt);
        peer.heartbeatSentAt = undefined;
        return;
      }
      default:
        return;
    }
  }

  /** Entries of the log became durable. */
  onWritten(entries: number, took: Millis, role: Role): void {
    if (entries === 0) return;
    if (role !== "leader") {
      this.storeLogs.observe(took);
      return;
    }
    this.dispatchLog.observe(took);
    this.dispatchNumLogs.set(entries);
  }

  onApplied(entries: readonly LogEntry[], begun: Millis, now: Millis, role: Role): void {
    const took = now - begun;
    for (const entry of entries) if (entry.type === entryCommand) this.fsmApply.observe(took / entries.length, now);
    if (role === "leader") this.commitNumLogs.set(entries.length);
    else this.processLogs.observe(took);
  }

  onSnapshotTaken(started: Millis, captured: Millis, saved: Millis): void {
    this.fsmSnapshot.observe(captured - started);
    this.persistSnapshot.observe(saved - captured);
    this.fsmPersist.observe(saved - captured);
    this.takeSnapshot.observe(saved - started);
  }

  #peer(id: NodeId): PeerMetrics | undefined {
    const known = this.#peers.get(id);
    if (known !== undefined || this.#peers.size >= peersMax) return known;
    const peer = {
      rpc: this.#metrics.sample(`raft.replication.appendEntries.rpc.${id}`),
      logs: this.#metrics.counter(`raft.replication.appendEntries.logs.${id}`),
      heartbeat: this.#metrics.sample(`raft.replication.heartbeat.${id}`),
      appendSentAt: undefined,
      heartbeatSentAt: undefined,
    };
    this.#peers.set(id, peer);
    return peer;
  }
}
