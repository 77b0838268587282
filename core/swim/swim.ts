/**
 * Who is in the pool and who is alive: SWIM (Das, Gupta, Motivala 2002) with Lifeguard (Dadgar, Phillips, Currey 2018),
 * byte for byte as memberlist 0.2.2 speaks it, so that Serf and Consul agents can be members.
 *
 *                        ┌──────────────── SwimMachine ────────────────┐
 *    datagrams ─────────►│ probe.ts       ping, indirect ping, nack    │──► takePackets
 *    remote state ──────►│ membership.ts  alive, suspect, dead, refute │──► takeStreamRequests
 *    wake ──────────────►│ gossip-queue   what rides along             │──► SwimDelegate (Serf)
 *                        └──────────────────────────────────────────────┘
 *
 * A member is alive → suspect → dead, or left when it said so itself; only itself can undo an accusation, by announcing
 * a higher incarnation. Every period each member probes one other, gossips to a few, and once in a while exchanges its
 * whole state with one over a stream.
 *
 * Tested by scripts in tests/cases/swim, by recorded packets (tests/vectors) and by pools in virtual time.
 */
import type { Machine } from "../machine.ts";
import { type Address, formatAddress } from "../ports/net.ts";
import { below, type Random } from "../ports/random.ts";
import { type Bytes, concat } from "../types/bytes.ts";
import { unreachable } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { Awareness } from "./awareness.ts";
import type { SwimConfig } from "./config.ts";
import type { SwimDelegate } from "./delegate.ts";
import type { EvidenceLog } from "./evidence.ts";
import { GossipQueue } from "./gossip-queue.ts";
import { addressOf, type MemberState, MemberTable, protocolMax } from "./members.ts";
import { Membership } from "./membership.ts";
import type { MemberClaim, Ping, PushPull, SwimMessage } from "./messages.ts";
import { Probe, replyAddress, type StreamPing } from "./probe.ts";
import { Roster } from "./roster.ts";
import { pushPullInterval, versionConflict } from "./push-pull.ts";
import { type Consequence, stallOf } from "./stall.ts";
import { encodeMessage, messageType } from "./wire.ts";

export type SwimInput =
  | { readonly kind: "start" }
  | { readonly kind: "wake" }
  /** `receivedAt`: when it came in, at most the step's `now`; for round-trip times. */
  | { readonly kind: "datagram"; readonly from: Address; readonly message: SwimMessage; readonly receivedAt?: Millis }
  /** The outcome of a ping over a stream. */
  | { readonly kind: "streamProbe"; readonly sequence: number; readonly ok: boolean }
  /** The other side of a push-pull exchange, for which `mergeRefusal` gave no reason. `joining`: we asked to be let in. */
  | { readonly kind: "remoteState"; readonly state: PushPull; readonly joining?: boolean }
  /** The delegate's meta has changed. */
  | { readonly kind: "update" }
  /** Something besides gossip says that this member may be gone: it is probed next, and at once. */
  | { readonly kind: "doubt"; readonly node: string }
  | { readonly kind: "leave" };

export type StreamRequest = StreamPing | { readonly kind: "pushPull"; readonly to: Address; readonly join: boolean };

/** One datagram before its layers: encoded messages, the most urgent first. */
export interface OutgoingPacket {
  readonly to: Address;
  readonly parts: readonly Bytes[];
  /** The receiver is known to check one. */
  readonly checksum: boolean;
}

/** What the driver needs of a machine that speaks this protocol: SWIM alone, or Serf on top of it. */
export interface GossipMachine extends Machine<SwimInput> {
  /** Packets filled up to `bytesMax`: gossip rides on everything. Undeliverable gossip rounds vanish. */
  takePackets(bytesMax: number): readonly OutgoingPacket[];
  takeStreamRequests(): readonly StreamRequest[];
  /** Our side of a push-pull exchange. */
  localState(join: boolean): PushPull;
  /** Why a remote state must not be merged; undefined when it may. */
  mergeRefusal(state: PushPull): string | undefined;
  /** Whether a ping names this member, or nobody. */
  isMeant(ping: Ping): boolean;
}

/** Two bytes of length in a compound for each part, two for its head. */
const partOverhead = 2;
const compoundOverhead = 2;
const partsMax = 255;
/** Answers and probes between two turns of the driver; beyond it packets are lost, as on any network. */
const outboxMax = 4096;
const streamRequestsMax = 64;
const queueEntriesMin = 4096;
/** Protocol from which a member checks checksums. */
const checksumProtocol = 5;

interface Waiting {
  readonly to: Address;
  readonly primary: readonly Bytes[];
  readonly checksum: boolean;
  readonly piggyback: boolean;
}

export class SwimMachine implements GossipMachine {
  readonly #config: SwimConfig;
  readonly #random: Random;
  readonly #delegate: SwimDelegate;
  #known: readonly MemberClaim[];
  readonly #table: MemberTable;
  readonly #queue: GossipQueue;
  readonly #awareness: Awareness;
  readonly #membership: Membership;
  readonly #probe: Probe;
  #gossipAt: Millis = Number.POSITIVE_INFINITY;
  #pushPullAt: Millis = Number.POSITIVE_INFINITY;
  #outbox: Waiting[] = [];
  #streamRequests: StreamRequest[] = [];
  #leaveSent = false;
  /** When the timer that runs now was to fire. */
  #dueAt: Millis = Number.POSITIVE_INFINITY;

  constructor(parts: {
    readonly config: SwimConfig;
    readonly random: Random;
    readonly delegate: SwimDelegate;
    /** Members of a pool that stands already, known from the start without a word about them to anyone: for simulations. */
    readonly known?: readonly MemberClaim[];
    /** What it may hold together with other machines of this process. Default: one of its own. */
    readonly roster?: Roster<MemberState>;
  }) {
    const { config, random, delegate } = parts;
    this.#known = parts.known ?? [];
    this.#config = config;
    this.#random = random;
    this.#delegate = delegate;
    this.#table = new MemberTable(random, config.membersMax, parts.roster ?? new Roster());
    this.#awareness = new Awareness(config.awarenessMax);
    this.#queue = new GossipQueue({
      retransmitMult: config.retransmitMult,
      memberCount: () => this.#table.size,
      entriesMax: () => Math.max(queueEntriesMin, 2 * this.#table.size),
    });
    this.#membership = new Membership({ config, table: this.#table, queue: this.#queue, awareness: this.#awareness, delegate });
    this.#probe = new Probe({
      config,
      table: this.#table,
      awareness: this.#awareness,
      delegate,
      send: (to, messages, options) =>
        this.#post(to, messages.map(encodeMessage), options?.checksum ?? this.#isNamedLike(to), true),
      askStream: (ping) => this.#ask(ping),
      suspect: (now, suspect, grounds) => this.#membership.suspect(now, suspect, grounds),
    });
  }

  /** Includes the dead and the left. */
  get members(): readonly MemberState[] {
    return this.#table.all();
  }

  /** How many these are. */
  get memberCount(): number {
    return this.#table.size;
  }

  member(name: string): MemberState | undefined {
    return this.#table.get(name);
  }

  /** 0 is healthy. */
  get healthScore(): number {
    return this.#awareness.score;
  }

  /** Who accused whom, and on what evidence. */
  get evidence(): EvidenceLog {
    return this.#membership.evidence;
  }

  /** Goodbye was said often enough for everyone to have heard. */
  get leaveSent(): boolean {
    return this.#leaveSent;
  }

  get wakeAt(): Millis {
    return Math.min(this.#probe.wakeAt, this.#membership.wakeAt, this.#gossipAt, this.#pushPullAt);
  }

  step(now: Millis, input: SwimInput): void {
    const stall = now > this.#dueAt ? stallOf({ dueAt: this.#dueAt, now, config: this.#config }) : undefined;
    if (stall !== undefined) this.#stalled(now, stall);
    this.#handle(now, input);
    // A timer that is overdue stays so until it fires, however many packets are read before it does.
    if (input.kind === "wake" || stall !== undefined || this.#dueAt > now) this.#dueAt = Math.max(now, this.wakeAt);
  }

  takePackets(bytesMax: number): readonly OutgoingPacket[] {
    if (this.#outbox.length === 0) return [];
    const outbox = this.#outbox;
    this.#outbox = [];
    const packets: OutgoingPacket[] = [];
    for (const { to, primary, checksum, piggyback } of outbox) {
      const parts = piggyback ? [...primary, ...this.#riders(primary, bytesMax)] : primary;
      if (parts.length > 0) packets.push({ to, parts, checksum });
    }
    return packets;
  }

  takeStreamRequests(): readonly StreamRequest[] {
    const requests = this.#streamRequests;
    this.#streamRequests = [];
    return requests;
  }

  localState(join: boolean): PushPull {
    return { join, members: this.#table.all(), userState: this.#delegate.localState(join) };
  }

  mergeRefusal(state: PushPull): string | undefined {
    return (
      versionConflict(this.#table.all(), state.members) ?? (state.join ? this.#delegate.refuseMerge(state.members) : undefined)
    );
  }

  isMeant(ping: Ping): boolean {
    return ping.node === "" || ping.node === this.#config.name;
  }

  /** A user message to one member, without anything else in its packet. */
  sendUser(to: Address, payload: Bytes): void {
    this.#post(to, [concat([Uint8Array.of(messageType.user), payload])], this.#isNamedLike(to), false);
  }

  /** Asks for a push-pull exchange now, besides the regular ones. */
  requestPushPull(to: Address, join: boolean): void {
    this.#ask({ kind: "pushPull", to, join });
  }

  #handle(now: Millis, input: SwimInput): void {
    switch (input.kind) {
      case "start":
        this.#start(now);
        break;
      case "wake":
        this.#wake(now);
        break;
      case "datagram":
        this.#receive(now, input.message, input.from, input.receivedAt ?? now);
        break;
      case "streamProbe":
        this.#probe.streamAnswered(input.sequence, input.ok);
        break;
      case "remoteState":
        this.#merge(now, input.state, input.joining === true);
        break;
      case "update":
        this.#membership.announce(now);
        break;
      case "doubt":
        this.#probe.doubt(now, input.node);
        break;
      case "leave":
        this.#membership.leave(now, () => {
          this.#leaveSent = true;
        });
        break;
      default:
        unreachable(input);
    }
  }

  /**
   * The layer above hears who meant to leave before it hears who is gone: otherwise it would report a failure first, as Serf
   * does when the goodbye itself was not heard.
   */
  #merge(now: Millis, state: PushPull, joining: boolean): void {
    for (const claim of state.members) if (claim.condition === "alive") this.#membership.merge(now, claim);
    if (state.userState.length > 0) this.#delegate.mergeState(state.userState, joining);
    for (const claim of state.members) if (claim.condition !== "alive") this.#membership.merge(now, claim);
  }

  #start(now: Millis): void {
    const { probeInterval, gossipInterval, pushPullInterval: interval } = this.#config;
    this.#membership.announce(now);
    for (const claim of this.#known) if (claim.name !== this.#config.name) this.#membership.introduce(claim);
    this.#known = [];
    // Members that start together must not tick together.
    this.#probe.start(now + below(this.#random, Math.ceil(probeInterval)));
    this.#gossipAt = now + below(this.#random, Math.ceil(gossipInterval));
    this.#pushPullAt = now + below(this.#random, Math.ceil(interval));
  }

  #stalled(now: Millis, stall: Consequence): void {
    this.#awareness.apply(stall.awareness);
    this.#probe.postpone(stall.postpone);
    this.#membership.postpone(stall.postpone);
    this.evidence.stalled(now, stall.late);
    this.#delegate.log(
      "warn",
      `memberlist: This process stood still for ${Math.round(stall.late)}ms, trusting others longer for it`,
    );
  }

  #wake(now: Millis): void {
    this.#membership.wake(now);
    this.#probe.wake(now);
    if (now >= this.#gossipAt) {
      this.#gossipAt = now + this.#config.gossipInterval;
      this.#gossip(now);
    }
    if (now >= this.#pushPullAt) {
      this.#pushPullAt = now + pushPullInterval(this.#config.pushPullInterval, this.#table.size);
      const [other] = this.#table.sample(1, (member) => member.name !== this.#config.name && member.condition === "alive");
      if (other !== undefined) this.requestPushPull(addressOf(other, this.#config.port), false);
    }
  }

  #receive(now: Millis, message: SwimMessage, from: Address, receivedAt: Millis): void {
    switch (message.kind) {
      case "ping":
        this.#answer(message, from);
        return;
      case "indirectPing":
        this.#probe.relay(now, message, from);
        return;
      case "ack":
        this.#probe.acknowledged(now, message, receivedAt);
        return;
      case "nack":
        this.#probe.nacked(message, from);
        return;
      case "alive":
        this.#membership.alive(now, message);
        return;
      case "suspect":
        this.#membership.suspect(now, message);
        return;
      case "dead":
        this.#membership.dead(now, message);
        return;
      case "user":
        this.#delegate.received(message.payload);
        return;
      case "refusal":
        return;
      default:
        unreachable(message);
    }
  }

  #answer(ping: Ping, from: Address): void {
    if (!this.isMeant(ping)) {
      this.#delegate.log("warn", `memberlist: Got ping for unexpected node '${ping.node}' from=${formatAddress(from)}`);
      return;
    }
    const to = replyAddress(ping.origin, from);
    const ack = encodeMessage({ kind: "ack", sequence: ping.sequence, payload: this.#delegate.ackPayload() });
    this.#post(to, [ack], this.#isNamedLike(to), true);
  }

  /** Also to those just declared dead: one that was only cut off learns of it and refutes. Never to those who left. */
  #gossip(now: Millis): void {
    const { name, port, gossipNodes, gossipToTheDead } = this.#config;
    const targets = this.#table.sample(gossipNodes, (member) => {
      if (member.name === name || member.condition === "left") return false;
      return member.condition !== "dead" || now - member.goneAt <= gossipToTheDead;
    });
    this.#delegate.measured?.("gossip", targets.length);
    for (const target of targets) this.#post(addressOf(target, port), [], protocolMax(target) >= checksumProtocol, true);
  }

  /** What fits beside `primary`: first about members, then what the layer above has to say. */
  #riders(primary: readonly Bytes[], bytesMax: number): readonly Bytes[] {
    let bytesLeft = bytesMax - compoundOverhead;
    for (const part of primary) bytesLeft -= part.length + (primary.length > 1 ? partOverhead : 0);
    const riders = [...this.#queue.take(partOverhead, bytesLeft)];
    for (const rider of riders) bytesLeft -= rider.length + partOverhead;
    const userOverhead = partOverhead + 1;
    if (bytesLeft > userOverhead) {
      for (const payload of this.#delegate.broadcasts(userOverhead, bytesLeft))
        riders.push(concat([Uint8Array.of(messageType.user), payload]));
    }
    // 1,400 bytes hold fewer than 255 messages of a dozen bytes; only a larger budget could reach this.
    return riders.slice(0, partsMax - primary.length);
  }

  #post(to: Address, primary: readonly Bytes[], checksum: boolean, piggyback: boolean): void {
    if (this.#outbox.length < outboxMax) this.#outbox.push({ to, primary, checksum, piggyback });
  }

  #ask(request: StreamRequest): void {
    if (this.#streamRequests.length < streamRequestsMax) this.#streamRequests.push(request);
  }

  /** memberlist looks the receiver of an answer up by its IP address as if that were a name; so a checksum is rare there. */
  #isNamedLike(to: Address): boolean {
    const member = this.#table.get(to.host);
    return member !== undefined && protocolMax(member) >= checksumProtocol;
  }
}
