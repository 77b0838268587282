/**
 * The interpreter of tests/cases/raft: a group in which nothing happens unless told. Messages wait to be delivered,
 * slow disks wait to be synced, time stands still. Timing: heartbeat and election 100 ms, lease 50 ms; nothing is drawn.
 *
 *   servers a b c [learners=d,e]   a fresh group; a line `limits key=value` before it sets limits
 *   servers - a                    a server without a configuration
 *   expire a                       time goes on to when a's next deadline falls, and only a notices
 *   pass 20                        time goes on; all notice what falls due
 *   deliver [b] [a>b] [kind]       what is on the way, or the part of it that matches; answers wait for the next deliver
 *   drop [b] [a>b] [kind]          the same, lost
 *   settle                         delivers until nothing is on the way; prints no messages and writes
 *   run 20                         time goes on and messages arrive at once; prints none of them
 *   sleep a 80                     time goes on and messages arrive at once, except at a, whose monotonic clock stands still
 *   wall a -500                    a's wall clock is set
 *   slow a | fast a | sync a       whether writes wait for `sync`
 *   propose a x y | pieces a word 3 | read a | transfer a [b] | gone a b | unreachable a b
 *   change a add=d | voter=d | demote=d | remove=d
 *   snapshot a | install a b       a saves one; the newest of a arrives at b
 *   crash a | start a              what was not synced is lost
 *   copy a | restore a             a's disk as it is; and, while a is down, as it was then
 *   recover a b [learners=c]       while b is down: b's operator says that a and b are the group
 *   log a | state [a] | contact a  when a last heard of a leader
 */
import type { HardState, LogEntry } from "../../../core/ports/storage.ts";
import { decodeConfiguration } from "../../../core/raft/membership.ts";
import {
  type Configuration,
  entryCommand,
  entryConfiguration,
  entryPiece,
  type MembershipChange,
  type RaftEvent,
  type RaftInput,
  type RaftMessage,
  type RaftServer,
  type SnapshotPoint,
} from "../../../core/raft/messages.ts";
import { Assembler, cut } from "../../../core/raft/pieces.ts";
import { RaftMachine, type RaftRestored } from "../../../core/raft/raft.ts";
import { type Recovered, recoveryTerm } from "../../../core/raft/recovery.ts";
import type { TakenWrite } from "../../../core/raft/disk.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import { trapAmbient } from "../../support/harness.ts";
import type { Command } from "../../support/script.ts";
import { constantRandom } from "../../support/virtual-clock.ts";

const pieceHeadBytes = 8;
const timing = { heartbeat: 100, election: 100, lease: 50 };

interface Server {
  readonly id: string;
  readonly bootstrap: Configuration | undefined;
  hardState: HardState;
  entries: LogEntry[];
  snapshot: SnapshotPoint | undefined;
  recovered: Recovered | undefined;
  machine: RaftMachine | undefined;
  assembler: Assembler;
  slow: boolean;
  writing: TakenWrite | undefined;
  /** For how long its monotonic clock stood still in all. */
  slept: number;
  asleep: boolean;
  wallOffset: number;
}

export class RaftScript {
  readonly #servers = new Map<string, Server>();
  readonly #copies = new Map<string, Pick<Server, "hardState" | "entries" | "snapshot">>();
  #limits: Record<string, number> = {};
  #now = 0;
  #network: RaftMessage[] = [];
  #out: string[] = [];
  #ids = 0;

  run(command: Command): readonly string[] {
    this.#out = [];
    this.#command(command);
    return this.#out;
  }

  #command({ name, arguments: words, options }: Command): void {
    const [first = "", second] = words;
    switch (name) {
      case "limits":
        this.#limits = Object.fromEntries(Object.entries(options).map(([key, value]) => [key, Number(value)]));
        return;
      case "servers":
        this.#create(words, options["learners"]?.split(",") ?? []);
        return;
      case "expire": {
        const due = wakeAt(this.#server(first));
        if (due < Number.POSITIVE_INFINITY) this.#now = Math.max(this.#now, due);
        this.#feed(first, { kind: "wake" });
        return;
      }
      case "pass":
        this.#pass(Number(first));
        return;
      case "run":
        this.#runFor(Number(first));
        return;
      case "sleep": {
        const server = this.#server(first);
        const from = this.#now;
        server.asleep = true;
        this.#runFor(Number(second));
        server.asleep = false;
        server.slept += this.#now - from;
        return;
      }
      case "wall":
        this.#server(first).wallOffset += Number(second);
        return;
      case "deliver":
        this.#deliver(words, true);
        return;
      case "drop":
        this.#deliver(words, false);
        return;
      case "settle":
        this.#settle();
        return;
      case "slow":
      case "fast":
        this.#server(first).slow = name === "slow";
        return;
      case "sync":
        this.#sync(this.#server(first));
        return;
      case "propose":
        this.#feed(first, {
          kind: "propose",
          id: ++this.#ids,
          entries: words.slice(1).map((data) => ({ type: entryCommand, data: utf8(data) })),
        });
        return;
      case "pieces": {
        const [, word = "", bytes = "1"] = words;
        const entries = cut(utf8(word), Number(bytes) + pieceHeadBytes).map((data) => ({ type: entryPiece, data }));
        this.#feed(first, { kind: "propose", id: ++this.#ids, entries });
        return;
      }
      case "read":
        this.#feed(first, { kind: "read", id: ++this.#ids });
        return;
      case "transfer":
        this.#feed(first, { kind: "transfer", to: second });
        return;
      case "gone":
        this.#feed(first, { kind: "peerGone", peer: second ?? "" });
        return;
      case "unreachable":
        this.#feed(first, { kind: "unreachable", peer: second ?? "" });
        return;
      case "change":
        this.#feed(first, { kind: "change", id: ++this.#ids, change: changeOf(options) });
        return;
      case "snapshot": {
        const server = this.#server(first);
        server.snapshot = server.machine?.snapshotPoint();
        this.#feed(first, { kind: "snapshotTaken", index: server.snapshot?.index ?? 0 });
        return;
      }
      case "install":
        this.#install(this.#server(first), this.#server(second ?? ""));
        return;
      case "crash":
        Object.assign(this.#server(first), { machine: undefined, writing: undefined, assembler: new Assembler() });
        return;
      case "copy": {
        const { hardState, entries, snapshot } = this.#server(first);
        this.#copies.set(first, { hardState, entries: [...entries], snapshot });
        return;
      }
      case "restore":
        Object.assign(this.#server(first), this.#copies.get(first));
        return;
      case "recover": {
        const server = this.#server(words[words.length - 1] ?? "");
        const configuration = configurationOf(words, options["learners"]?.split(",") ?? []);
        server.recovered = { configuration, term: recoveryTerm(restoredOf(server), server.recovered) };
        return;
      }
      case "start":
        this.#start(this.#server(first));
        return;
      case "log":
        this.#out.push(this.#log(this.#server(first)));
        return;
      case "state":
        for (const server of first === "" ? this.#servers.values() : [this.#server(first)]) this.#out.push(this.#state(server));
        return;
      case "contact":
        this.#out.push(
          `${first} heard of a leader ${this.#server(first).machine?.lastContact(this.#clock(this.#server(first)))} ms ago`,
        );
        return;
      default:
        throw new Error(`no command ${name}`);
    }
  }

  #create(ids: readonly string[], learners: readonly string[]): void {
    const configured = ids[0] !== "-";
    if (configured) {
      this.#servers.clear();
      this.#network = [];
    }
    const group = configurationOf(
      ids.filter((id) => id !== "-"),
      learners,
    );
    const bootstrap = configured ? group : undefined;
    for (const { id } of group.servers) {
      const server: Server = {
        id,
        bootstrap,
        hardState: { term: 0, votedFor: undefined },
        entries: [],
        snapshot: undefined,
        recovered: undefined,
        machine: undefined,
        assembler: new Assembler(),
        slow: false,
        writing: undefined,
        slept: 0,
        asleep: false,
        wallOffset: 0,
      };
      this.#servers.set(id, server);
      this.#quietly(() => this.#start(server));
    }
  }

  #start(server: Server): void {
    server.machine = new RaftMachine({
      id: server.id,
      random: constantRandom(),
      timing,
      limits: this.#limits,
      restored: restoredOf(server),
      recovered: server.recovered,
      ...(server.bootstrap === undefined ? {} : { bootstrap: server.bootstrap }),
      now: this.#clock(server),
    });
    server.machine.step(this.#clock(server), { kind: "clock", wall: this.#wall(server) });
    this.#turn(server);
  }

  #feed(id: string, input: RaftInput): void {
    const server = this.#server(id);
    const { machine } = server;
    if (machine === undefined) return;
    trapAmbient(() => {
      if (input.kind === "wake") machine.step(this.#clock(server), { kind: "clock", wall: this.#wall(server) });
      machine.step(this.#clock(server), input);
      machine.validate();
    });
    this.#turn(server);
  }

  #turn(server: Server): void {
    const { machine, id } = server;
    if (machine === undefined) return;
    const messages = machine.takeMessages();
    for (const event of machine.takeEvents()) this.#out.push(`${id} ${describeEvent(event)}`);
    for (const message of messages) {
      this.#network.push(message);
      this.#out.push(describe(message));
    }
    if (server.writing === undefined) {
      server.writing = machine.takeWrite(this.#clock(server));
      if (server.writing !== undefined) {
        if (server.slow) this.#out.push(`${id} writes ${describeWrite(server.writing)}`);
        else this.#sync(server);
      }
    }
    for (let entries = machine.takeCommitted(1e6); entries.length > 0; entries = machine.takeCommitted(1e6)) {
      this.#out.push(`${id} applies ${entries.map(describeEntry).join(" ")}`);
      for (const [at, entry] of server.assembler.assemble(entries).entries())
        if (entry !== entries[at]) this.#out.push(`${id} has all of ${describeEntry(entry)}`);
      this.#feed(id, { kind: "applied", index: (entries[entries.length - 1] as LogEntry).index });
    }
  }

  #sync(server: Server): void {
    const { writing } = server;
    if (writing === undefined) return;
    const { write, compactTo, ticket } = writing;
    const { truncateFrom } = write;
    server.writing = undefined;
    if (truncateFrom !== undefined) server.entries = server.entries.filter(({ index }) => index < truncateFrom);
    server.entries.push(...write.entries);
    if (write.hardState !== undefined) server.hardState = write.hardState;
    if (compactTo !== undefined) server.entries = server.entries.filter(({ index }) => index > compactTo);
    this.#feed(server.id, { kind: "written", ticket });
  }

  #pass(duration: number): void {
    const end = this.#now + duration;
    for (;;) {
      const due = [...this.#servers.values()].filter((server) => !server.asleep && wakeAt(server) <= end);
      const next = due.sort((left, right) => wakeAt(left) - wakeAt(right))[0];
      if (next === undefined) break;
      this.#now = Math.max(this.#now, wakeAt(next));
      this.#feed(next.id, { kind: "wake" });
    }
    this.#now = end;
  }

  #deliver(words: readonly string[], arrive: boolean): void {
    const matches = (message: RaftMessage): boolean =>
      words.every(
        (word) =>
          word === message.to || word === message.kind || word === `${message.from}>${message.to}` || word === `${message.from}>`,
      );
    const arrives = (message: RaftMessage): boolean => matches(message) && this.#reaches(message);
    const chosen = this.#network.filter(arrives);
    this.#network = this.#network.filter((message) => !arrives(message));
    if (arrive)
      for (const message of chosen) if (this.#servers.has(message.to)) this.#feed(message.to, { kind: "message", message });
  }

  /** What is for one that sleeps waits in its socket. */
  #reaches(message: RaftMessage): boolean {
    return this.#servers.get(message.to)?.asleep !== true;
  }

  /** Until nothing is on the way. */
  #settle(): void {
    for (let rounds = 0; rounds < 1000 && this.#network.some((message) => this.#reaches(message)); rounds++)
      this.#deliver([], true);
    this.#out = this.#out.filter((line) => !line.includes("→") && !line.includes(" writes "));
  }

  #install(from: Server, to: Server): void {
    const point = from.snapshot;
    const leader = from.machine;
    if (point === undefined || leader === undefined) throw new Error("nothing to install");
    const { id: target } = to;
    this.#feed(target, {
      kind: "message",
      message: {
        kind: "snapshotChunk",
        from: from.id,
        to: target,
        term: leader.term,
        point,
        attempt: 1,
        offset: 0,
        data: utf8(""),
        last: true,
      },
    });
    to.snapshot = point;
    this.#feed(target, { kind: "snapshotInstalled", from: from.id, term: leader.term, point });
    this.#feed(from.id, { kind: "snapshotSent", to: target, ok: true, index: point.index });
  }

  #log(server: Server): string {
    const { machine } = server;
    if (machine === undefined) return `${server.id} is down; on disk: ${server.entries.map(describeEntry).join(" ")}`;
    const entries: string[] = [];
    for (let index = machine.firstIndex; index <= machine.lastIndex; index++)
      entries.push(describeEntry(machine.entryAt(index) as LogEntry));
    return `${server.id} ${entries.join(" ")} (committed ${machine.commitIndex}, durable ${machine.durableIndex})`;
  }

  #state(server: Server): string {
    const { id, machine } = server;
    if (machine === undefined) return `${id} down`;
    const voted = machine.votedFor === undefined ? "" : ` voted=${machine.votedFor}`;
    return `${id} ${machine.role} term=${machine.term} leader=${machine.leader ?? "-"}${voted} lease=${machine.leaseValid(this.#clock(server), this.#wall(server))}`;
  }

  #runFor(duration: number): void {
    for (let left = duration; left > 0; left -= 5) {
      this.#pass(Math.min(left, 5));
      this.#settle();
    }
  }

  /** Its monotonic clock. */
  #clock({ slept }: Server): number {
    return this.#now - slept;
  }

  #wall({ wallOffset }: Server): number {
    return this.#now + wallOffset;
  }

  #server(id: string): Server {
    const server = this.#servers.get(id);
    if (server === undefined) throw new Error(`no server ${id}`);
    return server;
  }

  #quietly(act: () => void): void {
    const out = this.#out;
    this.#out = [];
    act();
    this.#out = out;
  }
}

/** The store is one array; a machine must not see it change. */
function restoredOf({ hardState, entries, snapshot }: Server): RaftRestored {
  return { hardState, entries: entries.slice(), snapshot };
}

function configurationOf(voters: readonly string[], learners: readonly string[]): Configuration {
  const server = (id: string, voter: boolean): RaftServer => ({ id, address: `${id}:8300`, voter });
  return { servers: [...voters.map((id) => server(id, true)), ...learners.map((id) => server(id, false))] };
}

function changeOf(options: Readonly<Record<string, string>>): MembershipChange {
  for (const [kind, id] of Object.entries(options)) {
    if (kind === "add" || kind === "voter")
      return { kind: "add", server: { id, address: `${id}:8300`, voter: kind === "voter" } };
    if (kind === "demote" || kind === "remove") return { kind, id };
  }
  throw new Error("change needs add=, voter=, demote= or remove=");
}

function describeEntry(entry: LogEntry): string {
  const at = `${entry.index}/${entry.term}`;
  if (entry.type === entryCommand) return `${at}:${text(entry.data)}`;
  if (entry.type === entryPiece) return `${at}:…${text(entry.data.subarray(pieceHeadBytes))}…`;
  if (entry.type !== entryConfiguration) return `${at}:-`;
  return `${at}:{${decodeConfiguration(entry.data)
    ?.servers.map(({ id, voter }) => (voter ? id : `(${id})`))
    .join(" ")}}`;
}

function describeWrite({ write, compactTo }: TakenWrite): string {
  const parts: string[] = [];
  if (write.hardState !== undefined) parts.push(`term=${write.hardState.term} vote=${write.hardState.votedFor ?? "-"}`);
  if (write.truncateFrom !== undefined) parts.push(`without ${write.truncateFrom} and after`);
  parts.push(...write.entries.map(describeEntry));
  if (compactTo !== undefined) parts.push(`then drops up to ${compactTo}`);
  return parts.join(" ");
}

function describe(message: RaftMessage): string {
  const head = `${message.from} → ${message.to} ${message.kind} term=${message.term}`;
  switch (message.kind) {
    case "preVote":
    case "vote":
      return `${head} last=${message.lastIndex}/${message.lastTerm}${message.kind === "vote" && message.transfer ? " transfer" : ""}`;
    case "preVoteReply":
    case "voteReply":
      return `${head} ${message.granted ? "granted" : "refused"}`;
    case "append":
      return `${head} after ${message.previousIndex}/${message.previousTerm} commit=${message.commit} [${message.entries.map(describeEntry).join(" ")}]`;
    case "appendReply":
      return message.accepted
        ? `${head} accepted ${message.index}`
        : `${head} refused ${message.index} hint=${message.hintIndex}/${message.hintTerm}`;
    case "heartbeat":
      return `${head} round=${message.round} commit=${message.commit}`;
    case "heartbeatReply":
      return `${head} round=${message.round}`;
    default:
      return head;
  }
}

function describeEvent(event: RaftEvent): string {
  switch (event.kind) {
    case "role":
      return `is ${event.role} in term ${event.term}${event.leader === undefined || event.role === "leader" ? "" : `, follows ${event.leader}`}`;
    case "accepted":
      return `accepts ${event.count} at ${event.index}`;
    case "dropped":
      return `drops: ${event.reason}`;
    case "readReady":
      return `may read at ${event.index}`;
    case "readDropped":
      return "may not read";
    case "sendSnapshot":
      return `must send a snapshot to ${event.to}`;
    case "snapshotDue":
      return `is due a snapshot at ${event.index}`;
    case "configuration":
      return `has {${event.configuration.servers.map(({ id, voter }) => (voter ? id : `(${id})`)).join(" ")}} from ${event.index}`;
  }
}

/** On the world's clock. */
function wakeAt({ machine, slept }: Server): number {
  return machine === undefined ? Number.POSITIVE_INFINITY : machine.wakeAt + slept;
}
