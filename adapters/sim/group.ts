/**
 * A group of servers in one thread and in virtual time, with everything going wrong that `Faults` says.
 *
 *   step() ──► the earliest event ──► a message arrives, a write is durable, a timer fires, a fault strikes ──► further events
 *
 * No promises, no ports: this is the fast mode. Every part draws from a generator of its own, so that one draw more in
 * one of them does not change the history of the others.
 */
import { below, between, type Random, shuffle } from "../../core/ports/random.ts";
import type { Configuration, MembershipChange, RaftMessage } from "../../core/raft/messages.ts";
import { decodeConfiguration } from "../../core/raft/membership.ts";
import { entryConfiguration } from "../../core/raft/messages.ts";
import { majority } from "../../core/raft/quorum.ts";
import type { Millis, NodeId, Term } from "../../core/types/ids.ts";
import { createRandom, seedOf } from "../shared/random.ts";
import { type Damage, DamageMap, damages } from "./damage.ts";
import { EventQueue } from "./event-queue.ts";
import type { Faults } from "./faults.ts";
import { describeConfiguration, GroupServer } from "./group-server.ts";
import type { Reply, Request } from "./pending-requests.ts";
import { Ledger } from "./ledger.ts";
import { Links } from "./links.ts";
import type { Moment, Surroundings } from "./surroundings.ts";
import { happened, type Trace } from "./trace.ts";

/** Servers that exist besides those the group begins with: to be added as learners, and then as voters. */
const spares = 1;
/** Mean time between reads that are put to a server which believes to lead, past the rules that clients are bound to. */
const probeEvery: Millis = 25;

export class Group implements Surroundings {
  readonly faults: Faults;
  readonly ledger = new Ledger();
  readonly trace: Trace;
  readonly servers: readonly GroupServer[];
  readonly random: Random;
  readonly #damaged = new DamageMap();
  readonly #byId = new Map<NodeId, GroupServer>();
  readonly #events = new EventQueue();
  readonly #links: Links;
  readonly #mishaps: Random;
  readonly #strikes: Random;
  readonly #diskStrikes: Random;
  readonly #bootstrap: Configuration;
  #now: Millis = 0;
  #survivors: ReadonlySet<NodeId> | undefined;

  constructor(seed: number | string, size: number, faults: Faults, trace: Trace) {
    this.random = createRandom(seedOf(seed));
    this.faults = faults;
    this.trace = trace;
    this.#links = new Links(faults, this.random.fork("links"));
    this.#mishaps = this.random.fork("mishaps");
    this.#strikes = this.random.fork("strikes");
    this.#diskStrikes = this.random.fork("disk strikes");
    const ids = Array.from({ length: size }, (_, at) => `s${at + 1}`);
    this.#bootstrap = { servers: ids.map((id) => ({ id, address: id, voter: true })) };
    for (let at = 0; at < spares; at++) ids.push(`s${size + at + 1}`);
    this.servers = ids.map(
      (id, at) => new GroupServer(this, id, at + 1, this.random.fork(id), at < size ? this.#bootstrap : undefined),
    );
    for (const server of this.servers) this.#byId.set(server.id, server);
    for (const server of this.servers) server.start();
    this.#every(faults.partitionEvery, "partitions", () => this.#partition());
    this.#every(faults.crashEvery, "crashes", (random) => this.#crashSome(random));
    this.#every(faults.pauseEvery, "pauses", (random) => this.#pauseSome(random));
    this.#every(faults.wallJumpEvery, "wall jumps", (random) => this.#jump(random));
    this.#every(faults.changeEvery, "changes", (random) => {
      for (let left = 1 + below(random, faults.changesMax); left > 0; left--) this.#changeMembers(random);
    });
    this.#every(faults.transferEvery, "transfers", () => this.#transfer());
    this.#every(faults.fullEvery, "full disks", (random) => this.#fill(random));
    this.#every(faults.damageEvery, "damage", (random) => this.#damage(random));
    this.#every(probeEvery, "probes", (random) => this.servers[below(random, this.servers.length)]?.probe());
  }

  get now(): Millis {
    return this.#now;
  }

  /** Makes the next event happen; false when nothing is left to happen. */
  step(): boolean {
    const event = this.#events.next();
    if (event === undefined) return false;
    this.#now = event.at;
    event.act?.();
    return true;
  }

  at(delay: Millis, act: () => void): void {
    this.#events.add(this.#now + delay, act);
  }

  healed(id: NodeId): boolean {
    return this.#survivors?.has(id) === true;
  }

  send(message: RaftMessage): void {
    const target = this.#byId.get(message.to);
    if (target === undefined) return;
    const leader = target.machine;
    const follower = this.#byId.get(message.from)?.machine;
    if (message.kind === "appendReply" && message.accepted && leader?.role === "leader" && leader.term === message.term)
      if (follower !== undefined) this.ledger.acknowledging(message.index, follower, leader);
    const size = message.kind === "append" ? message.entries.length : 0;
    this.trace.mark(this.#now, happened.sent, target.number, message.term, size);
    for (const delay of this.#links.copies(message)) this.at(delay, () => target.deliver(() => target.receive(message)));
  }

  readonly leaseTerms = (): readonly Term[] =>
    this.servers.map((server) => server.leaseTerm).filter((term) => term !== undefined);

  acknowledged(): void {
    for (const server of this.servers) server.checkLease();
  }

  /** A client sends a request to a server; both ways may be lost. */
  request(to: NodeId, request: Request, reply: Reply): void {
    const server = this.#byId.get(to);
    const there = this.#links.clientDelay(to);
    if (server === undefined || there === undefined) return;
    this.at(there, () =>
      server.deliver(() =>
        server.request(request, (response) => {
          const back = this.#links.clientDelay(to);
          if (back !== undefined) this.at(back, () => reply(response));
        }),
      ),
    );
  }

  delicate(id: NodeId, moment: Moment): void {
    if (moment === "compacted" || moment === "new segment") {
      this.#strikeDisk(id, moment);
      return;
    }
    const random = this.#strikes;
    if (this.#survivors !== undefined || below(random, 1000) >= this.faults.strike) return;
    if (moment === "campaigns") {
      // Whoever leads so far must not learn of it too early.
      const leader = this.leader;
      if (leader !== undefined && leader.id !== id) this.#isolate(leader, random);
      return;
    }
    const server = this.#byId.get(id);
    const isolate = below(random, 2) === 0;
    server?.plan(between(random, 0, this.faults.strikeWithin), () => {
      if (this.#survivors !== undefined) return;
      if (isolate) this.#isolate(server, random);
      else this.#crash(server, random);
    });
  }

  #strikeDisk(id: NodeId, moment: "compacted" | "new segment"): void {
    const random = this.#diskStrikes;
    const server = this.#byId.get(id);
    if (server === undefined || this.#survivors !== undefined) return;
    const { strike, damageEvery, crashEvery } = this.faults;
    if (moment === "compacted") {
      if (damageEvery > 0 && below(random, 10) === 0) this.#hurt(server, "rotten snapshot", random);
    } else if (crashEvery > 0 && below(random, 1000) < strike / 4) this.#crash(server, random);
  }

  #isolate(server: GroupServer, random: Random): void {
    this.trace.mark(this.#now, happened.partition, server.number, 1, 0);
    this.trace.tell(this.#now, server.id, server.machine, "is isolated at a delicate moment");
    this.#links.isolate(
      server.id,
      this.servers.map((other) => other.id),
    );
    this.at(between(random, 20, 600), () => this.#links.join(server.id));
  }

  isHurt(id: NodeId): boolean {
    return this.#damaged.isHurt(id);
  }

  failed(id: NodeId): void {
    const server = this.#byId.get(id);
    if (server !== undefined) this.#crash(server, this.#mishaps);
  }

  /**
   * All faults end for as many servers as every configuration in any log needs to decide, drawn by chance among those
   * whose disk was not hurt; the others stay cut off for good. Gives the survivors.
   */
  heal(): readonly GroupServer[] {
    const order = shuffle(this.#mishaps, this.servers.slice());
    const configurations = this.#configurations();
    const chosen = new Set<NodeId>();
    for (const { id } of order) {
      if (this.#damaged.isHurt(id)) continue;
      if (configurations.every((configuration) => decides(chosen, configuration))) break;
      if (configurations.some(({ servers }) => servers.some((server) => server.voter && server.id === id))) chosen.add(id);
    }
    this.#survivors = chosen;
    this.#links.heal(chosen);
    const survivors = this.servers.filter(({ id }) => chosen.has(id));
    this.trace.mark(this.#now, happened.healed, 0, survivors.length, 0);
    this.trace.tell(this.#now, "-", undefined, `faults end for ${[...chosen].join(" ")}; the others are cut off`);
    for (const server of survivors) {
      server.disk.full = false;
      if (server.paused) server.resume();
      if (!server.up) server.start();
    }
    return survivors;
  }

  /** Who leads, of several the one of the highest term. */
  get leader(): GroupServer | undefined {
    let found: GroupServer | undefined;
    for (const server of this.servers) {
      if (server.machine?.role !== "leader" || server.paused) continue;
      if (found === undefined || server.machine.term > (found.machine?.term ?? 0)) found = server;
    }
    return found;
  }

  /** Every configuration that is in force somewhere, or could be again. */
  #configurations(): readonly Configuration[] {
    const found: Configuration[] = [this.#bootstrap];
    const add = (data: Uint8Array): void => {
      const configuration = decodeConfiguration(data);
      if (configuration !== undefined) found.push(configuration);
    };
    const { applied } = this.ledger;
    for (let index = applied.length; index > 0; index--) {
      const entry = applied[index - 1];
      if (entry?.type !== entryConfiguration) continue;
      // Older ones were replaced by this one, for good.
      found.length = 0;
      add(entry.data);
      break;
    }
    const settled = applied.length;
    for (const { disk, machine } of this.servers) {
      const entries = machine === undefined ? disk.found : disk.entries;
      for (const entry of entries) if (entry.type === entryConfiguration && entry.index > settled) add(entry.data);
      if (machine !== undefined && machine.configurationIndex > settled) found.push(machine.configuration);
    }
    return found;
  }

  #partition(): void {
    const text = this.#links.partition(this.servers.map(({ id }) => id));
    this.trace.mark(this.#now, happened.partition, 0, text.length, 0);
    this.trace.tell(this.#now, "-", undefined, text);
  }

  #crashSome(random: Random): void {
    const running = this.servers.filter(({ up }) => up);
    const victim = running[below(random, running.length)];
    if (victim !== undefined) this.#crash(victim, random);
  }

  #crash(victim: GroupServer, random: Random): void {
    if (!victim.up) return;
    victim.crash(below(random, 2) === 0 ? "power" : "process");
    const { life } = victim;
    if (this.faults.noticeCrashes && below(random, 2) === 0) {
      // Its connections are refused now: those who notice may hurry.
      for (const peer of this.servers) {
        if (!peer.up) continue;
        peer.plan(between(random, 1, 20), () => {
          if (!victim.up) peer.feed({ kind: "peerGone", peer: victim.id });
        });
      }
    }
    this.at(between(random, 1, this.faults.downMax), () => {
      if (!victim.up && victim.life === life) victim.start();
    });
  }

  #pauseSome(random: Random): void {
    const running = this.servers.filter(({ up, paused }) => up && !paused);
    const victim = running[below(random, running.length)];
    if (victim === undefined) return;
    const { life } = victim;
    // No clock tells what is hidden by its own jump back in the same moment.
    const clocksTell = this.#now - victim.jumpedAt > this.faults.timing.lease;
    victim.pause(below(random, 1000) < this.faults.sleep && clocksTell);
    this.at(between(random, 1, this.faults.pauseMax), () => {
      if (victim.life === life) victim.resume();
    });
  }

  #jump(random: Random): void {
    const server = this.servers[below(random, this.servers.length)];
    if (server === undefined || server.asleep) return;
    server.wallOffset += below(random, 120_000) - 60_000;
    server.jumpedAt = this.#now;
    this.trace.mark(this.#now, happened.wallJump, server.number, server.wallOffset, 0);
    this.trace.tell(this.#now, server.id, server.machine, `its wall clock jumps to ${server.wallOffset} ms off`);
  }

  #fill(random: Random): void {
    const server = this.servers[below(random, this.servers.length)];
    if (server === undefined) return;
    server.disk.full = true;
    this.trace.mark(this.#now, happened.diskFull, server.number, 0, 0);
    this.trace.tell(this.#now, server.id, server.machine, "its disk is full");
    this.at(between(random, 1, this.faults.fullMax), () => {
      server.disk.full = false;
      this.trace.mark(this.#now, happened.diskFree, server.number, 0, 0);
      this.trace.tell(this.#now, server.id, server.machine, "its disk has room again");
    });
  }

  #damage(random: Random): void {
    const server = this.servers[below(random, this.servers.length)];
    const damage = damages[below(random, damages.length)];
    if (server !== undefined && damage !== undefined) this.#hurt(server, damage, random);
  }

  #hurt(server: GroupServer, damage: Damage, random: Random): void {
    if (!this.#damaged.mayHurt(server.id, this.#configurations()) || !server.disk.damage(damage)) return;
    this.#damaged.hurt(server.id);
    this.trace.mark(this.#now, happened.damaged, server.number, damage.length, 0);
    this.trace.tell(this.#now, server.id, server.machine, `its disk is hurt: ${damage}`);
    // Who never restarts never learns of it.
    if (below(random, 2) === 0)
      server.plan(between(random, 0, below(random, 2) === 0 ? 5 : 400), () => this.#crash(server, random));
  }

  #changeMembers(random: Random): void {
    const { leader } = this;
    const machine = leader?.machine;
    const chosen = this.servers[below(random, this.servers.length)];
    const server = below(random, 4) === 0 ? leader : chosen;
    if (server === undefined || leader === undefined || machine === undefined) return;
    const { id } = server;
    const known = machine.configuration.servers.find((other) => other.id === id);
    const voters = machine.configuration.servers.filter(({ voter }) => voter).length;
    const direct = below(random, 3) === 0;
    let change: MembershipChange;
    if (known === undefined) change = { kind: "add", server: { id, address: id, voter: direct } };
    else if (!known.voter) change = { kind: "add", server: { ...known, voter: true } };
    else if (voters <= this.faults.votersMin) return;
    else change = direct ? { kind: "demote", id } : { kind: "remove", id };
    // Operators keep a majority of servers whose disks are whole.
    if (!this.#damaged.decides(changed(machine.configuration, change))) return;
    this.trace.mark(this.#now, happened.change, server.number, voters, 0);
    this.trace.tell(
      this.#now,
      leader.id,
      machine,
      `asked to ${change.kind} ${id}; now ${describeConfiguration(machine.configuration)}`,
    );
    leader.feed({ kind: "change", id: 0, change });
    this.delicate(leader.id, "leads");
  }

  #transfer(): void {
    const { leader } = this;
    if (leader === undefined) return;
    this.trace.mark(this.#now, happened.transfer, leader.number, 0, 0);
    this.trace.tell(this.#now, leader.id, leader.machine, "asked to hand over leadership");
    leader.feed({ kind: "transfer", to: undefined });
    this.delicate(leader.id, "leads");
  }

  #every(mean: Millis, label: string, act: (random: Random) => void): void {
    if (mean === 0) return;
    const random = this.#mishaps.fork(label);
    const again = (): void => {
      if (this.#survivors !== undefined) return;
      act(random);
      this.at(between(random, 0, 2 * mean), again);
    };
    this.at(between(random, 0, 2 * mean), again);
  }
}

/** The configuration after the change. */
function changed({ servers }: Configuration, change: MembershipChange): Configuration {
  const id = change.kind === "add" ? change.server.id : change.id;
  const others = servers.filter((server) => server.id !== id);
  if (change.kind === "remove") return { servers: others };
  if (change.kind === "add") return { servers: [...others, change.server] };
  return { servers: servers.map((server) => (server.id === id ? { ...server, voter: false } : server)) };
}

function decides(chosen: ReadonlySet<NodeId>, { servers }: Configuration): boolean {
  const voters = servers.filter(({ voter }) => voter);
  return voters.filter(({ id }) => chosen.has(id)).length >= majority(voters.length);
}
