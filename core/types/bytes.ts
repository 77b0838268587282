/** Bytes and the few things done to them everywhere. */

export type Bytes = Uint8Array;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true });

export const emptyBytes: Bytes = new Uint8Array(0);

export function utf8(text: string): Bytes {
  return encoder.encode(text);
}

/** Invalid sequences become U+FFFD. */
export function text(bytes: Bytes): string {
  return decoder.decode(bytes);
}

/** Undefined when `bytes` is not valid UTF-8. */
export function strictText(bytes: Bytes): string | undefined {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    return undefined;
  }
}

export function concat(parts: readonly Bytes[]): Bytes {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function equalBytes(left: Bytes, right: Bytes): boolean {
  if (left.length !== right.length) return false;
  for (let at = 0; at < left.length; at++) if (left[at] !== right[at]) return false;
  return true;
}

/** Negative, zero or positive, as `memcmp` followed by length. */
export function compareBytes(left: Bytes, right: Bytes): number {
  const shorter = Math.min(left.length, right.length);
  for (let at = 0; at < shorter; at++) {
    const difference = (left[at] as number) - (right[at] as number);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

const hexDigits = "0123456789abcdef";

export function toHex(bytes: Bytes): string {
  let out = "";
  for (const byte of bytes) out += (hexDigits[byte >> 4] as string) + (hexDigits[byte & 15] as string);
  return out;
}

/** Undefined for an odd length or a character that is no hex digit. */
export function fromHex(hex: string): Bytes | undefined {
  if (hex.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(hex)) return undefined;
  const bytes = new Uint8Array(hex.length / 2);
  for (let at = 0; at < bytes.length; at++) bytes[at] = Number.parseInt(hex.slice(at * 2, at * 2 + 2), 16);
  return bytes;
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const base64Values = new Int8Array(128).fill(-1);
for (let value = 0; value < 64; value++) base64Values[base64Digits.charCodeAt(value)] = value;

/** Standard alphabet with padding, as Go's `base64.StdEncoding`. */
export function toBase64(bytes: Bytes): string {
  let out = "";
  let at = 0;
  for (; at + 2 < bytes.length; at += 3) {
    const group = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
    out +=
      (base64Digits[group >> 18] as string) +
      (base64Digits[(group >> 12) & 63] as string) +
      (base64Digits[(group >> 6) & 63] as string) +
      (base64Digits[group & 63] as string);
  }
  const left = bytes.length - at;
  if (left === 0) return out;
  const group = ((bytes[at] as number) << 16) | (left === 2 ? (bytes[at + 1] as number) << 8 : 0);
  out += (base64Digits[group >> 18] as string) + (base64Digits[(group >> 12) & 63] as string);
  return out + (left === 2 ? `${base64Digits[(group >> 6) & 63]}=` : "==");
}

/**
 * Decodes standard base64 with padding; line breaks are skipped, as Go does.
 * On bad input gives the offset that Go's error text names: of the first bad byte, or of the group that is cut short.
 */
export function fromBase64(encoded: string): { readonly bytes: Bytes } | { readonly badAt: number } {
  const bytes = new Uint8Array(Math.ceil((encoded.length * 3) / 4));
  let used = 0;
  let group = 0;
  let digits = 0;
  let at = 0;
  for (; at < encoded.length; at++) {
    const code = encoded.charCodeAt(at);
    if (code === 10 || code === 13) continue;
    if (code === 61) break;
    const value = code < 128 ? (base64Values[code] as number) : -1;
    if (value < 0) return { badAt: at };
    group = (group << 6) | value;
    if (++digits === 4) {
      bytes[used++] = group >> 16;
      bytes[used++] = (group >> 8) & 255;
      bytes[used++] = group & 255;
      group = 0;
      digits = 0;
    }
  }
  const badPadding = paddingFault(encoded, at, digits);
  if (badPadding !== undefined) return { badAt: badPadding };
  if (digits === 0) return { bytes: bytes.slice(0, used) };
  if (digits === 2) bytes[used++] = group >> 4;
  else {
    bytes[used++] = group >> 10;
    bytes[used++] = (group >> 2) & 255;
  }
  return { bytes: bytes.slice(0, used) };
}

/** What is wrong from `at`, where the digits end; `digits` of the last group were read. Undefined: nothing. */
function paddingFault(encoded: string, at: number, digits: number): number | undefined {
  if (at === encoded.length) return digits === 0 ? undefined : at - digits;
  if (digits < 2) return at;
  let next = afterLineBreaks(encoded, at + 1);
  if (digits === 2) {
    if (next === encoded.length) return next;
    if (encoded[next] !== "=") return next - 1;
    next = afterLineBreaks(encoded, next + 1);
  }
  return next === encoded.length ? undefined : next;
}

function afterLineBreaks(text: string, from: number): number {
  let at = from;
  while (text[at] === "\n" || text[at] === "\r") at++;
  return at;
}
