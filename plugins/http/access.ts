/** Who may reach what: `http_config.block_endpoints` and `http_config.allow_write_http_from`. */
import type { AgentConfig } from "../../core/config/config.ts";

/** Whether a configured prefix covers the path. */
export function isBlocked(config: AgentConfig, path: string): boolean {
  for (const prefix of config.http.blockEndpoints) if (path.startsWith(prefix)) return true;
  return false;
}

/** Writes are limited to the configured networks; reads never are. `address` is the client's IP, "" on a Unix socket. */
export function mayWrite(config: AgentConfig, method: string, address: string): boolean {
  const allowed = config.http.allowWriteHttpFrom;
  if (allowed.length === 0 || method === "GET" || method === "HEAD" || method === "OPTIONS") return true;
  const bytes = parseAddress(address);
  return bytes !== undefined && allowed.some((network) => contains(network, bytes));
}

function contains(network: string, address: readonly number[]): boolean {
  const [base, length] = network.split("/");
  const bytes = parseAddress(base as string);
  if (bytes === undefined || bytes.length !== address.length) return false;
  const bits = length === undefined ? bytes.length * 8 : Number(length);
  for (let bit = 0; bit < bits; bit += 8) {
    const mask = bits - bit >= 8 ? 0xff : (0xff << (8 - (bits - bit))) & 0xff;
    if ((((bytes[bit / 8] as number) ^ (address[bit / 8] as number)) & mask) !== 0) return false;
  }
  return true;
}

/** 4 or 16 bytes; an IPv4 address inside IPv6 gives 4. Undefined when it is no address. */
export function parseAddress(address: string): readonly number[] | undefined {
  const zone = address.indexOf("%");
  const text = zone < 0 ? address : address.slice(0, zone);
  if (!text.includes(":")) return parseIpv4(text);
  const tail = text.slice(text.lastIndexOf(":") + 1);
  const ipv4 = tail.includes(".") ? parseIpv4(tail) : undefined;
  if (tail.includes(".") && ipv4 === undefined) return undefined;
  const groups = ipv4 === undefined ? text : `${text.slice(0, text.lastIndexOf(":"))}:${hexGroup(ipv4, 0)}:${hexGroup(ipv4, 2)}`;
  const halves = groups.split("::");
  if (halves.length > 2) return undefined;
  const head = (halves[0] as string) === "" ? [] : (halves[0] as string).split(":");
  const rest = halves.length === 1 || halves[1] === "" ? [] : (halves[1] as string).split(":");
  const missing = 8 - head.length - rest.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const all = [...head, ...Array.from({ length: missing }, () => "0"), ...rest];
  if (!all.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  const bytes = all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]);
  const mapped = bytes.slice(0, 12).every((byte, at) => byte === (at < 10 ? 0 : 0xff));
  return mapped ? bytes.slice(12) : bytes;
}

function parseIpv4(text: string): readonly number[] | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) return undefined;
  return parts.map(Number);
}

function hexGroup(bytes: readonly number[], at: number): string {
  return (((bytes[at] as number) << 8) | (bytes[at + 1] as number)).toString(16);
}
