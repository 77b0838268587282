/** What one name and its labels have seen: this interval and the last, all of it, and the latest values. */
import type { Labels } from "../../core/ports/telemetry.ts";
import type { Millis } from "../../core/types/ids.ts";

/** What happened to one name and its labels: `add` or `observe`, called `count` times. */
export interface Aggregate {
  readonly name: string;
  readonly labels: Labels;
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  readonly sumOfSquares: number;
}

/** For quantiles: so many values at most are looked at, the latest. */
const recentMax = 256;
/** Prometheus' summaries in Consul look back so far. */
const recentAge: Millis = 10_000;

/** A counter or a sample. */
export class Series {
  readonly key: string;
  readonly name: string;
  readonly labels: Labels;
  /** The filter lets it through. */
  kept: boolean;
  /** In its table: it can be seen. */
  attached = false;
  #epoch = 0;
  #current = new Sum();
  #lastEpoch = -1;
  #last = new Sum();
  readonly #total = new Sum();
  #recent: Recent | undefined;
  touchedAt: Millis = 0;

  constructor(key: string, name: string, labels: Labels, kept: boolean) {
    this.key = key;
    this.name = name;
    this.labels = labels;
    this.kept = kept;
  }

  add(value: number, epoch: number, now: Millis, recent: boolean): void {
    if (epoch !== this.#epoch) this.#turn(epoch);
    this.touchedAt = now;
    this.#current.add(value);
    this.#total.add(value);
    if (!recent) return;
    this.#recent ??= new Recent();
    this.#recent.add(value, now);
  }

  /** Undefined: nothing happened in that interval, or it is too long ago. */
  during(epoch: number): Aggregate | undefined {
    if (epoch === this.#epoch && this.#current.count > 0) return this.#aggregate(this.#current);
    return epoch === this.#lastEpoch ? this.#aggregate(this.#last) : undefined;
  }

  total(): Aggregate {
    return this.#aggregate(this.#total);
  }

  /** Of the values of the last 10 s, at most 256; NaN without any. */
  quantiles(ranks: readonly number[], now: Millis): readonly number[] {
    return this.#recent?.quantiles(ranks, now) ?? ranks.map(() => Number.NaN);
  }

  /** Two sums change places: nothing is allocated. */
  #turn(epoch: number): void {
    if (this.#current.count > 0) {
      const last = this.#last;
      this.#last = this.#current;
      this.#lastEpoch = this.#epoch;
      this.#current = last;
      last.clear();
    }
    this.#epoch = epoch;
  }

  #aggregate({ count, sum, min, max, sumOfSquares }: Sum): Aggregate {
    return { name: this.name, labels: this.labels, count, sum, min, max, sumOfSquares };
  }
}

export class GaugeCell {
  readonly key: string;
  readonly name: string;
  readonly labels: Labels;
  kept: boolean;
  attached = false;
  touchedAt: Millis = 0;
  #epoch = -1;
  #value = 0;
  #lastEpoch = -1;
  #last = 0;

  constructor(key: string, name: string, labels: Labels, kept: boolean) {
    this.key = key;
    this.name = name;
    this.labels = labels;
    this.kept = kept;
  }

  set(value: number, epoch: number, now: Millis): void {
    if (epoch !== this.#epoch) {
      this.#last = this.#value;
      this.#lastEpoch = this.#epoch;
      this.#epoch = epoch;
    }
    this.#value = value;
    this.touchedAt = now;
  }

  get isSet(): boolean {
    return this.#epoch >= 0;
  }

  get value(): number {
    return this.#value;
  }

  during(epoch: number): number | undefined {
    if (epoch === this.#epoch) return this.#value;
    return epoch === this.#lastEpoch ? this.#last : undefined;
  }
}

class Sum {
  count = 0;
  sum = 0;
  min = Infinity;
  max = -Infinity;
  sumOfSquares = 0;

  add(value: number): void {
    this.count++;
    this.sum += value;
    this.sumOfSquares += value * value;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
  }

  clear(): void {
    this.count = 0;
    this.sum = 0;
    this.min = Infinity;
    this.max = -Infinity;
    this.sumOfSquares = 0;
  }
}

/** A ring of values and when they came. */
class Recent {
  readonly #values = new Float32Array(recentMax);
  readonly #times = new Float64Array(recentMax).fill(Number.NEGATIVE_INFINITY);
  #next = 0;

  add(value: number, now: Millis): void {
    this.#values[this.#next] = value;
    this.#times[this.#next] = now;
    this.#next = (this.#next + 1) % recentMax;
  }

  quantiles(ranks: readonly number[], now: Millis): readonly number[] {
    const values = this.#values.filter((_value, at) => now - (this.#times[at] as number) <= recentAge).sort();
    return ranks.map((rank) => values[Math.max(0, Math.ceil(rank * values.length) - 1)] ?? Number.NaN);
  }
}
