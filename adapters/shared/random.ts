import type { Random } from "../../core/ports/random.ts";

/**
 * sfc32 (Chris Doty-Humphrey's "Small Fast Counting" generator, PractRand): 128 bits of state of which 32 count, so that
 * no seed leads into a short cycle. Only 32-bit additions, shifts and xors: the same numbers on every engine.
 *
 * `fork` derives the child from the seed and the label, never from the position, so that a draw more or less in one
 * subsystem does not shift another, and forks may be made in any order.
 */
export function createRandom(seed: Seed): Random {
  return new Sfc32(seed);
}

/** Four whole numbers in [0, 2^32). */
export type Seed = readonly [number, number, number, number];

/** A seed from one number (a simulation's) or text. */
export function seedOf(origin: number | string): Seed {
  return hashed([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], String(origin));
}

/** A seed from 16 random bytes. */
export function seedFromBytes(bytes: Uint8Array): Seed {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  return [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)];
}

/** Rounds that mix the seed into the whole state before the first number leaves. */
const warmUpRounds = 15;

class Sfc32 implements Random {
  readonly #seed: Seed;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: Seed) {
    this.#seed = seed;
    this.#a = seed[0] | 0;
    this.#b = seed[1] | 0;
    this.#c = (seed[2] ^ seed[3]) | 0;
    this.#counter = seed[3] | 1;
    for (let round = 0; round < warmUpRounds; round++) this.uint32();
  }

  uint32(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  fork(label: string): Random {
    return new Sfc32(hashed(this.#seed, label));
  }
}

/** Four lanes of a multiply-xor hash over the label's UTF-16 units, each begun with a word of the parent's seed. */
function hashed(seed: Seed, label: string): Seed {
  let [a, b, c, d] = seed;
  for (let at = 0; at <= label.length; at++) {
    const unit = at < label.length ? label.charCodeAt(at) : 0x10000 + label.length;
    a = Math.imul(a ^ unit, 0x85ebca6b) ^ (d >>> 13);
    b = Math.imul(b ^ unit, 0xc2b2ae35) ^ (a >>> 15);
    c = Math.imul(c ^ unit, 0x27d4eb2f) ^ (b >>> 16);
    d = Math.imul(d ^ unit, 0x165667b1) ^ (c >>> 14);
  }
  return [a >>> 0, b >>> 0, c >>> 0, d >>> 0];
}
