import type { Clock } from "../../core/ports/clock.ts";
import type { Logger, LogLevel } from "../../core/ports/telemetry.ts";
import { jsonLine, type LogRecord, plainLine } from "./log-lines.ts";

/** Takes one finished line, without a line break. Must not throw. */
export type LogSink = (line: string) => void;

/** A `Logger` with the levers the composition holds. */
export interface RootLogger extends Logger {
  /** Lines wait, in order, until then: the banner comes first. */
  openGate(): void;
  setLevel(level: LogLevel): void;
  level(): LogLevel;
  setJson(json: boolean): void;
  /** Adds a destination (a log file, `consul monitor`) with a level and form of its own; the result takes it off again. */
  addSink(sink: LogSink, options?: { readonly level?: LogLevel; readonly json?: boolean }): () => void;
}

export interface LoggerOptions {
  readonly clock: Pick<Clock, "wall">;
  readonly level: LogLevel;
  readonly json: boolean;
  readonly sink: LogSink;
  /** True: nothing leaves before `openGate`. */
  readonly gated?: boolean;
}

/** Lines kept while the gate is shut; beyond it the oldest are dropped. As Consul's gated writer's 512. */
const gatedLinesMax = 512;

const ranks: Readonly<Record<LogLevel, number>> = { trace: 0, debug: 1, info: 2, warn: 3, error: 4 };

export function createLogger(options: LoggerOptions): RootLogger {
  const hub = new LogHub(options);
  const levers: Omit<RootLogger, keyof Logger> = {
    openGate: () => hub.openGate(),
    setLevel: (level) => hub.main.setLevel(level),
    level: () => hub.main.level,
    setJson: (json) => {
      hub.main.json = json;
    },
    addSink: (sink, sinkOptions) => hub.add(sink, sinkOptions),
  };
  const root = new NamedLogger(hub, "");
  return Object.assign({ log: root.log.bind(root), enabled: root.enabled.bind(root), child: root.child.bind(root) }, levers);
}

/** One destination and what it wants to see. */
class Output {
  readonly sink: LogSink;
  level: LogLevel;
  rank: number;
  json: boolean;

  constructor(sink: LogSink, level: LogLevel, json: boolean) {
    this.sink = sink;
    this.level = level;
    this.rank = ranks[level];
    this.json = json;
  }

  setLevel(level: LogLevel): void {
    this.level = level;
    this.rank = ranks[level];
  }
}

class LogHub {
  readonly main: Output;
  readonly #clock: Pick<Clock, "wall">;
  #outputs: readonly Output[];
  #waiting: { readonly line: string; readonly output: Output }[] | undefined;

  constructor(options: LoggerOptions) {
    this.#clock = options.clock;
    this.main = new Output(options.sink, options.level, options.json);
    this.#outputs = [this.main];
    this.#waiting = options.gated === true ? [] : undefined;
  }

  enabled(rank: number): boolean {
    for (const output of this.#outputs) if (rank >= output.rank) return true;
    return false;
  }

  log(level: LogLevel, module: string, message: string, fields: LogRecord["fields"]): void {
    const rank = ranks[level];
    if (!this.enabled(rank)) return;
    const record: LogRecord = { at: this.#clock.wall(), level, module, message, fields };
    let plain: string | undefined;
    let json: string | undefined;
    for (const output of this.#outputs) {
      if (rank < output.rank) continue;
      if (output.json) json ??= jsonLine(record);
      else plain ??= plainLine(record);
      this.#send(output, (output.json ? json : plain) as string);
    }
  }

  openGate(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const { line, output } of waiting) output.sink(line);
  }

  add(sink: LogSink, options?: { readonly level?: LogLevel; readonly json?: boolean }): () => void {
    const output = new Output(sink, options?.level ?? this.main.level, options?.json ?? this.main.json);
    this.#outputs = [...this.#outputs, output];
    return () => {
      this.#outputs = this.#outputs.filter((other) => other !== output);
    };
  }

  #send(output: Output, line: string): void {
    if (output !== this.main || this.#waiting === undefined) {
      output.sink(line);
      return;
    }
    if (this.#waiting.length >= gatedLinesMax) this.#waiting.shift();
    this.#waiting.push({ line, output });
  }
}

class NamedLogger implements Logger {
  readonly #hub: LogHub;
  readonly #name: string;

  constructor(hub: LogHub, name: string) {
    this.#hub = hub;
    this.#name = name;
  }

  log(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#hub.log(level, this.#name, message, fields);
  }

  enabled(level: LogLevel): boolean {
    return this.#hub.enabled(ranks[level]);
  }

  child(name: string): Logger {
    return new NamedLogger(this.#hub, this.#name === "" ? name : `${this.#name}.${name}`);
  }
}
