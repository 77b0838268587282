import type { Clock } from "../../core/ports/clock.ts";
import type { Labels, Metrics } from "../../core/ports/telemetry.ts";
import type { EpochMillis, Millis } from "../../core/types/ids.ts";

/** Gathers numbers in memory, over intervals, as go-metrics' in-memory sink does for `/v1/agent/metrics`. */
export interface MetricsReader extends Metrics {
  /** The last complete interval; while the first is not complete, that one. */
  snapshot(): MetricsSnapshot;
}

export interface MetricsSnapshot {
  /** When the interval began. */
  readonly at: EpochMillis;
  readonly intervalMillis: Millis;
  readonly counters: readonly Aggregate[];
  readonly samples: readonly Aggregate[];
  /** The value set last, also when that was before the interval. */
  readonly gauges: readonly Gauge[];
  /** Counters and samples since the start, for Prometheus. */
  readonly totals: { readonly counters: readonly Aggregate[]; readonly samples: readonly Aggregate[] };
  /** How many were refused because `seriesMax` was reached. */
  readonly seriesDropped: number;
}

export interface Gauge {
  readonly name: string;
  readonly labels: Labels;
  readonly value: number;
}

/** What happened to one name and its labels: `add` or `observe`, called `count` times. */
export interface Aggregate {
  readonly name: string;
  readonly labels: Labels;
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  readonly sumOfSquares: number;
}

/** As go-metrics in Consul. */
const intervalMillis: Millis = 10_000;

/** Names times labels. A label that takes any value a client likes must not fill the memory. */
const seriesMax = 10_000;

export function createMetrics(clock: Pick<Clock, "wall" | "monotonic">): MetricsReader {
  return new MemoryMetrics(clock);
}

class MemoryMetrics implements MetricsReader {
  readonly #clock: Pick<Clock, "wall" | "monotonic">;
  readonly #counters = new Map<string, Series>();
  readonly #samples = new Map<string, Series>();
  readonly #gauges = new Map<string, GaugeCell>();
  #seriesDropped = 0;
  #startedAt: Millis;
  #startedWall: EpochMillis;
  #last: Pick<MetricsSnapshot, "at" | "counters" | "samples"> | undefined;

  constructor(clock: Pick<Clock, "wall" | "monotonic">) {
    this.#clock = clock;
    this.#startedAt = clock.monotonic();
    this.#startedWall = clock.wall();
  }

  counter(name: string, labels: Labels = {}): { add(amount: number): void } {
    const series = this.#series(this.#counters, name, labels);
    return { add: (amount) => this.#observe(series, amount) };
  }

  sample(name: string, labels: Labels = {}): { observe(value: number): void } {
    const series = this.#series(this.#samples, name, labels);
    return { observe: (value) => this.#observe(series, value) };
  }

  gauge(name: string, labels: Labels = {}): { set(value: number): void } {
    const key = keyOf(name, labels);
    let cell = this.#gauges.get(key);
    if (cell === undefined) {
      cell = new GaugeCell(name, labels);
      if (this.#hasRoom()) this.#gauges.set(key, cell);
    }
    return cell;
  }

  snapshot(): MetricsSnapshot {
    this.#turn();
    const last = this.#last ?? {
      at: this.#startedWall,
      counters: intervalOf(this.#counters),
      samples: intervalOf(this.#samples),
    };
    return {
      ...last,
      intervalMillis,
      gauges: [...this.#gauges.values()]
        .filter((cell) => cell.value !== undefined)
        .map((cell) => ({ name: cell.name, labels: cell.labels, value: cell.value ?? 0 })),
      totals: { counters: totalsOf(this.#counters), samples: totalsOf(this.#samples) },
      seriesDropped: this.#seriesDropped,
    };
  }

  #observe(series: Series, value: number): void {
    if (this.#clock.monotonic() - this.#startedAt >= intervalMillis) this.#turn();
    series.interval.add(value);
    series.total.add(value);
  }

  /** No timer: the interval is turned by whoever comes first after its end. */
  #turn(): void {
    const elapsed = this.#clock.monotonic() - this.#startedAt;
    if (elapsed < intervalMillis) return;
    const passed = Math.floor(elapsed / intervalMillis);
    // After a silence of more than one interval, the last complete one saw nothing.
    const silent = passed > 1;
    this.#last = {
      at: this.#startedWall + (passed - 1) * intervalMillis,
      counters: silent ? [] : intervalOf(this.#counters),
      samples: silent ? [] : intervalOf(this.#samples),
    };
    for (const series of this.#counters.values()) series.interval = new Sum();
    for (const series of this.#samples.values()) series.interval = new Sum();
    this.#startedAt += passed * intervalMillis;
    this.#startedWall += passed * intervalMillis;
  }

  #series(table: Map<string, Series>, name: string, labels: Labels): Series {
    const key = keyOf(name, labels);
    let series = table.get(key);
    if (series === undefined) {
      series = new Series(name, labels);
      if (this.#hasRoom()) table.set(key, series);
    }
    return series;
  }

  #hasRoom(): boolean {
    const room = this.#counters.size + this.#samples.size + this.#gauges.size < seriesMax;
    if (!room) this.#seriesDropped++;
    return room;
  }
}

class GaugeCell {
  readonly name: string;
  readonly labels: Labels;
  value: number | undefined;

  constructor(name: string, labels: Labels) {
    this.name = name;
    this.labels = labels;
  }

  set(value: number): void {
    this.value = value;
  }
}

class Series {
  readonly name: string;
  readonly labels: Labels;
  interval = new Sum();
  readonly total = new Sum();

  constructor(name: string, labels: Labels) {
    this.name = name;
    this.labels = labels;
  }
}

class Sum {
  count = 0;
  sum = 0;
  min = Infinity;
  max = -Infinity;
  sumOfSquares = 0;

  add(value: number): void {
    this.count++;
    this.sum += value;
    this.sumOfSquares += value * value;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
  }
}

function intervalOf(table: ReadonlyMap<string, Series>): Aggregate[] {
  return [...table.values()].filter((series) => series.interval.count > 0).map((series) => aggregate(series, series.interval));
}

function totalsOf(table: ReadonlyMap<string, Series>): Aggregate[] {
  return [...table.values()].filter((series) => series.total.count > 0).map((series) => aggregate(series, series.total));
}

function aggregate(series: Series, sum: Sum): Aggregate {
  return {
    name: series.name,
    labels: series.labels,
    count: sum.count,
    sum: sum.sum,
    min: sum.min,
    max: sum.max,
    sumOfSquares: sum.sumOfSquares,
  };
}

function keyOf(name: string, labels: Labels): string {
  return `${name}\0${Object.entries(labels)
    .map(([label, value]) => `${label}\0${value}`)
    .sort()
    .join("\0")}`;
}
