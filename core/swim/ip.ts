/** IP addresses as text and as the bytes members exchange. */
import type { Bytes } from "../types/bytes.ts";

/** 4 or 16 bytes; undefined when `host` is no IP literal. */
export function ipBytes(host: string): Bytes | undefined {
  return host.includes(":") ? ipv6Bytes(host) : ipv4Bytes(host);
}

/** Whether `address` is as long as an address is. */
export function isIpLength(address: Bytes): boolean {
  return address.length === 4 || address.length === 16;
}

/** As Go prints it: dotted for IPv4 and IPv4 in 16 bytes, shortened for IPv6. Undefined for any other length. */
export function ipText(address: Bytes): string | undefined {
  if (address.length === 4) return address.join(".");
  if (address.length !== 16) return undefined;
  if (isMapped(address)) return address.subarray(12).join(".");
  const groups: number[] = [];
  for (let at = 0; at < 16; at += 2) groups.push(((address[at] as number) << 8) | (address[at + 1] as number));
  const gap = longestZeros(groups);
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  if (gap === undefined) return hex(groups);
  return `${hex(groups.slice(0, gap.from))}::${hex(groups.slice(gap.to))}`;
}

function isMapped(address: Bytes): boolean {
  for (let at = 0; at < 10; at++) if (address[at] !== 0) return false;
  return address[10] === 255 && address[11] === 255;
}

/** The first longest run of at least two zero groups. */
function longestZeros(groups: readonly number[]): { readonly from: number; readonly to: number } | undefined {
  let best: { from: number; to: number } | undefined;
  for (let from = 0; from < groups.length; from++) {
    let to = from;
    while (groups[to] === 0) to++;
    if (to - from >= 2 && (best === undefined || to - from > best.to - best.from)) best = { from, to };
    from = Math.max(from, to - 1);
  }
  return best;
}

function ipv4Bytes(host: string): Bytes | undefined {
  const parts = host.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256)) return undefined;
  return Uint8Array.from(parts, Number);
}

function ipv6Bytes(host: string): Bytes | undefined {
  const halves = (host.split("%", 1)[0] as string).split("::");
  if (halves.length > 2) return undefined;
  const head = groupBytes(halves[0] as string);
  const tail = halves.length === 2 ? groupBytes(halves[1] as string) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return Uint8Array.from([...head, ...new Array<number>(missing).fill(0), ...tail]);
}

function groupBytes(part: string): number[] | undefined {
  if (part === "") return [];
  const bytes: number[] = [];
  const groups = part.split(":");
  for (const [at, group] of groups.entries()) {
    const dotted = at === groups.length - 1 ? ipv4Bytes(group) : undefined;
    if (dotted !== undefined) bytes.push(...dotted);
    else if (/^[0-9a-fA-F]{1,4}$/.test(group)) bytes.push(Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255);
    else return undefined;
  }
  return bytes;
}
