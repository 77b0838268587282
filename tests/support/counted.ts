/** A Metrics that remembers what was asked for, and how often each series was told something. */
import type { Labels, Metrics } from "../../core/ports/telemetry.ts";

export class CountedMetrics implements Metrics {
  /** Of every series that was asked for: "Counters raft.apply ", with the names of its labels, as often as it was told something. */
  readonly told = new Map<string, number>();

  counter(name: string, labels?: Labels): { add(): void } {
    return { add: this.#series("Counters", name, labels) };
  }

  gauge(name: string, labels?: Labels): { set(): void } {
    return { set: this.#series("Gauges", name, labels) };
  }

  sample(name: string, labels?: Labels): { observe(): void } {
    return { observe: this.#series("Samples", name, labels) };
  }

  #series(kind: string, name: string, labels: Labels = {}): () => void {
    const shown = `${kind} ${name} ${Object.keys(labels).sort().join(",")}`;
    this.told.set(shown, this.told.get(shown) ?? 0);
    return () => this.told.set(shown, (this.told.get(shown) ?? 0) + 1);
  }
}
