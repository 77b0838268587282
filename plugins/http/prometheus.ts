/** /v1/agent/metrics?format=prometheus: text format 0.0.4, as Consul's Prometheus sink names and types things. */
import type { Labels } from "../../core/ports/telemetry.ts";
import { sortByBytes } from "./json-write.ts";
import type { MetricAggregate, MetricTotals } from "./metrics.ts";

export const prometheusType = "text/plain; version=0.0.4; charset=utf-8";

const quantileNames = ["0.5", "0.9", "0.99"];

interface Family {
  readonly type: "counter" | "gauge" | "summary";
  /** By their labels as written. */
  readonly lines: Map<string, string>;
}

/** Families sorted by name, the series of one by their labels. Two names that are written alike and differ in type: the first counts. */
export function prometheusText({ gauges, counters, samples }: MetricTotals): string {
  const families = new Map<string, Family>();
  const add = (name: string, type: Family["type"], labels: Labels, lines: (name: string) => string): void => {
    const flat = flatten(name);
    let family = families.get(flat);
    if (family === undefined) {
      family = { type, lines: new Map() };
      families.set(flat, family);
    }
    if (family.type === type) family.lines.set(labelText(labels), lines(flat));
  };
  for (const { name, labels, value } of gauges)
    add(name, "gauge", labels, (flat) => `${flat}${labelText(labels)} ${goFloat(value)}\n`);
  for (const { name, labels, sum } of counters)
    add(name, "counter", labels, (flat) => `${flat}${labelText(labels)} ${goFloat(sum)}\n`);
  for (const sample of samples) add(sample.name, "summary", sample.labels, (flat) => summary(flat, sample));

  const names = [...families.keys()];
  sortByBytes(names);
  return names
    .map((name) => {
      const { type, lines } = families.get(name) as Family;
      const keys = [...lines.keys()];
      sortByBytes(keys);
      return `# HELP ${name} ${name}\n# TYPE ${name} ${type}\n${keys.map((key) => lines.get(key)).join("")}`;
    })
    .join("");
}

function summary(name: string, sample: MetricAggregate & { readonly quantiles: readonly number[] }): string {
  const { labels, quantiles, sum, count } = sample;
  const ranks = quantileNames.map(
    (quantile, at) => `${name}${labelText(labels, `quantile="${quantile}"`)} ${goFloat(quantiles[at] ?? Number.NaN)}\n`,
  );
  return `${ranks.join("")}${name}_sum${labelText(labels)} ${goFloat(sum)}\n${name}_count${labelText(labels)} ${count}\n`;
}

/** Prometheus takes letters, digits, "_" and ":" only. */
function flatten(name: string): string {
  const flat = name.replace(/[^a-zA-Z0-9_:]/g, "_");
  return /^[0-9]/.test(flat) ? `_${flat}` : flat;
}

function labelText(labels: Labels, last?: string): string {
  const names = Object.keys(labels);
  sortByBytes(names);
  const texts = names.map((name) => `${flatten(name)}="${escaped(labels[name] ?? "")}"`);
  if (last !== undefined) texts.push(last);
  return texts.length === 0 ? "" : `{${texts.join(",")}}`;
}

function escaped(value: string): string {
  return value.replace(/\\/g, "\\\\").replace(/\n/g, "\\n").replace(/"/g, '\\"');
}

/** As Go formats with 'g' and the fewest digits: an exponent, of two digits at least, from 1e+06 on and below 0.0001. */
function goFloat(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  if (value === 0) return "0";
  const [digits = "", exponent = "0"] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power >= -4 && power < 6) return String(value);
  return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}
