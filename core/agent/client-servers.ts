/**
 * Everything a client agent needs to reach its servers, put together: which there are (from gossip), connections to them,
 * calls, and the store over those.
 */
import type { AgentConfig } from "../config/config.ts";
import type { Clock, Logger, Random, Streams } from "../ports/mod.ts";
import { RpcClient } from "../rpc/client.ts";
import type { Millis } from "../types/ids.ts";
import { ClientStore } from "./client-store.ts";
import { ServerCalls } from "./server-calls.ts";
import { type KnownServer, ServerList } from "./server-list.ts";

export interface ClientServersOptions {
  readonly streams: Streams;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly config: () => AgentConfig;
  /** Members of the LAN pool, this agent included. */
  readonly clusterSize: () => number;
}

const pingTimeout: Millis = 5000;

export class ClientServers {
  readonly store: ClientStore;
  readonly #client: RpcClient;
  readonly #servers: ServerList;

  constructor({ streams, clock, random, logger, config, clusterSize }: ClientServersOptions) {
    const client = new RpcClient({ streams, clock });
    const ping = async ({ address }: KnownServer): Promise<boolean> => {
      try {
        await client.call(address, "Status.Ping", {}, { timeout: pingTimeout });
        return true;
      } catch {
        return false;
      }
    };
    const servers = new ServerList({ clock, random: random.fork("servers"), logger, ping, clusterSize });
    const calls = new ServerCalls({
      client,
      servers,
      clock,
      random: random.fork("calls"),
      logger,
      holdTimeout: () => config().rpcHoldTimeout,
    });
    this.#client = client;
    this.#servers = servers;
    this.store = new ClientStore({ calls, clock, config });
  }

  /** The servers of this datacenter that gossip has alive: on each change of a member. */
  set(alive: readonly KnownServer[]): void {
    this.#servers.set(alive);
  }

  /** Who waits for an answer is told that the agent is closing. */
  async stop(): Promise<void> {
    this.store.stop();
    this.#servers.stop();
    await this.#client.close();
  }
}
