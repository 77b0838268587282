/** What gossip tells of itself, under the names of Consul 1.8 (memberlist). Times are milliseconds, sizes bytes. */
import { type Counter, type Metrics, noMetrics, type Sample } from "../ports/telemetry.ts";
import type { MemberClaim, SwimMessage } from "./messages.ts";

/**
 * Told by the machine: how long a probe took; that a round of gossip begins; that this member, which does not trust itself,
 * gives a probe more time; that it declares somebody dead of whom fewer have confirmed than could.
 */
export type SwimMeasure = "probe" | "gossip" | "degradedProbe" | "degradedTimeout";

export class SwimMetrics {
  readonly tcpAccept: Counter;
  readonly tcpConnect: Counter;
  readonly tcpSent: Counter;
  readonly udpReceived: Counter;
  readonly udpSent: Counter;
  /** From the choice of whom to tell to the last packet. */
  readonly gossip: Sample;
  readonly probeNode: Sample;
  readonly pushPullNode: Sample;
  readonly degradedProbe: Counter;
  readonly degradedTimeout: Counter;
  readonly #alive: Counter;
  readonly #suspect: Counter;
  readonly #dead: Counter;
  readonly #healthScore: { set(value: number): void };
  #score = 0;

  constructor(metrics: Metrics = noMetrics) {
    this.tcpAccept = metrics.counter("memberlist.tcp.accept");
    this.tcpConnect = metrics.counter("memberlist.tcp.connect");
    this.tcpSent = metrics.counter("memberlist.tcp.sent");
    this.udpReceived = metrics.counter("memberlist.udp.received");
    this.udpSent = metrics.counter("memberlist.udp.sent");
    this.gossip = metrics.sample("memberlist.gossip");
    this.probeNode = metrics.sample("memberlist.probeNode");
    this.pushPullNode = metrics.sample("memberlist.pushPullNode");
    this.degradedProbe = metrics.counter("memberlist.degraded.probe");
    this.degradedTimeout = metrics.counter("memberlist.degraded.timeout");
    this.#alive = metrics.counter("memberlist.msg.alive");
    this.#suspect = metrics.counter("memberlist.msg.suspect");
    this.#dead = metrics.counter("memberlist.msg.dead");
    this.#healthScore = metrics.gauge("memberlist.health.score");
  }

  onAlive(): void {
    this.#alive.add(1);
  }

  onMessage({ kind }: SwimMessage): void {
    if (kind === "alive") this.#alive.add(1);
    else if (kind === "suspect") this.#suspect.add(1);
    else if (kind === "dead") this.#dead.add(1);
  }

  /** Of whole states: what they say is taken as so many messages. */
  onClaims(claims: readonly MemberClaim[]): void {
    for (const { condition } of claims)
      (condition === "alive" ? this.#alive : condition === "suspect" ? this.#suspect : this.#dead).add(1);
  }

  /** Only a change is told, and what is not well. */
  onHealthScore(score: number): void {
    if (score === 0 && this.#score === 0) return;
    this.#score = score;
    this.#healthScore.set(score);
  }
}
