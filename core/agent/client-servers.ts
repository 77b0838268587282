/**
 * Everything a client agent needs to reach its servers, put together: which there are (from gossip), connections to them,
 * calls, and the store over those.
 */
import type { AgentConfig } from "../config/config.ts";
import type { ByteStream, Clock, Logger, Metrics, Random, Streams } from "../ports/mod.ts";
import { RpcClient } from "../rpc/client.ts";
import type { AgentError } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { ClientStore } from "./client-store.ts";
import { noServers, ServerCalls } from "./server-calls.ts";
import { type KnownServer, ServerList } from "./server-list.ts";

export interface ClientServersOptions {
  readonly streams: Streams;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly config: () => AgentConfig;
  /** Members of the pool, this agent included. */
  readonly clusterSize: () => number;
  readonly metrics?: Metrics;
  /** How connections are kept. Default: as client agents do. */
  readonly connections?: { readonly idleTimeout: Millis; readonly idleStreamsMax: number };
  /** See {@link ServerCalls}. */
  readonly refusal?: () => AgentError | undefined;
}

const pingTimeout: Millis = 5000;
const dialTimeout: Millis = 10_000;

export class ClientServers {
  readonly store: ClientStore;
  readonly calls: ServerCalls;
  readonly #client: RpcClient;
  readonly #servers: ServerList;
  readonly #streams: Streams;

  constructor(options: ClientServersOptions) {
    const { streams, clock, random, logger, config, clusterSize, connections, metrics, refusal } = options;
    const client = new RpcClient({ streams, clock, ...connections });
    const ping = async ({ address }: KnownServer): Promise<boolean> => {
      try {
        await client.call(address, "Status.Ping", {}, { timeout: pingTimeout });
        return true;
      } catch {
        return false;
      }
    };
    const servers = new ServerList({ clock, random: random.fork("servers"), logger, ping, clusterSize });
    this.calls = new ServerCalls({
      client,
      servers,
      clock,
      random: random.fork("calls"),
      logger,
      holdTimeout: () => config().rpcHoldTimeout,
      ...(metrics === undefined ? {} : { metrics }),
      refusal,
    });
    this.#streams = streams;
    this.#client = client;
    this.#servers = servers;
    this.store = new ClientStore({ calls: this.calls, clock, config });
  }

  /** The servers that may be asked, as gossip knows them: on each change of a member. */
  set(servers: readonly KnownServer[]): void {
    this.#servers.set(servers);
  }

  /** No server answered when they were last asked. */
  get offline(): boolean {
    return this.#servers.offline;
  }

  /** Gossip has one of them back. */
  revived(): void {
    this.#servers.revived();
  }

  /**
   * Gossip holds a server for failed: do others answer, or it itself? Where none does, whoever waits for an answer is
   * told now: a connection that was cut off would keep them waiting for most of a minute.
   */
  failed(name: string): void {
    this.#servers.failedByName(name);
    void this.#servers.look().then(() => {
      if (this.#servers.offline) this.#client.disconnect();
    });
  }

  /** A connection of its own to a server, for what is no call. Rejects with Consul's text when none is known or reached. */
  async connect(): Promise<ByteStream> {
    const server = this.#servers.first();
    if (server === undefined) throw noServers();
    try {
      return await this.#streams.connect(server.address, { timeout: dialTimeout });
    } catch (error) {
      this.#servers.failed(server);
      throw error;
    }
  }

  /** Who waits for an answer is told why; default: that the agent is closing. */
  async stop(reason?: AgentError): Promise<void> {
    this.store.stop(reason);
    this.#servers.stop();
    await this.#client.close();
  }
}
