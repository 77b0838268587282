/** What an agent tells of itself whatever happens, once a second: its memory, and what its role is at (Consul 1.8). */
import type { AgentConfig } from "../config/config.ts";
import type { Clock, Host, Metrics, MetricsSettings, MetricTap, Timer } from "../ports/mod.ts";
import type { Millis } from "../types/ids.ts";

const interval: Millis = 1000;

export interface AgentMetricsOptions {
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly host: Host | undefined;
  /** What else there is to tell. */
  readonly look: () => void;
}

export class AgentMetrics {
  readonly #options: AgentMetricsOptions;
  readonly #allocated: { set(value: number): void };
  readonly #system: { set(value: number): void };
  #timer: Timer | undefined;

  constructor(options: AgentMetricsOptions) {
    this.#options = options;
    this.#allocated = options.metrics.gauge("runtime.alloc_bytes");
    this.#system = options.metrics.gauge("runtime.sys_bytes");
  }

  start(): void {
    this.#tell();
    this.#timer = this.#options.clock.after(interval, () => this.start());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #tell(): void {
    const { host, look } = this.#options;
    if (host !== undefined) {
      const { heapUsedBytes, residentBytes } = host.memory();
      this.#allocated.set(heapUsedBytes);
      this.#system.set(residentBytes);
    }
    look();
  }
}

/** Where somebody collects the numbers of several machines, gauges carry the machine's name unless that is switched off. */
export function metricsSettings(
  telemetry: AgentConfig["telemetry"],
  { host, tap }: { readonly host: Pick<Host, "hostname"> | undefined; readonly tap: MetricTap | undefined },
): MetricsSettings {
  const { metricsPrefix, disableHostname, filterDefault, prefixFilter, prometheusRetentionTime } = telemetry;
  const collected = prometheusRetentionTime > 0 || tap !== undefined;
  const rules = (sign: string): readonly string[] =>
    prefixFilter.filter((rule) => rule.startsWith(sign)).map((rule) => rule.slice(1));
  return {
    prefix: metricsPrefix,
    hostname: collected && !disableHostname ? host?.hostname() : undefined,
    filterDefault,
    allowed: rules("+"),
    blocked: rules("-"),
    prometheusRetention: prometheusRetentionTime,
    ...(tap === undefined ? {} : { tap }),
  };
}
