/** IP addresses and networks as numbers: enough to check, classify and match what a configuration names. */

export interface Ip {
  readonly family: 4 | 6;
  /** 4 or 16 bytes. */
  readonly bytes: Uint8Array;
}

/** Undefined for anything Go's `net.ParseIP` refuses. A zone ("%eth0") is refused too. */
export function parseIp(text: string): Ip | undefined {
  if (text.includes(":")) {
    const bytes = parseV6(text);
    return bytes === undefined ? undefined : { family: 6, bytes };
  }
  const bytes = parseV4(text);
  return bytes === undefined ? undefined : { family: 4, bytes };
}

export function isIp(text: string): boolean {
  return parseIp(text) !== undefined;
}

export interface Network {
  readonly ip: Ip;
  readonly prefixLength: number;
}

/** "10.0.0.0/8". Undefined when malformed. */
export function parseNetwork(text: string): Network | undefined {
  const slash = text.indexOf("/");
  if (slash < 0 || !/^(0|[1-9]\d{0,2})$/.test(text.slice(slash + 1))) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const prefixLength = Number(text.slice(slash + 1));
  return ip === undefined || prefixLength > ip.bytes.length * 8 ? undefined : { ip, prefixLength };
}

export function networkContains(network: Network, ip: Ip): boolean {
  if (network.ip.family !== ip.family) return false;
  for (let bit = 0; bit < network.prefixLength; bit += 8) {
    const mask = (0xff00 >> Math.min(8, network.prefixLength - bit)) & 0xff;
    const at = bit >> 3;
    if (((network.ip.bytes[at] as number) & mask) !== ((ip.bytes[at] as number) & mask)) return false;
  }
  return true;
}

/** Whether any of the networks, written as text by us, holds the address. */
export function inNetworks(ip: Ip, networks: readonly string[]): boolean {
  return networks.some((text) => {
    const network = parseNetwork(text);
    return network !== undefined && networkContains(network, ip);
  });
}

function parseV4(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (let at = 0; at < 4; at++) {
    const part = parts[at] as string;
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) return undefined;
    bytes[at] = Number(part);
  }
  return bytes;
}

function parseV6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = groupsOf(halves[0] as string, halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1] as string, true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return Uint8Array.from([...head, ...new Array<number>(missing).fill(0), ...tail]);
}

/** Bytes of groups between colons; the last group may be a dotted IPv4 address where `mayEndInV4`. */
function groupsOf(text: string, mayEndInV4: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [at, group] of groups.entries()) {
    if (mayEndInV4 && at === groups.length - 1 && group.includes(".")) {
      const v4 = parseV4(group);
      if (v4 === undefined) return undefined;
      bytes.push(...v4);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 255);
    }
  }
  return bytes.length > 16 ? undefined : bytes;
}

/** RFC 6890: addresses that are not for the public network, without those that never leave a machine or a link. */
export const specialNetworks: readonly string[] = [
  "10.0.0.0/8",
  "100.64.0.0/10",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "2001:db8::/32",
  "fc00::/7",
];
