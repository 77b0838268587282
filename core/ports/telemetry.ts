import type { Millis } from "../types/ids.ts";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error";

export interface Logger {
  /** `fields` follow the message as `key=value`, quoted where needed, in the order given. */
  log(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void;
  enabled(level: LogLevel): boolean;
  /** A logger whose lines carry this name after its own, joined with a dot: "agent" then "agent.server". */
  child(name: string): Logger;
}

/** The log as it is written, for whoever wants to look on (`consul monitor`). */
export interface LogFollow {
  /**
   * Calls `take` with each line at `level` or above, without a line break, from now until the result is called; whatever
   * level the agent's own log has. `take` must not throw, and must not log.
   */
  follow(options: { readonly level: LogLevel; readonly json: boolean }, take: (line: string) => void): () => void;
}

export type Labels = Readonly<Record<string, string>>;

/**
 * Numbers about the agent, under Consul's names without their prefix ("raft.apply"). Ask once for a series and keep it: then
 * a number costs an addition. Times are milliseconds. What a user chooses belongs into a label, never into a name without
 * bound; series that nobody has touched for a while may be forgotten, and come back with the next number.
 */
export interface Metrics {
  counter(name: string, labels?: Labels): Counter;
  gauge(name: string, labels?: Labels): { set(value: number): void };
  sample(name: string, labels?: Labels): Sample;
  /** How series are named and which are kept, from now on. Absent: nothing can be chosen. */
  configure?(settings: MetricsSettings): void;
}

export interface Counter {
  add(amount: number): void;
}

export interface Sample {
  /** `now`: what the monotonic clock has just said, where that is known: it is then not asked again. */
  observe(value: number, now?: Millis): void;
}

/** Consul 1.8: the block `telemetry`. */
export interface MetricsSettings {
  /** Before every name, with a dot between. */
  readonly prefix: string;
  /** Between the prefix and a gauge's name; undefined: nothing. */
  readonly hostname: string | undefined;
  /** Whether names are kept that no prefix of the lists fits; the longest that fits decides. */
  readonly filterDefault: boolean;
  readonly allowed: readonly string[];
  readonly blocked: readonly string[];
  /** How long Prometheus is shown a series that nobody touches; 0: Prometheus is shown nothing. */
  readonly prometheusRetention: Millis;
  /** Told each number that is kept, under its whole name. It must not throw. */
  readonly tap?: MetricTap;
}

export type MetricTap = (kind: "counter" | "gauge" | "sample", name: string, labels: Labels, value: number) => void;

const unheard: Counter & Sample & { set(value: number): void } = { add() {}, observe() {}, set() {} };

/** Where nobody counts. */
export const noMetrics: Metrics = { counter: () => unheard, gauge: () => unheard, sample: () => unheard };
