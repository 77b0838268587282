/**
 * What must always hold in a pool, whatever happens to it. Each rule has a name; tests/sim/gossip-mutants.ts plants an
 * error for each and sees it found.
 */
import type { SerfInput } from "../../core/serf/inputs.ts";
import { suspicionMin } from "../../core/swim/suspicion.ts";
import { isGone } from "../../core/swim/members.ts";
import type { SwimConfig } from "../../core/swim/config.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import type { Millis } from "../../core/types/ids.ts";
import type { GossipChecks } from "./gossip-checks.ts";
import type { GossipHost, Observation } from "./gossip-host.ts";
import type { GossipWorld } from "./gossip-world.ts";
import { check } from "./violation.ts";

/** memberlist's budget of 1,400, and the checksum it does not count. */
const packetBytesMax = 1405;
/** Pauses shorter than this may end before anything was due. */
const noticedPauseMin: Millis = 1000;
/** Members looked at in one sweep. */
const pairsPerSweep = 40_000;
const sweepInterval: Millis = 1000;

export class Invariants implements GossipChecks {
  readonly #world: GossipWorld;
  readonly #config: SwimConfig;
  /** By observer: what incarnation each other was known under, and in that observer's life. */
  readonly #incarnations = new Map<GossipHost, { life: number; readonly known: Map<string, number> }>();
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
    for (const observer of running) {
      for (const subject of running) {
        const member = observer.swim.member(subject.name);
        const itself = subject.swim.member(subject.name);
        if (member?.condition !== "alive") return `${observer.name} holds ${subject.name} for ${member?.condition ?? "unknown"}`;
        if (member.incarnation !== itself?.incarnation)
          return `${observer.name} knows ${subject.name} under ${member.incarnation}, it is ${itself?.incarnation}`;
        if (member.meta?.join() !== itself.meta?.join()) return `${observer.name} knows other meta of ${subject.name}`;
        const status = observer.serf?.members.get(subject.name)?.status ?? "alive";
        if (status !== "alive") return `${observer.name} calls ${subject.name} ${status}`;
      }
      for (const gone of this.#world.hosts) {
        if (gone.up && !gone.leaving) continue;
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

  #sweepLater(): void {
    this.#world.at(sweepInterval, () => {
      const { hosts } = this.#world;
      for (let pairs = 0; hosts.length > 0 && pairs < pairsPerSweep; pairs += hosts.length) {
        this.#sweep(hosts[this.#sweepAt] as GossipHost);
        this.#sweepAt = (this.#sweepAt + 1) % hosts.length;
        if (this.#sweepAt === 0) break;
      }
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
      // The dead are forgotten, and who comes back begins anew.
      if (gone) before.known.delete(name);
      else before.known.set(name, incarnation);
      if (!settled) continue;
      const subject = this.#world.host(name);
      if (subject.up && !subject.leaving && now - subject.troubledAt > bound) {
        check(!gone, "the live are not held for dead", () => `${observer.name} holds ${name} for ${condition}`);
      }
      if (!subject.up && now - subject.crashedAt > bound) {
        check(gone, "the dead are known to be dead", () => `${observer.name} holds ${name} for ${condition}`);
      }
    }
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
