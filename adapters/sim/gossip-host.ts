import type { Random } from "../../core/ports/random.ts";
import { consulVersion, type SerfConfig, serfDefaults } from "../../core/serf/config.ts";
import { SerfMachine, type SerfRosters } from "../../core/serf/serf.ts";
import type { SerfInput } from "../../core/serf/inputs.ts";
import { lanDefaults, type SwimConfig } from "../../core/swim/config.ts";
import type { SwimDelegate } from "../../core/swim/delegate.ts";
import type { MemberClaim } from "../../core/swim/messages.ts";
import { type GossipMachine, type SwimInput, SwimMachine } from "../../core/swim/swim.ts";
import { type Bytes, emptyBytes, text } from "../../core/types/bytes.ts";
import type { Millis } from "../../core/types/ids.ts";

/** Which machine a simulated member runs: SWIM alone, or Serf on top of it. Both are the ones of production. */
export type Layer = "swim" | "serf";

export const gossipPort = 7946;

/** What a member tells of others: about whom, and a user event's text. */
export type Observation =
  | { readonly kind: "joined" | "failed" | "left"; readonly about: string }
  | { readonly kind: "event"; readonly name: string };

/** A packet that waits in the socket of a member that does not run. */
export interface Waiting {
  readonly from: GossipHost;
  readonly packet: Bytes;
}

/** The kernel keeps about this many small datagrams for a process that does not read them (rmem_default of Linux). */
export const inboxMax = 256;
/** What a blocked sender holds back. */
export const outboxMax = 4096;

/** One member of a simulated pool, with what the simulation knows of it that nobody else does. */
export class GossipHost {
  readonly number: number;
  readonly name: string;
  readonly ip: string;
  readonly address: Bytes;
  machine: GossipMachine;
  swim: SwimMachine;
  serf: SerfMachine | undefined;
  /** The process exists. */
  up = true;
  crashedAt: Millis = Number.POSITIVE_INFINITY;
  /** It said goodbye. */
  leaving = false;
  /** When it began to say so. */
  leftAt: Millis = Number.POSITIVE_INFINITY;
  /** Until then it does nothing; packets wait in its socket. */
  pausedUntil: Millis = 0;
  pausedAt: Millis = 0;
  /** Until then it runs, and neither sends nor reads: its messages wait on both sides. */
  blockedUntil: Millis = 0;
  readonly inbox: Waiting[] = [];
  readonly outbox: { readonly to: string; readonly packet: Bytes }[] = [];
  /** The last time that something was wrong with it or with one of its links. */
  troubledAt: Millis = 0;
  /** When its timer is set for. */
  wakeAt: Millis = Number.POSITIVE_INFINITY;
  /** Which life this is. */
  life = 0;
  /** User events it has told of. */
  readonly heard = new Set<string>();
  #observations: Observation[] = [];
  #starting = false;

  constructor(number: number, build: Build) {
    this.number = number;
    this.name = nameOf(number);
    this.address = addressOf(number);
    this.ip = this.address.join(".");
    const { machine, swim, serf } = this.#machines(build);
    this.machine = machine;
    this.swim = swim;
    this.serf = serf;
  }

  /** The same name and address, and nothing remembered. */
  restart(build: Build): void {
    this.life++;
    this.up = true;
    this.leaving = false;
    this.leftAt = Number.POSITIVE_INFINITY;
    this.crashedAt = Number.POSITIVE_INFINITY;
    this.pausedUntil = 0;
    this.blockedUntil = 0;
    this.inbox.length = 0;
    this.outbox.length = 0;
    this.wakeAt = Number.POSITIVE_INFINITY;
    this.heard.clear();
    Object.assign(this, this.#machines(build));
  }

  /** When packets are read again. */
  get deafUntil(): Millis {
    return Math.max(this.pausedUntil, this.blockedUntil);
  }

  step(now: Millis, input: SerfInput): void {
    // Whom it knows from the start is no news.
    this.#starting = input.kind === "start";
    if (this.serf !== undefined) this.serf.step(now, input);
    else this.swim.step(now, input as SwimInput);
  }

  takeObservations(): readonly Observation[] {
    for (const event of this.serf?.takeEvents() ?? []) {
      if (event.kind === "join") this.#observations.push({ kind: "joined", about: event.member.name });
      else if (event.kind === "failed") this.#observations.push({ kind: "failed", about: event.member.name });
      else if (event.kind === "leave") this.#observations.push({ kind: "left", about: event.member.name });
      else if (event.kind === "user") this.#observations.push({ kind: "event", name: text(event.payload) });
    }
    const observations = this.#observations;
    if (observations.length > 0) this.#observations = [];
    return observations;
  }

  #machines(build: Build): { machine: GossipMachine; swim: SwimMachine; serf: SerfMachine | undefined } {
    const random = build.random.fork(`${this.name} life ${this.life}`);
    const swim = {
      ...lanDefaults,
      ...build.swim,
      name: this.name,
      address: this.address,
      port: gossipPort,
      version: consulVersion,
    };
    const known = build.known === undefined ? {} : { known: build.known };
    if (build.layer === "serf") {
      const { gossipInterval } = swim;
      const serf = new SerfMachine({
        random,
        swim,
        serf: { ...serfDefaults, ...build.serf, name: this.name, tags, gossipInterval },
        ...known,
        rosters: build.rosters,
      });
      return { machine: serf, swim: serf.swim, serf };
    }
    const alone = new SwimMachine({ config: swim, random, delegate: this.#delegate(), ...known, roster: build.rosters.swim });
    return { machine: alone, swim: alone, serf: undefined };
  }

  #delegate(): SwimDelegate {
    return {
      meta: () => emptyBytes,
      ackPayload: () => undefined,
      acked: () => {},
      received: () => {},
      broadcasts: () => [],
      localState: () => emptyBytes,
      mergeState: () => {},
      refuseMerge: () => undefined,
      refuseAlive: () => undefined,
      joined: (member) => {
        if (!this.#starting) this.#observations.push({ kind: "joined", about: member.name });
      },
      gone: (member) =>
        void this.#observations.push({ kind: member.condition === "left" ? "left" : "failed", about: member.name }),
      updated: () => {},
      conflicted: () => {},
      log: () => {},
    };
  }
}

/** What a member is built from. */
export interface Build {
  readonly layer: Layer;
  readonly random: Random;
  readonly swim: Partial<SwimConfig>;
  readonly serf: Partial<SerfConfig>;
  readonly known: readonly MemberClaim[] | undefined;
  /** One for the whole pool: what its members agree on is held once. */
  readonly rosters: SerfRosters;
}

const tags = { role: "node" };

export function nameOf(number: number): string {
  return `n${String(number).padStart(4, "0")}`;
}

export function addressOf(number: number): Bytes {
  return Uint8Array.of(10, number >> 16, (number >> 8) & 255, number & 255);
}
