/**
 * AES-GCM in plain TypeScript (FIPS 197, NIST SP 800-38D), for platforms whose synchronous crypto lacks it. About a
 * hundred times slower than the platform's own, and its table look-ups can be timed by who shares the processor: only
 * where there is nothing better.
 */
import type { Bytes } from "../../core/types/bytes.ts";
import { assert } from "../../core/types/errors.ts";

const tagLength = 16;

/** As `Crypto.seal`. */
export function seal(key: Bytes, nonce: Bytes, plain: Bytes, extra: Bytes): Bytes {
  const cipher = new Gcm(key, nonce);
  const sealed = new Uint8Array(plain.length + tagLength);
  sealed.set(cipher.crypt(plain));
  sealed.set(cipher.tag(sealed.subarray(0, plain.length), extra), plain.length);
  return sealed;
}

/** As `Crypto.open`. */
export function open(key: Bytes, nonce: Bytes, sealed: Bytes, extra: Bytes): Bytes | undefined {
  if (sealed.length < tagLength) return undefined;
  const cipher = new Gcm(key, nonce);
  const content = sealed.subarray(0, sealed.length - tagLength);
  const tag = cipher.tag(content, extra);
  let difference = 0;
  for (let at = 0; at < tagLength; at++) difference |= (tag[at] as number) ^ (sealed[content.length + at] as number);
  return difference === 0 ? cipher.crypt(content) : undefined;
}

class Gcm {
  readonly #schedule: Uint8Array;
  readonly #counter = new Uint8Array(16);
  /** The encryption of zero, which the tag is computed with, as four words. */
  readonly #hashKey: Uint32Array;
  readonly #tagMask: Uint8Array;

  constructor(key: Bytes, nonce: Bytes) {
    assert(nonce.length === 12, "the nonce is of 12 bytes");
    this.#schedule = expandKey(key);
    this.#hashKey = wordsOf(encryptBlock(this.#schedule, new Uint8Array(16)));
    this.#counter.set(nonce);
    this.#counter[15] = 1;
    this.#tagMask = encryptBlock(this.#schedule, this.#counter);
  }

  /** Encrypts or decrypts: the same in counter mode. From counter 2 on. */
  crypt(input: Bytes): Bytes {
    const output = new Uint8Array(input.length);
    const counter = this.#counter.slice();
    const view = new DataView(counter.buffer);
    for (let at = 0; at < input.length; at += 16) {
      view.setUint32(12, (view.getUint32(12) + 1) >>> 0);
      const mask = encryptBlock(this.#schedule, counter);
      const end = Math.min(16, input.length - at);
      for (let byte = 0; byte < end; byte++) output[at + byte] = (input[at + byte] as number) ^ (mask[byte] as number);
    }
    return output;
  }

  tag(ciphertext: Bytes, extra: Bytes): Bytes {
    const sum = new Uint32Array(4);
    this.#absorb(sum, extra);
    this.#absorb(sum, ciphertext);
    const lengths = new Uint8Array(16);
    const view = new DataView(lengths.buffer);
    view.setUint32(0, Math.floor(extra.length / 0x20000000));
    view.setUint32(4, (extra.length * 8) >>> 0);
    view.setUint32(8, Math.floor(ciphertext.length / 0x20000000));
    view.setUint32(12, (ciphertext.length * 8) >>> 0);
    this.#absorb(sum, lengths);
    const tag = new Uint8Array(16);
    const tagView = new DataView(tag.buffer);
    for (let word = 0; word < 4; word++) tagView.setUint32(4 * word, sum[word] as number);
    for (let at = 0; at < 16; at++) (tag[at] as number) ^= this.#tagMask[at] as number;
    return tag;
  }

  /** GHASH: for each block, padded with zeros, sum = (sum + block) · hashKey in GF(2^128). */
  #absorb(sum: Uint32Array, input: Bytes): void {
    const block = new Uint8Array(16);
    for (let at = 0; at < input.length; at += 16) {
      block.fill(0);
      block.set(input.subarray(at, at + 16));
      const words = wordsOf(block);
      for (let word = 0; word < 4; word++) (sum[word] as number) ^= words[word] as number;
      multiply(sum, this.#hashKey);
    }
  }
}

/** sum ← sum · factor, bit by bit (SP 800-38D, algorithm 1). */
function multiply(sum: Uint32Array, factor: Uint32Array): void {
  let [v0, v1, v2, v3] = factor as unknown as [number, number, number, number];
  let [z0, z1, z2, z3] = [0, 0, 0, 0];
  for (let bit = 0; bit < 128; bit++) {
    const mask = -(((sum[bit >> 5] as number) >>> (31 - (bit & 31))) & 1);
    z0 ^= v0 & mask;
    z1 ^= v1 & mask;
    z2 ^= v2 & mask;
    z3 ^= v3 & mask;
    const reduce = -(v3 & 1) & 0xe1000000;
    v3 = (v3 >>> 1) | (v2 << 31);
    v2 = (v2 >>> 1) | (v1 << 31);
    v1 = (v1 >>> 1) | (v0 << 31);
    v0 = (v0 >>> 1) ^ reduce;
  }
  sum[0] = z0;
  sum[1] = z1;
  sum[2] = z2;
  sum[3] = z3;
}

function wordsOf(block: Uint8Array): Uint32Array {
  const view = new DataView(block.buffer, block.byteOffset, 16);
  return Uint32Array.of(view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12));
}

/** The S-box, computed: inverses in GF(2^8) by walking the powers of 3, then the affine map. */
const substitution = makeSubstitution();

function makeSubstitution(): Uint8Array {
  const box = new Uint8Array(256);
  let power = 1;
  let inverse = 1;
  do {
    power = (power ^ (power << 1) ^ (power & 0x80 ? 0x11b : 0)) & 0xff;
    inverse ^= inverse << 1;
    inverse ^= inverse << 2;
    inverse ^= inverse << 4;
    inverse &= 0xff;
    if (inverse & 0x80) inverse ^= 0x09;
    const rotated = inverse ^ (inverse << 1) ^ (inverse << 2) ^ (inverse << 3) ^ (inverse << 4);
    box[power] = ((rotated ^ (rotated >> 8)) & 0xff) ^ 0x63;
  } while (power !== 1);
  box[0] = 0x63;
  return box;
}

function doubled(value: number): number {
  return ((value << 1) ^ (value & 0x80 ? 0x1b : 0)) & 0xff;
}

/** Round keys of 16 bytes, one after another. */
function expandKey(key: Bytes): Uint8Array {
  assert(key.length === 16 || key.length === 24 || key.length === 32, "the key is of 16, 24 or 32 bytes");
  const rounds = key.length / 4 + 6;
  const schedule = new Uint8Array(16 * (rounds + 1));
  schedule.set(key);
  let constant = 1;
  const word = new Uint8Array(4);
  for (let at = key.length; at < schedule.length; at += 4) {
    word.set(schedule.subarray(at - 4, at));
    if (at % key.length === 0) {
      word.set(
        [word[1] as number, word[2] as number, word[3] as number, word[0] as number].map((byte) => substitution[byte] as number),
      );
      (word[0] as number) ^= constant;
      constant = doubled(constant);
    } else if (key.length === 32 && at % key.length === 16) {
      for (let byte = 0; byte < 4; byte++) word[byte] = substitution[word[byte] as number] as number;
    }
    for (let byte = 0; byte < 4; byte++)
      schedule[at + byte] = (schedule[at + byte - key.length] as number) ^ (word[byte] as number);
  }
  return schedule;
}

function encryptBlock(schedule: Uint8Array, input: Uint8Array): Uint8Array {
  const state = new Uint8Array(16);
  const shifted = new Uint8Array(16);
  for (let at = 0; at < 16; at++) state[at] = (input[at] as number) ^ (schedule[at] as number);
  const lastRound = schedule.length / 16 - 1;
  for (let round = 1; round <= lastRound; round++) {
    // Substitute, and shift row r by r columns.
    for (let at = 0; at < 16; at++) shifted[at] = substitution[state[(at + 4 * (at & 3)) & 15] as number] as number;
    for (let column = 0; column < 16; column += 4) {
      const all =
        (shifted[column] as number) ^
        (shifted[column + 1] as number) ^
        (shifted[column + 2] as number) ^
        (shifted[column + 3] as number);
      for (let row = 0; row < 4; row++) {
        const own = shifted[column + row] as number;
        const mixed = round === lastRound ? own : own ^ all ^ doubled(own ^ (shifted[column + ((row + 1) & 3)] as number));
        state[column + row] = mixed ^ (schedule[16 * round + column + row] as number);
      }
    }
  }
  return state;
}
