/**
 * Serf on top of SWIM: members with tags who say whether they leave or fail, events everyone hears once, and network
 * coordinates. Byte for byte as serf 0.9.4 speaks protocol 4 and 5.
 *
 *    SwimMachine ──joined, gone, updated──► members.ts     alive, leaving, left, failed
 *                ──user messages──────────► intents, events.ts, queries.ts
 *                ──acks───────────────────► coordinates.ts
 *                ◄──broadcasts, meta, state for push-pull──
 *
 * Three Lamport clocks order what is heard: intents, events, queries. Whoever hears something new passes it on.
 *
 * Invariants: a member's status time never falls · a member that left is not reported failed · a user event is
 * delivered at most once.
 */
import { Malformed } from "../codec/msgpack.ts";
import type { Random } from "../ports/random.ts";
import type { LogLevel } from "../ports/telemetry.ts";
import type { Member } from "../plugin/agent-api.ts";
import type { SwimConfig } from "../swim/config.ts";
import type { SwimDelegate } from "../swim/delegate.ts";
import type { SwimMeasure } from "../swim/metrics.ts";
import type { SerfMeasure } from "./metrics.ts";
import { GossipQueue } from "../swim/gossip-queue.ts";
import { ipText } from "../swim/ip.ts";
import { Keyring } from "../swim/keyring.ts";
import type { MemberState } from "../swim/members.ts";
import type { MemberClaim, Ping, PushPull } from "../swim/messages.ts";
import { Roster } from "../swim/roster.ts";
import { type GossipMachine, type OutgoingPacket, type StreamRequest, SwimMachine } from "../swim/swim.ts";
import { type Bytes, emptyBytes } from "../types/bytes.ts";
import { unreachable } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { Caretaker } from "./caretaker.ts";
import type { SerfConfig } from "./config.ts";
import { CoordinateClient, distance } from "./coordinates.ts";
import { EventRing } from "./events.ts";
import type { SerfEvent, SerfInput } from "./inputs.ts";
import { LamportClock } from "./lamport.ts";
import { type MemberEventKind, memberOf, type SerfMember, SerfMembers } from "./members.ts";
import type { JoinIntent, LeaveIntent, SerfMessage, SerfState, UserEvent } from "./messages.ts";
import { Queries } from "./queries.ts";
import { decodeCoordinate, decodeSerf, decodeState, encodeCoordinate, encodeSerf, encodeState, encodeTags } from "./wire.ts";

/** Events between two turns of the driver. */
const eventsMax = 65_536;
const queueEntriesMin = 4096;
/** Serf: whoever fails and is back within so long flaps. */
const flapMax: Millis = 60_000;

/** What a machine may hold together with other machines of this process. Default: nothing. */
export interface SerfRosters {
  readonly swim: Roster<MemberState>;
  readonly serf: Roster<SerfMember>;
}

export class SerfMachine implements GossipMachine {
  readonly #config: SerfConfig;
  readonly #ownPort: number;
  readonly #swim: SwimMachine;
  readonly #members: SerfMembers;
  readonly #clock = new LamportClock();
  readonly #eventClock = new LamportClock();
  readonly #queryClock = new LamportClock();
  readonly #eventRing = new EventRing();
  readonly #queries: Queries;
  readonly #caretaker: Caretaker;
  readonly #coordinates: CoordinateClient;
  readonly #intentQueue: GossipQueue;
  readonly #queryQueue: GossipQueue;
  readonly #eventQueue: GossipQueue;
  readonly #measured: (what: SwimMeasure | SerfMeasure, value: number) => void;
  #meta: Bytes;
  #events: SerfEvent[] = [];
  #now: Millis = 0;
  /** Whom it knows from the start is no news. */
  #starting = false;
  #leaving = false;
  #leaveIntentSent = false;

  /** `keyring` is shared with whoever seals packets: changed keys count at once. */
  constructor(parts: {
    readonly swim: SwimConfig;
    readonly serf: SerfConfig;
    readonly random: Random;
    readonly keyring?: Keyring;
    /** See SwimMachine. */
    readonly known?: readonly MemberClaim[];
    readonly rosters?: SerfRosters;
    /** Lamport times of an earlier life: what was seen then is no news now. */
    readonly resume?: { readonly clock: number; readonly eventClock: number; readonly queryClock: number };
    /** For metrics. Called from within a step: it must not step the machine. */
    readonly measured?: (what: SwimMeasure | SerfMeasure, value: number) => void;
  }) {
    this.#config = parts.serf;
    this.#measured = parts.measured ?? (() => {});
    this.#ownPort = parts.swim.port;
    this.#members = new SerfMembers(parts.rosters?.serf ?? new Roster());
    if (parts.resume !== undefined) {
      const { clock, eventClock, queryClock } = parts.resume;
      this.#clock.witness(clock);
      this.#eventClock.witness(eventClock);
      this.#queryClock.witness(queryClock);
      this.#eventRing.ignoreBefore(eventClock + 1);
    }
    this.#coordinates = new CoordinateClient(parts.random.fork("coordinates"));
    this.#meta = encodeTags(parts.serf.tags);
    const queue = () =>
      new GossipQueue({
        retransmitMult: parts.swim.retransmitMult,
        memberCount: () => this.#members.size,
        entriesMax: () => Math.max(queueEntriesMin, 2 * this.#members.size),
      });
    this.#intentQueue = queue();
    this.#queryQueue = queue();
    this.#eventQueue = queue();
    this.#swim = new SwimMachine({
      config: parts.swim,
      random: parts.random.fork("swim"),
      delegate: this.#delegate(),
      ...(parts.known === undefined ? {} : { known: parts.known }),
      ...(parts.rosters === undefined ? {} : { roster: parts.rosters.swim }),
    });
    const { config, random, members } = { config: parts.serf, random: parts.random.fork("serf"), members: this.#members };
    this.#queries = new Queries({
      config,
      address: parts.swim.address,
      port: parts.swim.port,
      random,
      members,
      keyring: parts.keyring ?? new Keyring(),
      clock: this.#queryClock,
      addressOf: (node) => this.#swim.member(node)?.address,
      broadcast: (content) => this.#queryQueue.add({ content }),
      send: (to, content) => this.#swim.sendUser(to, content),
      tell: (event) => this.#push(event),
    });
    if (parts.resume !== undefined) this.#queries.ignoreBefore(parts.resume.queryClock + 1);
    this.#caretaker = new Caretaker({
      config,
      random,
      members,
      reconnect: (to) => this.#swim.requestPushPull(to, true),
      forgotten: (member) => this.#forgotten(member),
      log: (level, message) => this.#log(level, message),
    });
  }

  get members(): SerfMembers {
    return this.#members;
  }

  get swim(): SwimMachine {
    return this.#swim;
  }

  get coordinates(): CoordinateClient {
    return this.#coordinates;
  }

  /** Lamport times: of members, events and queries. */
  get times(): { readonly member: number; readonly event: number; readonly query: number } {
    return { member: this.#clock.time, event: this.#eventClock.time, query: this.#queryClock.time };
  }

  get queueLengths(): { readonly intent: number; readonly event: number; readonly query: number } {
    return { intent: this.#intentQueue.length, event: this.#eventQueue.length, query: this.#queryQueue.length };
  }

  /** Everyone should have heard that we mean to leave. */
  get leaveIntentSent(): boolean {
    return this.#leaveIntentSent;
  }

  get wakeAt(): Millis {
    return Math.min(this.#swim.wakeAt, this.#caretaker.wakeAt, this.#queries.wakeAt);
  }

  step(now: Millis, input: SerfInput): void {
    this.#now = now;
    switch (input.kind) {
      case "start":
        this.#caretaker.start(now);
        this.#starting = true;
        this.#swim.step(now, input);
        this.#starting = false;
        break;
      case "wake":
        this.#swim.step(now, input);
        this.#queries.wake(now);
        this.#caretaker.wake(now);
        break;
      case "userEvent":
        this.#fire(input.name, input.payload, input.coalesce);
        break;
      case "joinIntent":
        this.#announceJoin();
        break;
      case "leaveIntent":
        this.#leaving = true;
        this.#announceLeave({ node: this.#config.name, prune: false });
        break;
      case "forceLeave":
        this.#announceLeave({ node: input.node, prune: input.prune });
        break;
      case "tags":
        this.#meta = encodeTags(input.tags);
        this.#swim.step(now, { kind: "update" });
        break;
      case "query":
        this.#queries.ask(now, input);
        break;
      case "keysStored":
        this.#queries.keysStored(input.change, input.problem);
        break;
      default:
        this.#swim.step(now, input);
    }
  }

  takePackets(bytesMax: number): readonly OutgoingPacket[] {
    return this.#swim.takePackets(bytesMax);
  }

  takeStreamRequests(): readonly StreamRequest[] {
    return this.#swim.takeStreamRequests();
  }

  takeEvents(): readonly SerfEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  localState(join: boolean): PushPull {
    return this.#swim.localState(join);
  }

  mergeRefusal(state: PushPull): string | undefined {
    return this.#swim.mergeRefusal(state);
  }

  isMeant(ping: Ping): boolean {
    return this.#swim.isMeant(ping);
  }

  #refuseAlive(member: Member): string | undefined {
    return this.#config.refuseAddress(member.address) ?? this.#config.refuse([member]);
  }

  #delegate(): SwimDelegate {
    return {
      meta: () => this.#meta,
      ackPayload: () => (this.#config.coordinates ? encodeCoordinate(this.#coordinates.coordinate) : undefined),
      acked: (member, roundTrip, payload) => this.#acked(member, roundTrip, payload),
      received: (payload) => this.#received(payload),
      broadcasts: (overhead, bytesMax) => this.#broadcasts(overhead, bytesMax),
      localState: () => encodeState(this.#state()),
      mergeState: (state, joining) => this.#merge(state, joining),
      refuseMerge: (claims) => this.#config.refuse(claims.map((claim) => this.#claimed(claim))),
      refuseAlive: (alive) => this.#refuseAlive(this.#claimed({ ...alive, name: alive.node, condition: "alive" })),
      joined: (state) => this.#joined(state),
      gone: (state) => this.#gone(state),
      updated: (state) => {
        const member = this.#members.updated(state, this.#ownPort);
        if (member !== undefined) this.#tell("update", member.name);
      },
      conflicted: (member, other) => {
        const theirs = `${ipText(other.address)}:${other.port}`;
        if (member.name === this.#config.name)
          this.#log(
            "error",
            `serf: Node name conflicts with another node at ${theirs}. Names must be unique! (Resolution enabled: false)`,
          );
        else
          this.#log(
            "warn",
            `serf: Name conflict for '${member.name}' both ${member.host}:${member.port} and ${theirs} are claiming`,
          );
      },
      measured: (what, value) => this.#measured(what, value),
      log: (level, message, fields) => this.#log(level, message, fields),
    };
  }

  #claimed(claim: MemberClaim): Member {
    const { condition, ...rest } = claim;
    const member = memberOf({ ...rest, host: ipText(claim.address) ?? "" }, this.#ownPort);
    return { ...member, status: condition === "left" ? "left" : condition === "dead" ? "failed" : "alive" };
  }

  #joined(state: MemberState): void {
    const before = this.#members.get(state.name);
    if (before?.status === "failed" && this.#now - before.goneAt < flapMax) this.#measured("flap", 1);
    const member = this.#members.joined(state, this.#ownPort);
    if (this.#starting && state.name !== this.#config.name) return;
    this.#log("info", `serf: EventMemberJoin: ${member.name} ${member.address}`);
    this.#tell("join", member.name);
  }

  #gone(state: MemberState): void {
    const outcome = this.#members.gone(state.name, this.#now, state.condition === "left");
    if (outcome === undefined) return;
    this.#log(
      "info",
      `serf: ${outcome.event === "leave" ? "EventMemberLeave" : "EventMemberFailed"}: ${state.name} ${outcome.member.address}`,
    );
    this.#tell(outcome.event, state.name);
  }

  #acked(member: MemberState, roundTrip: Millis, payload: Bytes | undefined): void {
    if (!this.#config.coordinates || payload === undefined || payload.length === 0) return;
    const coordinate = decodeCoordinate(payload);
    const before = this.#coordinates.coordinate;
    if (coordinate === undefined || !this.#coordinates.observe(member.name, coordinate, roundTrip / 1000)) {
      if (coordinate !== undefined) this.#measured("rejected", 1);
      this.#log("trace", `serf: Rejected coordinate from ${member.name}`);
    } else this.#measured("adjustment", distance(before, this.#coordinates.coordinate) * 1000);
  }

  #received(view: Bytes): void {
    this.#measured("received", view.length);
    // A copy, because it may be kept for passing on: a view would keep the whole packet.
    const payload = view.slice();
    let message: SerfMessage;
    try {
      message = decodeSerf(payload);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.#log("warn", `serf: Received a message that cannot be read: ${error.message}`);
      return;
    }
    switch (message.kind) {
      case "join":
        if (this.#joinIntent(message)) this.#intentQueue.add({ content: payload });
        return;
      case "leave":
        if (this.#leaveIntent(message)) this.#intentQueue.add({ content: payload });
        return;
      case "userEvent":
        if (this.#userEvent(message)) this.#eventQueue.add({ content: payload });
        return;
      case "query":
        this.#queries.receive(message, payload);
        return;
      case "queryResponse":
        this.#queries.answered(message);
        return;
      case "relay":
        this.#queries.relay(message);
        return;
      default:
        unreachable(message);
    }
  }

  #joinIntent(intent: JoinIntent): boolean {
    this.#clock.witness(intent.time);
    return this.#members.joinIntent(this.#now, intent).rebroadcast;
  }

  #leaveIntent(intent: LeaveIntent): boolean {
    this.#clock.witness(intent.time);
    const { name, broadcastTimeout, leavePropagateDelay } = this.#config;
    const member = this.#members.get(intent.node);
    if (intent.node === name && !this.#leaving && member !== undefined) {
      // At equal times, too: whoever heard the goodbye first would keep believing it, and Serf leaves that undecided.
      if (intent.time < member.statusTime) return false;
      // Someone speaks of an earlier life of ours, or wants us out: we are here.
      this.#log("debug", "serf: Refuting an older leave intent");
      this.#announceJoin();
      return false;
    }
    const outcome = this.#members.leaveIntent(this.#now, intent, broadcastTimeout + leavePropagateDelay);
    if (outcome.event === "leave" && member !== undefined) {
      this.#log("info", `serf: EventMemberLeave (forced): ${member.name} ${member.address}`);
      this.#tell("leave", member.name);
    }
    if (intent.prune && member !== undefined) this.#caretaker.prune(this.#now);
    return outcome.rebroadcast;
  }

  #userEvent(event: UserEvent): boolean {
    this.#eventClock.witness(event.time);
    if (!this.#eventRing.admit(event, this.#eventClock.time)) return false;
    this.#push({
      kind: "user",
      name: event.name,
      payload: event.payload ?? emptyBytes,
      time: event.time,
      coalesce: event.coalesce,
    });
    return true;
  }

  #fire(name: string, payload: Bytes, coalesce: boolean): void {
    const event: UserEvent = { kind: "userEvent", time: this.#eventClock.time, name, payload, coalesce };
    this.#eventClock.increment();
    this.#userEvent(event);
    this.#eventQueue.add({ content: encodeSerf(event) });
  }

  #announceJoin(): void {
    const intent: JoinIntent = { kind: "join", time: this.#clock.time, node: this.#config.name };
    this.#joinIntent(intent);
    this.#intentQueue.add({ content: encodeSerf(intent) });
  }

  #announceLeave(about: { readonly node: string; readonly prune: boolean }): void {
    const intent: LeaveIntent = { kind: "leave", time: this.#clock.time, ...about };
    this.#clock.increment();
    this.#leaveIntent(intent);
    const own = about.node === this.#config.name;
    if (!this.#hasOthers()) {
      if (own) this.#leaveIntentSent = true;
      return;
    }
    const finished = () => {
      this.#leaveIntentSent = true;
    };
    this.#intentQueue.add({ content: encodeSerf(intent), ...(own ? { finished } : {}) });
  }

  #hasOthers(): boolean {
    for (const member of this.#members.values()) {
      if (member.name !== this.#config.name && member.status === "alive") return true;
    }
    return false;
  }

  /** Intents first: they decide whether a member that goes has left or failed. */
  #broadcasts(overhead: number, bytesMax: number): readonly Bytes[] {
    const taken: Bytes[] = [];
    let bytesLeft = bytesMax;
    for (const queue of [this.#intentQueue, this.#queryQueue, this.#eventQueue]) {
      for (const content of queue.take(overhead, bytesLeft)) {
        taken.push(content);
        this.#measured("sent", content.length);
        bytesLeft -= overhead + content.length;
      }
    }
    return taken;
  }

  #state(): SerfState {
    const statusTimes = new Map<string, number>();
    const leftMembers: string[] = [];
    for (const member of this.#members.values()) {
      statusTimes.set(member.name, member.statusTime);
      if (member.status === "left") leftMembers.push(member.name);
    }
    return {
      time: this.#clock.time,
      statusTimes,
      leftMembers,
      eventTime: this.#eventClock.time,
      events: this.#eventRing.slots(),
      queryTime: this.#queryClock.time,
    };
  }

  #merge(bytes: Bytes, joining: boolean): void {
    let state: SerfState;
    try {
      state = decodeState(bytes);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.#log("error", `serf: Failed to decode remote state: ${error.message}`);
      return;
    }
    // The clocks stand one past the last thing that happened.
    if (state.time > 0) this.#clock.witness(state.time - 1);
    if (state.eventTime > 0) this.#eventClock.witness(state.eventTime - 1);
    if (state.queryTime > 0) this.#queryClock.witness(state.queryTime - 1);
    const left = new Set(state.leftMembers);
    for (const node of left) {
      // One past the time of its joining: the goodbye itself must have been later, and its own time is not known.
      this.#leaveIntent({ kind: "leave", time: (state.statusTimes.get(node) ?? 0) + 1, node, prune: false });
    }
    const { name } = this.#config;
    const doubted =
      !this.#leaving && !left.has(name) && (state.statusTimes.get(name) ?? 0) > (this.#members.get(name)?.statusTime ?? 0);
    for (const [node, time] of state.statusTimes) if (!left.has(node)) this.#joinIntent({ kind: "join", time, node });
    // They heard later news of us than we ever gave: of our leaving, told by one who had not heard that we are back.
    if (doubted) this.#announceJoin();
    // What happened before we came is no news to whoever listens here. It is to one that was only cut off from the others.
    if (joining) this.#eventRing.ignoreBefore(state.eventTime);
    for (const slot of state.events) {
      for (const { name, payload } of slot?.events ?? []) {
        this.#userEvent({ kind: "userEvent", time: (slot as { time: number }).time, name, payload, coalesce: false });
      }
    }
  }

  #forgotten(member: SerfMember): void {
    this.#coordinates.forget(member.name);
    this.#log("info", `serf: EventMemberReap: ${member.name}`);
    this.#push({ kind: "reap", member: snapshotOf(member) });
  }

  #tell(kind: MemberEventKind, name: string): void {
    const member = this.#members.get(name);
    if (member !== undefined) this.#push({ kind, member: snapshotOf(member) });
  }

  #log(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#push(fields === undefined ? { kind: "log", level, message } : { kind: "log", level, message, fields });
  }

  #push(event: SerfEvent): void {
    if (this.#events.length < eventsMax) this.#events.push(event);
  }
}

/** What the outside gets: the table's own object changes. */
export function snapshotOf(member: Member): Member {
  const { name, address, port, tags, status, protocolMin, protocolMax, protocolCur, delegateMin, delegateMax, delegateCur } =
    member;
  return { name, address, port, tags, status, protocolMin, protocolMax, protocolCur, delegateMin, delegateMax, delegateCur };
}
