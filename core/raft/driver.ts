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
import { type Clock, runSoon, type Timer } from "../ports/clock.ts";
import type { LogEntry, RaftStore, SnapshotMeta, SnapshotStore } from "../ports/storage.ts";
import type { Logger } from "../ports/telemetry.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError, assert, type ErrorCode, messageOf, unreachable } from "../types/errors.ts";
import type { LogIndex, Millis, NodeId, Term } from "../types/ids.ts";
import {
  type Configuration,
  type DropReason,
  entryCommand,
  type MembershipChange,
  type Proposal,
  type RaftEvent,
  type RaftInput,
  type RaftMessage,
  type Role,
  snapshotPoint,
} from "./messages.ts";
import { RaftMachine, type RaftMachineOptions } from "./raft.ts";
import type { Held, Recovered } from "./recovery.ts";
import { type SnapshotContent, SnapshotTransfer } from "./snapshot-transfer.ts";
import { type Proposed, Waiter, WaiterQueue } from "./waiters.ts";

/** The state machine is given at most this much at once, so that timers run between slices of a long backlog. */
const applyBytesMax = 4 * 1024 * 1024;
/** Proposals and reads that wait; more are refused as `rate-limited`. */
const waitersMax = 100_000;
/** How long a proposal or read waits. Consul 1.8: 30 s to enter the log. */
const waitMax: Millis = 30_000;
/** What a proposer is told whose entry may or may not be committed by the next leader. */
export const leadershipLost = "leadership lost while committing log";
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
  /** The driver has stopped and must not be used any more: a write or the state machine failed. */
  readonly onFatal: (error: unknown) => void;
  /** Saves and replaces the state machine. Without it no snapshot is taken and the log only grows. */
  readonly content?: SnapshotContent;
}

/** For `consul info` and operators. */
export interface RaftStatus {
  readonly id: NodeId;
  readonly role: Role;
  readonly term: Term;
  readonly leader: NodeId | undefined;
  readonly leaderAddress: string | undefined;
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly snapshotIndex: LogIndex;
  readonly snapshotTerm: Term;
  readonly configuration: Configuration;
  readonly configurationIndex: LogIndex;
  /** Milliseconds; 0 on the leader, Infinity when no leader was heard of. */
  readonly lastContact: Millis;
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

  /** Not yet given to the machine. */
  #proposals: Proposal[] = [];
  #proposers: Waiter<Proposed>[] = [];
  #readers: Waiter<LogIndex>[] = [];
  /** Given to the machine, waiting for `accepted`, `readReady`, or the opposite. */
  readonly #asked = new Map<number, readonly Waiter<Proposed>[]>();
  readonly #askedReads = new Map<number, readonly Waiter<LogIndex>[]>();
  #idLast = 0;
  /** In the log, waiting to be applied. */
  readonly #proposed = new WaiterQueue<Proposed>();
  /** Linearizable once `index` is applied. */
  readonly #ready = new WaiterQueue<LogIndex>();
  #readersAsked = 0;
  /** Followers' readers: few, since the agent asks for many at once. */
  readonly #behind = new Set<{
    readonly index: LogIndex;
    readonly resolve: () => void;
    readonly reject: (error: AgentError) => void;
    readonly timer: Timer;
  }>();
  // Made once: a closure per proposal would cost as much as the proposal.
  readonly #addProposer = (resolve: (value: Proposed) => void, reject: (error: AgentError) => void): void => {
    this.#proposers.push(new Waiter(resolve, reject, this.#clock.monotonic() + waitMax));
  };
  readonly #addReader = (resolve: (value: LogIndex) => void, reject: (error: AgentError) => void): void => {
    this.#readers.push(new Waiter(resolve, reject, this.#clock.monotonic() + waitMax));
  };

  constructor(options: RaftDriverOptions) {
    this.#options = options;
    this.#machine = options.machine;
    this.#clock = options.clock;
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
    this.feed({ kind: "wake" });
  }

  /** Everyone who waits is told `closed`; resolves when the disk is at rest. The stores stay open. */
  async stop(): Promise<void> {
    this.#halt("closed", "The agent is shutting down");
    await this.#writing;
    await this.#saving?.catch(() => undefined); // reported where it was started
  }

  /** One event for the machine. */
  feed(input: RaftInput): void {
    if (!this.#running) return;
    this.#machine.step(this.#clock.monotonic(), input);
    this.#queueTurn();
  }

  /** A message from another server. */
  receive(message: RaftMessage): void {
    this.feed({ kind: "message", message });
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
    const refusal = this.#refusal(this.#proposers.length + this.#proposed.length);
    if (refusal !== undefined) return Promise.reject(refusal);
    this.#proposals.push({ type, data });
    this.#queueTurn();
    return new Promise(this.#addProposer);
  }

  /**
   * As {@link propose}, for entries that follow one another in the log: all of them are accepted or none. Resolves with the
   * last one's result.
   */
  proposeAll(entries: readonly Proposal[]): Promise<Proposed> {
    const refusal = this.#refusal(this.#proposers.length + this.#proposed.length + entries.length - 1);
    if (refusal !== undefined) return Promise.reject(refusal);
    assert(entries.length > 0, "something is proposed");
    const deadline = this.#clock.monotonic() + waitMax;
    for (const entry of entries) {
      assert(entry.data.length <= this.#machine.limits.entryBytesMax, "each part fits an entry");
      this.#proposals.push(entry);
    }
    for (let at = 1; at < entries.length; at++) this.#proposers.push(new Waiter<Proposed>(nothing, nothing, deadline));
    this.#queueTurn();
    return new Promise(this.#addProposer);
  }

  /** Resolves when the new configuration is committed. Rejects as `propose` does, and with `rejected` when the change makes no sense. */
  change(change: MembershipChange): Promise<Proposed> {
    const refusal = this.#refusal(this.#proposed.length);
    if (refusal !== undefined) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const id = ++this.#idLast;
      this.#asked.set(id, [new Waiter(resolve, reject, this.#clock.monotonic() + waitMax)]);
      this.feed({ kind: "change", id, change });
    });
  }

  /** Resolves when a linearizable read may be answered from the state machine, with the index it reflects at least. */
  readIndex(): Promise<LogIndex> {
    const machine = this.#machine;
    if (
      this.#running &&
      machine.isSoleVoter &&
      machine.leaseValid(this.#clock.monotonic()) &&
      machine.appliedIndex === machine.commitIndex
    ) {
      return Promise.resolve(machine.appliedIndex);
    }
    const refusal = this.#refusal(this.#readers.length + this.#readersAsked + this.#ready.length);
    if (refusal !== undefined) return Promise.reject(refusal);
    this.#queueTurn();
    return new Promise(this.#addReader);
  }

  /** Resolves when the state machine holds everything up to `index`. Rejects with `timeout`, `rate-limited` or `closed`. */
  whenApplied(index: LogIndex, timeout: Millis = waitMax): Promise<void> {
    if (this.#running && this.#machine.appliedIndex >= index) return Promise.resolve();
    const refusal = this.#refusal(this.#behind.size);
    if (refusal !== undefined) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(timeout, () => {
        this.#behind.delete(waiter);
        reject(new AgentError("timeout", { message: "timed out waiting for the state machine" }));
      });
      const waiter = { index, resolve, reject, timer };
      this.#behind.add(waiter);
    });
  }

  get appliedIndex(): LogIndex {
    return this.#machine.appliedIndex;
  }

  /** Default-consistency reads may be answered at once. */
  leaseValid(): boolean {
    return this.#running && this.#machine.leaseValid(this.#clock.monotonic());
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
    const machine = this.#machine;
    return {
      id: machine.id,
      role: machine.role,
      term: machine.term,
      leader: machine.leader,
      leaderAddress: this.#addressOf(machine.leader),
      commitIndex: machine.commitIndex,
      appliedIndex: machine.appliedIndex,
      lastIndex: machine.lastIndex,
      lastTerm: machine.lastTerm,
      snapshotIndex: machine.snapshotIndex,
      snapshotTerm: machine.snapshotTerm,
      configuration: machine.configuration,
      configurationIndex: machine.configurationIndex,
      lastContact: this.lastContact(),
    };
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
    runSoon(this.#clock, this.#turn);
  }

  readonly #turn = (): void => {
    this.#turnQueued = false;
    if (!this.#running) return;
    try {
      this.#submit();
      for (const message of this.#machine.takeMessages()) this.#options.send(message);
      for (const event of this.#machine.takeEvents()) this.#onEvent(event);
      if (this.#writing === undefined) this.#write();
      this.#apply();
      this.#arm();
    } catch (error) {
      this.#fail(error);
    }
  };

  /** Gives the machine everything that was asked for since the last turn. */
  #submit(): void {
    const now = this.#clock.monotonic();
    if (this.#proposals.length > 0) {
      const entries = this.#proposals;
      const id = ++this.#idLast;
      this.#asked.set(id, this.#proposers);
      this.#proposals = [];
      this.#proposers = [];
      this.#machine.step(now, { kind: "propose", id, entries });
    }
    if (this.#readers.length > 0) {
      const id = ++this.#idLast;
      this.#askedReads.set(id, this.#readers);
      this.#readersAsked += this.#readers.length;
      this.#readers = [];
      this.#machine.step(now, { kind: "read", id });
    }
  }

  #onEvent(event: RaftEvent): void {
    switch (event.kind) {
      case "role":
        if (event.role !== "leader") this.#proposed.rejectAll("no-leader", leadershipLost);
        this.#options.onLeader({
          role: event.role,
          isLeader: event.role === "leader",
          term: event.term,
          leader: event.leader,
          leaderAddress: this.#addressOf(event.leader),
        });
        return;
      case "accepted": {
        let index = event.index;
        for (const waiter of take(this.#asked, event.id)) {
          waiter.index = index++;
          waiter.term = event.term;
          this.#proposed.push(waiter);
        }
        return;
      }
      case "dropped":
        for (const waiter of take(this.#asked, event.id)) waiter.reject(dropped(event.reason));
        return;
      case "readReady":
        for (const waiter of this.#takeReaders(event.id)) {
          waiter.index = event.index;
          this.#ready.push(waiter);
        }
        this.#releaseReads();
        return;
      case "readDropped":
        for (const waiter of this.#takeReaders(event.id))
          waiter.reject(new AgentError("no-leader", { message: "No cluster leader" }));
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
    const next = this.#machine.takeWrite(this.#clock.monotonic());
    if (next === undefined) return;
    const { store } = this.#options;
    const { write, compactTo, ticket } = next;
    const durable = compactTo === undefined ? store.write(write) : store.write(write).then(() => store.compact(compactTo));
    this.#writing = durable.then(
      () => {
        this.#writing = undefined;
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
    const results = this.#options.apply(entries);
    this.#machine.step(this.#clock.monotonic(), { kind: "applied", index: last.index });
    for (let at = 0; at < entries.length && this.#proposed.length > 0; at++) this.#resolve(entries[at] as LogEntry, results[at]);
    this.#releaseReads();
    this.#takeDueSnapshot();
    // What applying caused, and the next slice: behind whatever else waits to run, if there is more.
    if (this.#machine.appliedIndex < this.#machine.applicableIndex) this.#clock.after(0, () => this.feed({ kind: "wake" }));
    else this.#queueTurn();
  }

  #resolve(entry: LogEntry, result: unknown): void {
    for (let first = this.#proposed.first; first !== undefined && first.index <= entry.index; first = this.#proposed.first) {
      this.#proposed.shift();
      if (first.index === entry.index && first.term === entry.term) first.resolve({ index: entry.index, result });
      else first.reject(new AgentError("no-leader", { message: leadershipLost }));
    }
  }

  #releaseReads(): void {
    const applied = this.#machine.appliedIndex;
    for (let first = this.#ready.first; first !== undefined && first.index <= applied; first = this.#ready.first) {
      this.#ready.shift();
      first.resolve(applied);
    }
    for (const waiter of this.#behind) {
      if (waiter.index > applied) continue;
      this.#behind.delete(waiter);
      waiter.timer.cancel();
      waiter.resolve();
    }
  }

  #takeReaders(id: number): readonly Waiter<LogIndex>[] {
    const waiters = take(this.#askedReads, id);
    this.#readersAsked -= waiters.length;
    return waiters;
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
      const meta = await snapshots.save(this.#machine.snapshotPoint(), begun(content.capture()));
      logger.log("info", "snapshot complete up to", { index: meta.index });
      this.feed({ kind: "snapshotTaken", index: meta.index, size: meta.size });
      return meta;
    } catch (error) {
      logger.log("error", "failed to take snapshot", { error: messageOf(error) });
      this.#clock.after(snapshotRetry, () => this.feed({ kind: "snapshotFailed" }));
      throw error;
    }
  }

  /** A leader's snapshot was saved here: the state machine is replaced by it. False: it was not needed any more. */
  async #install(meta: SnapshotMeta, from: NodeId, term: Term): Promise<boolean> {
    const { content, snapshots } = this.#options;
    if (!this.#running || content === undefined || this.#replacing || meta.index <= this.#machine.appliedIndex) return false;
    this.#replacing = true;
    try {
      await content.restore(snapshots.read(meta));
    } catch (error) {
      // Half replaced: no entry may be applied to that.
      this.#fail(error);
      throw error;
    }
    this.#replacing = false;
    this.#options.logger.log("info", "Installed remote snapshot", { index: meta.index });
    this.feed({ kind: "snapshotInstalled", from, term, point: snapshotPoint(meta) });
    this.#releaseReads();
    return true;
  }

  #addressOf(id: NodeId | undefined): string | undefined {
    if (id === undefined) return undefined;
    return this.#machine.configuration.servers.find((server) => server.id === id)?.address;
  }

  /** One timer. It is left alone when it fires too early, which is the usual case: deadlines mostly move away. */
  #arm(): void {
    let at = this.#machine.wakeAt;
    const proposed = this.#proposed.first;
    if (proposed !== undefined && proposed.deadline < at) at = proposed.deadline;
    const ready = this.#ready.first;
    if (ready !== undefined && ready.deadline < at) at = ready.deadline;
    if (at >= this.#timerAt || at === Number.POSITIVE_INFINITY) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = this.#clock.after(Math.max(0, at - this.#clock.monotonic()), this.#onTimer);
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#clock.monotonic();
    this.#proposed.rejectExpired(now, "timed out waiting for the entry to be committed");
    this.#ready.rejectExpired(now, "timed out waiting for the state machine");
    this.feed({ kind: "wake" });
  };

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
    this.#transfer.stop();
    const error = new AgentError(code, { message });
    for (const waiter of this.#proposers) waiter.reject(error);
    for (const waiter of this.#readers) waiter.reject(error);
    for (const waiters of this.#asked.values()) for (const waiter of waiters) waiter.reject(error);
    for (const waiters of this.#askedReads.values()) for (const waiter of waiters) waiter.reject(error);
    this.#proposers = [];
    this.#readers = [];
    this.#asked.clear();
    this.#askedReads.clear();
    this.#proposed.rejectAll(code, message);
    this.#ready.rejectAll(code, message);
    for (const waiter of this.#behind) {
      waiter.timer.cancel();
      waiter.reject(error);
    }
    this.#behind.clear();
  }
}

/**
 * The same content, of which the first part is asked for now: a generator does nothing before, and would capture the
 * state as it is when the store gets round to reading it.
 */
async function* begunFrom(iterator: AsyncIterator<Bytes>, first: Promise<IteratorResult<Bytes>>): AsyncGenerator<Bytes> {
  for (let part = await first; part.done !== true; part = await iterator.next()) yield part.value;
}
function begun(content: AsyncIterable<Bytes>): AsyncIterable<Bytes> {
  const iterator = content[Symbol.asyncIterator]();
  const first = iterator.next();
  first.catch(() => undefined); // told to whoever reads
  return begunFrom(iterator, first);
}

function nothing(): void {}

function take<Value>(asked: Map<number, readonly Waiter<Value>[]>, id: number): readonly Waiter<Value>[] {
  const waiters = asked.get(id);
  assert(waiters !== undefined, "the machine answers each question once");
  asked.delete(id);
  return waiters;
}

function dropped(reason: DropReason): AgentError {
  switch (reason) {
    case "not-leader":
      return new AgentError("no-leader", { message: "No cluster leader" });
    case "transferring":
      return new AgentError("no-leader", { message: "leadership transfer in progress" });
    case "overloaded":
      return new AgentError("rate-limited", { message: "Too much is waiting to be committed" });
    case "change-pending":
      return new AgentError("rejected", { message: "Another change of the Raft configuration is under way" });
    case "change-refused":
      return new AgentError("rejected", { message: "The change would leave no voter, or names a server that is not there" });
    default:
      return unreachable(reason);
  }
}
