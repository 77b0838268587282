/**
 * Logarithms that are equal on every engine. `Math.log` and its kin may differ in the last digit between engines, and
 * a digit here decides when a member is declared dead; multiplication and division are exact to the bit everywhere.
 */
const fractionBits = 40;
const log2of10 = 3.321928094887362;

/** `x` at least 1 and finite. Exact to about 2^-40. */
export function log2(x: number): number {
  let whole = 0;
  while (x >= 2) {
    x /= 2;
    whole++;
  }
  let fraction = 0;
  let bit = 0.5;
  for (let at = 0; at < fractionBits; at++) {
    x *= x;
    if (x >= 2) {
      x /= 2;
      fraction += bit;
    }
    bit /= 2;
  }
  return whole + fraction;
}

export function log10(x: number): number {
  return log2(x) / log2of10;
}

/** ceil(log10(x)) for a whole `x` of at least 1: 1 → 0, 10 → 1, 11 → 2. */
export function ceilLog10(x: number): number {
  let digits = 0;
  for (let power = 1; power < x; power *= 10) digits++;
  return digits;
}

/** ceil(log2(x)) for a whole `x` of at least 1. */
export function ceilLog2(x: number): number {
  let bits = 0;
  for (let power = 1; power < x; power *= 2) bits++;
  return bits;
}
