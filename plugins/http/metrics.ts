/** /v1/agent/metrics, where the runtime's metrics can be read. */
import type { Labels, Metrics } from "../../core/ports/telemetry.ts";
import type { EpochMillis, Millis } from "../../core/types/ids.ts";
import { jsonArray, jsonString, jsonStringMap } from "./json-write.ts";

/** What {@link metricsJson} needs of a runtime's Metrics beyond the port. */
export interface ReadableMetrics extends Metrics {
  snapshot(): {
    readonly at: EpochMillis;
    readonly intervalMillis: Millis;
    readonly gauges: readonly { readonly name: string; readonly labels: Labels; readonly value: number }[];
    readonly counters: readonly MetricAggregate[];
    readonly samples: readonly MetricAggregate[];
  };
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
    `{"Timestamp":${jsonString(timestamp(at))},"Gauges":${jsonArray(gauges, gaugeJson)},"Points":[],` +
    `"Counters":${jsonArray(counters, aggregate)},"Samples":${jsonArray(samples, aggregate)}}`
  );
}

function gaugeJson(gauge: { readonly name: string; readonly labels: Labels; readonly value: number }): string {
  return `{"Name":${jsonString(gauge.name)},"Value":${finite(gauge.value)},"Labels":${jsonStringMap(gauge.labels)}}`;
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

/** "2006-01-02 15:04:05 +0000 UTC" */
function timestamp(at: EpochMillis): string {
  return `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} +0000 UTC`;
}
