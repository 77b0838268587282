import type { Millis } from "../types/ids.ts";

const nanosecondsOf: ReadonlyMap<string, number> = new Map([
  ["ns", 1],
  ["us", 1e3],
  ["µs", 1e3], // U+00B5, micro sign
  ["μs", 1e3], // U+03BC, Greek mu
  ["ms", 1e6],
  ["s", 1e9],
  ["m", 60e9],
  ["h", 3600e9],
]);

/** Go keeps a duration in 64 bits of nanoseconds: about 292 years. */
const nanosecondsMax = 2 ** 63;

export type ParsedDuration =
  | { readonly kind: "duration"; readonly millis: Millis }
  | { readonly kind: "invalid"; readonly problem: string };

/**
 * Reads what Go's `time.ParseDuration` reads: "1h15m30.5s", "-1.5h", "300ms", "0". The result may have a fraction
 * (nanoseconds) and may be negative. `problem` is Go's own sentence, since Consul's messages end in it.
 */
export function parseDuration(text: string): ParsedDuration {
  const invalid: ParsedDuration = { kind: "invalid", problem: `time: invalid duration "${text}"` };
  const negative = text.startsWith("-");
  let rest = negative || text.startsWith("+") ? text.slice(1) : text;
  if (rest === "0") return { kind: "duration", millis: 0 };
  if (rest === "") return invalid;

  let total = 0;
  while (rest !== "") {
    const number = /^(\d*)(?:\.(\d*))?/.exec(rest) as RegExpExecArray;
    const whole = number[1] ?? "";
    const fraction = number[2] ?? "";
    if (whole === "" && fraction === "") return invalid;
    rest = rest.slice(number[0].length);

    const unit = (/^[^.\d]*/.exec(rest) as RegExpExecArray)[0];
    if (unit === "") return { kind: "invalid", problem: `time: missing unit in duration "${text}"` };
    const nanoseconds = nanosecondsOf.get(unit);
    if (nanoseconds === undefined) return { kind: "invalid", problem: `time: unknown unit "${unit}" in duration "${text}"` };
    rest = rest.slice(unit.length);

    total += Number(whole) * nanoseconds + Math.trunc(Number(`0.${fraction}`) * nanoseconds);
    if (total >= nanosecondsMax) return invalid;
  }
  return { kind: "duration", millis: (negative ? -total : total) / 1e6 };
}

/** As Go prints it: "0s", "1.5s", "300ms", "2m0s", "87600h0m0s". */
export function formatDuration(millis: Millis): string {
  const nanoseconds = Math.round(Math.abs(millis) * 1e6);
  const sign = millis < 0 && nanoseconds > 0 ? "-" : "";
  if (nanoseconds === 0) return "0s";
  if (nanoseconds < 1e3) return `${sign}${nanoseconds}ns`;
  if (nanoseconds < 1e6) return `${sign}${decimal(nanoseconds, 3)}µs`;
  if (nanoseconds < 1e9) return `${sign}${decimal(nanoseconds, 6)}ms`;

  const minutes = Math.floor(nanoseconds / 60e9);
  const seconds = `${decimal(nanoseconds - minutes * 60e9, 9)}s`;
  if (minutes === 0) return sign + seconds;
  const hours = Math.floor(minutes / 60);
  return hours === 0 ? `${sign}${minutes}m${seconds}` : `${sign}${hours}h${minutes % 60}m${seconds}`;
}

/** `whole` divided by a power of ten, without trailing zeros. */
function decimal(whole: number, digits: number): string {
  const padded = String(whole).padStart(digits + 1, "0");
  const fraction = padded.slice(-digits).replace(/0+$/, "");
  return fraction === "" ? padded.slice(0, -digits) : `${padded.slice(0, -digits)}.${fraction}`;
}
