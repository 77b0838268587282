/**
 * Machines of their own network stacks: Linux network namespaces, on one of two bridges. To cut the network is to move
 * some of them to the other bridge: their packets are lost without a word, as with a broken cable.
 *
 *   tests ──"near"──┬── bridge left  ── m1 m2 m3
 *                   └── bridge right ── m4 m5        both bridges, the tests see all machines
 */
import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ownGround } from "./own-ground.ts";
import { consulPath, temporaryFolder } from "./program.ts";

export interface Machine {
  readonly address: string;
  /** Runs `consul` there; for `RunningAgent.start`. */
  readonly command: string;
}

type Side = "left" | "right";

export class Network {
  readonly machines: readonly Machine[];
  readonly #id = `pc${process.pid % 100_000}`;
  readonly #subnet: string;
  readonly #hub = `${this.#id}hub`;

  private constructor(number: number, count: number) {
    this.#subnet = `10.${100 + number}.7`;
    process.once("exit", () => this.remove());
    try {
      this.machines = this.#make(count);
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** Rejects where namespaces cannot be made: it takes root, and the program `ip` (Debian: iproute2). */
  static async create(count: number): Promise<Network> {
    return new Network((await ownGround()).number, count);
  }

  /** Why there are none here, or undefined. */
  static missing(): string | undefined {
    const name = `pc${process.pid % 100_000}try`;
    const made = spawnSync("ip", ["netns", "add", name], { encoding: "utf8" });
    if (made.error !== undefined) return "the program ip is missing (Debian: iproute2)";
    if (made.status !== 0) return `network namespaces cannot be made here: ${made.stderr.trim()}`;
    ip("netns", "del", name);
    return undefined;
  }

  /** Moves these machines (by number) to the other side. */
  cut(machines: readonly number[]): void {
    for (const at of machines) this.#plug(at, "right");
  }

  heal(): void {
    for (const at of this.machines.keys()) this.#plug(at, "left");
  }

  remove(): void {
    spawnSync("ip", ["link", "del", `${this.#id}left`]);
    spawnSync("ip", ["link", "del", `${this.#id}right`]);
    const { stdout } = spawnSync("ip", ["netns", "list"], { encoding: "utf8" });
    for (const line of (stdout ?? "").split("\n")) {
      const [name = ""] = line.split(" ");
      if (name.startsWith(this.#id)) spawnSync("ip", ["netns", "del", name]);
    }
  }

  #make(count: number): readonly Machine[] {
    const folder = temporaryFolder();
    ip("netns", "add", this.#hub);
    for (const [at, side] of (["left", "right"] as const).entries()) {
      const own = `${this.#id}${side}`;
      ip("-n", this.#hub, "link", "add", side, "type", "bridge");
      ip("-n", this.#hub, "link", "set", side, "up");
      ip("link", "add", own, "type", "veth", "peer", "name", `tests-${side}`, "netns", this.#hub);
      ip("-n", this.#hub, "link", "set", `tests-${side}`, "master", side, "up");
      ip("addr", "add", `${this.#subnet}.${254 - at}/32`, "dev", own);
      ip("link", "set", own, "up");
    }
    return Array.from({ length: count }, (_, at) => {
      const name = `${this.#id}m${at}`;
      const address = this.#address(at);
      ip("netns", "add", name);
      ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", `port${at}`, "netns", this.#hub);
      ip("-n", name, "link", "set", "lo", "up");
      ip("-n", name, "addr", "add", `${address}/24`, "dev", "eth0");
      ip("-n", name, "link", "set", "eth0", "up");
      ip("-n", this.#hub, "link", "set", `port${at}`, "up");
      this.#plug(at, "left");
      const command = join(folder, name);
      writeFileSync(command, `#!/bin/sh\nexec ip netns exec ${name} ${consulPath} "$@"\n`);
      chmodSync(command, 0o755);
      return { address, command };
    });
  }

  #plug(at: number, side: Side): void {
    ip("-n", this.#hub, "link", "set", `port${at}`, "master", side);
    const source = side === "left" ? 254 : 253;
    ip("route", "replace", `${this.#address(at)}/32`, "dev", `${this.#id}${side}`, "src", `${this.#subnet}.${source}`);
  }

  #address(at: number): string {
    return `${this.#subnet}.${at + 1}`;
  }
}

function ip(...args: readonly string[]): void {
  const { status, stderr, error } = spawnSync("ip", [...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${error?.message ?? stderr}`);
}
