/**
 * The servers a client agent may ask, in the order it tries them.
 *
 *   gossip ──set──► list ──first──► calls ──failed──► to the end of the list
 *                     └── every 120 to 180 s, less often in large clusters: shuffled, first one that answers a ping in front
 *
 * The shuffling spreads clients over the servers, also over those that came back (Consul 1.8, agent/router/manager.go).
 */
import { type Address, type Clock, formatAddress, type Logger, type Random, type Timer } from "../ports/mod.ts";
import { below, between, shuffle } from "../ports/random.ts";
import type { Millis } from "../types/ids.ts";

export interface KnownServer {
  readonly name: string;
  /** Of its server port. */
  readonly address: Address;
}

export interface ServerListOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Whether the server answers. Never rejects. */
  readonly ping: (server: KnownServer) => Promise<boolean>;
  /** Members of the pool, this one included. */
  readonly clusterSize: () => number;
}

const rebalanceInterval: Millis = 120_000;
const rebalanceStagger: Millis = 60_000;
/** While none answers. Gossip brings the news that one is back sooner, unless it was wrong about it. */
const offlineInterval: Millis = 10_000;
/** What all clients together may burden a server with by moving to it. */
const connectionsPerSecondPerServer = 64;
/** More than any datacenter has. */
const serversMax = 1024;

export class ServerList {
  readonly #options: ServerListOptions;
  #servers: KnownServer[] = [];
  #timer: Timer | undefined;
  #stopped = false;
  #offline = false;
  /** Times that gossip brought a server: what a ping found before says nothing about it. */
  #arrivals = 0;
  #looking: Promise<void> | undefined;

  constructor(options: ServerListOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#servers.length;
  }

  /** None of them answered when they were last asked, and gossip has not brought one back since. */
  get offline(): boolean {
    return this.#offline;
  }

  /** Undefined: none is known. */
  first(): KnownServer | undefined {
    return this.#servers[0];
  }

  /** The servers that are alive now. Those known already keep their order; a new one takes a random place. */
  set(servers: readonly KnownServer[]): void {
    const present = new Map(servers.slice(0, serversMax).map((server) => [keyOf(server), server]));
    this.#servers = this.#servers.filter((server) => {
      const stays = present.has(keyOf(server));
      if (!stays) this.#options.logger.log("info", "removing server", { server: describe(server) });
      return stays;
    });
    const known = new Set(this.#servers.map(keyOf));
    for (const [key, server] of present) {
      if (known.has(key)) continue;
      this.revived();
      this.#options.logger.log("info", "adding server", { server: describe(server) });
      this.#servers.splice(below(this.#options.random, this.#servers.length + 1), 0, server);
    }
    if (this.#timer === undefined && this.#servers.length > 0) this.#arm();
  }

  /** It did not answer as it should: the others come first. */
  failed(server: KnownServer): void {
    const key = keyOf(server);
    // Only the first: a call may have failed at a server that was passed over since.
    if (this.#servers.length < 2 || keyOf(this.#servers[0] as KnownServer) !== key) return;
    this.#servers.push(this.#servers.shift() as KnownServer);
    this.#options.logger.log("debug", "cycled away from server", { server: describe(server) });
  }

  /** As {@link failed}. */
  failedByName(name: string): void {
    const [first] = this.#servers;
    if (first?.name === name) this.failed(first);
  }

  /** One of them is back: asking is worth while again. */
  revived(): void {
    this.#arrivals++;
    this.#offline = false;
  }

  /** Looks now for one that answers, which then comes first. One look at a time: who comes meanwhile shares it. */
  look(): Promise<void> {
    this.#looking ??= this.#rebalance().then(() => {
      this.#looking = undefined;
      if (!this.#stopped) this.#arm();
    });
    return this.#looking;
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #arm(): void {
    const { clock, random, clusterSize } = this.#options;
    const staggered = rebalanceInterval + between(random, 0, rebalanceStagger);
    const paced = (clusterSize() * 1000) / (connectionsPerSecondPerServer * Math.max(1, this.#servers.length));
    this.#timer?.cancel();
    this.#timer = clock.after(this.#offline ? offlineInterval : Math.max(staggered, paced), () => void this.look());
  }

  async #rebalance(): Promise<void> {
    if (this.#servers.length === 0) return;
    const before = this.#arrivals;
    for (const server of shuffle(this.#options.random, [...this.#servers])) {
      if (!(await this.#options.ping(server))) continue;
      const at = this.#servers.findIndex((known) => keyOf(known) === keyOf(server));
      // It left while it was asked.
      if (at < 0) continue;
      this.#offline = false;
      const others = this.#servers.filter((_, index) => index !== at);
      this.#servers = [server, ...shuffle(this.#options.random, others)];
      this.#options.logger.log("debug", "Rebalanced servers, new active server", {
        number_of_servers: this.#servers.length,
        active_server: describe(server),
      });
      return;
    }
    if (before !== this.#arrivals) return;
    this.#offline = true;
    this.#options.logger.log("debug", "No healthy servers during rebalance, aborting");
  }
}

function keyOf({ name, address }: KnownServer): string {
  return `${name} ${formatAddress(address)}`;
}

function describe({ name, address }: KnownServer): string {
  return `${name} (Addr: tcp/${formatAddress(address)})`;
}
