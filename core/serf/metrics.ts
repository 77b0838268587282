/** What a pool tells of itself, under the names of Consul 1.8 (Serf). Both pools of a server count into the same series, as there. */
import { type Counter, type Metrics, noMetrics, type Sample } from "../ports/telemetry.ts";
import { BoundedSeries } from "../structures/bounded-series.ts";
import type { MemberEventKind } from "./members.ts";

/** User events that are counted by name. */
const eventNamesMax = 128;

/**
 * Told by the machine: milliseconds that the own coordinate moved; sizes of messages; that somebody's coordinate, or the time
 * its answer took, cannot be right; that a member is back soon after it failed.
 */
export type SerfMeasure = "adjustment" | "received" | "sent" | "rejected" | "flap";

export class SerfMetrics {
  readonly snapshotAppend: Sample;
  readonly snapshotCompact: Sample;
  readonly #measures: Readonly<Record<"adjustment" | "received" | "sent", Sample>>;
  readonly #rejected: Counter;
  readonly #flaps: Counter;
  readonly #members: Readonly<Record<MemberEventKind, Counter>>;
  readonly #events: Counter;
  readonly #eventsByName: BoundedSeries<Counter>;
  readonly #queries: Counter;
  readonly #queues: { readonly event: Sample; readonly intent: Sample; readonly query: Sample };

  constructor(metrics: Metrics = noMetrics) {
    this.snapshotAppend = metrics.sample("serf.snapshot.appendLine");
    this.snapshotCompact = metrics.sample("serf.snapshot.compact");
    this.#measures = {
      adjustment: metrics.sample("serf.coordinate.adjustment-ms"),
      received: metrics.sample("serf.msgs.received"),
      sent: metrics.sample("serf.msgs.sent"),
    };
    this.#rejected = metrics.counter("serf.coordinate.rejected");
    this.#flaps = metrics.counter("serf.member.flap");
    this.#members = {
      join: metrics.counter("serf.member.join"),
      leave: metrics.counter("serf.member.left"),
      failed: metrics.counter("serf.member.failed"),
      update: metrics.counter("serf.member.update"),
      reap: metrics.counter("serf.member.reap"),
    };
    this.#events = metrics.counter("serf.events");
    this.#eventsByName = new BoundedSeries(eventNamesMax, (name) => metrics.counter(`serf.events.${name}`));
    this.#queries = metrics.counter("serf.queries");
    this.#queues = {
      event: metrics.sample("serf.queue.Event"),
      intent: metrics.sample("serf.queue.Intent"),
      query: metrics.sample("serf.queue.Query"),
    };
  }

  onMeasure(what: SerfMeasure, value: number): void {
    if (what === "rejected") this.#rejected.add(value);
    else if (what === "flap") this.#flaps.add(value);
    else this.#measures[what].observe(value);
  }

  onMember(kind: MemberEventKind): void {
    this.#members[kind].add(1);
  }

  onUserEvent(name: string): void {
    this.#events.add(1);
    this.#eventsByName.of(name).add(1);
  }

  onQuery(): void {
    this.#queries.add(1);
  }

  onQueues(lengths: { readonly event: number; readonly intent: number; readonly query: number }): void {
    this.#queues.event.observe(lengths.event);
    this.#queues.intent.observe(lengths.intent);
    this.#queues.query.observe(lengths.query);
  }
}
