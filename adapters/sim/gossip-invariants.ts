/**
 * What must always hold in a pool, whatever happens to it. Each rule has a name; tests/sim/gossip-mutants.ts plants an
 * error for each and sees it found.
 */
import type { SerfInput } from "../../core/serf/inputs.ts";
import { suspicionMin } from "../../core/swim/suspicion.ts";
import { isGone, isSameMeta } from "../../core/swim/members.ts";
import { openPacket } from "../../core/swim/packets.ts";
import type { SwimConfig } from "../../core/swim/config.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import type { Millis } from "../../core/types/ids.ts";
import type { GossipChecks } from "./gossip-checks.ts";
import type { GossipHost, Observation } from "./gossip-host.ts";
import { type GossipWorld, noSealer } from "./gossip-world.ts";
import { check } from "./violation.ts";

/** memberlist's budget of 1,400, and the checksum it does not count. */
const packetBytesMax = 1405;
/** Pauses shorter than this may end before anything was due. */
const noticedPauseMin: Millis = 1000;
/** Members looked at in one sweep. */
const pairsPerSweep = 40_000;
const sweepInterval: Millis = 1000;
/** Many rounds of gossip: what is new goes first. */
const refutationTimeMax: Millis = 3000;

export class Invariants implements GossipChecks {
  readonly #world: GossipWorld;
  readonly #config: SwimConfig;
  /** By observer: what incarnation each other was known under, and in that observer's life. */
  readonly #incarnations = new Map<GossipHost, { life: number; readonly known: Map<string, number> }>();
  /** The highest that each member ever had of its own, in any life. */
  readonly #highest = new Map<GossipHost, number>();
  /** Refutations that their member has not sent to anybody yet. */
  readonly #untold = new Map<GossipHost, { readonly life: number; readonly incarnation: number; readonly since: Millis }>();
  #sweepAt = 0;
  #incarnation = 0;
  #accusations = 0;

  constructor(world: GossipWorld, config: SwimConfig) {
    this.#world = world;
    this.#config = config;
    world.checks = this;
    this.#sweepLater();
  }

  /** After this much time without trouble nobody may be taken for something else than it is. */
  get bound(): Millis {
    const { probeInterval, awarenessMax } = this.#config;
    return this.#suspicionMax + 3 * awarenessMax * probeInterval + 60_000;
  }

  /** How long a suspect has that nobody else suspects. */
  get #suspicionMax(): Millis {
    return this.#config.suspicionMaxMult * suspicionMin(this.#config, this.#world.hosts.length);
  }

  before(host: GossipHost): void {
    this.#incarnation = host.swim.member(host.name)?.incarnation ?? 0;
    this.#accusations = this.#resumes(host) ? this.#ownAccusations(host) : 0;
  }

  sent(host: GossipHost, packet: Bytes): void {
    check(packet.length <= packetBytesMax, "packets never exceed the limit", () => `${host.name} sent ${packet.length} bytes`);
    const untold = this.#untold.get(host);
    if (untold === undefined) return;
    for (const message of openPacket(packet, { sealer: noSealer, verifyIncoming: false }).messages) {
      if (message.kind === "alive" && message.node === host.name && message.incarnation >= untold.incarnation)
        this.#untold.delete(host);
    }
  }

  observed(now: Millis, host: GossipHost, what: Observation): void {
    if (what.kind === "event") {
      check(!host.heard.has(what.name), "an event is delivered once", () => `${host.name} told of ${what.name} twice`);
      host.heard.add(what.name);
    }
    if (what.kind === "failed" && host.serf !== undefined) {
      const subject = this.#world.host(what.about);
      // A suspicion of before, that nobody heard of because of the trouble, may end just now.
      const settledBy = subject.leftAt - this.#suspicionMax;
      const lossless = this.#world.network.faults.lossPerMille === 0;
      const calm = lossless && host.troubledAt < settledBy && subject.troubledAt < settledBy;
      check(
        !(subject.leftAt <= now && calm),
        "who left has not failed",
        () => `${host.name} reports ${what.about} failed, which left at ${subject.leftAt.toFixed(0)} ms`,
      );
    }
  }

  after(now: Millis, host: GossipHost, input: SerfInput): void {
    const own = host.swim.member(host.name)?.incarnation ?? 0;
    check(own >= this.#incarnation, "incarnations never fall", () => `${host.name} went from ${this.#incarnation} to ${own}`);
    if (own > this.#incarnation) this.#highest.set(host, Math.max(own, this.#highest.get(host) ?? 0));
    const score = host.swim.healthScore;
    check(
      score >= 0 && score < Math.max(1, this.#config.awarenessMax),
      "health stays in its range",
      () => `${host.name}: ${score}`,
    );
    if (input.kind === "datagram") {
      const { message } = input;
      const accused = (message.kind === "suspect" || message.kind === "dead") && message.node === host.name;
      if (accused && !host.leaving) {
        if (own > this.#incarnation) this.#untold.set(host, { life: host.life, incarnation: own, since: now });
        check(
          own > message.incarnation,
          "the accused refutes at once",
          () => `${host.name} stays at ${own} although ${message.from} accused ${message.incarnation}`,
        );
      }
    }
    if (input.kind === "wake" && this.#resumes(host) && this.#config.stallTolerance !== Number.POSITIVE_INFINITY) {
      const accusations = this.#ownAccusations(host);
      check(
        accusations <= this.#accusations,
        "who stood still accuses nobody for it",
        () => `${host.name} was paused until ${now.toFixed(0)} ms and accuses ${host.swim.evidence.accusations().at(-1)?.node}`,
      );
    }
  }

  /** All members that run know one another, under the same incarnation and with the same meta, and nobody else as alive. */
  disagreement(): string | undefined {
    const running = this.#world.hosts.filter((host) => host.up && !host.leaving);
    const notRunning = this.#world.hosts.filter((host) => !host.up || host.leaving);
    const themselves = running.map((host) => host.swim.member(host.name));
    for (const observer of running) {
      for (const [at, subject] of running.entries()) {
        const member = observer.swim.member(subject.name);
        const itself = themselves[at];
        if (member?.condition !== "alive") return `${observer.name} holds ${subject.name} for ${member?.condition ?? "unknown"}`;
        if (member.incarnation !== itself?.incarnation)
          return `${observer.name} knows ${subject.name} under ${member.incarnation}, it is ${itself?.incarnation}`;
        if (!isSameMeta(member.meta, itself.meta)) return `${observer.name} knows other meta of ${subject.name}`;
        const status = observer.serf?.members.get(subject.name)?.status ?? "alive";
        if (status !== "alive") return `${observer.name} calls ${subject.name} ${status}`;
      }
      for (const gone of notRunning) {
        const member = observer.swim.member(gone.name);
        if (member !== undefined && !isGone(member)) return `${observer.name} holds ${gone.name} for ${member.condition}`;
        const status = observer.serf?.members.get(gone.name)?.status;
        if (status === "alive" || status === "leaving") return `${observer.name} calls ${gone.name} ${status}`;
        if (status === "failed" && gone.leftAt <= this.#world.now)
          return `${observer.name} calls ${gone.name} failed, which left`;
      }
    }
    return undefined;
  }

  /** Looks at all that anybody believes, instead of a part of it each second. */
  sweep(): void {
    for (const observer of this.#world.hosts) {
      const remembered = this.#incarnations.has(observer);
      this.#sweep(observer);
      // Of a large pool that would be more than the pool itself.
      if (!remembered) this.#incarnations.delete(observer);
    }
  }

  #sweepLater(): void {
    this.#world.at(sweepInterval, () => {
      const { hosts } = this.#world;
      for (let pairs = 0; hosts.length > 0 && pairs < pairsPerSweep; pairs += hosts.length) {
        this.#sweep(hosts[this.#sweepAt] as GossipHost);
        this.#sweepAt = (this.#sweepAt + 1) % hosts.length;
        if (this.#sweepAt === 0) break;
      }
      this.#sweepRefutations();
      this.#sweepLater();
    });
  }

  #sweep(observer: GossipHost): void {
    if (!observer.up) return;
    const { now } = this.#world;
    const bound = this.bound;
    let before = this.#incarnations.get(observer);
    if (before?.life !== observer.life) {
      before = { life: observer.life, known: new Map() };
      this.#incarnations.set(observer, before);
    }
    const settled = observer.pausedUntil <= now && !observer.leaving && now - observer.troubledAt > bound;
    for (const { name, incarnation, condition } of observer.swim.members) {
      const gone = condition === "dead" || condition === "left";
      const known = before.known.get(name) ?? 0;
      check(
        incarnation >= known,
        "incarnations never fall",
        () => `${observer.name} knew ${name} under ${known}, now under ${incarnation}`,
      );
      const subject = this.#world.host(name);
      check(
        incarnation <= (this.#highest.get(subject) ?? 0),
        "an incarnation is its owner's",
        () => `${observer.name} knows ${name} under ${incarnation}, which it never had`,
      );
      // The dead are forgotten, and who comes back begins anew.
      if (gone) before.known.delete(name);
      else before.known.set(name, incarnation);
      if (condition === "suspect") this.#sweepSuspicion(observer, name);
      if (!settled) continue;
      if (subject.up && !subject.leaving && now - subject.troubledAt > bound) {
        check(!gone, "the live are not held for dead", () => `${observer.name} holds ${name} for ${condition}`);
      }
      if (!subject.up && now - subject.crashedAt > bound) {
        check(gone, "the dead are known to be dead", () => `${observer.name} holds ${name} for ${condition}`);
      }
    }
  }

  #sweepRefutations(): void {
    const { now } = this.#world;
    for (const [host, { life, incarnation, since }] of this.#untold) {
      const over = !host.up || host.life !== life || host.leaving;
      const alone = !host.swim.members.some(({ name, condition }) => name !== host.name && condition === "alive");
      if (over || alone) this.#untold.delete(host);
      else if (host.pausedUntil < now) {
        const runningSince = Math.max(since, host.pausedUntil);
        check(
          now - runningSince <= refutationTimeMax,
          "a refutation is told",
          () => `${host.name} refuted under ${incarnation} at ${since.toFixed(0)} ms and sent that to nobody`,
        );
      }
    }
  }

  /** Lifeguard's promise: where as many accuse as can be expected, the accused has no longer than the minimum. */
  #sweepSuspicion(observer: GossipHost, name: string): void {
    const { now, hosts } = this.#world;
    const accusation = observer.swim.evidence.accusations(name).at(-1);
    if (accusation?.outcome !== "open" || accusation.confirmations.length < this.#config.suspicionMult - 2) return;
    // Its stalls give the accused more time.
    if (observer.deafUntil >= accusation.at) return;
    const confirmedAt = accusation.confirmations.at(-1)?.at ?? accusation.at;
    const due = Math.max(confirmedAt, accusation.at + suspicionMin(this.#config, hosts.length));
    check(
      now <= due,
      "a confirmed suspicion ends soon",
      () => `${observer.name} suspects ${name} since ${accusation.at.toFixed(0)} ms`,
    );
  }

  #resumes(host: GossipHost): boolean {
    return host.pausedUntil === this.#world.now && host.pausedUntil - host.pausedAt >= noticedPauseMin;
  }

  #ownAccusations(host: GossipHost): number {
    let count = 0;
    for (const { by, grounds } of host.swim.evidence.accusations()) if (by === host.name && grounds.kind === "probe") count++;
    return count;
  }
}
