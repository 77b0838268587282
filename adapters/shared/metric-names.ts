/** How series are named on their way out, and which are kept at all (Consul 1.8: `telemetry.prefix_filter`). */
import type { MetricsSettings } from "../../core/ports/telemetry.ts";

/** Until the configuration is known. */
export const plainSettings: MetricsSettings = {
  prefix: "consul",
  hostname: undefined,
  filterDefault: true,
  allowed: [],
  blocked: [],
  prometheusRetention: 0,
};

export class MetricNames {
  readonly settings: MetricsSettings;
  /** By prefix of a whole name; what is blocked and allowed alike is blocked. */
  readonly #rules: ReadonlyMap<string, boolean>;

  constructor(settings: MetricsSettings) {
    this.settings = settings;
    this.#rules = new Map([
      ...settings.allowed.map((prefix) => [prefix, true] as const),
      ...settings.blocked.map((prefix) => [prefix, false] as const),
    ]);
  }

  /** The name of a counter or a sample. */
  full(name: string): string {
    const { prefix } = this.settings;
    return prefix === "" ? name : `${prefix}.${name}`;
  }

  fullGauge(name: string): string {
    const { hostname } = this.settings;
    return this.full(hostname === undefined ? name : `${hostname}.${name}`);
  }

  /** The longest rule that fits decides. */
  keeps(fullName: string): boolean {
    let longest = -1;
    let kept = this.settings.filterDefault;
    for (const [prefix, allowed] of this.#rules) {
      if (prefix.length <= longest || !fullName.startsWith(prefix)) continue;
      longest = prefix.length;
      kept = allowed;
    }
    return kept;
  }
}
