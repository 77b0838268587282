/**
 * Numbers in memory, over intervals of 10 s that begin with the clock's tens of seconds, as go-metrics keeps them for
 * `/v1/agent/metrics`; and since the start, for Prometheus.
 *
 *   counter.add, sample.observe ──► Series: this interval, the last, all      gauge.set ──► GaugeCell: the value set last
 *                                        └───────── snapshot(), totals() ─────────┘
 *
 * There is no timer: an interval ends when somebody comes after its end, and each series turns when it is touched next.
 * Series are bounded: when half of the room is taken, those with labels that have been silent for a while give way.
 */
import type { Clock } from "../../core/ports/clock.ts";
import type { Counter, Labels, Metrics, MetricsSettings, MetricTap, Sample } from "../../core/ports/telemetry.ts";
import type { EpochMillis, Millis } from "../../core/types/ids.ts";
import { MetricNames, plainSettings } from "./metric-names.ts";
import { type Aggregate, GaugeCell, Series } from "./metric-series.ts";

export type { Aggregate } from "./metric-series.ts";

export interface MetricsReader extends Metrics {
  configure(settings: MetricsSettings): void;
  /** The last complete interval; while the first is not complete, that one. */
  snapshot(): MetricsSnapshot;
  /** All since the start, for Prometheus. Undefined: it is not to be shown any. */
  totals(): MetricsTotals | undefined;
}

export interface MetricsSnapshot {
  /** When the interval began. */
  readonly at: EpochMillis;
  readonly intervalMillis: Millis;
  readonly counters: readonly Aggregate[];
  readonly samples: readonly Aggregate[];
  /** Those that were set in the interval. */
  readonly gauges: readonly Gauge[];
  /** How many were refused because `seriesMax` was reached. */
  readonly seriesDropped: number;
}

export interface MetricsTotals {
  readonly gauges: readonly Gauge[];
  readonly counters: readonly Aggregate[];
  /** With the median, the 90th and the 99th percentile of late. */
  readonly samples: readonly (Aggregate & { readonly quantiles: readonly number[] })[];
}

export interface Gauge {
  readonly name: string;
  readonly labels: Labels;
  readonly value: number;
}

/** As go-metrics in Consul. */
const intervalMillis: Millis = 10_000;

/** Names times labels. A label that takes any value a client likes must not fill the memory. */
const seriesMax = 10_000;
/** From then on silent series are looked for, at most once an interval. */
const seriesCrowded = seriesMax / 2;
/** A series with labels that was not touched for so long may be forgotten. */
const silentAfter: Millis = 3 * intervalMillis;
const quantileRanks = [0.5, 0.9, 0.99];

export function createMetrics(clock: Pick<Clock, "wall" | "monotonic">): MetricsReader {
  return new MemoryMetrics(clock);
}

class MemoryMetrics implements MetricsReader {
  readonly #clock: Pick<Clock, "wall" | "monotonic">;
  readonly #counters = new Map<string, Series>();
  readonly #samples = new Map<string, Series>();
  readonly #gauges = new Map<string, GaugeCell>();
  #names = new MetricNames(plainSettings);
  #showsPrometheus = false;
  #tap: MetricTap | undefined;
  #seriesDropped = 0;
  /** Counts intervals, those in which nothing happened too. */
  #epoch = 0;
  #epochAt: Millis;
  #epochWall: EpochMillis;
  /** The one before; undefined while there was none. */
  #last: EpochMillis | undefined;
  #sweptAt: Millis = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, "wall" | "monotonic">) {
    this.#clock = clock;
    const wall = clock.wall();
    this.#epochWall = begun(wall);
    this.#epochAt = clock.monotonic() - (wall - this.#epochWall);
  }

  configure(settings: MetricsSettings): void {
    this.#names = new MetricNames(settings);
    this.#tap = settings.tap;
    this.#showsPrometheus = settings.prometheusRetention > 0;
    for (const table of [this.#counters, this.#samples])
      for (const series of table.values()) series.kept = this.#names.keeps(this.#names.full(series.name));
    for (const cell of this.#gauges.values()) cell.kept = this.#names.keeps(this.#names.fullGauge(cell.name));
  }

  counter(name: string, labels: Labels = {}): Counter {
    const table = this.#counters;
    let series = this.#series(table, name, labels);
    return {
      add: (amount) => {
        if (!series.attached) series = this.#again(table, series);
        this.#observe("counter", series, amount);
      },
    };
  }

  sample(name: string, labels: Labels = {}): Sample {
    const table = this.#samples;
    let series = this.#series(table, name, labels);
    return {
      observe: (value, now) => {
        if (!series.attached) series = this.#again(table, series);
        this.#observe("sample", series, value, now);
      },
    };
  }

  gauge(name: string, labels: Labels = {}): { set(value: number): void } {
    let cell = this.#cell(name, labels);
    return {
      set: (value) => {
        if (!cell.attached) cell = this.#again(this.#gauges, cell);
        if (!cell.kept || !cell.attached) return;
        const now = this.#clock.monotonic();
        if (now - this.#epochAt >= intervalMillis) this.#turn(now);
        cell.set(Math.fround(value), this.#epoch, now);
        if (this.#tap !== undefined) this.#tap("gauge", this.#names.fullGauge(name), labels, value);
      },
    };
  }

  snapshot(): MetricsSnapshot {
    this.#turn(this.#clock.monotonic());
    const epoch = this.#last === undefined ? this.#epoch : this.#epoch - 1;
    const gauges: Gauge[] = [];
    for (const cell of this.#gauges.values()) {
      const value = cell.kept ? cell.during(epoch) : undefined;
      if (value !== undefined) gauges.push({ name: this.#names.fullGauge(cell.name), labels: cell.labels, value });
    }
    return {
      at: this.#last ?? this.#epochWall,
      intervalMillis,
      counters: this.#during(this.#counters, epoch),
      samples: this.#during(this.#samples, epoch),
      gauges,
      seriesDropped: this.#seriesDropped,
    };
  }

  totals(): MetricsTotals | undefined {
    const names = this.#names;
    const retention = names.settings.prometheusRetention;
    if (retention <= 0) return undefined;
    const now = this.#clock.monotonic();
    const shown = (series: Series): boolean => series.kept && series.total().count > 0 && now - series.touchedAt <= retention;
    return {
      gauges: [...this.#gauges.values()]
        .filter((cell) => cell.kept && cell.isSet && now - cell.touchedAt <= retention)
        .map((cell) => ({ name: names.fullGauge(cell.name), labels: cell.labels, value: cell.value })),
      counters: [...this.#counters.values()]
        .filter(shown)
        .map((series) => ({ ...series.total(), name: names.full(series.name) })),
      samples: [...this.#samples.values()].filter(shown).map((series) => ({
        ...series.total(),
        name: names.full(series.name),
        quantiles: series.quantiles(quantileRanks, now),
      })),
    };
  }

  #observe(kind: "counter" | "sample", series: Series, value: number, known?: Millis): void {
    if (!series.kept || !series.attached) return;
    const now = known ?? this.#clock.monotonic();
    if (now - this.#epochAt >= intervalMillis) this.#turn(now);
    // go-metrics carries 32 bits.
    series.add(Math.fround(value), this.#epoch, now, kind === "sample" && this.#showsPrometheus);
    if (this.#tap !== undefined) this.#tap(kind, this.#names.full(series.name), series.labels, value);
  }

  /** By the wall clock, which may have been set meanwhile: an interval may be shorter for it, never longer. */
  #turn(now: Millis): void {
    const passed = Math.floor((now - this.#epochAt) / intervalMillis);
    if (passed < 1) return;
    this.#epoch += passed;
    this.#last = this.#epochWall + (passed - 1) * intervalMillis;
    const wall = this.#clock.wall();
    this.#epochWall = begun(wall);
    this.#epochAt = now - (wall - this.#epochWall);
  }

  #during(table: ReadonlyMap<string, Series>, epoch: number): Aggregate[] {
    const found: Aggregate[] = [];
    for (const series of table.values()) {
      const aggregate = series.kept ? series.during(epoch) : undefined;
      if (aggregate !== undefined) found.push({ ...aggregate, name: this.#names.full(aggregate.name) });
    }
    return found;
  }

  #series(table: Map<string, Series>, name: string, labels: Labels): Series {
    const key = keyOf(name, labels);
    return table.get(key) ?? this.#attach(table, new Series(key, name, labels, this.#names.keeps(this.#names.full(name))));
  }

  #cell(name: string, labels: Labels): GaugeCell {
    const key = keyOf(name, labels);
    const kept = (): boolean => this.#names.keeps(this.#names.fullGauge(name));
    return this.#gauges.get(key) ?? this.#attach(this.#gauges, new GaugeCell(key, name, labels, kept()));
  }

  /** Stays detached, and counts nothing, where there is no room. */
  #attach<Kept extends Series | GaugeCell>(table: Map<string, Kept>, series: Kept): Kept {
    if (this.#size >= seriesCrowded) this.#sweep();
    if (this.#size >= seriesMax) {
      this.#seriesDropped++;
      return series;
    }
    series.attached = true;
    table.set(series.key, series);
    return series;
  }

  /** For one that had given way, or had found no room. */
  #again<Kept extends Series | GaugeCell>(table: Map<string, Kept>, series: Kept): Kept {
    const known = table.get(series.key);
    if (known !== undefined) return known;
    if (this.#size >= seriesCrowded) this.#sweep();
    if (this.#size >= seriesMax) return series;
    series.attached = true;
    table.set(series.key, series);
    return series;
  }

  get #size(): number {
    return this.#counters.size + this.#samples.size + this.#gauges.size;
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    if (now - this.#sweptAt < intervalMillis) return;
    this.#sweptAt = now;
    for (const table of [this.#counters, this.#samples, this.#gauges] as const) {
      for (const [key, series] of table) {
        if (now - series.touchedAt <= silentAfter || Object.keys(series.labels).length === 0) continue;
        series.attached = false;
        table.delete(key);
      }
    }
  }
}

/** Of the interval that this moment lies in. */
function begun(wall: EpochMillis): EpochMillis {
  return Math.floor(wall / intervalMillis) * intervalMillis;
}

function keyOf(name: string, labels: Labels): string {
  return `${name}\0${Object.entries(labels)
    .map(([label, value]) => `${label}\0${value}`)
    .sort()
    .join("\0")}`;
}
