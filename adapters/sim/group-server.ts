/**
 * One server of a simulated group: a real RaftMachine and a real Catalog, their lanes pulled by hand.
 *
 *   links ──message──►            ┌─► messages ─► links
 *   disk ───written──► machine ───┼─► write ────► GroupDisk, one in flight
 *   clock ──wake─────►            ├─► committed ► Catalog ─► answers
 *   clients ─request─►            └─► events ───► snapshots, leadership
 *
 * What core/raft/driver.ts and core/agent do with promises is done here with callbacks, by the same rules: a write is
 * answered when it is applied here, a default read while the lease holds and the leader has applied its barrier, a
 * consistent read when what its read index named is applied. Inputs of a paused server wait and are all delivered
 * when it goes on.
 */
import { SessionTimers } from "../../core/agent/session-timers.ts";
import { Catalog } from "../../core/catalog/catalog.ts";
import type { Command, CommandResult } from "../../core/catalog/commands.ts";
import type { KvRecord } from "../../core/catalog/records.ts";
import { decode, encode } from "../../core/codec/cbor.ts";
import { parseDuration } from "../../core/config/duration.ts";
import { below, between, type Random } from "../../core/ports/random.ts";
import type { LogEntry } from "../../core/ports/storage.ts";
import type { Logger } from "../../core/ports/telemetry.ts";
import { type Configuration, entryCommand, type RaftEvent, type RaftInput, type RaftMessage } from "../../core/raft/messages.ts";
import { RaftMachine } from "../../core/raft/raft.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { EpochMillis, LogIndex, Millis, NodeId, Term } from "../../core/types/ids.ts";
import { type DiskLoaded, GroupDisk, type StoredSnapshot } from "./group-disk.ts";
import { PendingRequests, type Reply, type Request } from "./pending-requests.ts";
import { SnapshotCourier } from "./snapshot-courier.ts";
import { restore, SnapshotSaver } from "./snapshot-saver.ts";
import type { Surroundings } from "./surroundings.ts";
import { happened } from "./trace.ts";
import { check } from "./violation.ts";

const silent: Logger = { log() {}, enabled: () => false, child: () => silent };
const settled = Promise.resolve();
const wallOrigin: EpochMillis = 1_600_000_000_000;
/** Virtual time beyond its due at which a timer fires: a clock that ran at another rate must not round it to just before. */
const timerSlack: Millis = 0.001;

export class GroupServer {
  readonly id: NodeId;
  readonly number: number;
  readonly disk: GroupDisk;
  readonly rate: number;
  wallOffset: Millis = 0;
  /** When that changed last. */
  jumpedAt: Millis = Number.NEGATIVE_INFINITY;
  machine: RaftMachine | undefined;
  catalog = new Catalog();
  /** Grows with each start; what was planned in an earlier life does not happen. */
  life = 0;
  readonly #group: Surroundings;
  readonly #random: Random;
  readonly #diskRandom: Random;
  readonly #bootstrap: Configuration | undefined;
  readonly #courier: SnapshotCourier;
  readonly #saver: SnapshotSaver;
  #refused = false;
  /** Undefined: running. Else what came in while it was paused. */
  #backlog: (() => void)[] | undefined;
  #asleepSince: Millis | undefined;
  /** How long it was asleep in all. */
  #slept: Millis = 0;
  /** By its own clock: when the write in flight was given to the disk. */
  #writeSince: Millis | undefined;
  #wakeAt: Millis = Number.POSITIVE_INFINITY;
  #turnQueued = false;
  #turning = false;
  #leadingTerm: Term = 0;
  /** While it leads and has applied its barrier. */
  #sessions: SessionTimers | undefined;
  /** It has applied something while it led this term. */
  #appliedTerm: Term = 0;
  #replacing = false;
  /** The state machine is between two slices. */
  #applyBusy = false;
  readonly #pending = new PendingRequests();

  constructor(group: Surroundings, id: NodeId, number: number, random: Random, bootstrap: Configuration | undefined) {
    this.#group = group;
    this.id = id;
    this.number = number;
    this.#random = random;
    this.#diskRandom = random.fork("disk");
    const { segmentBytes, extendBytes, diskMax } = group.faults;
    this.disk = new GroupDisk(random.fork("crashes"), { segmentBytes, extendBytes, syncMax: diskMax });
    const spread = group.faults.clockSpread;
    this.rate = between(random.fork("clock"), 1 - spread, 1 + spread);
    this.#bootstrap = bootstrap;
    this.#courier = new SnapshotCourier(group, this, random.fork("snapshots"));
    this.#saver = new SnapshotSaver(group, this, this.#diskRandom);
  }

  get up(): boolean {
    return this.machine !== undefined;
  }
  get paused(): boolean {
    return this.#backlog !== undefined;
  }
  get asleep(): boolean {
    return this.#asleepSince !== undefined;
  }
  /** Its monotonic clock, which stands still while it is asleep. */
  get localNow(): Millis {
    const { now } = this.#group;
    return (now - this.#slept - (now - (this.#asleepSince ?? now))) * this.rate;
  }
  get wall(): EpochMillis {
    return Math.floor(wallOrigin + this.#group.now * this.rate + this.wallOffset);
  }
  /** Undefined when it has no lease. */
  get leaseTerm(): Term | undefined {
    const { machine } = this;
    return machine?.role === "leader" && machine.leaseValid(this.localNow, this.wall) ? machine.term : undefined;
  }

  start(): void {
    if (this.#refused) return;
    const { ledger, trace, now } = this.#group;
    this.life++;
    const begun = this.#begin();
    if (begun === undefined) return;
    this.catalog = begun.catalog;
    this.machine = begun.machine;
    const { hardState, entries, snapshot } = begun.loaded;
    ledger.started(this.id, { hardState, entries, snapshotIndex: snapshot?.point.index ?? 0 });
    if (snapshot !== undefined) ledger.compare(this.id, snapshot.point.index, this.catalog);
    trace.mark(now, happened.started, this.number, this.life, this.machine.lastIndex);
    trace.tell(now, this.id, this.machine, `starts, for the ${this.life}. time`);
    this.#turn();
  }

  /** Undefined: its disk is damaged, and it refuses to start. So it stays: what a vote was cannot be guessed. */
  #begin(): { readonly loaded: DiskLoaded; readonly catalog: Catalog; readonly machine: RaftMachine } | undefined {
    const { faults, trace, now } = this.#group;
    try {
      const loaded = this.disk.load();
      const { snapshot, hardState, entries, compacted } = loaded;
      const catalog = new Catalog();
      if (snapshot !== undefined) restore(catalog, snapshot.content);
      const machine = new RaftMachine({
        id: this.id,
        random: this.#random.fork(`life ${this.life}`),
        timing: faults.timing,
        limits: faults.limits,
        restored: { hardState, entries: entries.slice(), snapshot: snapshot?.point, compacted },
        ...(this.#bootstrap === undefined ? undefined : { bootstrap: this.#bootstrap }),
        now: this.localNow,
      });
      machine.step(this.localNow, { kind: "clock", wall: this.wall });
      return { loaded, catalog, machine };
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      check(this.#group.isHurt(this.id), "a whole disk is readable", () => `${this.id} refuses to start: ${error.message}`);
      this.#refused = true;
      trace.mark(now, happened.refusedToStart, this.number, this.life, 0);
      trace.tell(now, this.id, undefined, `refuses to start: ${error.message}`);
      return undefined;
    }
  }

  /** Nothing of this life happens any more; of what its disk had not finished a part may be stored. */
  crash(how: "process" | "power"): void {
    const { trace, now } = this.#group;
    trace.mark(now, happened.crashed, this.number, this.life, how.length);
    trace.tell(now, this.id, this.machine, how === "power" ? "loses its power" : "is killed");
    this.machine = undefined;
    this.life++;
    this.disk.crash(how);
    this.#backlog = undefined;
    this.#wakeUp();
    this.#writeSince = undefined;
    this.#wakeAt = Number.POSITIVE_INFINITY;
    this.#turnQueued = false;
    this.#turning = false;
    this.#leadingTerm = 0;
    this.#endSessions();
    this.#appliedTerm = 0;
    this.#saver.stop();
    this.#replacing = false;
    this.#applyBusy = false;
    this.#pending.clear();
    this.#courier.stop();
  }

  /** `asleep`: with its whole machine, whose monotonic clock stands still meanwhile. */
  pause(asleep: boolean): void {
    this.#backlog ??= [];
    const { trace, now } = this.#group;
    if (asleep) this.#asleepSince ??= now;
    trace.mark(now, happened.paused, this.number, asleep ? 1 : 0, 0);
    trace.tell(now, this.id, this.machine, asleep ? "falls asleep" : "is paused");
  }

  resume(): void {
    const backlog = this.#backlog;
    if (backlog === undefined) return;
    this.#backlog = undefined;
    this.#wakeUp();
    this.#group.trace.mark(this.#group.now, happened.resumed, this.number, backlog.length, 0);
    this.#group.trace.tell(this.#group.now, this.id, this.machine, `goes on, ${backlog.length} inputs waited`);
    for (const act of backlog) act();
  }

  #wakeUp(): void {
    if (this.#asleepSince !== undefined) this.#slept += this.#group.now - this.#asleepSince;
    this.#asleepSince = undefined;
  }

  /** Plans something in this life, on the world's clock. While paused it waits. */
  plan(delay: Millis, act: () => void): void {
    const { life } = this;
    this.#group.at(delay, () => {
      if (this.life !== life) return;
      if (this.#backlog === undefined) act();
      else this.#backlog.push(() => this.life === life && act());
    });
  }

  /** Does it now, or when the pause is over; not at all when it is down. */
  deliver(act: () => void): void {
    if (this.machine === undefined) return;
    const { life } = this;
    if (this.#backlog === undefined) act();
    else this.#backlog.push(() => this.life === life && act());
  }

  receive(message: RaftMessage): void {
    const { trace, now } = this.#group;
    trace.mark(now, happened.received, this.number, message.term, message.kind.length);
    trace.tell(now, this.id, this.machine, `gets ${message.kind} from ${message.from}, term ${message.term}`);
    this.feed({ kind: "message", message });
    if (message.kind === "snapshotChunk" || message.kind === "snapshotChunkReply") this.#courier.receive(message);
  }

  feed(input: RaftInput): void {
    const { machine } = this;
    if (machine === undefined) return;
    if (input.kind === "wake") machine.step(this.localNow, { kind: "clock", wall: this.wall });
    machine.step(this.localNow, input);
    const { ledger, faults } = this.#group;
    const diskMillis = this.#writeSince === undefined || input.kind !== "wake" ? 0 : this.localNow - this.#writeSince;
    ledger.stepped(this.id, machine, diskMillis, faults.timing.election, this.#group.leaseTerms);
    if (this.#group.faults.coalesce || this.#turning) this.#queueTurn();
    else this.#turn();
  }

  /** A read past the barrier that clients wait for: Raft's own promise must hold without it. */
  probe(): void {
    if (this.machine?.role !== "leader" || this.paused) return;
    this.checkLease();
    this.#read("", () => {});
  }

  /** Something was acknowledged, here or elsewhere: if this server would answer a read now, it must know of it. */
  checkLease(): void {
    const { machine } = this;
    if (machine === undefined || !this.#leads(machine) || !machine.leaseValid(this.localNow, this.wall)) return;
    const { ledger } = this.#group;
    ledger.read(this.id, ledger.acknowledged, machine.appliedIndex);
  }

  /** A client's request arrives. `reply` is called at most once; not at all when the server crashes before. */
  request(request: Request, reply: Reply): void {
    const { machine } = this;
    if (machine === undefined) return;
    if (request.kind === "write") {
      if (request.command.kind === "sessionDestroy") this.#group.ledger.endAsked(request.command.id);
      this.#propose(request.command, reply);
      return;
    }
    const { ledger } = this.#group;
    if (request.kind === "read" && request.consistency === "stale") {
      this.#readStale(machine, request.key, reply);
      return;
    }
    if (!this.#leads(machine)) {
      reply({ kind: "refused", leader: machine.leader === this.id ? undefined : machine.leader });
      return;
    }
    if (request.kind === "renew") {
      const known = this.catalog.evaluate({ kind: "session", id: request.session }).answer !== undefined;
      const effect = known && this.#sessions?.renew(request.session) === true;
      if (effect) ledger.renewed(request.session, request.ttl, this.#group.now);
      reply({ kind: "done", index: 0, result: { kind: "took", effect } });
      return;
    }
    const { key, consistency } = request;
    if (consistency === "default" && machine.leaseValid(this.localNow, this.wall)) {
      ledger.read(this.id, ledger.acknowledged, machine.appliedIndex);
      reply({ kind: "value", record: this.#value(key) });
      return;
    }
    this.#read(key, reply);
  }

  /** A snapshot arrived and is stored: the state machine is replaced by it, unless it got further meanwhile. */
  install({ point, content }: StoredSnapshot, from: NodeId, term: Term, done: () => void): void {
    const { machine } = this;
    if (machine === undefined) return;
    if (this.#replacing || point.index <= machine.appliedIndex) {
      done();
      return;
    }
    this.#replacing = true;
    this.plan(between(this.#diskRandom, 0, this.#group.healed(this.id) ? 1 : 20), () => {
      restore(this.catalog, content);
      this.#replacing = false;
      const { ledger, trace, now } = this.#group;
      ledger.compare(this.id, point.index, this.catalog);
      trace.mark(now, happened.snapshotInstalled, this.number, point.index, point.term);
      trace.tell(now, this.id, machine, `installed the snapshot of ${point.index} from ${from}`);
      this.feed({ kind: "snapshotInstalled", from, term, point });
      done();
    });
  }

  #readStale(machine: RaftMachine, key: string, reply: Reply): void {
    const { ledger, trace, now } = this.#group;
    const index = machine.appliedIndex;
    const record = this.#value(key);
    ledger.readStale(this.id, this.life, key, index, record);
    trace.mark(now, happened.readStale, this.number, index, 0);
    reply({ kind: "value", record });
  }

  /** It leads, and has applied everything before: sessions with a TTL have all of it from now. */
  #keepSessions(): void {
    const timers = new SessionTimers({
      clock: {
        monotonic: () => this.localNow,
        wall: () => this.wall,
        after: (delay, fire) => {
          let open = true;
          this.plan(delay / this.rate + timerSlack, () => {
            if (open) fire();
          });
          return {
            cancel: () => {
              open = false;
            },
          };
        },
      },
      logger: silent,
      parseTtl: (ttl) => {
        const parsed = parseDuration(ttl);
        return parsed.kind === "duration" ? parsed.millis : undefined;
      },
      destroy: (id) => {
        this.#propose({ kind: "sessionDestroy", id, now: 0 }, () => {});
        return settled;
      },
    });
    this.#sessions = timers;
    for (const session of this.catalog.evaluate({ kind: "sessions" }).answer) timers.add(session);
  }

  #propose(command: Command, reply: Reply): void {
    const stamped = "now" in command ? { ...command, now: this.wall } : command;
    const id = this.#pending.write(reply);
    this.feed({ kind: "propose", id, entries: [{ type: entryCommand, data: encode(stamped) }] });
  }

  #read(key: string, reply: Reply): void {
    const id = this.#pending.read({ key, floor: this.#group.ledger.acknowledged, reply });
    this.feed({ kind: "read", id });
  }

  #queueTurn(): void {
    if (this.#turnQueued) return;
    this.#turnQueued = true;
    this.plan(0, () => {
      this.#turnQueued = false;
      this.#turn();
    });
  }

  #turn(): void {
    const machine = this.machine;
    if (machine === undefined) return;
    this.#turning = true;
    const { ledger } = this.#group;
    for (const message of machine.takeMessages()) {
      ledger.said(message, this.disk);
      this.#group.send(message);
    }
    for (const event of machine.takeEvents()) this.#onEvent(machine, event);
    this.#write(machine);
    this.#apply(machine);
    this.#turning = false;
    machine.validate();
    this.#arm(machine);
  }

  #onEvent(machine: RaftMachine, event: RaftEvent): void {
    const { trace, now } = this.#group;
    switch (event.kind) {
      case "role":
        trace.mark(now, happened.role, this.number, event.term, event.role.length);
        trace.tell(
          now,
          this.id,
          machine,
          event.leader === undefined ? `is ${event.role}` : `is ${event.role}, led by ${event.leader}`,
        );
        if (event.role === "leader") {
          this.#group.delicate(this.id, "leads");
          const { term } = event;
          this.#propose({ kind: "barrier" }, (response) => {
            if (response.kind !== "done") return;
            this.#leadingTerm = term;
            this.#keepSessions();
          });
          return;
        }
        this.#endSessions();
        if (event.role === "candidate") this.#group.delicate(this.id, "campaigns");
        this.#pending.leadershipLost();
        return;
      case "accepted":
        this.#pending.accepted(event.id, event.index, event.term);
        return;
      case "readReady":
        this.#pending.readReady(event.id, event.index);
        this.#releaseReads(machine);
        return;
      case "dropped":
      case "readDropped":
        this.#pending.refused(event.id, machine.leader);
        return;
      case "sendSnapshot":
        this.#courier.sendTo(event.to, machine);
        return;
      case "snapshotDue":
        this.#saver.save(machine);
        return;
      case "configuration":
        trace.tell(now, this.id, machine, `configuration ${describeConfiguration(event.configuration)}`);
        return;
    }
  }

  #write(machine: RaftMachine): void {
    if (this.#writeSince !== undefined) return;
    const { faults, ledger, trace } = this.#group;
    const taken = machine.takeWrite(this.localNow);
    if (taken === undefined) return;
    ledger.logged(this.id, machine, taken.write.entries);
    this.#writeSince = this.localNow;
    const healed = this.#group.healed(this.id);
    const random = this.#diskRandom;
    const stalled = below(random, 1000) < faults.stall && !healed;
    const fails = below(random, 1000) < faults.writeError && !healed;
    const delay = stalled ? between(random, 100, 1500) : between(random, 0, healed ? 2 : faults.diskMax);
    const failed = ({ message }: AgentError): void => {
      trace.mark(this.#group.now, happened.writeFailed, this.number, taken.ticket, 0);
      trace.tell(this.#group.now, this.id, machine, `cannot write, and stops: ${message}`);
      this.#group.failed(this.id);
    };
    // The disk works on while its server is paused; what it reports waits.
    const { life } = this;
    this.disk.write(taken, {
      first: delay,
      wait: (duration, act) =>
        this.#group.at(duration, () => {
          if (this.life !== life) return;
          if (fails) failed(new AgentError("storage-failed", { message: "input/output error" }));
          else act();
        }),
      begun: () => {
        // Not at once: what struck would be gone on with.
        this.#group.at(0, () => this.life === life && this.#group.delicate(this.id, "new segment"));
      },
      done: () =>
        this.deliver(() => {
          this.#writeSince = undefined;
          if (taken.compactTo !== undefined) this.#group.delicate(this.id, "compacted");
          trace.mark(this.#group.now, happened.written, this.number, taken.ticket, taken.write.entries.length);
          trace.tell(this.#group.now, this.id, machine, `wrote ${taken.write.entries.length} entries`);
          this.feed({ kind: "written", ticket: taken.ticket });
        }),
      failed,
    });
  }

  #apply(machine: RaftMachine): void {
    if (this.#replacing || this.#applyBusy) return;
    const entries = machine.takeCommitted(this.#group.faults.applyBytesMax);
    const last = entries[entries.length - 1];
    if (last === undefined) return;
    const { trace, now } = this.#group;
    const results = entries.map((entry) => this.#applyEntry(entry));
    if (machine.role === "leader" && this.#appliedTerm !== machine.term) {
      this.#appliedTerm = machine.term;
      this.#group.delicate(this.id, "leads");
    }
    machine.step(this.localNow, { kind: "applied", index: last.index });
    trace.mark(now, happened.applied, this.number, last.index, entries.length);
    trace.tell(now, this.id, machine, `applied up to ${last.index}`);
    for (const [at, entry] of entries.entries())
      this.#pending.applied(entry, results[at] ?? { kind: "done" }, () => this.#acknowledge(entry.index));
    this.#releaseReads(machine);
    // What applying caused, and the next slice.
    const { applyPauseMax } = this.#group.faults;
    if (applyPauseMax === 0 || this.#group.healed(this.id)) {
      this.#queueTurn();
      return;
    }
    this.#applyBusy = true;
    this.plan(between(this.#diskRandom, 0, applyPauseMax), () => {
      this.#applyBusy = false;
      this.#turn();
    });
  }

  #endSessions(): void {
    this.#sessions?.clear();
    this.#sessions = undefined;
  }

  #applyEntry(entry: LogEntry): CommandResult | undefined {
    const command = entry.type === entryCommand ? (decode(entry.data) as Command) : undefined;
    const result = command === undefined ? undefined : this.catalog.apply(entry.index, command);
    if (command?.kind === "sessionCreate" && result?.kind === "session") this.#sessions?.add(command.session);
    if (command?.kind === "sessionDestroy") {
      this.#sessions?.remove(command.id);
      if (entry.index > this.#group.ledger.applied.length) this.#group.ledger.ended(command.id, this.#group.now);
    }
    this.catalog.watches.flush();
    this.#group.ledger.took(this.id, this.machine?.term ?? 0, entry, result, this.catalog);
    return result;
  }

  #acknowledge(index: LogIndex): void {
    const { ledger } = this.#group;
    if (index <= ledger.acknowledged) return;
    ledger.acknowledged = index;
    this.#group.acknowledged();
  }

  #releaseReads(machine: RaftMachine): void {
    const applied = machine.appliedIndex;
    for (const { key, floor, reply } of this.#pending.takeReady(applied)) {
      this.#group.ledger.read(this.id, floor, applied);
      reply({ kind: "value", record: this.#value(key) });
    }
  }

  /** It leads and holds all that its predecessors acknowledged. */
  #leads(machine: RaftMachine): boolean {
    return machine.role === "leader" && this.#leadingTerm === machine.term;
  }

  #value(key: string): KvRecord | undefined {
    return this.catalog.evaluate({ kind: "kvGet", key }).answer;
  }

  #arm(machine: RaftMachine): void {
    const at = machine.wakeAt;
    if (at >= this.#wakeAt || at === Number.POSITIVE_INFINITY) return;
    this.#wakeAt = at;
    this.plan(Math.max(0, at - this.localNow) / this.rate + timerSlack, () => {
      if (this.#wakeAt !== at) return; // an earlier one was set meanwhile
      this.#wakeAt = Number.POSITIVE_INFINITY;
      this.feed({ kind: "wake" });
    });
  }
}

export function describeConfiguration({ servers }: Configuration): string {
  return servers.map(({ id, voter }) => (voter ? id : `(${id})`)).join(" ");
}
