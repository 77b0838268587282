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
import { Catalog } from "../../core/catalog/catalog.ts";
import type { Command, CommandResult } from "../../core/catalog/commands.ts";
import type { KvRecord } from "../../core/catalog/records.ts";
import { decode, encode } from "../../core/codec/cbor.ts";
import { below, between, type Random } from "../../core/ports/random.ts";
import type { LogEntry } from "../../core/ports/storage.ts";
import { type Configuration, entryCommand, type RaftEvent, type RaftInput, type RaftMessage } from "../../core/raft/messages.ts";
import { RaftMachine } from "../../core/raft/raft.ts";
import { concat, emptyBytes } from "../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../core/types/errors.ts";
import type { EpochMillis, LogIndex, Millis, NodeId, Term } from "../../core/types/ids.ts";
import { GroupDisk, type StoredSnapshot } from "./group-disk.ts";
import type { Ledger } from "./ledger.ts";
import { SnapshotCourier } from "./snapshot-courier.ts";
import type { Surroundings } from "./surroundings.ts";
import { happened } from "./trace.ts";
import { check } from "./violation.ts";

export type Consistency = "default" | "consistent" | "stale";
export type Request =
  | { readonly kind: "write"; readonly command: Command }
  | { readonly kind: "read"; readonly key: string; readonly consistency: Consistency };
export type Response =
  | { readonly kind: "done"; readonly index: LogIndex; readonly result: CommandResult }
  | { readonly kind: "value"; readonly record: KvRecord | undefined }
  /** It did not happen and will not. */
  | { readonly kind: "refused"; readonly leader: NodeId | undefined }
  /** Leadership was lost: it may happen yet. */
  | { readonly kind: "unknown" };
export type Reply = (response: Response) => void;

interface Proposed {
  readonly reply: Reply;
  index: LogIndex;
  term: Term;
}
interface Reading {
  readonly key: string;
  readonly floor: LogIndex;
  readonly reply: Reply;
  index: LogIndex;
}

const wallOrigin: EpochMillis = 1_600_000_000_000;
/** Virtual time beyond its due at which a timer fires: a clock that ran at another rate must not round it to just before. */
const timerSlack: Millis = 0.001;

export class GroupServer {
  readonly id: NodeId;
  readonly number: number;
  readonly disk: GroupDisk;
  readonly rate: number;
  wallOffset: Millis = 0;
  machine: RaftMachine | undefined;
  catalog = new Catalog();
  /** Grows with each start; what was planned in an earlier life does not happen. */
  life = 0;
  readonly #group: Surroundings;
  readonly #random: Random;
  readonly #diskRandom: Random;
  readonly #bootstrap: Configuration | undefined;
  readonly #courier: SnapshotCourier;
  /** Undefined: running. Else what came in while it was paused. */
  #backlog: (() => void)[] | undefined;
  /** By its own clock: when the write in flight was given to the disk. */
  #writeSince: Millis | undefined;
  #wakeAt: Millis = Number.POSITIVE_INFINITY;
  #turnQueued = false;
  #turning = false;
  #leadingTerm: Term = 0;
  /** It has applied something while it led this term. */
  #appliedTerm: Term = 0;
  #saving = false;
  #replacing = false;
  /** The state machine is between two slices. */
  #applyBusy = false;
  #idLast = 0;
  readonly #asked = new Map<number, Proposed>();
  #proposed: Proposed[] = [];
  readonly #askedReads = new Map<number, Reading>();
  #ready: Reading[] = [];

  constructor(group: Surroundings, id: NodeId, number: number, random: Random, bootstrap: Configuration | undefined) {
    this.#group = group;
    this.id = id;
    this.number = number;
    this.#random = random;
    this.#diskRandom = random.fork("disk");
    this.disk = new GroupDisk(random.fork("crashes"));
    const spread = group.faults.clockSpread;
    this.rate = between(random.fork("clock"), 1 - spread, 1 + spread);
    this.#bootstrap = bootstrap;
    this.#courier = new SnapshotCourier(group, this, random.fork("snapshots"));
  }

  get up(): boolean {
    return this.machine !== undefined;
  }
  get paused(): boolean {
    return this.#backlog !== undefined;
  }
  /** Its monotonic clock. */
  get localNow(): Millis {
    return this.#group.now * this.rate;
  }
  get wall(): EpochMillis {
    return Math.floor(wallOrigin + this.localNow + this.wallOffset);
  }
  /** Undefined when it has no lease. */
  get leaseTerm(): Term | undefined {
    const { machine } = this;
    return machine?.role === "leader" && machine.leaseValid(this.localNow) ? machine.term : undefined;
  }

  start(): void {
    const { faults, ledger, trace, now } = this.#group;
    const { disk } = this;
    ledger.started(this.id, disk);
    this.life++;
    this.catalog = new Catalog();
    if (disk.snapshot !== undefined) restore(this.catalog, disk.snapshot.content);
    this.machine = new RaftMachine({
      id: this.id,
      random: this.#random.fork(`life ${this.life}`),
      timing: faults.timing,
      limits: faults.limits,
      restored: { hardState: disk.hardState, entries: disk.entries.slice(), snapshot: disk.snapshot?.point },
      ...(this.#bootstrap === undefined ? undefined : { bootstrap: this.#bootstrap }),
      now: this.localNow,
    });
    if (disk.snapshot !== undefined) ledger.compare(this.id, disk.snapshot.point.index, this.catalog);
    trace.mark(now, happened.started, this.number, this.life, this.machine.lastIndex);
    trace.tell(now, this.id, this.machine, `starts, for the ${this.life}. time`);
    this.#turn();
  }

  /** Nothing of this life happens any more; of what its disk had not finished a part may be stored. */
  crash(): void {
    const { trace, now } = this.#group;
    trace.mark(now, happened.crashed, this.number, this.life, 0);
    trace.tell(now, this.id, this.machine, "crashes");
    this.machine = undefined;
    this.life++;
    this.disk.crash();
    this.#backlog = undefined;
    this.#writeSince = undefined;
    this.#wakeAt = Number.POSITIVE_INFINITY;
    this.#turnQueued = false;
    this.#turning = false;
    this.#leadingTerm = 0;
    this.#appliedTerm = 0;
    this.#saving = false;
    this.#replacing = false;
    this.#applyBusy = false;
    this.#asked.clear();
    this.#proposed = [];
    this.#askedReads.clear();
    this.#ready = [];
    this.#courier.stop();
  }

  pause(): void {
    this.#backlog ??= [];
    this.#group.trace.mark(this.#group.now, happened.paused, this.number, 0, 0);
    this.#group.trace.tell(this.#group.now, this.id, this.machine, "is paused");
  }

  resume(): void {
    const backlog = this.#backlog;
    if (backlog === undefined) return;
    this.#backlog = undefined;
    this.#group.trace.mark(this.#group.now, happened.resumed, this.number, backlog.length, 0);
    this.#group.trace.tell(this.#group.now, this.id, this.machine, `goes on, ${backlog.length} inputs waited`);
    for (const act of backlog) act();
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
    const id = ++this.#idLast;
    this.#askedReads.set(id, { key: "", floor: this.#group.ledger.acknowledged, reply: () => {}, index: 0 });
    this.feed({ kind: "read", id });
  }

  /** Something was acknowledged, here or elsewhere: if this server would answer a read now, it must know of it. */
  checkLease(): void {
    const { machine } = this;
    if (machine === undefined || !this.#leads(machine) || !machine.leaseValid(this.localNow)) return;
    const { ledger } = this.#group;
    ledger.read(this.id, ledger.acknowledged, machine.appliedIndex);
  }

  /** A client's request arrives. `reply` is called at most once; not at all when the server crashes before. */
  request(request: Request, reply: Reply): void {
    const { machine } = this;
    if (machine === undefined) return;
    if (request.kind === "write") {
      this.#propose(request.command, reply);
      return;
    }
    const { key, consistency } = request;
    if (consistency === "stale") {
      reply({ kind: "value", record: this.#value(key) });
      return;
    }
    const { ledger } = this.#group;
    if (!this.#leads(machine)) {
      reply({ kind: "refused", leader: machine.leader === this.id ? undefined : machine.leader });
      return;
    }
    if (consistency === "default" && machine.leaseValid(this.localNow)) {
      ledger.read(this.id, ledger.acknowledged, machine.appliedIndex);
      reply({ kind: "value", record: this.#value(key) });
      return;
    }
    const id = ++this.#idLast;
    this.#askedReads.set(id, { key, floor: ledger.acknowledged, reply, index: 0 });
    this.feed({ kind: "read", id });
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

  #propose(command: Command, reply: Reply): void {
    const stamped = "now" in command ? { ...command, now: this.wall } : command;
    const id = ++this.#idLast;
    this.#asked.set(id, { reply, index: 0, term: 0 });
    this.feed({ kind: "propose", id, entries: [{ type: entryCommand, data: encode(stamped) }] });
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
            if (response.kind === "done") this.#leadingTerm = term;
          });
          return;
        }
        if (event.role === "candidate") this.#group.delicate(this.id, "campaigns");
        for (const { reply } of this.#proposed) reply({ kind: "unknown" });
        this.#proposed = [];
        return;
      case "accepted":
        for (const proposed of take(this.#asked, event.id)) {
          proposed.index = event.index;
          proposed.term = event.term;
          this.#proposed.push(proposed);
        }
        return;
      case "dropped":
        for (const { reply } of take(this.#asked, event.id)) reply({ kind: "refused", leader: machine.leader });
        return;
      case "readReady":
        for (const reading of take(this.#askedReads, event.id)) {
          reading.index = event.index;
          this.#ready.push(reading);
        }
        this.#releaseReads(machine);
        return;
      case "readDropped":
        for (const { reply } of take(this.#askedReads, event.id)) reply({ kind: "refused", leader: machine.leader });
        return;
      case "sendSnapshot":
        this.#courier.sendTo(event.to, machine);
        return;
      case "snapshotDue":
        this.#save(machine);
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
    const durable = this.disk.begin(taken);
    const { life } = this;
    // The disk works on while its server is paused; what it reports waits.
    this.#group.at(delay, () => {
      if (this.life !== life) return;
      if (fails) {
        trace.mark(this.#group.now, happened.writeFailed, this.number, taken.ticket, 0);
        trace.tell(this.#group.now, this.id, machine, "cannot write: it stops");
        this.#group.failed(this.id);
        return;
      }
      durable();
      this.deliver(() => {
        this.#writeSince = undefined;
        trace.mark(this.#group.now, happened.written, this.number, taken.ticket, taken.write.entries.length);
        trace.tell(this.#group.now, this.id, machine, `wrote ${taken.write.entries.length} entries`);
        this.feed({ kind: "written", ticket: taken.ticket });
      });
    });
  }

  #apply(machine: RaftMachine): void {
    if (this.#replacing || this.#applyBusy) return;
    const entries = machine.takeCommitted(this.#group.faults.applyBytesMax);
    const last = entries[entries.length - 1];
    if (last === undefined) return;
    const { ledger, trace, now } = this.#group;
    const results = entries.map((entry) => this.#applyEntry(entry));
    if (machine.role === "leader" && this.#appliedTerm !== machine.term) {
      this.#appliedTerm = machine.term;
      this.#group.delicate(this.id, "leads");
    }
    machine.step(this.localNow, { kind: "applied", index: last.index });
    trace.mark(now, happened.applied, this.number, last.index, entries.length);
    trace.tell(now, this.id, machine, `applied up to ${last.index}`);
    for (let at = 0; at < entries.length && this.#proposed.length > 0; at++)
      this.#resolve(entries[at] as LogEntry, results[at] ?? { kind: "done" }, ledger);
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

  #applyEntry(entry: LogEntry): CommandResult | undefined {
    const result = entry.type === entryCommand ? this.catalog.apply(entry.index, decode(entry.data) as Command) : undefined;
    this.catalog.watches.flush();
    this.#group.ledger.took(this.id, this.machine?.term ?? 0, entry, result, this.catalog);
    return result;
  }

  #resolve(entry: LogEntry, result: CommandResult, ledger: Ledger): void {
    for (let first = this.#proposed[0]; first !== undefined && first.index <= entry.index; first = this.#proposed[0]) {
      this.#proposed.shift();
      if (first.index !== entry.index || first.term !== entry.term) {
        first.reply({ kind: "unknown" });
        continue;
      }
      if (entry.index > ledger.acknowledged) {
        ledger.acknowledged = entry.index;
        this.#group.acknowledged();
      }
      first.reply({ kind: "done", index: entry.index, result });
    }
  }

  #releaseReads(machine: RaftMachine): void {
    const applied = machine.appliedIndex;
    const ready = this.#ready.filter((reading) => reading.index <= applied);
    if (ready.length === 0) return;
    this.#ready = this.#ready.filter((reading) => reading.index > applied);
    for (const { key, floor, reply } of ready) {
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

  /** Saves the state as it is now; it is read later, when much may have changed. */
  #save(machine: RaftMachine): void {
    if (this.#saving) return;
    this.#saving = true;
    const point = machine.snapshotPoint();
    const hash = this.catalog.hash();
    const snapshot = this.catalog.snapshot();
    const random = this.#diskRandom;
    const fails = below(random, 10) === 0 && !this.#group.healed(this.id);
    this.plan(between(random, 0, 30), () => {
      const content = concat([...snapshot]);
      const again = new Catalog();
      restore(again, content);
      check(
        again.hash() === hash,
        "snapshots hold the state",
        () => `the snapshot of ${this.id} at ${point.index} is another state`,
      );
      if (fails) {
        this.#saving = false;
        this.feed({ kind: "snapshotFailed" });
        return;
      }
      const durable = this.disk.beginSnapshot({ point, content });
      this.plan(between(random, 0, 30), () => {
        durable();
        this.#saving = false;
        this.#group.trace.mark(this.#group.now, happened.snapshotTaken, this.number, point.index, content.length);
        this.#group.trace.tell(this.#group.now, this.id, this.machine, `saved a snapshot of ${point.index}`);
        this.feed({ kind: "snapshotTaken", index: point.index });
      });
    });
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

function restore(catalog: Catalog, content: Uint8Array): void {
  const restoring = catalog.restore();
  try {
    restoring.push(content.length === 0 ? emptyBytes : content);
    restoring.finish();
  } catch (error) {
    throw new AgentError("snapshot-corrupt", { message: messageOf(error), cause: error });
  }
  catalog.watches.flush();
}

function take<Item>(items: Map<number, Item>, id: number): readonly Item[] {
  const item = items.get(id);
  items.delete(id);
  return item === undefined ? [] : [item];
}
