/**
 * Where Raft meets `await`: the three lanes of the machine over ports.
 *
 *   inputs ─► machine.step ─► one turn for all:       ─► send            network lane
 *                                                     ─► store.write     disk lane, one in flight; compaction rides along
 *                                                     ─► apply           state-machine lane, synchronous
 *
 * Inputs only change state; what they cause happens once per turn, for all of them together. Everything proposed within
 * a turn enters the log as one batch, everything proposed while a write is out becomes the next write.
 *
 * Cost of a proposal: one promise, one waiter, one log entry; per batch: one step, one write, one apply.
 */
import { type Clock, runNext, runSoon, type Timer } from "../ports/clock.ts";
import type { LogEntry, RaftStore, SnapshotMeta, SnapshotStore } from "../ports/storage.ts";
import type { Logger, Metrics } from "../ports/telemetry.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError, assert, type ErrorCode, messageOf, unreachable } from "../types/errors.ts";
import type { LogIndex, Millis, NodeId, Term } from "../types/ids.ts";
import {
  type Configuration,
  entryCommand,
  type MembershipChange,
  type Proposal,
  type RaftEvent,
  type RaftInput,
  type RaftMessage,
  type Role,
  snapshotPoint,
} from "./messages.ts";
import { RaftMetrics } from "./metrics.ts";
import { RaftMachine, type RaftMachineOptions } from "./raft.ts";
import type { Held, Recovered } from "./recovery.ts";
import { Requests, waitMax } from "./requests.ts";
import { beginCapture, type SnapshotContent, SnapshotTransfer } from "./snapshot-transfer.ts";
import { addressOf, type RaftStatus, statusOf } from "./status.ts";
import type { Proposed } from "./waiters.ts";

/** The state machine is given at most this much at once, so that timers run between slices of a long backlog. */
const applyBytesMax = 4 * 1024 * 1024;
/** Proposals and reads that wait; more are refused as `rate-limited`. */
const waitersMax = 100_000;
/** After a snapshot could not be saved. */
const snapshotRetry: Millis = 30_000;

export interface LeaderEvent {
  readonly role: Role;
  readonly isLeader: boolean;
  readonly term: Term;
  /** Undefined: none is known. */
  readonly leader: NodeId | undefined;
  readonly leaderAddress: string | undefined;
}

export interface RaftDriverOptions {
  readonly machine: RaftMachine;
  readonly clock: Clock;
  readonly store: RaftStore;
  readonly snapshots: SnapshotStore;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /**
   * Committed entries in order, of every type, each once; gives one result per entry, for its proposer. Must not throw:
   * that stops the driver, since the state machine is then in an unknown state.
   */
  readonly apply: (entries: readonly LogEntry[]) => readonly unknown[];
  /** Best effort. Takes ownership. */
  readonly send: (message: RaftMessage) => void;
  readonly onLeader: (event: LeaderEvent) => void;
  /** The configuration in force changed, committed or not. */
  readonly onConfiguration?: (configuration: Configuration, index: LogIndex) => void;
  /** The driver has stopped and must not be used any more: a write or the state machine failed, or an invariant is broken. */
  readonly onFatal: (error: unknown) => void;
  /** Saves and replaces the state machine. Without it no snapshot is taken and the log only grows. */
  readonly content?: SnapshotContent;
}

/** Reads what the stores hold and makes the machine that resumes from it. The state machine must then be restored from `snapshot`. */
export async function loadRaft(
  store: RaftStore,
  snapshots: SnapshotStore,
  options: Omit<RaftMachineOptions, "restored" | "recovered"> & {
    /** Sees what was held before the machine is made of it: what an operator decided since. */
    readonly recover?: (held: Held) => Promise<Recovered | undefined>;
  },
): Promise<{ readonly machine: RaftMachine; readonly snapshot: SnapshotMeta | undefined }> {
  const snapshot = await snapshots.latest();
  const { hardState, entries, compacted = 0 } = await store.load();
  const restored = { hardState, entries, compacted, snapshot: snapshot === undefined ? undefined : snapshotPoint(snapshot) };
  const recovered = await options.recover?.(restored);
  return { machine: new RaftMachine({ ...options, restored, recovered }), snapshot };
}

export class RaftDriver {
  readonly #options: RaftDriverOptions;
  readonly #machine: RaftMachine;
  readonly #clock: Clock;
  readonly #transfer: SnapshotTransfer;
  readonly #requests: Requests;
  readonly #metrics: RaftMetrics;

  #running = false;
  #turnQueued = false;
  #timer: Timer | undefined;
  #timerAt: Millis = Number.POSITIVE_INFINITY;
  #writing: Promise<void> | undefined;
  /** The state machine is being replaced: nothing is applied meanwhile. */
  #replacing = false;
  #saving: Promise<SnapshotMeta> | undefined;
  /** The machine asked for one that could not be begun yet. */
  #snapshotDue = false;
  #snapshotAgain: Timer | undefined;
  readonly #step = (input: RaftInput): void => this.#machine.step(this.#clock.monotonic(), input);

  constructor(options: RaftDriverOptions) {
    this.#options = options;
    this.#machine = options.machine;
    this.#clock = options.clock;
    this.#metrics = new RaftMetrics(options.metrics);
    this.#requests = new Requests(options.clock, (took) => this.#metrics.commitTime.observe(took));
    this.#transfer = new SnapshotTransfer({
      machine: options.machine,
      clock: options.clock,
      snapshots: options.snapshots,
      logger: options.logger,
      send: options.send,
      feed: (input) => this.feed(input),
      install: (meta, from, term) => this.#install(meta, from, term),
    });
  }

  /** The state machine has been restored from the newest snapshot. */
  start(): void {
    this.#running = true;
    this.#metrics.onRole("follower", undefined, this.#clock.monotonic());
    this.#wake();
  }

  /** Everyone who waits is told `closed`; resolves when the disk is at rest. The stores stay open. */
  async stop(): Promise<void> {
    this.#halt("closed", "The agent is shutting down");
    await this.#writing;
    await this.#transfer.stop();
    await this.#saving?.catch(() => undefined); // reported where it was started
  }

  /** One event for the machine. */
  feed(input: RaftInput): void {
    if (!this.#running) return;
    try {
      this.#step(input);
    } catch (error) {
      // An invariant is broken, and the step was left in the middle: nothing may be said or stored after that.
      this.#fail(error);
      return;
    }
    this.#queueTurn();
  }

  /** A message from another server. */
  receive(message: RaftMessage): void {
    if (!this.#running) return;
    const begun = this.#clock.monotonic();
    this.feed({ kind: "message", message });
    const now = this.#clock.monotonic();
    this.#metrics.onReceived(message, now, now - begun);
    if (message.kind === "snapshotChunk" || message.kind === "snapshotChunkReply") this.#transfer.receive(message);
  }

  /**
   * Resolves when the entry is applied here. Rejects with `no-leader` (also when leadership was lost meanwhile: the
   * entry may still be committed by the next leader), `rate-limited`, `too-large`, `timeout` or `closed`.
   */
  propose(data: Bytes, type: number = entryCommand): Promise<Proposed> {
    if (data.length > this.#machine.limits.entryBytesMax) {
      return Promise.reject(
        new AgentError("too-large", {
          message: `A log entry of ${data.length} bytes exceeds the limit of ${this.#machine.limits.entryBytesMax}`,
        }),
      );
    }
    const refusal = this.#refusal(this.#requests.proposals);
    if (refusal !== undefined) return Promise.reject(refusal);
    this.#metrics.apply.add(1);
    this.#queueTurn();
    return this.#requests.propose({ type, data });
  }

  /**
   * As {@link propose}, for entries that follow one another in the log: all of them are accepted or none. Resolves with the
   * last one's result.
   */
  proposeAll(entries: readonly Proposal[]): Promise<Proposed> {
    const refusal = this.#refusal(this.#requests.proposals + entries.length - 1);
    if (refusal !== undefined) return Promise.reject(refusal);
    for (const { data } of entries) assert(data.length <= this.#machine.limits.entryBytesMax, "each part fits an entry");
    this.#queueTurn();
    return this.#requests.proposeAll(entries);
  }

  /** Resolves when the new configuration is committed. Rejects as `propose` does, and with `rejected` when the change makes no sense. */
  change(change: MembershipChange): Promise<Proposed> {
    const refusal = this.#refusal(this.#requests.proposals);
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#requests.change(change, (input) => this.feed(input));
  }

  /** Resolves when a linearizable read may be answered from the state machine, with the index it reflects at least. */
  readIndex(): Promise<LogIndex> {
    this.#metrics.verifyLeader.add(1);
    const machine = this.#machine;
    if (this.#running && machine.isSoleVoter && this.leaseValid() && machine.appliedIndex === machine.commitIndex) {
      return Promise.resolve(machine.appliedIndex);
    }
    const refusal = this.#refusal(this.#requests.reads);
    if (refusal !== undefined) return Promise.reject(refusal);
    this.#queueTurn();
    return this.#requests.readIndex();
  }

  /** Resolves when the state machine holds everything up to `index`. Rejects with `timeout`, `rate-limited` or `closed`. */
  whenApplied(index: LogIndex, timeout: Millis = waitMax): Promise<void> {
    if (this.#running && this.#machine.appliedIndex >= index) return Promise.resolve();
    const refusal = this.#refusal(this.#requests.behind);
    return refusal === undefined ? this.#requests.whenApplied(index, timeout) : Promise.reject(refusal);
  }

  get appliedIndex(): LogIndex {
    return this.#machine.appliedIndex;
  }

  /** Default-consistency reads may be answered at once. */
  leaseValid(): boolean {
    if (!this.#running) return false;
    const now = this.#clock.monotonic();
    return this.#machine.leaseValid(now, this.#clock.wall());
  }

  isLeader(): boolean {
    return this.#running && this.#machine.role === "leader";
  }

  /** This server alone decides. */
  isSoleVoter(): boolean {
    return this.#machine.isSoleVoter;
  }

  /** Milliseconds since the leader was heard of; 0 on the leader. */
  lastContact(): Millis {
    return this.#machine.lastContact(this.#clock.monotonic());
  }

  /** Hands leadership over, to the voter with the longest log when none is named. Watch `onLeader` for the outcome. */
  transferLeadership(to?: NodeId): void {
    this.feed({ kind: "transfer", to });
  }

  state(): RaftStatus {
    return statusOf(this.#machine, this.#clock.monotonic());
  }

  /** Not in the middle of a command: then after what is applied next. */
  #takeDueSnapshot(): void {
    const { content } = this.#options;
    if (!this.#snapshotDue || content === undefined || content.midway?.() === true) return;
    this.#snapshotDue = false;
    void this.takeSnapshot().catch(() => undefined); // logged there
  }

  /** Saves the state machine as it is now. One at a time; a second caller shares the first one's. */
  takeSnapshot(): Promise<SnapshotMeta> {
    this.#saving ??= this.#save().finally(() => {
      this.#saving = undefined;
    });
    return this.#saving;
  }

  #queueTurn(): void {
    if (this.#turnQueued) return;
    this.#turnQueued = true;
    // Among several each message costs a system call. Alone, the write in flight gathers what comes meanwhile.
    if (this.#machine.configuration.servers.length > 1) runSoon(this.#clock, this.#turn);
    else runNext(this.#turn);
  }

  readonly #turn = (): void => {
    this.#turnQueued = false;
    if (!this.#running) return;
    try {
      this.#requests.submit(this.#step);
      const messages = this.#machine.takeMessages();
      if (messages.length > 0) this.#send(messages);
      for (const event of this.#machine.takeEvents()) this.#onEvent(event);
      if (this.#writing === undefined) this.#write();
      this.#apply();
      this.#arm();
    } catch (error) {
      this.#fail(error);
    }
  };

  #send(messages: readonly RaftMessage[]): void {
    const now = this.#clock.monotonic();
    for (const message of messages) {
      this.#metrics.onSent(message, now);
      this.#options.send(message);
    }
  }

  #onEvent(event: RaftEvent): void {
    switch (event.kind) {
      case "role":
        this.#metrics.onRole(event.role, event.leader, this.#clock.monotonic());
        if (event.role !== "leader") this.#requests.leadershipLost();
        this.#options.onLeader({
          role: event.role,
          isLeader: event.role === "leader",
          term: event.term,
          leader: event.leader,
          leaderAddress: addressOf(this.#machine.configuration, event.leader),
        });
        return;
      case "accepted":
        this.#requests.accepted(event);
        return;
      case "dropped":
        this.#requests.dropped(event.id, event.reason);
        return;
      case "readReady":
        this.#requests.readReady(event.id, event.index);
        this.#requests.release(this.#machine.appliedIndex);
        return;
      case "readDropped":
        this.#requests.readDropped(event.id);
        return;
      case "sendSnapshot":
        void this.#transfer.sendTo(event.to); // reports its end to the machine
        return;
      case "snapshotDue":
        this.#snapshotDue = true;
        this.#takeDueSnapshot();
        return;
      case "configuration":
        this.#options.onConfiguration?.(event.configuration, event.index);
        return;
      default:
        unreachable(event);
    }
  }

  /** The disk lane. One write in flight: whatever arrives meanwhile becomes the next one. */
  #write(): void {
    const begun = this.#clock.monotonic();
    const next = this.#machine.takeWrite(begun);
    if (next === undefined) return;
    const { store } = this.#options;
    const { write, compactTo, ticket } = next;
    const durable = compactTo === undefined ? store.write(write) : store.write(write).then(() => store.compact(compactTo));
    this.#writing = durable.then(
      () => {
        this.#writing = undefined;
        this.#metrics.onWritten(write.entries.length, this.#clock.monotonic() - begun, this.#machine.role);
        this.feed({ kind: "written", ticket });
      },
      (error: unknown) => {
        this.#writing = undefined;
        // After a failed write nobody knows what the disk holds. Stop; only a restart, which reads it, may go on.
        this.#fail(error);
      },
    );
  }

  /** The state-machine lane. */
  #apply(): void {
    if (this.#replacing) return;
    const entries = this.#machine.takeCommitted(applyBytesMax);
    const last = entries[entries.length - 1];
    if (last === undefined) return;
    const begun = this.#clock.monotonic();
    const results = this.#options.apply(entries);
    const now = this.#clock.monotonic();
    this.#metrics.onApplied(entries, begun, now, this.#machine.role);
    this.#step({ kind: "applied", index: last.index });
    this.#requests.applied(entries, results, now);
    this.#requests.release(last.index);
    this.#takeDueSnapshot();
    // What applying caused, and the next slice: behind whatever else waits to run, if there is more.
    if (this.#machine.appliedIndex < this.#machine.applicableIndex) this.#clock.after(0, () => this.feed({ kind: "wake" }));
    else this.#queueTurn();
  }

  #refusal(waiting: number): AgentError | undefined {
    if (!this.#running) return new AgentError("closed", { message: "The agent is not running" });
    if (waiting < waitersMax) return undefined;
    return new AgentError("rate-limited", { message: `${waiting} requests already wait for the log` });
  }

  async #save(): Promise<SnapshotMeta> {
    const { content, logger, snapshots } = this.#options;
    if (content === undefined)
      throw new AgentError("not-supported", { message: "Cannot take a snapshot: the state machine offers no content" });
    if (!this.#running || this.#replacing || this.#machine.appliedIndex === 0 || content.midway?.() === true)
      throw new AgentError("closed", { message: "Cannot take a snapshot: the state machine is not at rest" });
    try {
      logger.log("info", "starting snapshot up to", { index: this.#machine.appliedIndex });
      const started = this.#clock.monotonic();
      const captured = beginCapture(content);
      const capturedAt = this.#clock.monotonic();
      const meta = await snapshots.save(this.#machine.snapshotPoint(), captured);
      const savedAt = this.#clock.monotonic();
      this.#metrics.onSnapshotTaken(started, capturedAt, savedAt);
      logger.log("info", "snapshot complete up to", { index: meta.index });
      this.feed({ kind: "snapshotTaken", index: meta.index, size: meta.size });
      return meta;
    } catch (error) {
      logger.log("error", "failed to take snapshot", { error: messageOf(error) });
      if (this.#running) this.#snapshotAgain = this.#clock.after(snapshotRetry, () => this.feed({ kind: "snapshotFailed" }));
      throw error;
    }
  }

  /** A leader's snapshot was saved here: the state machine is replaced by it. False: it was not needed any more. */
  async #install(meta: SnapshotMeta, from: NodeId, term: Term): Promise<boolean> {
    const { content, snapshots } = this.#options;
    if (!this.#running || content === undefined || this.#replacing || meta.index <= this.#machine.appliedIndex) return false;
    this.#replacing = true;
    const started = this.#clock.monotonic();
    try {
      await content.restore(snapshots.read(meta));
    } catch (error) {
      // Half replaced: no entry may be applied to that.
      this.#fail(error);
      throw error;
    }
    this.#replacing = false;
    const took = this.#clock.monotonic() - started;
    this.#metrics.fsmRestore.observe(took);
    this.#metrics.installSnapshot.observe(took);
    this.#options.logger.log("info", "Installed remote snapshot", { index: meta.index });
    this.feed({ kind: "snapshotInstalled", from, term, point: snapshotPoint(meta) });
    this.#requests.release(this.#machine.appliedIndex);
    return true;
  }

  /** One timer. It is left alone when it fires too early, which is the usual case: deadlines mostly move away. */
  #arm(): void {
    const at = Math.min(this.#machine.wakeAt, this.#requests.deadline);
    if (at >= this.#timerAt || at === Number.POSITIVE_INFINITY) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = this.#clock.after(Math.max(0, at - this.#clock.monotonic()), this.#onTimer);
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    this.#requests.expire(this.#clock.monotonic());
    this.#wake();
  };

  #wake(): void {
    this.feed({ kind: "clock", wall: this.#clock.wall() });
    this.feed({ kind: "wake" });
  }

  #fail(error: unknown): void {
    if (!this.#running) return;
    this.#halt("closed", `Raft has stopped: ${messageOf(error)}`);
    this.#options.logger.log("error", "raft has stopped", { error: messageOf(error) });
    this.#options.onFatal(error);
  }

  #halt(code: ErrorCode, message: string): void {
    if (!this.#running) return;
    this.#running = false;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#snapshotAgain?.cancel();
    void this.#transfer.stop(); // awaited by stop()
    this.#requests.rejectAll(code, message);
  }
}
