/**
 * What the agent says about itself, kept in memory: log lines in Consul's form and numbers over intervals.
 *
 *   Logger.child("server").log(…) ──▶ level? ──▶ line (plain or JSON) ──▶ gate until the banner is out ──▶ sink
 *   Metrics.counter(…).add(1)     ──▶ sum of this 10 s interval and of all time ──▶ MetricsReader.snapshot()
 *
 * Invariants: a line is one line, whatever a peer put into a field; lines leave in the order they were logged; neither
 * series nor waiting lines grow without bound.
 */
import type { Clock } from "../../core/ports/clock.ts";
import { createLogger, type LoggerOptions, type RootLogger } from "./logger.ts";
import { createMetrics, type MetricsReader } from "./metrics.ts";

export type { LogSink, RootLogger } from "./logger.ts";
export type { Aggregate, Gauge, MetricsReader, MetricsSnapshot, MetricsTotals } from "./metrics.ts";

export interface Telemetry {
  readonly logger: RootLogger;
  readonly metrics: MetricsReader;
}

export function createTelemetry(
  options: Omit<LoggerOptions, "clock"> & { readonly clock: Pick<Clock, "wall" | "monotonic"> },
): Telemetry {
  return { logger: createLogger(options), metrics: createMetrics(options.clock) };
}
