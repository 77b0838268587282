import type { Bytes } from "../../core/types/bytes.ts";

/**
 * An IP address as records carry it: 4 bytes or 16. Undefined when `text` is no literal address.
 * IPv4 inside IPv6 ("::ffff:1.2.3.4") is IPv4, as Go's `To4` has it; zones ("fe80::1%eth0") are refused.
 */
export function parseIp(text: string): Bytes | undefined {
  if (!text.includes(":")) return parseIpv4(text);
  const address = parseIpv6(text);
  if (address === undefined) return undefined;
  for (let at = 0; at < 10; at++) if (address[at] !== 0) return address;
  return address[10] === 0xff && address[11] === 0xff ? address.subarray(12) : address;
}

function parseIpv4(text: string): Bytes | undefined {
  const parts = text.split(".", 5);
  if (parts.length !== 4) return undefined;
  const address = new Uint8Array(4);
  for (let at = 0; at < 4; at++) {
    const part = parts[at] as string;
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) return undefined;
    address[at] = Number(part);
  }
  return address;
}

function parseIpv6(text: string): Bytes | undefined {
  if (text.length > 45) return undefined;
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = groups(halves[0] as string, halves.length === 1);
  const tail = halves.length === 2 ? groups(halves[1] as string, true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const given = head.length + tail.length;
  if (halves.length === 1 ? given !== 16 : given > 14) return undefined;
  const address = new Uint8Array(16);
  address.set(head);
  address.set(tail, 16 - tail.length);
  return address;
}

/** The bytes of colon-separated groups; the last may be an IPv4 address when `last`. */
function groups(text: string, last: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const parts = text.split(":", 9);
  for (let at = 0; at < parts.length; at++) {
    const part = parts[at] as string;
    if (last && at === parts.length - 1 && part.includes(".")) {
      const ipv4 = parseIpv4(part);
      if (ipv4 === undefined) return undefined;
      bytes.push(...ipv4);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      const value = Number.parseInt(part, 16);
      bytes.push(value >> 8, value & 255);
    }
  }
  return bytes.length <= 16 ? bytes : undefined;
}

/** Dotted for 4 bytes, RFC 5952 for 16. */
export function formatIp(address: Bytes): string {
  if (address.length === 4) return address.join(".");
  const words: number[] = [];
  for (let at = 0; at < 16; at += 2) words.push(((address[at] as number) << 8) | (address[at + 1] as number));
  let longest = { from: 0, length: 1 };
  for (let from = 0; from < 8; from++) {
    let length = 0;
    while (from + length < 8 && words[from + length] === 0) length++;
    if (length > longest.length) longest = { from, length };
  }
  const hex = (part: readonly number[]): string => part.map((word) => word.toString(16)).join(":");
  if (longest.length === 1) return hex(words);
  return `${hex(words.slice(0, longest.from))}::${hex(words.slice(longest.from + longest.length))}`;
}
