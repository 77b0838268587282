/**
 * Is the next member alive? (SWIM section 3, Lifeguard section IV.)
 *
 *   ping ──timeout──► indirect pings through k others, and a ping over a stream ──interval──► suspect
 *     └────────────────── ack at any time: alive ──────────────────┘
 *
 * And the other side: pinging on behalf of others. One probe of our own at a time; relays are bounded.
 */
import type { Address } from "../ports/net.ts";
import type { Millis } from "../types/ids.ts";
import type { Awareness } from "./awareness.ts";
import type { SwimConfig } from "./config.ts";
import type { SwimDelegate } from "./delegate.ts";
import type { Grounds, HelperAnswer } from "./evidence.ts";
import { ipText } from "./ip.ts";
import { addressOf, isGone, type MemberState, type MemberTable, protocolMax } from "./members.ts";
import type { Ack, IndirectPing, Nack, Origin, Ping, Suspect, SwimMessage } from "./messages.ts";

/** Pings on behalf of others that may be out at once; more are not done, and the asker counts a missing nack. */
const relaysMax = 4096;
/** Members to be probed before their turn; of more the first are. */
const doubtedMax = 16;
/** Protocols from which a member answers nacks, and pings over streams. */
const nackProtocol = 4;
const streamPingProtocol = 3;

export interface StreamPing {
  readonly kind: "ping";
  readonly to: Address;
  readonly ping: Ping;
  readonly timeout: Millis;
}

export interface ProbeParts {
  readonly config: SwimConfig;
  readonly table: MemberTable;
  readonly awareness: Awareness;
  readonly delegate: SwimDelegate;
  readonly send: (to: Address, messages: readonly SwimMessage[], options?: { readonly checksum: boolean }) => void;
  readonly askStream: (ping: StreamPing) => void;
  readonly suspect: (now: Millis, suspect: Suspect, grounds: Grounds) => void;
}

/** Somebody asked to ping the target. */
interface Helper {
  readonly name: string;
  readonly to: Address;
  readonly nackExpected: boolean;
  nacked: boolean;
}

interface Running {
  /** As it was known when it was pinged. */
  readonly target: MemberState;
  readonly ping: Ping;
  readonly sentAt: Millis;
  /** When indirect probing starts; Infinity once it has. */
  timeoutAt: Millis;
  deadline: Millis;
  helpers: readonly Helper[];
  nacksExpected: number;
  nacks: number;
  stream: "unasked" | "silence" | "failed" | "reached";
  /** This process stalled meanwhile: how long an answer took says nothing about the way. */
  stalled: boolean;
}

interface Relay {
  readonly to: Address;
  readonly sequence: number;
  readonly nack: boolean;
  expiresAt: Millis;
}

export class Probe {
  readonly #parts: ProbeParts;
  readonly #origin: Origin;
  #running: Running | undefined;
  #nextAt: Millis = Number.POSITIVE_INFINITY;
  #sequence = 0;
  readonly #doubted = new Set<string>();
  /** By the sequence of our own ping. All live equally long, so the first to expire stands first. */
  readonly #relays = new Map<number, Relay>();

  constructor(parts: ProbeParts) {
    this.#parts = parts;
    this.#origin = { address: parts.config.address, port: parts.config.port, node: parts.config.name };
  }

  start(at: Millis): void {
    this.#nextAt = at;
  }

  get wakeAt(): Millis {
    const running = this.#running === undefined ? this.#nextAt : Math.min(this.#running.timeoutAt, this.#running.deadline);
    const relay = this.#relays.values().next().value;
    return relay === undefined ? running : Math.min(running, relay.expiresAt);
  }

  wake(now: Millis): void {
    for (const [sequence, relay] of this.#relays) {
      if (relay.expiresAt > now) break;
      this.#relays.delete(sequence);
      if (relay.nack) this.#parts.send(relay.to, [{ kind: "nack", sequence: relay.sequence }]);
    }
    const running = this.#running;
    if (running !== undefined && now >= running.deadline) this.#fail(now, running);
    else if (running !== undefined && now >= running.timeoutAt) this.#probeIndirectly(now, running);
    if (this.#running === undefined && now >= this.#nextAt) this.#probeNext(now);
  }

  /** It is probed before its turn: at once, or after the probe that is under way. */
  doubt(now: Millis, name: string): void {
    const member = this.#parts.table.get(name);
    if (member === undefined || !this.#mayBeProbed(member) || this.#running?.target.name === name) return;
    if (this.#doubted.size >= doubtedMax) return;
    this.#doubted.add(name);
    if (this.#running === undefined && this.#nextAt !== Number.POSITIVE_INFINITY) this.#nextAt = now;
  }

  /** Someone asks us to ping someone. `from` is where the packet came from. */
  relay(now: Millis, request: IndirectPing, from: Address): void {
    const host = ipText(request.target);
    if (host === undefined || this.#relays.size >= relaysMax) return;
    const sequence = this.#nextSequence();
    this.#relays.set(sequence, {
      to: replyAddress(request.origin, from),
      sequence: request.sequence,
      nack: request.nack,
      expiresAt: now + this.#parts.config.probeTimeout,
    });
    const to = { host, port: request.port === 0 ? this.#parts.config.port : request.port };
    this.#parts.send(to, [{ kind: "ping", sequence, node: request.node, origin: this.#origin }]);
  }

  /** `receivedAt` may lie a little before `now`: it is when the packet came in. */
  acknowledged(now: Millis, ack: Ack, receivedAt: Millis): void {
    const relay = this.#relays.get(ack.sequence);
    if (relay !== undefined) {
      this.#relays.delete(ack.sequence);
      this.#parts.send(relay.to, [{ kind: "ack", sequence: relay.sequence, payload: undefined }]);
      return;
    }
    const running = this.#running;
    if (running === undefined || running.ping.sequence !== ack.sequence) return;
    // A late answer may have come through someone else: its time says nothing about the way.
    if (running.timeoutAt !== Number.POSITIVE_INFINITY && !running.stalled) {
      const roundTrip = Math.max(0, receivedAt - running.sentAt);
      this.#parts.delegate.acked(running.target, roundTrip, ack.payload);
    }
    this.#succeed(now, running);
  }

  nacked(nack: Nack, from: Address): void {
    const running = this.#running;
    if (running?.ping.sequence !== nack.sequence) return;
    running.nacks++;
    const helper = running.helpers.find(({ to, nacked }) => !nacked && to.host === from.host && to.port === from.port);
    if (helper !== undefined) helper.nacked = true;
  }

  streamAnswered(sequence: number, reached: boolean): void {
    if (this.#running?.ping.sequence === sequence) this.#running.stream = reached ? "reached" : "failed";
  }

  /** Nothing was heard for a while because this process stood still: everyone gets that time back, see stall.ts. */
  postpone(by: Millis): void {
    for (const relay of this.#relays.values()) relay.expiresAt += by;
    if (this.#running === undefined) return;
    this.#running.timeoutAt += by;
    this.#running.deadline += by;
    this.#running.stalled = true;
  }

  #probeNext(now: Millis): void {
    const { config, table, awareness, delegate, send } = this.#parts;
    const target = this.#nextDoubted() ?? table.nextToProbe(now - config.gossipToTheDead, (member) => this.#mayBeProbed(member));
    this.#nextAt = now + config.probeInterval;
    if (target === undefined) {
      // Nobody to be wrong about: an agent alone is healthy again by itself.
      awareness.apply(-1);
      return;
    }
    if (awareness.score > 0) delegate.measured?.("degradedProbe", 1);
    const ping: Ping = { kind: "ping", sequence: this.#nextSequence(), node: target.name, origin: this.#origin };
    this.#running = {
      target,
      ping,
      sentAt: now,
      timeoutAt: now + config.probeTimeout,
      deadline: now + awareness.scale(config.probeInterval),
      helpers: [],
      nacksExpected: 0,
      nacks: 0,
      stream: "unasked",
      stalled: false,
    };
    if (target.condition !== "suspect" || config.buddy === false) {
      send(addressOf(target, config.port), [ping]);
      return;
    }
    // It hears of the suspicion with the ping, so that it can refute at once.
    const suspect: Suspect = { kind: "suspect", node: target.name, incarnation: target.incarnation, from: config.name };
    send(addressOf(target, config.port), [ping, suspect], { checksum: protocolMax(target) >= 5 });
  }

  #mayBeProbed(member: MemberState): boolean {
    return member.name !== this.#parts.config.name && !isGone(member);
  }

  #nextDoubted(): MemberState | undefined {
    for (const name of this.#doubted) {
      this.#doubted.delete(name);
      const member = this.#parts.table.get(name);
      if (member !== undefined && this.#mayBeProbed(member)) return member;
    }
    return undefined;
  }

  #probeIndirectly(now: Millis, running: Running): void {
    const { config, table, send, askStream } = this.#parts;
    const { target, ping } = running;
    running.timeoutAt = Number.POSITIVE_INFINITY;
    const helpers = table.sample(
      config.indirectChecks,
      (member) => member.name !== config.name && member.name !== target.name && member.condition === "alive",
    );
    const to = addressOf(target, config.port);
    running.helpers = helpers.map((helper) => ({
      name: helper.name,
      to: addressOf(helper, config.port),
      nackExpected: protocolMax(helper) >= nackProtocol && config.nacks !== false,
      nacked: false,
    }));
    for (const { to: helper, nackExpected: nack } of running.helpers) {
      if (nack) running.nacksExpected++;
      send(helper, [
        {
          kind: "indirectPing",
          sequence: ping.sequence,
          node: target.name,
          target: target.address,
          port: to.port,
          nack,
          origin: this.#origin,
        },
      ]);
    }
    if (protocolMax(target) < streamPingProtocol) return;
    running.stream = "silence";
    askStream({ kind: "ping", to, ping, timeout: running.deadline - now });
  }

  #succeed(now: Millis, running: Running): void {
    this.#running = undefined;
    this.#parts.delegate.measured?.("probe", now - running.sentAt);
    this.#parts.awareness.apply(-1);
    this.#nextAt = this.#doubted.size > 0 ? now : Math.max(now, running.sentAt + this.#parts.config.probeInterval);
  }

  #fail(now: Millis, running: Running): void {
    const { config, table, awareness, delegate, suspect } = this.#parts;
    // What is known of it now: since the ping it may have gone, or spoken.
    const target = table.get(running.target.name);
    if (running.stream === "reached") {
      delegate.log(
        "warn",
        `memberlist: Was able to connect to ${running.target.name} but other probes failed, network may be misconfigured`,
      );
      this.#succeed(now, running);
      return;
    }
    const health = awareness.score;
    this.#running = undefined;
    delegate.measured?.("probe", now - running.sentAt);
    this.#nextAt = now;
    // Helpers who did not even say "no answer" were not heard: then the fault may be ours.
    awareness.apply(running.nacksExpected > 0 ? Math.max(0, running.nacksExpected - running.nacks) : 1);
    if (target === undefined || isGone(target)) return;
    delegate.log("info", `memberlist: Suspect ${target.name} has failed, no acks received`);
    const grounds: Grounds = {
      kind: "probe",
      sentAt: running.sentAt,
      directTimeout: config.probeTimeout,
      timeout: now - running.sentAt,
      helpers: running.helpers.map(answerOf),
      stream: running.stream,
      health,
    };
    suspect(now, { kind: "suspect", node: target.name, incarnation: target.incarnation, from: config.name }, grounds);
  }

  #nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }
}

function answerOf({ name, nackExpected, nacked }: Helper): HelperAnswer {
  return { via: name, answer: nacked ? "nack" : nackExpected ? "silence" : "unasked" };
}

/** Answers go where the question says, else to where it came from. */
export function replyAddress(origin: Origin | undefined, from: Address): Address {
  const host = origin === undefined ? undefined : ipText(origin.address);
  return origin === undefined || host === undefined ? from : { host, port: origin.port };
}
