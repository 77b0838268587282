/**
 * One agent: assembled, started, reloaded, stopped.
 *
 *   HTTP, DNS, CLI… (plugins) ──AgentApi──► Role.store: the catalog, here (server) or through servers (client)
 *                                  ├──────► Registrations ──► LocalState ──► AntiEntropy ──► store.write
 *                                  │             └──────► CheckRunner
 *                                  └──────► Role.cluster: gossip, who leads, which datacenters there are
 *
 *   new ──start()──► running ──leave()──► left ──stop()──► stopped
 *                       └──────────────── stop() ────────────┘
 *
 * Nothing here reaches for the runtime: every port is a constructor argument, so the simulator runs this same file.
 */
import type { StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import { planReload } from "../config/reload.ts";
import type {
  AgentApi,
  AutopilotApi,
  EventsApi,
  KeyringApi,
  LocalApi,
  Member,
  SnapshotApi,
  StoreApi,
  UserEvent,
} from "../plugin/agent-api.ts";
import { createHooks, type Hooks } from "../plugin/hooks.ts";
import { type AnyPlugin, PluginHost, type SurfaceAddress } from "../plugin/host.ts";
import { type Logger, type LogLevel, type Runtime, type Storage, uuid } from "../ports/mod.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { consulVersion } from "../version.ts";
import { AgentMetrics, metricsSettings } from "./agent-metrics.ts";
import { AntiEntropy } from "./anti-entropy.ts";
import { CheckRunner } from "./check-runner.ts";
import { ClientRole } from "./client-role.ts";
import { CoordinateSender } from "./coordinate-sender.ts";
import { Events } from "./events.ts";
import { LimitedStore } from "./limited-store.ts";
import { LocalState } from "./local-state.ts";
import { createPersisted } from "./persisted.ts";
import { Registrations } from "./registrations.ts";
import { RemoteExec } from "./remote-exec.ts";
import { RetryJoin } from "./retry-join.ts";
import type { Role, RoleCluster, RoleOptions } from "./role.ts";
import { ServerRole } from "./server-role.ts";
import { agentStats } from "./stats.ts";
import { StatsdSink } from "./statsd.ts";

export interface AgentDependencies {
  readonly runtime: Runtime;
  readonly storage: Storage;
  readonly config: AgentConfig;
  readonly nodeId: string;
  readonly plugins: readonly AnyPlugin[];
  /** False: no gossip and no RPC listener; the agent lives inside its process alone. */
  readonly sockets: boolean;
  /** Reads the configuration sources again. Absent: a reload only reads registrations again. */
  readonly readConfig?: () => Promise<AgentConfig>;
  readonly setLogLevel?: (level: LogLevel) => void;
  /** The agent cannot go on (its disk failed) or was told to leave: stop it, then exit with this code. */
  readonly onEnd?: (code: number) => void;
}

/** How long plugins may take to finish what is in hand. */
const pluginStopDeadline: Millis = 500;

export class Agent implements AgentApi {
  readonly nodeId: string;
  readonly version = consulVersion;
  readonly store: StoreApi;
  readonly local: LocalApi;
  readonly cluster: RoleCluster;
  readonly events: EventsApi;
  readonly snapshots?: SnapshotApi;
  readonly keyring?: KeyringApi;
  readonly autopilot: AutopilotApi;
  readonly hooks: Hooks;

  readonly #dependencies: AgentDependencies;
  readonly #logger: Logger;
  readonly #role: Role;
  readonly #localState = new LocalState();
  readonly #registrations: Registrations;
  readonly #antiEntropy: AntiEntropy;
  readonly #coordinateSender: CoordinateSender;
  readonly #retryJoins: readonly RetryJoin[];
  readonly #plugins: PluginHost;
  readonly #metrics: AgentMetrics;
  readonly #statsd: StatsdSink | undefined;
  #config: AgentConfig;
  #stopping: Promise<void> | undefined;
  #left = false;

  constructor(dependencies: AgentDependencies) {
    const { runtime, storage, config, nodeId } = dependencies;
    const { clock, random, crypto } = runtime;
    this.#dependencies = dependencies;
    this.#config = config;
    this.nodeId = nodeId;
    this.#logger = runtime.logger.child("agent");
    const { statsdAddress } = config.telemetry;
    if (statsdAddress !== undefined && runtime.datagrams !== undefined && dependencies.sockets)
      this.#statsd = new StatsdSink({ clock, datagrams: runtime.datagrams, logger: this.#logger, to: statsdAddress });
    this.#configureMetrics();
    this.hooks = createHooks((hook, error) => this.#logger.log("error", "a listener failed", { hook, error: messageOf(error) }));
    const now = (): number => clock.wall();

    const events = new Events({
      config: () => this.#config,
      local: this.#localState,
      crypto,
      logger: this.#logger,
      send: (name, payload, where) => this.#role.fireEvent(name, payload, where),
      remoteExec: this.#remoteExec(),
    });
    this.events = events;
    const roleOptions: RoleOptions = {
      runtime,
      storage,
      config,
      currentConfig: () => this.#config,
      nodeId,
      sockets: dependencies.sockets,
      logger: this.#logger,
      onMember: (member) => this.#onMember(member),
      onUserEvent: (payload, time) => events.receive(payload, time),
      onLeaderChanged: (leader) => this.hooks.notify("leaderChanged", { leader }),
      onCatalogDoubtful: () => this.#antiEntropy.syncFull(),
      onEnd: (code) => dependencies.onEnd?.(code),
    };
    this.#role = config.server ? new ServerRole(roleOptions) : new ClientRole(roleOptions);
    this.store = new LimitedStore(this.#role.store, clock, () => this.#config.limits, runtime.metrics);
    this.cluster = this.#role.cluster;
    if (this.#role.snapshots !== undefined) this.snapshots = this.#role.snapshots;
    this.autopilot = this.#role.autopilot;
    if (this.#role.keyring !== undefined) this.keyring = this.#role.keyring;
    const retryJoin = (pool: "lan" | "wan", addresses: readonly string[], interval: Millis, retriesMax: number): RetryJoin =>
      new RetryJoin({
        pool,
        clock,
        logger: this.#logger,
        addresses,
        interval,
        retriesMax,
        join: (known) => this.#role.cluster.joinQuietly(known, pool),
        onExhausted: () => dependencies.onEnd?.(1),
      });
    this.#retryJoins = [
      retryJoin("lan", config.retryJoin, config.retryInterval, config.retryMax),
      // Only servers are in the WAN pool.
      ...(config.server ? [retryJoin("wan", config.retryJoinWan, config.retryIntervalWan, config.retryMaxWan)] : []),
    ];

    const persisted =
      config.dataDir === undefined ? undefined : createPersisted({ files: storage.files, crypto, clock, logger: this.#logger });
    this.#registrations = new Registrations({
      state: this.#localState,
      config: () => this.#config,
      hooks: this.hooks,
      logger: this.#logger,
      clock,
      random: random.fork("registrations"),
      persisted,
    });
    this.local = this.#registrations;
    this.#registrations.attach(
      new CheckRunner({
        clock,
        random: random.fork("checks"),
        logger: this.#logger,
        metrics: runtime.metrics,
        ...(runtime.httpClient === undefined ? {} : { httpClient: runtime.httpClient }),
        ...(runtime.streams === undefined ? {} : { streams: runtime.streams }),
        ...(runtime.processes === undefined ? {} : { processes: runtime.processes }),
        outputMaxSize: () => this.#config.checkOutputMaxSize,
        localState: this.#localState,
        onResult: (checkId, status, output) => this.#registrations.onCheckResult(checkId, status, output),
        onReap: (serviceId, checkId) => void this.#registrations.onReap(serviceId, checkId),
      }),
    );
    this.#antiEntropy = new AntiEntropy({
      state: this.#localState,
      clock,
      random: random.fork("anti-entropy"),
      logger: this.#logger,
      node: () => this.#nodeInfo(),
      clusterSize: () => this.cluster.members("lan").length,
      remote: async () => {
        const services = await this.store.read({ kind: "nodeServices", node: config.nodeName }, { consistency: "default" });
        const checks = await this.store.read({ kind: "nodeChecks", node: config.nodeName }, { consistency: "default" });
        const mine = services.answer?.node.node === config.nodeName ? services.answer : undefined;
        return { node: mine?.node, services: mine?.services ?? [], checks: checks.answer };
      },
      write: (command) => this.store.write(command),
      now,
    });
    this.#coordinateSender = new CoordinateSender({
      clock,
      random: random.fork("coordinate"),
      logger: this.#logger,
      node: config.nodeName,
      coordinate: () => this.cluster.coordinate(),
      clusterSize: () => this.cluster.members("lan").length,
      write: (command) => this.store.write(command),
    });
    this.#metrics = new AgentMetrics({
      clock,
      metrics: runtime.metrics,
      host: runtime.host,
      look: () => this.#role.tellMetrics(),
    });
    this.#plugins = new PluginHost({
      plugins: dependencies.plugins,
      runtime,
      agent: this,
      hooks: this.hooks,
      logger: this.#logger,
      sections: config.sections,
    });
  }

  get config(): AgentConfig {
    return this.#config;
  }

  /** Where a surface listens ("http", "dns", "serf_lan", "serf_wan", "server"). */
  addresses(surface: string): readonly SurfaceAddress[] {
    const own = this.cluster.address(surface);
    return own === undefined ? this.#plugins.addresses(surface) : [own];
  }

  async start(): Promise<void> {
    for (const warning of this.#config.warnings) this.#logger.log("warn", warning);
    try {
      await this.#statsd?.start();
      await this.#role.start();
      this.#metrics.start();
      await this.#plugins.start();
      await this.#registrations.loadAll();
      this.#logger.log("info", "started state syncer");
      this.#antiEntropy.start();
      if (!this.#config.disableCoordinates) this.#coordinateSender.start();
      const { startJoin: lan, startJoinWan: wan } = this.#config;
      if (lan.length > 0) await this.cluster.join(lan, "lan");
      if (wan.length > 0) await this.cluster.join(wan, "wan");
      for (const retryJoin of this.#retryJoins) retryJoin.start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Resolves when this server leads and its catalog holds its own node. */
  async ready(): Promise<void> {
    await this.#role.ready();
    await this.#antiEntropy.settled();
  }

  async reload(): Promise<void> {
    const { readConfig, setLogLevel } = this.#dependencies;
    if (readConfig !== undefined) {
      const plan = planReload(this.#config, this.hooks.filter("reloadConfig", await readConfig()));
      for (const key of plan.ignored) this.#logger.log("warn", "this setting takes effect only after a restart", { key });
      this.#config = plan.config;
      setLogLevel?.(this.#config.logLevel);
      this.#configureMetrics();
    }
    await this.#registrations.reloadAll();
    this.#antiEntropy.syncFull();
    this.hooks.notify("configReloaded", this.#config);
  }

  async leave(options: { readonly force?: boolean } = {}): Promise<void> {
    if (this.#left) return;
    const fault = options.force === true ? undefined : this.#role.leaveFault();
    if (fault !== undefined) throw new AgentError("rejected", { message: fault });
    this.#left = true;
    for (const retryJoin of this.#retryJoins) retryJoin.stop();
    await this.#role.leave();
    // Requests that are still on their way are answered meanwhile.
    if (this.#dependencies.sockets) await this.#pause(this.#config.leaveDrainTime);
    this.#logger.log("info", "Graceful exit completed");
    this.#dependencies.onEnd?.(0);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  stats(): Readonly<Record<string, StringMap>> {
    return agentStats({
      localState: this.#localState,
      role: this.#role.stats(),
      runtime: { os: this.#dependencies.runtime.host?.platform ?? "", version: this.#dependencies.runtime.name },
    });
  }

  async #stop(): Promise<void> {
    this.#logger.log("info", "Requesting shutdown");
    this.hooks.notify("agentStopping", {});
    for (const retryJoin of this.#retryJoins) retryJoin.stop();
    this.#metrics.stop();
    this.#antiEntropy.stop();
    this.#coordinateSender.stop();
    this.#registrations.stop();
    this.#role.quiesce();
    await this.#plugins.stop(pluginStopDeadline);
    await this.#role.stop();
    await this.#statsd?.stop();
    await this.#dependencies.storage.close();
    this.#logger.log("info", "shutdown complete");
  }

  #configureMetrics(): void {
    const { metrics, host } = this.#dependencies.runtime;
    metrics.configure?.(metricsSettings(this.#config.telemetry, { host, tap: this.#statsd?.tap }));
  }

  /** Undefined: this agent runs nothing for others. */
  #remoteExec(): ((event: UserEvent) => void) | undefined {
    const { runtime, config } = this.#dependencies;
    const { processes, host, clock, crypto } = runtime;
    if (config.disableRemoteExec || processes === undefined || host === undefined) return undefined;
    let exec: RemoteExec | undefined;
    return (event) => {
      // The store is there by the time the first event is.
      exec ??= new RemoteExec({
        store: this.store,
        processes,
        host,
        clock,
        logger: this.#logger,
        node: config.nodeName,
        uniqueName: () => uuid(crypto),
      });
      exec.handle(event);
    };
  }

  #onMember(member: Member): void {
    if (member.status === "alive") this.hooks.notify("memberJoined", member);
    else if (member.status === "failed") this.hooks.notify("memberFailed", member);
    else if (member.status === "left") this.hooks.notify("memberLeft", member);
  }

  #nodeInfo() {
    const { nodeName, advertiseAddr, datacenter, taggedAddresses, nodeMeta } = this.#config;
    return {
      id: this.nodeId,
      node: nodeName,
      address: advertiseAddr,
      datacenter,
      taggedAddresses,
      meta: { "consul-network-segment": "", ...nodeMeta },
    };
  }

  #pause(delay: Millis): Promise<void> {
    return new Promise((resolve) => this.#dependencies.runtime.clock.after(delay, resolve));
  }
}
