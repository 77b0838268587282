/** What scripts about one member among others have in common: words, host addresses, durations. */
import { ipBytes } from "../../core/swim/ip.ts";
import type { Bytes } from "../../core/types/bytes.ts";

export type Options = ReadonlyMap<string, string>;

/** `alive a inc=2` → command `alive`, plain words `["a"]`, options `inc → "2"`. */
export function splitCommand(line: string): {
  readonly command: string;
  readonly plain: readonly string[];
  readonly options: Options;
} {
  const [command = "", ...words] = line.split(" ");
  const plain = words.filter((word) => !word.includes("="));
  const options = new Map(words.filter((word) => word.includes("=")).map((word) => word.split("=", 2) as [string, string]));
  return { command, plain, options };
}

/** "self" lives at 10.0.0.1, the others at 10.0.0.2, 10.0.0.3, … in the order in which they are named. */
export class Hosts {
  readonly #hosts = new Map<string, string>([["self", "10.0.0.1"]]);

  of(name: string): string {
    const known = this.#hosts.get(name);
    if (known !== undefined) return known;
    const host = `10.0.0.${this.#hosts.size + 1}`;
    this.#hosts.set(name, host);
    return host;
  }

  /** Undefined for one not named yet. */
  known(name: string): string | undefined {
    return this.#hosts.get(name);
  }

  /** The host itself where nobody is known to live. */
  nameAt(host: string): string {
    for (const [name, known] of this.#hosts) if (known === host) return name;
    return host;
  }
}

export function bytesOfIp(ip: string): Bytes {
  const bytes = ipBytes(ip);
  if (bytes === undefined) throw new Error(`not an IP address: ${ip}`);
  return bytes;
}

/** `1500ms`, `30s`, `2m`, `24h`; in milliseconds. */
export function durationOf(word: string): number {
  const [, amount = "", unit = ""] = /^([0-9]+)(ms|s|m|h)$/.exec(word) ?? [];
  const scale = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[unit];
  if (scale === undefined) throw new Error(`not a duration: ${word}`);
  return Number(amount) * scale;
}
