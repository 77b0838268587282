/**
 * Servers of one datacenter bring each other into the WAN pool: who joined the LAN is joined there too, at the port its
 * tags name. So one server that joins another datacenter joins both as a whole. (Consul 1.8, agent/router/serf_flooder.go)
 */
import type { Member } from "../plugin/agent-api.ts";
import { type Clock, formatAddress, type Logger, type Timer } from "../ports/mod.ts";
import { messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { serversAmong } from "./servers.ts";

export interface FloodJoinOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly datacenter: string;
  readonly lan: () => readonly Member[];
  readonly wan: () => readonly Member[];
  /** Into the WAN pool: "name.datacenter/host:port". */
  readonly join: (address: string) => Promise<number>;
}

/** Also without news: a join may have failed. */
const floodInterval: Millis = 60_000;

export class FloodJoin {
  readonly #options: FloodJoinOptions;
  #timer: Timer | undefined;
  #running = false;
  /** Something changed since the round that runs began. */
  #again = false;
  #stopped = false;

  constructor(options: FloodJoinOptions) {
    this.#options = options;
  }

  start(): void {
    this.look();
  }

  /** A server joined the LAN, or may have. */
  look(): void {
    if (this.#stopped) return;
    this.#again = true;
    if (!this.#running) void this.#run(); // reports to the log
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #run(): Promise<void> {
    this.#running = true;
    this.#timer?.cancel();
    while (this.#again && !this.#stopped) {
      this.#again = false;
      for (const missing of this.#missing()) await this.#join(missing);
    }
    this.#running = false;
    if (!this.#stopped) this.#timer = this.#options.clock.after(floodInterval, () => this.look());
  }

  /** Servers that are alive in the LAN and not so in the WAN. */
  #missing(): readonly { readonly name: string; readonly address: string }[] {
    const { datacenter, lan, wan, logger } = this.#options;
    const present = new Set(wan().flatMap(({ name, status }) => (status === "alive" ? [name] : [])));
    const tagsOf = new Map(lan().map(({ name, tags }) => [name, tags]));
    return serversAmong(lan(), datacenter).flatMap(({ name, address: { host }, alive }) => {
      const wanName = `${name}.${datacenter}`;
      if (!alive || present.has(wanName)) return [];
      const port = Number(tagsOf.get(name)?.["wan_join_port"] ?? 0);
      if (!Number.isInteger(port) || port < 1 || port > 65_535) {
        logger.log("debug", "Failed to flood-join server: it has no WAN pool", { server: name });
        return [];
      }
      return [{ name, address: `${wanName}/${formatAddress({ host, port })}` }];
    });
  }

  async #join({ name, address }: { readonly name: string; readonly address: string }): Promise<void> {
    const { join, logger } = this.#options;
    if (this.#stopped) return;
    try {
      await join(address);
      logger.log("debug", "Successfully performed flood-join for server at address", { server: name, address });
    } catch (error) {
      logger.log("debug", "Failed to flood-join server at address", { server: name, address, error: messageOf(error) });
    }
  }
}
