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

export interface Metrics {
  counter(name: string, labels?: Labels): { add(amount: number): void };
  gauge(name: string, labels?: Labels): { set(value: number): void };
  sample(name: string, labels?: Labels): { observe(value: number): void };
}
