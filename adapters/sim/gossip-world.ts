/**
 * A pool of the production machines in virtual time.
 *
 *    GossipHost (SwimMachine, SerfMachine) ──packets as bytes──► GossipNetwork: loss, delay, reorder, duplicates, cuts
 *         ▲            │                                                │
 *         └─ EventQueue: timers and arrivals ◄──────────────────────────┘
 *                      └──► GossipChecks, after each step and once a second
 *
 * A paused member does nothing: its timer fires late and first, then the packets that wait in its socket are read, as
 * many as a kernel keeps. Conversations over streams take a round trip and fail where either direction is cut.
 */
import type { Crypto } from "../../core/ports/crypto.ts";
import type { Random } from "../../core/ports/random.ts";
import type { SerfConfig } from "../../core/serf/config.ts";
import type { SerfInput } from "../../core/serf/inputs.ts";
import type { SwimConfig } from "../../core/swim/config.ts";
import { consulVersion } from "../../core/serf/config.ts";
import type { Sealer } from "../../core/swim/encryption.ts";
import { Keyring } from "../../core/swim/keyring.ts";
import type { MemberClaim } from "../../core/swim/messages.ts";
import { openPacket, packPacket } from "../../core/swim/packets.ts";
import type { SerfRosters } from "../../core/serf/serf.ts";
import { Roster } from "../../core/swim/roster.ts";
import type { StreamRequest } from "../../core/swim/swim.ts";
import { encodeTags } from "../../core/serf/wire.ts";
import { type Bytes, emptyBytes, utf8 } from "../../core/types/bytes.ts";
import type { Millis } from "../../core/types/ids.ts";
import { createRandom, seedOf } from "../shared/random.ts";
import { EventQueue } from "./event-queue.ts";
import { type GossipChecks, noChecks } from "./gossip-checks.ts";
import {
  addressOf,
  type Build,
  GossipHost,
  gossipPort,
  inboxMax,
  type Layer,
  nameOf,
  type Observation,
  outboxMax,
} from "./gossip-host.ts";
import { GossipNetwork } from "./gossip-network.ts";
import { RollingHash } from "./gossip-trace.ts";

export interface GossipWorldOptions {
  readonly seed: number | string;
  readonly layer: Layer;
  readonly swim?: Partial<SwimConfig>;
  readonly serf?: Partial<SerfConfig>;
  /** Each member holds all that it believes for itself, as in a process of its own. That costs memory and must change nothing. */
  readonly apart?: boolean;
}

/** memberlist's UDP budget. */
const packetBytesMax = 1400;
const streamTimeout: Millis = 10_000;
/** From the intent to the goodbye, and to the end. */
const leaveIntentTime: Millis = 2500;
const leaveTime: Millis = 8000;

/** Nothing is encrypted here. */
const noCrypto: Crypto = {
  randomBytes: () => emptyBytes,
  md5: () => emptyBytes,
  sha256: () => emptyBytes,
  seal: (_key, _nonce, plain) => plain,
  open: () => undefined,
};
export const noSealer: Sealer = { crypto: noCrypto, keyring: new Keyring() };

export class GossipWorld {
  readonly hosts: GossipHost[] = [];
  readonly network: GossipNetwork;
  readonly random: Random;
  readonly hash = new RollingHash();
  now: Millis = 0;
  steps = 0;
  packets = 0;
  bytes = 0;
  /** Told of all that members tell of one another. */
  observe: (by: GossipHost, what: Observation) => void = () => {};
  checks: GossipChecks = noChecks;
  readonly #options: GossipWorldOptions;
  readonly #queue = new EventQueue();
  readonly #rosters = newRosters();
  readonly #byIp = new Map<string, GossipHost>();
  readonly #byName = new Map<string, GossipHost>();

  constructor(options: GossipWorldOptions) {
    this.#options = options;
    this.random = createRandom(seedOf(options.seed));
    this.network = new GossipNetwork(this.random.fork("network"));
  }

  /** `count` members that have known one another for long. */
  seed(count: number): void {
    const known: MemberClaim[] = [];
    const meta = this.#options.layer === "serf" ? encodeTags({ role: "node" }) : emptyBytes;
    for (let number = 1; number <= count; number++) {
      known.push({
        name: nameOf(number),
        address: addressOf(number),
        port: gossipPort,
        incarnation: 1,
        meta,
        condition: "alive",
        version: consulVersion,
      });
    }
    for (let number = 1; number <= count; number++) this.#enter(new GossipHost(number, this.#build(known)));
    for (const host of this.hosts) this.feed(host, { kind: "start" });
  }

  /** One more member, alone. */
  add(): GossipHost {
    const host = new GossipHost(this.hosts.length + 1, this.#build(undefined));
    this.#enter(host);
    this.feed(host, { kind: "start" });
    return host;
  }

  host(name: string): GossipHost {
    return this.#byName.get(name) as GossipHost;
  }

  /** Asks `contact` in; its answer is the pool. */
  join(host: GossipHost, contact: GossipHost): void {
    this.#pushPull(host, contact.ip, true, true);
  }

  /** Crashes without a word. */
  crash(host: GossipHost): void {
    host.up = false;
    host.crashedAt = this.now;
    this.hash.mark(this.now, "crash", host.number, 0);
  }

  /** Starts again, having forgotten everything. */
  restart(host: GossipHost): void {
    host.restart(this.#build(undefined));
    host.troubledAt = this.now;
    this.hash.mark(this.now, "restart", host.number, host.life);
    this.feed(host, { kind: "start" });
  }

  /** Deaf, mute and idle for a while. */
  pause(host: GossipHost, duration: Millis): void {
    if (!host.up) return;
    const until = this.now + duration;
    if (until <= host.pausedUntil) return;
    const running = host.pausedUntil <= this.now;
    if (running) host.pausedAt = this.now;
    host.pausedUntil = until;
    host.troubledAt = until;
    this.hash.mark(this.now, "pause", host.number, Math.floor(duration));
    if (running) this.#resumeAt(host, until);
  }

  /**
   * Its messages wait, in both directions, while its timers run: the anomaly of the Lifeguard paper, section V, a process
   * whose threads for the network get no processor.
   */
  block(host: GossipHost, duration: Millis): void {
    if (!host.up || host.blockedUntil > this.now) return;
    const life = host.life;
    host.blockedUntil = this.now + duration;
    host.troubledAt = Math.max(host.troubledAt, host.blockedUntil);
    this.hash.mark(this.now, "pause", host.number, Math.floor(duration));
    this.at(duration, () => {
      if (!host.up || host.life !== life) return;
      for (const { to, packet } of host.outbox.splice(0)) this.#transmit(host, to, packet);
      for (const { from, packet } of host.inbox.splice(0)) this.#deliver(host, from, packet);
    });
  }

  /** Says goodbye as an agent does, waits for it to be heard, and ends. */
  leave(host: GossipHost): void {
    if (host.pausedUntil > this.now) {
      this.#whenRunning(host, () => this.leave(host));
      return;
    }
    if (!host.up) return;
    const life = host.life;
    host.leaving = true;
    host.leftAt = this.now;
    this.feed(host, { kind: "leaveIntent" });
    this.at(leaveIntentTime, () => {
      if (host.life === life) this.feed(host, { kind: "leave" });
    });
    this.at(leaveTime, () => {
      if (host.life === life && host.up) this.crash(host);
    });
  }

  fire(host: GossipHost, name: string): void {
    this.feed(host, { kind: "userEvent", name: "deploy", payload: utf8(name), coalesce: false });
  }

  /** Steps a member and carries away what it hands out. A paused one does not step. */
  feed(host: GossipHost, input: SerfInput): void {
    if (this.#step(host, input)) this.#turn(host);
  }

  /** False when it does not run. */
  #step(host: GossipHost, input: SerfInput): boolean {
    if (!host.up || host.pausedUntil > this.now) return false;
    this.checks.before(host, input);
    host.step(this.now, input);
    this.steps++;
    this.checks.after(this.now, host, input);
    return true;
  }

  /** Carries away what a member hands out: once for all that came in one packet, as the driver does. */
  #turn(host: GossipHost): void {
    for (const observation of host.takeObservations()) {
      this.hash.mark(this.now, observation.kind, host.number, "about" in observation ? this.host(observation.about).number : 0);
      this.checks.observed(this.now, host, observation);
      this.observe(host, observation);
    }
    for (const { to, parts, checksum } of host.machine.takePackets(packetBytesMax)) {
      const packet = packPacket(parts, { checksum, compress: false, sealer: noSealer });
      this.checks.sent(host, packet);
      if (host.blockedUntil <= this.now) this.#transmit(host, to.host, packet);
      else if (host.outbox.length < outboxMax) host.outbox.push({ to: to.host, packet });
    }
    for (const request of host.machine.takeStreamRequests()) this.#serve(host, request);
    this.#setTimer(host);
  }

  at(delay: Millis, act: () => void): void {
    this.#queue.add(this.now + delay, act);
  }

  /** Lets `duration` pass, or less when `until` holds, looked at `every` so often; true when it does. */
  pass(duration: Millis, until: () => boolean = () => false, every: Millis = 100): boolean {
    const end = this.now + duration;
    for (;;) {
      if (until()) return true;
      if (this.now >= end) return false;
      this.#run(Math.min(end, this.now + every));
    }
  }

  #run(until: Millis): void {
    while (this.#queue.nextAt <= until) {
      const event = this.#queue.next();
      this.now = Math.max(this.now, event?.at ?? 0);
      event?.act?.();
    }
    this.now = until;
  }

  #build(known: readonly MemberClaim[] | undefined): Build {
    const { layer, swim, serf, apart } = this.#options;
    const rosters = apart === true ? newRosters() : this.#rosters;
    return { layer, random: this.random, swim: swim ?? {}, serf: serf ?? {}, known, rosters };
  }

  #enter(host: GossipHost): void {
    this.hosts.push(host);
    this.#byIp.set(host.ip, host);
    this.#byName.set(host.name, host);
  }

  #setTimer(host: GossipHost): void {
    const at = Math.max(this.now, host.machine.wakeAt);
    if (at >= host.wakeAt) return;
    host.wakeAt = at;
    const life = host.life;
    this.#queue.add(at, () => this.#wake(host, at, life));
  }

  #wake(host: GossipHost, at: Millis, life: number): void {
    if (host.wakeAt !== at || host.life !== life || !host.up) return;
    host.wakeAt = Number.POSITIVE_INFINITY;
    // One that is paused is woken when it resumes.
    if (host.pausedUntil > this.now) return;
    if (host.machine.wakeAt <= this.now) this.feed(host, { kind: "wake" });
    else this.#setTimer(host);
  }

  #resumeAt(host: GossipHost, at: Millis): void {
    const life = host.life;
    this.#queue.add(at, () => {
      if (!host.up || host.life !== life) return;
      if (host.pausedUntil > this.now) {
        this.#resumeAt(host, host.pausedUntil);
        return;
      }
      // Timers first, as event loops have it; then what waits in the socket.
      this.feed(host, { kind: "wake" });
      if (host.blockedUntil > this.now) return;
      for (const { from, packet } of host.inbox.splice(0)) this.#deliver(host, from, packet);
    });
  }

  #transmit(from: GossipHost, ip: string, packet: Bytes): void {
    this.packets++;
    this.bytes += packet.length;
    const to = this.#byIp.get(ip);
    if (to === undefined) return;
    for (const delay of this.network.deliveries(from.number, to.number)) {
      this.#queue.add(this.now + delay, () => {
        if (!to.up || this.network.cut(from.number, to.number)) return;
        if (to.deafUntil <= this.now) this.#deliver(to, from, packet);
        else if (to.inbox.length < inboxMax) to.inbox.push({ from, packet });
      });
    }
  }

  #deliver(to: GossipHost, from: GossipHost, packet: Bytes): void {
    const { messages, problems } = openPacket(packet, { sealer: noSealer, verifyIncoming: true });
    if (problems.length > 0) throw new Error(`a packet that a member sent cannot be read: ${problems.join("; ")}`);
    this.hash.mark(this.now, "packet", to.number, from.number);
    const source = { host: from.ip, port: gossipPort };
    let stepped = false;
    for (const message of messages) stepped = this.#step(to, { kind: "datagram", from: source, message }) || stepped;
    if (stepped) this.#turn(to);
  }

  #serve(host: GossipHost, request: StreamRequest): void {
    if (request.kind === "pushPull") {
      this.#pushPull(host, request.to.host, request.join);
      return;
    }
    const { ping, timeout } = request;
    const answer = (ok: boolean): void => this.feed(host, { kind: "streamProbe", sequence: ping.sequence, ok });
    this.#converse<boolean>(host, request.to.host, timeout, (target) => target.machine.isMeant(ping), answer);
  }

  #pushPull(host: GossipHost, ip: string, join: boolean, joining = false): void {
    this.#converse(
      host,
      ip,
      streamTimeout,
      (target) => {
        const ours = host.machine.localState(join);
        const theirs = target.machine.localState(join);
        if (target.machine.mergeRefusal(ours) === undefined) this.feed(target, { kind: "remoteState", state: ours });
        return theirs;
      },
      (theirs) => {
        if (theirs === false || host.machine.mergeRefusal(theirs) !== undefined) return;
        this.feed(host, { kind: "remoteState", state: theirs, joining });
        if (joining && host.serf !== undefined) this.feed(host, { kind: "joinIntent" });
      },
    );
  }

  /**
   * One question and its answer over a stream: `ask` runs at the other side, `done` here, with false when it did not work.
   * A paused side reads when it runs again.
   */
  #converse<Answer>(
    host: GossipHost,
    ip: string,
    timeout: Millis,
    ask: (target: GossipHost) => Answer,
    done: (answer: Answer | false) => void,
  ): void {
    const target = this.#byIp.get(ip);
    const deadline = this.now + timeout;
    const fail = (): void => this.at(Math.max(0, deadline - this.now), () => this.#whenRunning(host, () => done(false)));
    if (target === undefined) {
      fail();
      return;
    }
    const life = host.life;
    const targetLife = target.life;
    const open = (): boolean =>
      this.network.streams &&
      target.up &&
      host.up &&
      host.life === life &&
      target.life === targetLife &&
      !this.network.cut(host.number, target.number) &&
      !this.network.cut(target.number, host.number);
    if (!open()) {
      fail();
      return;
    }
    // A connection, and then the question: one and a half round trips.
    const there = 2 * this.network.delay(host.number, target.number) + this.network.delay(target.number, host.number);
    this.at(there, () => {
      if (!open()) return fail();
      this.#whenRunning(target, () => {
        if (!open() || this.now > deadline) return fail();
        const answer = ask(target);
        this.at(this.network.delay(target.number, host.number), () => {
          if (!open() || this.now > deadline) return fail();
          this.#whenRunning(host, () => done(answer));
        });
      });
    });
  }

  #whenRunning(host: GossipHost, act: () => void): void {
    if (host.deafUntil <= this.now) act();
    else this.at(host.deafUntil - this.now, () => this.#whenRunning(host, act));
  }
}

function newRosters(): SerfRosters {
  return { swim: new Roster(), serf: new Roster() };
}
