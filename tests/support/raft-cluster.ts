/**
 * A whole Raft group in one thread and in virtual time: machines pulled lane by lane, over links and disks that fail as
 * a seed says. No drivers, no promises; tens of thousands of events a second.
 *
 * The checks run after every event: one leader per term, a leader holds everything that was ever committed, all apply
 * one sequence, nothing acknowledged is lost, terms and votes survive restarts, and each machine's own invariants.
 */
import { below, between, type Random } from "../../core/ports/random.ts";
import type { HardState, LogEntry } from "../../core/ports/storage.ts";
import {
  type Configuration,
  defaultLimits,
  entryCommand,
  type RaftInput,
  type RaftLimits,
  type RaftMessage,
  type SnapshotPoint,
} from "../../core/raft/messages.ts";
import { RaftMachine } from "../../core/raft/raft.ts";
import { text, utf8 } from "../../core/types/bytes.ts";
import { assert } from "../../core/types/errors.ts";
import { seededRandom } from "./raft-driver.ts";

export interface Faults {
  /** Per mille of messages. */
  readonly loss: number;
  readonly duplication: number;
  readonly delayMax: number;
  readonly diskMax: number;
  /** Per mille of writes that take many election timeouts. */
  readonly stall: number;
  /** Mean time between crashes, partitions, membership changes, transfers; 0 for none. */
  readonly crashEvery: number;
  readonly partitionEvery: number;
  readonly changeEvery: number;
  readonly transferEvery: number;
  readonly proposeEvery: number;
  readonly limits: Partial<RaftLimits>;
}

export function drawFaults(random: Random): Faults {
  const maybe = (value: number) => (below(random, 3) === 0 ? 0 : value);
  const small = below(random, 2) === 0;
  return {
    loss: maybe(below(random, 200)),
    duplication: maybe(below(random, 100)),
    delayMax: 1 + below(random, below(random, 2) === 0 ? 10 : 80),
    diskMax: 1 + below(random, below(random, 2) === 0 ? 5 : 60),
    stall: maybe(below(random, 20)),
    crashEvery: maybe(300 + below(random, 3000)),
    partitionEvery: maybe(300 + below(random, 3000)),
    changeEvery: maybe(500 + below(random, 3000)),
    transferEvery: maybe(500 + below(random, 3000)),
    proposeEvery: 2 + below(random, 30),
    limits: {
      appendEntriesMax: small ? 1 + below(random, 2) : 64,
      inflightMessagesMax: 1 + below(random, 8),
      snapshotThreshold: below(random, 2) === 0 ? 10 + below(random, 40) : defaultLimits.snapshotThreshold,
      trailingEntries: below(random, 20),
      writeBytesMax: small ? 40 : defaultLimits.writeBytesMax,
    },
  };
}

const timing = { heartbeat: 100, election: 100, lease: 50 };

interface DurableDisk {
  hardState: HardState;
  entries: LogEntry[];
  snapshot: { point: SnapshotPoint; state: readonly string[] } | undefined;
}

class Server {
  readonly id: string;
  readonly disk: DurableDisk = { hardState: { term: 0, votedFor: undefined }, entries: [], snapshot: undefined };
  machine: RaftMachine | undefined;
  /** The state machine: the commands it was given. */
  state: string[] = [];
  /** Grows with each start; events of an earlier life are void. */
  life = 0;
  busy = false;
  wakeAt = Number.POSITIVE_INFINITY;

  constructor(id: string) {
    this.id = id;
  }
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly act: () => void;
}

export class Cluster {
  readonly random: Random;
  readonly faults: Faults;
  readonly servers = new Map<string, Server>();
  now = 0;
  events = 0;
  readonly #queue: Event[] = [];
  #order = 0;
  #cut = new Set<string>();
  #healed = false;
  #proposals = 0;
  readonly #leaders = new Map<number, string>();
  /** Everything ever committed anywhere: index → term and command. */
  readonly #committed: { term: number; data: string }[] = [];
  readonly #votes = new Map<string, HardState>();
  /** Commands whose proposer was told of success. */
  readonly acknowledged = new Set<string>();
  readonly #pendingReads = new Map<string, { floor: number }>();
  #floor = 0;
  readonly #bootstrap: Configuration;

  constructor(seed: number, size: number, faults?: Faults) {
    this.random = seededRandom(seed);
    this.faults = faults ?? drawFaults(this.random.fork("faults"));
    const ids = Array.from({ length: size }, (_, at) => `s${at}`);
    this.#bootstrap = {
      servers: ids.slice(0, Math.max(1, size - (size > 3 ? 1 : 0))).map((id) => ({ id, address: id, voter: true })),
    };
    for (const id of ids) this.servers.set(id, new Server(id));
    for (const server of this.servers.values()) this.start(server);
    this.#every(this.faults.proposeEvery, () => this.propose(), false);
    this.#every(this.faults.proposeEvery * 3, () => this.read(), false);
    this.#every(this.faults.crashEvery, () => this.#crashSome());
    this.#every(this.faults.partitionEvery, () => this.#partition());
    this.#every(this.faults.changeEvery, () => this.#changeMembers());
    this.#every(
      this.faults.transferEvery,
      () => this.#leader() && this.feed(this.#leader() as Server, { kind: "transfer", to: undefined }),
    );
  }

  run(until: number): void {
    while (this.step(until));
    this.now = until;
  }

  /** The next event; false when none is due before `until`. */
  step(until: number): boolean {
    const next = this.#queue[0];
    if (next === undefined || next.at > until) return false;
    popHeap(this.#queue);
    this.now = next.at;
    this.events++;
    next.act();
    return true;
  }

  /** All faults end, all servers run. */
  heal(): void {
    this.#healed = true;
    this.#cut.clear();
    for (const server of this.servers.values()) if (server.machine === undefined) this.start(server);
  }

  get leader(): RaftMachine | undefined {
    return this.#leader()?.machine;
  }
  get committed(): number {
    return this.#committed.length;
  }

  propose(): void {
    // Clients do not know who leads; a deposed leader gets proposals, too.
    const leaders = [...this.servers.values()].filter(({ machine }) => machine?.role === "leader");
    const server = leaders[below(this.random, leaders.length)];
    // Clients wait for answers: a backlog has an end, also where limits are drawn very small.
    if (server?.machine === undefined || server.machine.lastIndex - server.machine.commitIndex > 60) return;
    const count = 1 + below(this.random, 3);
    const entries = Array.from({ length: count }, () => ({ type: entryCommand, data: utf8(`c${++this.#proposals}`) }));
    this.feed(server, { kind: "propose", id: this.#proposals, entries });
  }

  read(): void {
    const leaders = [...this.servers.values()].filter(({ machine }) => machine?.role === "leader");
    const server = leaders[below(this.random, leaders.length)];
    if (server?.machine === undefined) return;
    // A lease read is answered here and now: it must see all that was acknowledged anywhere.
    if (server.machine.leaseValid(this.now, this.now))
      assert(
        server.machine.commitIndex >= this.#floor,
        `stale lease read on ${server.id}: ${server.machine.commitIndex} < ${this.#floor}`,
      );
    const id = ++this.#proposals;
    this.#pendingReads.set(`${server.id}/${server.life}/${id}`, { floor: this.#floor });
    this.feed(server, { kind: "read", id });
  }

  feed(server: Server, input: RaftInput): void {
    if (server.machine === undefined) return;
    if (input.kind === "wake") server.machine.step(this.now, { kind: "clock", wall: this.now });
    server.machine.step(this.now, input);
    this.#turn(server);
  }

  start(server: Server): void {
    const { disk } = server;
    server.life++;
    server.busy = false;
    server.wakeAt = Number.POSITIVE_INFINITY;
    const voted = this.#votes.get(server.id);
    if (voted !== undefined) {
      assert(disk.hardState.term >= voted.term, `${server.id} forgot term ${voted.term}`);
      assert(
        disk.hardState.term > voted.term || voted.votedFor === undefined || disk.hardState.votedFor === voted.votedFor,
        `${server.id} forgot its vote`,
      );
    }
    server.state = [...(disk.snapshot?.state ?? [])];
    server.machine = new RaftMachine({
      id: server.id,
      random: this.random.fork(`${server.id}/${server.life}`),
      timing,
      limits: this.faults.limits,
      restored: { hardState: disk.hardState, entries: disk.entries, snapshot: disk.snapshot?.point },
      ...(this.#bootstrap.servers.some(({ id }) => id === server.id) ? { bootstrap: this.#bootstrap } : {}),
      now: this.now,
    });
    this.#turn(server);
  }

  crash(server: Server): void {
    server.machine = undefined;
    server.life++;
  }

  #turn(server: Server): void {
    const machine = server.machine;
    if (machine === undefined) return;
    for (const message of machine.takeMessages()) this.#send(message);
    for (const event of machine.takeEvents()) {
      switch (event.kind) {
        case "role":
          if (event.role === "leader") this.#elected(server, event.term);
          break;
        case "readReady": {
          const key = `${server.id}/${server.life}/${event.id}`;
          const read = this.#pendingReads.get(key);
          this.#pendingReads.delete(key);
          assert(read !== undefined && event.index >= read.floor, `stale read on ${server.id}: ${event.index} < ${read?.floor}`);
          break;
        }
        case "sendSnapshot":
          this.#sendSnapshot(server, event.to);
          break;
        case "snapshotDue":
          this.#takeSnapshot(server);
          break;
      }
    }
    this.#write(server);
    this.#apply(server);
    machine.validate();
    this.#wake(server);
  }

  #wake(server: Server): void {
    const at = Math.max(this.now, server.machine?.wakeAt ?? Number.POSITIVE_INFINITY);
    if (at >= server.wakeAt || at === Number.POSITIVE_INFINITY) return;
    server.wakeAt = at;
    this.#atLife(server, at - this.now, () => {
      server.wakeAt = Number.POSITIVE_INFINITY;
      this.feed(server, { kind: "wake" });
    });
  }

  #write(server: Server): void {
    if (server.busy || server.machine === undefined) return;
    const taken = server.machine.takeWrite(this.now);
    if (taken === undefined) return;
    server.busy = true;
    const stalled = !this.#healed && below(this.random, 1000) < this.faults.stall;
    const delay = stalled ? between(this.random, 100, 1500) : between(this.random, 0, this.#healed ? 2 : this.faults.diskMax);
    const { write, compactTo, ticket } = taken;
    const { disk } = server;
    this.#atLife(server, delay * 0.8, () => {
      const { truncateFrom } = write;
      if (truncateFrom !== undefined) disk.entries = disk.entries.filter(({ index }) => index < truncateFrom);
      disk.entries.push(...write.entries);
      if (write.hardState !== undefined) disk.hardState = write.hardState;
      for (let at = 1; at < disk.entries.length; at++) {
        assert((disk.entries[at] as LogEntry).index === (disk.entries[at - 1] as LogEntry).index + 1, "a stored log has no gaps");
      }
    });
    // A crash may come between the write and the compaction that rides along.
    this.#atLife(server, delay, () => {
      if (compactTo !== undefined) disk.entries = disk.entries.filter(({ index }) => index > compactTo);
      server.busy = false;
      this.feed(server, { kind: "written", ticket });
    });
  }

  #apply(server: Server): void {
    const machine = server.machine as RaftMachine;
    const before = machine.commitIndex;
    const entries = machine.takeCommitted(200);
    if (entries.length === 0) return;
    for (const entry of entries) {
      const data = entry.type === entryCommand ? text(entry.data) : `#${entry.type}`;
      const known = this.#committed[entry.index - 1];
      if (known === undefined) {
        assert(this.#committed.length === entry.index - 1, "commits are seen in order");
        this.#committed.push({ term: entry.term, data });
      } else {
        assert(
          known.term === entry.term && known.data === data,
          `${server.id} applies another entry at ${entry.index}: ${data} instead of ${known.data}`,
        );
      }
      server.state.push(data);
      assert(server.state.length === entry.index, `${server.id} applies entry ${entry.index} as number ${server.state.length}`);
      if (machine.role === "leader" && entry.type === entryCommand) this.acknowledged.add(data);
    }
    const last = entries[entries.length - 1] as LogEntry;
    if (machine.role === "leader") this.#floor = Math.max(this.#floor, last.index);
    assert(last.index <= before, "only committed entries are applied");
    machine.step(this.now, { kind: "applied", index: last.index });
    this.#atLife(server, 0, () => this.#turn(server));
  }

  #elected(server: Server, term: number): void {
    const other = this.#leaders.get(term);
    assert(other === undefined || other === server.id, `${server.id} and ${other} lead term ${term}`);
    this.#leaders.set(term, server.id);
    const machine = server.machine as RaftMachine;
    for (let index = this.#committed.length; index > 0 && index >= machine.firstIndex; index--) {
      const known = this.#committed[index - 1] as { term: number };
      assert(machine.entryAt(index)?.term === known.term, `leader ${server.id} of term ${term} lacks committed entry ${index}`);
    }
  }

  #send(message: RaftMessage): void {
    if (message.kind === "voteReply" && message.granted)
      this.#votes.set(message.from, { term: message.term, votedFor: message.to });
    if (this.#cut.has(`${message.from}>${message.to}`)) return;
    if (!this.#healed && below(this.random, 1000) < this.faults.loss) return;
    const copies = !this.#healed && below(this.random, 1000) < this.faults.duplication ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const delay = between(this.random, 0, this.#healed ? 2 : this.faults.delayMax);
      this.#at(delay, () => {
        const server = this.servers.get(message.to);
        if (server !== undefined) this.feed(server, { kind: "message", message });
      });
    }
  }

  #takeSnapshot(server: Server): void {
    const machine = server.machine as RaftMachine;
    const point = machine.snapshotPoint();
    const state = server.state.slice();
    this.#atLife(server, between(this.random, 0, 50), () => {
      if (below(this.random, 10) === 0) {
        this.feed(server, { kind: "snapshotFailed" });
        return;
      }
      if (point.index > (server.disk.snapshot?.point.index ?? 0)) server.disk.snapshot = { point, state };
      this.feed(server, { kind: "snapshotTaken", index: point.index });
    });
  }

  #sendSnapshot(server: Server, to: string): void {
    const { snapshot } = server.disk;
    const term = (server.machine as RaftMachine).term;
    const ok =
      snapshot !== undefined &&
      !this.#cut.has(`${server.id}>${to}`) &&
      (this.#healed || below(this.random, 1000) >= this.faults.loss * 2);
    this.#at(between(this.random, 1, 60), () => {
      const receiver = this.servers.get(to);
      const machine = receiver?.machine;
      if (ok && receiver !== undefined && machine !== undefined) {
        const { point, state } = snapshot;
        this.feed(receiver, {
          kind: "message",
          message: { kind: "snapshotChunk", from: server.id, to, term, point, attempt: 1, offset: 0, data: utf8(""), last: true },
        });
        if (machine.leader === server.id && machine.term === term && point.index > machine.appliedIndex) {
          this.#installSnapshot(receiver, { from: server.id, term, point, state });
        }
      }
      this.feed(server, { kind: "snapshotSent", to, ok, index: snapshot?.point.index ?? 0 });
    });
  }

  /** As the driver does it: saved first, and applied to the state machine some time later, when nothing else is applied. */
  #installSnapshot(server: Server, from: { from: string; term: number; point: SnapshotPoint; state: readonly string[] }): void {
    const { point, state } = from;
    if (point.index > (server.disk.snapshot?.point.index ?? 0)) server.disk.snapshot = { point, state };
    this.#atLife(server, between(this.random, 0, 20), () => {
      if (server.machine === undefined || point.index <= server.machine.appliedIndex) return;
      server.state = [...state];
      this.feed(server, { kind: "snapshotInstalled", from: from.from, term: from.term, point });
    });
  }

  #leader(): Server | undefined {
    return [...this.servers.values()]
      .filter(({ machine }) => machine?.role === "leader")
      .sort((left, right) => (right.machine?.term ?? 0) - (left.machine?.term ?? 0))[0];
  }

  #crashSome(): void {
    const running = [...this.servers.values()].filter(({ machine }) => machine !== undefined);
    const victim = running[below(this.random, running.length)];
    if (victim === undefined) return;
    const peers = running.filter((server) => server !== victim);
    this.crash(victim);
    // Its connections are refused now: those who notice may hurry.
    if (below(this.random, 2) === 0)
      for (const peer of peers)
        this.#at(
          between(this.random, 1, 20),
          () => victim.machine === undefined && this.feed(peer, { kind: "peerGone", peer: victim.id }),
        );
    this.#at(between(this.random, 1, 1000), () => victim.machine === undefined && this.start(victim));
  }

  #partition(): void {
    this.#cut.clear();
    if (below(this.random, 3) === 0) return;
    const oneWay = below(this.random, 3) === 0;
    const inside = new Set([...this.servers.keys()].filter(() => below(this.random, 2) === 0));
    for (const from of this.servers.keys())
      for (const to of this.servers.keys()) {
        if (inside.has(from) === inside.has(to)) continue;
        if (!oneWay || inside.has(from)) this.#cut.add(`${from}>${to}`);
      }
  }

  #changeMembers(): void {
    const leader = this.#leader();
    if (leader?.machine === undefined) return;
    const ids = [...this.servers.keys()];
    const id = ids[below(this.random, ids.length)] as string;
    const { servers } = leader.machine.configuration;
    const known = servers.find((server) => server.id === id);
    const voters = servers.filter(({ voter }) => voter).length;
    const draw = below(this.random, 3);
    if (known === undefined)
      this.feed(leader, { kind: "change", id: 0, change: { kind: "add", server: { id, address: id, voter: draw === 0 } } });
    else if (!known.voter)
      this.feed(leader, { kind: "change", id: 0, change: { kind: "add", server: { ...known, voter: true } } });
    else if (voters > 2)
      this.feed(leader, { kind: "change", id: 0, change: draw === 0 ? { kind: "demote", id } : { kind: "remove", id } });
  }

  #every(mean: number, act: () => void, fault = true): void {
    if (mean === 0) return;
    const again = () => {
      if (this.#healed && fault) return;
      act();
      // A healed group must work off what has piled up, whatever small limits were drawn.
      this.#at(between(this.random, 0, 2 * (this.#healed ? Math.max(mean, 40) : mean)), again);
    };
    this.#at(between(this.random, 0, 2 * mean), again);
  }

  #atLife(server: Server, delay: number, act: () => void): void {
    const { life } = server;
    this.#at(delay, () => server.life === life && act());
  }

  #at(delay: number, act: () => void): void {
    pushHeap(this.#queue, { at: this.now + delay, order: this.#order++, act });
  }
}

const sooner = (left: Event, right: Event): boolean => left.at < right.at || (left.at === right.at && left.order < right.order);

function pushHeap(heap: Event[], event: Event): void {
  let slot = heap.length;
  heap.push(event);
  while (slot > 0) {
    const parent = (slot - 1) >> 1;
    if (!sooner(event, heap[parent] as Event)) break;
    heap[slot] = heap[parent] as Event;
    slot = parent;
  }
  heap[slot] = event;
}

function popHeap(heap: Event[]): void {
  const moved = heap.pop() as Event;
  if (heap.length === 0) return;
  let slot = 0;
  for (;;) {
    let child = 2 * slot + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && sooner(heap[child + 1] as Event, heap[child] as Event)) child++;
    if (!sooner(heap[child] as Event, moved)) break;
    heap[slot] = heap[child] as Event;
    slot = child;
  }
  heap[slot] = moved;
}
