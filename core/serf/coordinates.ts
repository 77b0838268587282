/**
 * Network coordinates: Vivaldi (Dabek et al. 2004) with heights, adjustments (Lee et al. 2006), gravity and a latency filter
 * (Ledlie et al. 2007), constants and order as in Serf. Each member places itself in eight dimensions so that
 * distances are round-trip times. All values in seconds.
 */
import type { Coordinate } from "../catalog/records.ts";
import type { Random } from "../ports/random.ts";

const dimensions = 8;
const errorMax = 1.5;
const errorWeight = 0.25;
const forceWeight = 0.25;
const adjustmentWindow = 20;
const heightMin = 10e-6;
const latencyFilterSize = 3;
const gravityRho = 150;
const zeroThreshold = 1e-6;
const roundTripMax = 10;
/** Members whose last round trips are kept. */
const filtersMax = 65_536;

export const originCoordinate: Coordinate = {
  vec: new Array<number>(dimensions).fill(0),
  error: errorMax,
  adjustment: 0,
  height: heightMin,
};

/** Whether a peer's coordinate may be computed with. */
export function isValid(coordinate: Coordinate): boolean {
  const { vec, error, adjustment, height } = coordinate;
  return vec.length === dimensions && [...vec, error, adjustment, height].every(Number.isFinite);
}

/** Expected round trip between two members. */
export function distance(left: Coordinate, right: Coordinate): number {
  const raw = rawDistance(left, right);
  const adjusted = raw + left.adjustment + right.adjustment;
  return adjusted > 0 ? adjusted : raw;
}

/** This member's own place, moved a little by each answered ping. */
export class CoordinateClient {
  readonly #random: Random;
  #coordinate: Coordinate = originCoordinate;
  #resets = 0;
  readonly #adjustments: number[] = [];
  #adjustmentAt = 0;
  /** The last few round trips by member, oldest first: their median tames outliers. */
  readonly #latencies = new Map<string, number[]>();
  /** What each member last said of itself. Its members are those of the latencies. */
  readonly #peers = new Map<string, Coordinate>();

  constructor(random: Random) {
    this.#random = random;
  }

  get coordinate(): Coordinate {
    return this.#coordinate;
  }

  /** How often the own coordinate became unusable and started over. */
  get resets(): number {
    return this.#resets;
  }

  /** Where another member said that it is; undefined: it has not answered a ping yet. */
  of(node: string): Coordinate | undefined {
    return this.#peers.get(node);
  }

  /** False when `peer` or `roundTrip` cannot be right; then nothing changes. */
  observe(node: string, peer: Coordinate, roundTrip: number): boolean {
    if (!isValid(peer) || !(roundTrip >= 0 && roundTrip <= roundTripMax)) return false;
    const seconds = Math.max(zeroThreshold, this.#filtered(node, roundTrip));
    this.#pullTowards(peer, seconds);
    this.#adjust(peer, seconds);
    this.#pullToOrigin();
    this.#peers.set(node, peer);
    if (!isValid(this.#coordinate)) {
      this.#coordinate = originCoordinate;
      this.#resets++;
    }
    return true;
  }

  forget(node: string): void {
    this.#latencies.delete(node);
    this.#peers.delete(node);
  }

  #filtered(node: string, roundTrip: number): number {
    let samples = this.#latencies.get(node);
    if (samples === undefined) {
      if (this.#latencies.size >= filtersMax) this.forget(this.#latencies.keys().next().value as string);
      samples = [];
      this.#latencies.set(node, samples);
    }
    samples.push(roundTrip);
    if (samples.length > latencyFilterSize) samples.shift();
    const sorted = [...samples].sort((left, right) => left - right);
    return sorted[Math.floor(sorted.length / 2)] as number;
  }

  #pullTowards(peer: Coordinate, roundTrip: number): void {
    const own = this.#coordinate;
    const expected = distance(own, peer);
    const wrongness = Math.abs(expected - roundTrip) / roundTrip;
    const weight = own.error / Math.max(zeroThreshold, own.error + peer.error);
    const error = Math.min(errorMax, errorWeight * weight * wrongness + own.error * (1 - errorWeight * weight));
    this.#coordinate = this.#forced({ ...own, error }, forceWeight * weight * (roundTrip - expected), peer);
  }

  #adjust(peer: Coordinate, roundTrip: number): void {
    this.#adjustments[this.#adjustmentAt] = roundTrip - rawDistance(this.#coordinate, peer);
    this.#adjustmentAt = (this.#adjustmentAt + 1) % adjustmentWindow;
    let sum = 0;
    for (const sample of this.#adjustments) sum += sample;
    this.#coordinate = { ...this.#coordinate, adjustment: sum / (2 * adjustmentWindow) };
  }

  /** Keeps the whole pool from drifting away together. */
  #pullToOrigin(): void {
    const ratio = distance(originCoordinate, this.#coordinate) / gravityRho;
    this.#coordinate = this.#forced(this.#coordinate, -(ratio * ratio), originCoordinate);
  }

  #forced(from: Coordinate, force: number, other: Coordinate): Coordinate {
    const { unit, magnitude } = this.#direction(from.vec, other.vec);
    const vec = from.vec.map((value, at) => value + (unit[at] as number) * force);
    let { height } = from;
    if (magnitude > zeroThreshold) height = Math.max(heightMin, ((height + other.height) * force) / magnitude + height);
    return { ...from, vec, height };
  }

  /** From `other` towards `own`. Two at the same place part in a random direction, which leaves heights alone. */
  #direction(own: readonly number[], other: readonly number[]): { readonly unit: readonly number[]; readonly magnitude: number } {
    const difference = own.map((value, at) => value - (other[at] as number));
    const magnitude = magnitudeOf(difference);
    if (magnitude > zeroThreshold) return { unit: difference.map((value) => value / magnitude), magnitude };
    const drawn = own.map(() => this.#random.uint32() / 4294967296 - 0.5);
    const length = magnitudeOf(drawn);
    if (length > zeroThreshold) return { unit: drawn.map((value) => value / length), magnitude: 0 };
    return { unit: own.map((_, at) => (at === 0 ? 1 : 0)), magnitude: 0 };
  }
}

function rawDistance(left: Coordinate, right: Coordinate): number {
  return magnitudeOf(left.vec.map((value, at) => value - (right.vec[at] as number))) + left.height + right.height;
}

function magnitudeOf(vec: readonly number[]): number {
  let sum = 0;
  for (const value of vec) sum += value * value;
  return Math.sqrt(sum);
}
