/**
 * LZW as gossip packets carry it: least significant bit first, 8-bit literals, codes of 9 to 12 bits.
 *
 * Code 256 clears the table, 257 ends the stream, 258 is the first code assigned. Older senders (Consul 1.8) do not
 * begin with a clear code, newer ones do; both decode, either may be sent.
 */
import type { Bytes } from "../types/bytes.ts";

const clearCode = 256;
const endCode = 257;
const widthMin = 9;
const widthMax = 12;
const codesMax = 1 << widthMax;
/** The encoder starts over one code before the table is full: the decoder's table lags by one entry. */
const lastCode = codesMax - 1;

/** Compresses all of `plain`. Never fails; the result may be longer than the input. */
export function lzwEncode(plain: Bytes, options: { readonly leadingClear: boolean } = { leadingClear: true }): Bytes {
  // 12 bits per byte at worst, a clear per 3,837 codes, and the codes around it.
  const packed = new BitWriter(Math.ceil(plain.length * 1.51) + 8);
  if (options.leadingClear || plain.length === 0) packed.write(clearCode, widthMin);
  const encoder = new Encoder(packed);
  let prefix = -1;
  for (const byte of plain) prefix = prefix < 0 ? byte : encoder.extend(prefix, byte);
  if (prefix >= 0) encoder.emit(prefix);
  packed.write(endCode, encoder.width);
  return packed.finish();
}

/** Undefined when `packed` is not a whole stream or would unpack to more than `bytesMax`. */
export function lzwDecode(packed: Bytes, bytesMax: number): Bytes | undefined {
  const out = new Output(Math.min(bytesMax, Math.max(64, packed.length * 4)), bytesMax);
  const prefixes = new Uint16Array(codesMax);
  const suffixes = new Uint8Array(codesMax);
  const spelled = new Uint8Array(codesMax);
  let width = widthMin;
  /** The code that the previous string and one more byte will get. Full table: the last code, already assigned. */
  let next = endCode;
  let previous = -1;
  let bits = 0;
  let bitCount = 0;
  let at = 0;
  for (;;) {
    while (bitCount < width) {
      if (at >= packed.length) return undefined;
      bits |= (packed[at++] as number) << bitCount;
      bitCount += 8;
    }
    const code = bits & ((1 << width) - 1);
    bits >>>= width;
    bitCount -= width;
    if (code === endCode) return out.finish();
    if (code === clearCode) {
      width = widthMin;
      next = endCode;
      previous = -1;
      continue;
    }
    if (code > next) return undefined;

    // A code not yet in the table stands for the previous string and its own first byte.
    const unfinished = code === next && previous >= 0;
    let start = codesMax;
    let link = unfinished ? previous : code;
    if (unfinished) start--;
    while (link >= clearCode) {
      spelled[--start] = suffixes[link] as number;
      link = prefixes[link] as number;
    }
    spelled[--start] = link;
    if (unfinished) spelled[codesMax - 1] = link;
    if (!out.append(spelled, start)) return undefined;

    if (previous >= 0 && next < codesMax) {
      prefixes[next] = previous;
      suffixes[next] = link;
    }
    previous = code;
    next++;
    if (next < 1 << width) continue;
    if (width < widthMax) width++;
    else {
      // The table is full: nothing more is assigned until a clear code.
      previous = -1;
      next--;
    }
  }
}

class Encoder {
  width = widthMin;
  readonly #packed: BitWriter;
  /** (prefix code, byte) to code. */
  readonly #codes = new Map<number, number>();
  #assigned = endCode;

  constructor(packed: BitWriter) {
    this.#packed = packed;
  }

  /** The code of `prefix` and `byte` when the table has it; otherwise writes `prefix` and goes on with `byte`. */
  extend(prefix: number, byte: number): number {
    const key = (prefix << 8) | byte;
    const known = this.#codes.get(key);
    if (known !== undefined) return known;
    if (this.emit(prefix)) this.#codes.set(key, this.#assigned);
    return byte;
  }

  /** False when the table was full and has been cleared: the string just written has no code. */
  emit(code: number): boolean {
    this.#packed.write(code, this.width);
    this.#assigned++;
    if (this.#assigned === 1 << this.width) this.width++;
    if (this.#assigned !== lastCode) return true;
    this.#packed.write(clearCode, this.width);
    this.width = widthMin;
    this.#assigned = endCode;
    this.#codes.clear();
    return false;
  }
}

class BitWriter {
  readonly #bytes: Bytes;
  #used = 0;
  #bits = 0;
  #bitCount = 0;

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity);
  }

  write(code: number, width: number): void {
    this.#bits |= code << this.#bitCount;
    this.#bitCount += width;
    while (this.#bitCount >= 8) {
      this.#bytes[this.#used++] = this.#bits;
      this.#bits >>>= 8;
      this.#bitCount -= 8;
    }
  }

  finish(): Bytes {
    if (this.#bitCount > 0) this.#bytes[this.#used++] = this.#bits;
    return this.#bytes.slice(0, this.#used);
  }
}

class Output {
  readonly #bytesMax: number;
  #bytes: Bytes;
  #used = 0;

  constructor(capacity: number, bytesMax: number) {
    this.#bytes = new Uint8Array(capacity);
    this.#bytesMax = bytesMax;
  }

  /** Appends `spelled` from `start` to its end. False when that is more than allowed. */
  append(spelled: Bytes, start: number): boolean {
    const length = spelled.length - start;
    if (this.#used + length > this.#bytesMax) return false;
    if (this.#used + length > this.#bytes.length) {
      const larger = new Uint8Array(Math.min(this.#bytesMax, Math.max(this.#bytes.length * 2, this.#used + length)));
      larger.set(this.#bytes.subarray(0, this.#used));
      this.#bytes = larger;
    }
    for (let at = start; at < spelled.length; at++) this.#bytes[this.#used++] = spelled[at] as number;
    return true;
  }

  finish(): Bytes {
    return this.#bytes.subarray(0, this.#used);
  }
}
