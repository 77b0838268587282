import type { LogLevel } from "../../core/ports/telemetry.ts";
import type { EpochMillis } from "../../core/types/ids.ts";

/** One thing to log, before it is made a line. */
export interface LogRecord {
  readonly at: EpochMillis;
  readonly level: LogLevel;
  /** "agent.server.raft"; "" for the root. */
  readonly module: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

const paddedLevels: Readonly<Record<LogLevel, string>> = {
  trace: "[TRACE]",
  debug: "[DEBUG]",
  info: "[INFO] ",
  warn: "[WARN] ",
  error: "[ERROR]",
};

/**
 * A line as Consul 1.8 (go-hclog) writes it, without the four spaces its output puts in front and without a line break:
 * `2026-11-20T11:31:40.304Z [INFO]  agent.server.raft: message: key=value key2="quoted value"`.
 */
export function plainLine(record: LogRecord): string {
  const head = `${timestamp(record.at)} ${paddedLevels[record.level]} `;
  let line = record.module === "" ? head : `${head}${record.module}: `;
  line += oneLine(record.message);
  const fields = record.fields === undefined ? [] : Object.entries(record.fields);
  if (fields.length > 0) line += ":";
  for (const [key, value] of fields) line += plainField(key, value);
  return line;
}

/** The same as a JSON object: `@level`, `@message`, `@module`, `@timestamp`, then the fields. */
export function jsonLine(record: LogRecord): string {
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(record.fields ?? {})) fields[key] = jsonValue(value);
  return JSON.stringify({
    "@level": record.level,
    "@message": record.message,
    ...(record.module === "" ? {} : { "@module": record.module }),
    "@timestamp": timestamp(record.at).replace("Z", "000Z"),
    ...fields,
  });
}

function timestamp(at: EpochMillis): string {
  return new Date(at).toISOString();
}

/** go-hclog 0.12 puts quotes round what has white space in it, and escapes nothing; in a list, round each element. */
function plainField(key: string, value: unknown): string {
  const written = Array.isArray(value) ? `[${value.map(quoted).join(", ")}]` : quoted(value);
  return ` ${key}=${written}`;
}

function quoted(value: unknown): string {
  const written = oneLine(textOf(value));
  return /[ \t]|\\n|\\r/.test(written) ? `"${written}"` : written;
}

/** Beyond go-hclog: a line break or escape sequence that a peer put into a value must not look like another line, nor reach a terminal. */
function oneLine(written: string): string {
  return written.replace(/[\x00-\x08\x0a-\x1f\x7f]/g, (found) => JSON.stringify(found).slice(1, -1).replace("\x7f", "\\u007f"));
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Error) return value.message;
  if (Array.isArray(value)) return `[${value.map(textOf).join(", ")}]`;
  if (typeof value === "object" && value !== null) return JSON.stringify(value);
  return String(value);
}

function jsonValue(value: unknown): unknown {
  if (value instanceof Error) return value.message;
  return typeof value === "bigint" ? value.toString() : value;
}
