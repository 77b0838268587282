/**
 * A client: no state of its own. It is a member of the LAN pool, knows the servers of its datacenter from there, and
 * asks one of them whatever it is asked.
 *
 *   plugins, anti-entropy ──StoreApi──► ClientStore ──RPC──► a server
 *   ClientCluster: LAN gossip ──alive servers──► ClientServers
 */
import type { StringMap } from "../catalog/records.ts";
import type { AutopilotApi, SnapshotApi, StoreApi } from "../plugin/agent-api.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import { ClientCluster } from "./client-cluster.ts";
import { ClientServers } from "./client-servers.ts";
import { RemoteSnapshots } from "./remote-snapshots.ts";
import type { Role, RoleOptions } from "./role.ts";

export class ClientRole implements Role {
  readonly store: StoreApi;
  readonly cluster: ClientCluster;
  readonly snapshots: SnapshotApi;
  /** A change would reach the LAN pool alone: Consul's clients refuse, too. */
  readonly keyring = undefined;

  readonly autopilot: AutopilotApi;

  readonly #options: RoleOptions;
  readonly #servers: ClientServers;

  constructor(options: RoleOptions) {
    const { runtime, storage, config, currentConfig, nodeId } = options;
    const { clock, random, streams } = runtime;
    if (!options.sockets || streams === undefined)
      throw new AgentError("config-invalid", {
        message: "A client agent reaches its servers through sockets: start it with them, or as a server (server = true)",
      });
    const logger = options.logger.child("client");
    this.#options = options;
    this.#servers = new ClientServers({
      streams,
      clock,
      random: random.fork("client"),
      logger,
      metrics: runtime.metrics,
      config: currentConfig,
      clusterSize: () => this.cluster.members("lan").length,
    });
    this.store = this.#servers.store;
    const { store } = this.#servers;
    this.autopilot = {
      configuration: (where) => store.autopilotConfiguration(where),
      configure: (settings, where) => store.configureAutopilot(settings, where),
      health: (where) => store.groupHealth(where),
    };
    this.snapshots = new RemoteSnapshots({ connect: () => this.#servers.connect(), datacenter: config.datacenter });
    this.cluster = new ClientCluster({
      runtime,
      config,
      nodeId,
      files: config.dataDir === undefined ? undefined : storage.files,
      logger,
      agentLogger: options.logger,
      servers: this.#servers,
      onMember: (member) => options.onMember(member),
      onUserEvent: options.onUserEvent,
      onLeader: options.onLeaderChanged,
      onNewLeader: options.onCatalogDoubtful,
    });
  }

  fireEvent(name: string, payload: Bytes, where: { readonly datacenter?: string; readonly token?: string }): Promise<void> {
    return this.#servers.store.fireEvent(name, payload, where);
  }

  start(): Promise<void> {
    return this.cluster.start();
  }

  /** Nothing depends on a client. */
  leaveFault(): undefined {
    return undefined;
  }

  async ready(): Promise<void> {
    await this.store.write({ kind: "barrier" });
  }

  async leave(): Promise<void> {
    this.#options.logger.child("client").log("info", "client starting leave");
    await this.cluster.leave();
  }

  quiesce(): void {
    this.#servers.store.stop();
  }

  async stop(): Promise<void> {
    await this.cluster.stop();
    await this.#servers.stop();
  }

  tellMetrics(): void {
    this.cluster.tellMetrics();
  }

  stats(): Readonly<Record<string, StringMap>> {
    return {
      consul: { acl: "disabled", known_servers: String(this.cluster.serverCount), server: "false" },
      ...this.cluster.stats(),
    };
  }
}
