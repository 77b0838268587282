/** /v1/agent/metrics, where the runtime's metrics can be read. */
import type { Labels, Metrics } from "../../core/ports/telemetry.ts";
import type { EpochMillis, Millis } from "../../core/types/ids.ts";
import { jsonArray, jsonString, jsonStringMap, sortByBytes } from "./json-write.ts";

/** What {@link metricsJson} and prometheus.ts need of a runtime's Metrics beyond the port. */
export interface ReadableMetrics extends Metrics {
  snapshot(): {
    readonly at: EpochMillis;
    readonly intervalMillis: Millis;
    readonly gauges: readonly MetricGauge[];
    readonly counters: readonly MetricAggregate[];
    readonly samples: readonly MetricAggregate[];
  };
  /** Undefined: nothing is kept for Prometheus. */
  totals(): MetricTotals | undefined;
}

export interface MetricTotals {
  readonly gauges: readonly MetricGauge[];
  readonly counters: readonly MetricAggregate[];
  /** With the median, the 90th and the 99th percentile. */
  readonly samples: readonly (MetricAggregate & { readonly quantiles: readonly number[] })[];
}

export interface MetricGauge {
  readonly name: string;
  readonly labels: Labels;
  /** Of 32 bits. */
  readonly value: number;
}

export interface MetricAggregate {
  readonly name: string;
  readonly labels: Labels;
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  readonly sumOfSquares: number;
}

export function isReadable(metrics: Metrics): metrics is ReadableMetrics {
  return typeof (metrics as Partial<ReadableMetrics>).snapshot === "function";
}

/** The last complete interval in go-metrics' layout. */
export function metricsJson(metrics: ReadableMetrics): string {
  const { at, intervalMillis, gauges, counters, samples } = metrics.snapshot();
  const aggregate = (value: MetricAggregate): string => aggregateJson(value, intervalMillis / 1000);
  return (
    `{"Timestamp":${jsonString(timestamp(at))},"Gauges":${jsonArray(sorted(gauges), gaugeJson)},"Points":[],` +
    `"Counters":${jsonArray(sorted(counters), aggregate)},"Samples":${jsonArray(sorted(samples), aggregate)}}`
  );
}

/** By name and labels. */
function sorted<Shown extends { readonly name: string; readonly labels: Labels }>(shown: readonly Shown[]): readonly Shown[] {
  const keyed = new Map(shown.map((one) => [hash(one), one]));
  const keys = [...keyed.keys()];
  sortByBytes(keys);
  return keys.map((key) => keyed.get(key) as Shown);
}

function hash({ name, labels }: { readonly name: string; readonly labels: Labels }): string {
  return (
    name +
    Object.entries(labels)
      .map(([label, value]) => `;${label}=${value}`)
      .join("")
  );
}

function gaugeJson({ name, labels, value }: MetricGauge): string {
  return `{"Name":${jsonString(name)},"Value":${shortest(value)},"Labels":${jsonStringMap(labels)}}`;
}

function aggregateJson({ name, labels, count, sum, min, max, sumOfSquares }: MetricAggregate, seconds: number): string {
  const mean = count === 0 ? 0 : sum / count;
  const variance = count < 2 ? 0 : (count * sumOfSquares - sum * sum) / (count * (count - 1));
  return (
    `{"Name":${jsonString(name)},"Count":${count},"Rate":${finite(sum / seconds)},"Sum":${finite(sum)},"Min":${finite(min)},"Max":${finite(max)},` +
    `"Mean":${finite(mean)},"Stddev":${finite(Math.sqrt(Math.max(0, variance)))},"Labels":${jsonStringMap(labels)}}`
  );
}

const finite = (value: number): string => (Number.isFinite(value) ? String(value) : "0");

/** Digits of a 32-bit number: as few as tell it from its neighbours. */
function shortest(value: number): string {
  if (!Number.isFinite(value) || Number.isInteger(value)) return finite(value);
  for (let digits = 1; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}

/** "2006-01-02 15:04:05 +0000 UTC" */
function timestamp(at: EpochMillis): string {
  return `${new Date(Math.round(at / 1000) * 1000).toISOString().slice(0, 19).replace("T", " ")} +0000 UTC`;
}
