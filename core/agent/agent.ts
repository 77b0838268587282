/**
 * One agent: assembled, started, reloaded, stopped.
 *
 *   HTTP, DNS, CLI… (plugins) ──AgentApi──► ServerStore ──► RaftDriver ──► RaftStore (disk or memory)
 *                                  │             └──────► Catalog ◄─apply─┘
 *                                  ├──────► Registrations ──► LocalState ──► AntiEntropy ──► ServerStore.write
 *                                  │             └──────► CheckRunner
 *                                  └──────► Cluster: pools (LAN, WAN gossip), RPC listener
 *
 *   other servers ◄──RaftTransport──► Raft, ServerStore (forwarded requests), Bootstrap;  the leader: ServerCare
 *
 *   new ──start()──► running ──leave()──► left ──stop()──► stopped
 *                       └──────────────── stop() ────────────┘
 *
 * Nothing here reaches for the runtime: every port is a constructor argument, so the simulator runs this same file.
 */
import { Catalog } from "../catalog/catalog.ts";
import type { StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import { planReload } from "../config/reload.ts";
import type { AgentApi, LocalApi, Member, StoreApi } from "../plugin/agent-api.ts";
import { createHooks, type Hooks } from "../plugin/hooks.ts";
import { type AnyPlugin, PluginHost, type SurfaceAddress } from "../plugin/host.ts";
import { encode } from "../codec/cbor.ts";
import { type Address, formatAddress, type Logger, type LogLevel, type Runtime, type Storage, uuid } from "../ports/mod.ts";
import { raftTiming } from "../raft/messages.ts";
import { RaftTransport } from "../raft/transport.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError, messageOf, unreachable } from "../types/errors.ts";
import type { Millis, NodeId } from "../types/ids.ts";
import { AntiEntropy } from "./anti-entropy.ts";
import { CoordinateSender } from "./coordinate-sender.ts";
import { CheckRunner } from "./check-runner.ts";
import { Cluster } from "./cluster.ts";
import { consulVersion } from "../version.ts";
import { Leader } from "./leader.ts";
import { Bootstrap } from "./bootstrap.ts";
import { ask, decodeRequest, type ServerRequest } from "./forwarding.ts";
import { LocalState } from "./local-state.ts";
import { createPersisted } from "./persisted.ts";
import { OperatorSnapshots } from "./operator-snapshots.ts";
import { Raft } from "./raft.ts";
import { Registrations } from "./registrations.ts";
import { type RpcEndpoints, rpcEndpoints } from "./rpc-handlers.ts";
import { RetryJoin, startJoin } from "./retry-join.ts";
import { ServerCare } from "./server-care.ts";
import { ServerStore } from "./server-store.ts";
import { SharedReads } from "./shared-reads.ts";
import { agentStats } from "./stats.ts";

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

/** For another server to take over, and for its answer to what we ask as one leaves. */
const handOverMax: Millis = 5000;
const handOverPause: Millis = 20;
const belongingTimeout: Millis = 2000;
const emptyAnswer = encode(null);
/** How long plugins may take to finish what is in hand. */
const pluginStopDeadline: Millis = 500;

export class Agent implements AgentApi {
  readonly nodeId: string;
  readonly version = consulVersion;
  readonly store: StoreApi;
  readonly local: LocalApi;
  readonly cluster: Cluster;
  readonly snapshots: OperatorSnapshots;
  readonly hooks: Hooks;

  readonly #dependencies: AgentDependencies;
  readonly #logger: Logger;
  readonly #catalog = new Catalog();
  readonly #localState = new LocalState();
  readonly #registrations: Registrations;
  readonly #antiEntropy: AntiEntropy;
  readonly #coordinateSender: CoordinateSender;
  readonly #leader: Leader;
  readonly #raft: Raft;
  readonly #serverStore: ServerStore;
  readonly #shared: SharedReads;
  readonly #endpoints: RpcEndpoints;
  readonly #transport: RaftTransport | undefined;
  readonly #bootstrap: Bootstrap;
  readonly #care: ServerCare;
  readonly #retryJoin: RetryJoin;
  readonly #plugins: PluginHost;
  #config: AgentConfig;
  #stopping: Promise<void> | undefined;
  #left = false;
  #hadLeader = false;

  constructor(dependencies: AgentDependencies) {
    const { runtime, storage, config, nodeId } = dependencies;
    const { clock, random, crypto } = runtime;
    this.#dependencies = dependencies;
    this.#config = config;
    this.nodeId = nodeId;
    this.#logger = runtime.logger.child("agent");
    this.hooks = createHooks((hook, error) => this.#logger.log("error", "a listener failed", { hook, error: messageOf(error) }));
    const now = (): number => clock.wall();
    const serverLogger = this.#logger.child("server");

    this.cluster = new Cluster({
      handlers: () => this.#endpoints.handlers,
      runtime,
      config,
      nodeId,
      sockets: dependencies.sockets,
      files: config.dataDir === undefined ? undefined : storage.files,
      logger: serverLogger,
      group: {
        leader: () => this.#raft.leader(),
        isLeader: () => this.#raft.isLeader(),
        servers: () => this.#raft.servers(),
        remove: (id) => this.#removeServer(id),
      },
      acceptServer: (stream) =>
        this.#transport?.accept(stream) ?? Promise.reject(new AgentError("closed", { message: "this server is alone" })),
      onMember: (member, change) => this.#onMember(member, change === "reap"),
    });
    this.#transport = this.#createTransport(serverLogger.child("raft"));
    const members = (): readonly Member[] => this.cluster.members("lan");
    const askServer = (to: NodeId, request: ServerRequest, timeout: Millis): Promise<unknown> =>
      ask(this.#transport, to, request, timeout);
    this.#bootstrap = new Bootstrap({
      clock,
      logger: serverLogger,
      self: nodeId,
      expect: config.bootstrapExpect,
      datacenter: config.datacenter,
      members,
      hasData: () => this.#raft.hasData,
      ask: askServer,
      found: (servers) => this.#raft.found(servers),
    });
    this.#care = new ServerCare({
      clock,
      logger: serverLogger.child("autopilot"),
      self: nodeId,
      datacenter: config.datacenter,
      autopilot: () => this.#config.autopilot,
      members,
      servers: () => this.#raft.servers(),
      lastIndex: () => this.#raft.lastIndex,
      progressOf: (id) => this.#raft.progressOf(id),
      heartbeatInterval: raftTiming(config.raftMultiplier, config.devMode).heartbeat / 10,
      change: (change) => this.#raft.change(change),
      belonging: async (id) => {
        const answer = await askServer(id, { kind: "belonging" }, belongingTimeout);
        return Array.isArray(answer) ? answer.map(String) : [];
      },
      forceLeave: (name) => this.cluster.forceLeave(name, false),
    });
    this.#retryJoin = new RetryJoin({
      clock,
      logger: this.#logger,
      addresses: config.retryJoin,
      interval: config.retryInterval,
      attemptsMax: config.retryMax,
      join: (addresses) => this.cluster.join(addresses, "lan"),
      onExhausted: () => dependencies.onEnd?.(1),
    });
    this.#leader = new Leader({
      catalog: this.#catalog,
      clock,
      logger: serverLogger,
      datacenter: config.datacenter,
      self: config.nodeName,
      members,
      write: (command) => this.#serverStore.write(command),
      announce: () => this.cluster.announceLeader(),
      now,
    });
    this.#raft = new Raft({
      runtime,
      storage,
      config,
      nodeId,
      address: () => this.cluster.rpcAddress(),
      logger: serverLogger.child("raft"),
      catalog: this.#catalog,
      apply: (entries) => this.#serverStore.apply(entries),
      transport: this.#transport,
      alone: config.bootstrap || config.devMode || !dependencies.sockets,
      onLeading: (leading) => this.#onLeading(leading),
      onLeader: (leader) => this.#onLeader(leader),
      onConfiguration: () => this.#connectServers(),
      onFatal: (error) => {
        this.#logger.log("error", "the log cannot be written any more; shutting down", { error: messageOf(error) });
        dependencies.onEnd?.(1);
      },
    });
    this.#shared = new SharedReads({
      catalog: this.#catalog,
      clock,
      random: random.fork("shared-reads"),
      limits: { defaultWait: config.defaultQueryTime, maxWait: config.maxQueryTime },
      meta: (index) => this.#serverStore.meta(index),
    });
    this.#serverStore = new ServerStore({
      catalog: this.#catalog,
      raft: this.#raft,
      shared: this.#shared,
      leader: this.#leader,
      ask: askServer,
      clock,
      config: () => this.#config,
    });
    this.store = this.#serverStore;
    this.#endpoints = rpcEndpoints({
      store: this.store,
      cluster: this.cluster,
      config: () => this.#config,
      clock,
      crypto,
      logger: serverLogger,
      fireEvent: (name, payload) =>
        this.cluster.pools().lan?.userEvent(`consul:event:${name}`, payload, false) ?? Promise.resolve(),
    });
    this.snapshots = new OperatorSnapshots({
      catalog: this.#catalog,
      store: this.#serverStore,
      raft: this.#raft,
      clock,
      crypto,
      logger: serverLogger,
      onRestored: () => this.#antiEntropy.syncFull(),
    });

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
      await this.cluster.start();
      await this.#raft.start();
      this.#connectServers();
      this.#bootstrap.start();
      await this.#plugins.start();
      await this.#registrations.loadAll();
      this.#logger.log("info", "started state syncer");
      this.#antiEntropy.start();
      if (!this.#config.disableCoordinates) this.#coordinateSender.start();
      const join = (addresses: readonly string[]): Promise<number> => this.cluster.join(addresses, "lan");
      await startJoin(this.#config.startJoin, { logger: this.#logger, join });
      this.#retryJoin.start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Resolves when this server leads and its catalog holds its own node. */
  async ready(): Promise<void> {
    await this.store.write({ kind: "barrier" });
    await this.#antiEntropy.settled();
  }

  async reload(): Promise<void> {
    const { readConfig, setLogLevel } = this.#dependencies;
    if (readConfig !== undefined) {
      const plan = planReload(this.#config, await readConfig());
      for (const key of plan.ignored) this.#logger.log("warn", "this setting takes effect only after a restart", { key });
      this.#config = plan.config;
      setLogLevel?.(this.#config.logLevel);
    }
    await this.#registrations.reloadAll();
    this.#antiEntropy.syncFull();
    this.hooks.notify("configReloaded", this.#config);
  }

  async leave(): Promise<void> {
    if (this.#left) return;
    this.#left = true;
    this.#logger.log("info", "server starting leave");
    this.#retryJoin.stop();
    await this.#handOver();
    await this.cluster.leave();
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
      config: this.#config,
      localState: this.#localState,
      raft: this.#raft,
      cluster: this.cluster,
      leading: this.#leader.leading,
      runtime: { os: this.#dependencies.runtime.host?.platform ?? "", version: this.#dependencies.runtime.name },
    });
  }

  async #stop(): Promise<void> {
    this.#logger.log("info", "Requesting shutdown");
    this.#retryJoin.stop();
    this.#bootstrap.stop();
    this.#antiEntropy.stop();
    this.#coordinateSender.stop();
    this.#registrations.stop();
    this.#care.stop();
    this.#leader.resign();
    this.#endpoints.stop();
    this.#serverStore.stop();
    this.#shared.stop();
    await this.#plugins.stop(pluginStopDeadline);
    await this.#raft.stop();
    this.#transport?.stop();
    await this.cluster.stop();
    await this.#dependencies.storage.close();
    this.#logger.log("info", "shutdown complete");
  }

  /** Undefined where there are no sockets: the agent is alone. */
  #createTransport(logger: Logger): RaftTransport | undefined {
    const { runtime, config, nodeId, sockets } = this.#dependencies;
    const { clock, random, streams, crypto } = runtime;
    if (!sockets || streams === undefined) return undefined;
    return new RaftTransport({
      clock,
      random: random.fork("raft-transport"),
      streams,
      logger,
      self: nodeId,
      datacenter: config.datacenter,
      life: uuid(crypto),
      onMessage: (message) => this.#raft.receive(message),
      onRequest: (from, body) => this.#onRequest(from, body),
      onGone: (peer) => this.#raft.feed({ kind: "peerGone", peer }),
      onUnreachable: (peer) => this.#raft.feed({ kind: "unreachable", peer }),
    });
  }

  async #onRequest(from: NodeId, body: Bytes): Promise<Bytes> {
    const request = decodeRequest(body);
    if (request === undefined) throw new AgentError("bad-request", { message: "no request that this server knows" });
    switch (request.kind) {
      case "write":
      case "readIndex":
      case "renewSession":
        return encode(await this.#serverStore.serve(request));
      case "removeServer":
        await this.#care.remove(request.id);
        return emptyAnswer;
      case "belonging":
        return encode(this.#raft.servers().map((server) => server.id));
      case "founding":
        return encode(this.#bootstrap.onFounding(from));
      default:
        return unreachable(request);
    }
  }

  /** Keeps a connection to each server that gossip or the Raft configuration knows. Gossip is right about addresses. */
  #connectServers(): void {
    const peers = new Map<NodeId, Address>();
    for (const { id, address } of this.#raft.servers()) {
      const at = parseAddress(address);
      if (at !== undefined) peers.set(id, at);
    }
    for (const { id, address, status } of this.cluster.servers()) if (status === "alive" || peers.has(id)) peers.set(id, address);
    peers.delete(this.nodeId);
    this.#transport?.connectTo(peers);
  }

  async #removeServer(id: NodeId): Promise<void> {
    const leader = this.#raft.leader();
    if (this.#raft.isLeader()) await this.#care.remove(id);
    else if (leader === undefined) throw new AgentError("no-leader", { message: "No cluster leader" });
    else await ask(this.#transport, leader, { kind: "removeServer", id }, handOverMax);
  }

  /** A leader that leaves lets another one lead first, so that nobody waits for an election. */
  async #handOver(): Promise<void> {
    const voters = this.#raft.servers().filter((server) => server.voter);
    if (!this.#raft.isLeader() || voters.length < 2) return;
    this.#raft.transferLeadership();
    const { clock } = this.#dependencies.runtime;
    const deadline = clock.monotonic() + handOverMax;
    while (clock.monotonic() < deadline) {
      const leader = this.#raft.leader();
      if (leader !== undefined && leader !== this.nodeId) return;
      await this.#pause(handOverPause);
    }
    this.#logger.log("warn", "no other server took over; leaving as the leader");
  }

  #onLeading(leading: boolean): void {
    const logger = this.#logger.child("server");
    if (!leading) {
      this.#care.stop();
      this.#leader.resign();
      logger.log("info", "cluster leadership lost");
      return;
    }
    logger.log("info", "cluster leadership acquired");
    this.#leader
      .establish(() => {
        this.#serverStore.onLeader();
        this.snapshots.onLeading();
        this.#care.start();
        this.hooks.notify("leaderChanged", { leader: formatAddress(this.cluster.rpcAddress()) });
      })
      .catch((error: unknown) => {
        const closed = error instanceof AgentError && (error.code === "closed" || error.code === "no-leader");
        this.#logger.log(closed ? "debug" : "error", "failed to establish leadership", { error: messageOf(error) });
      });
  }

  #onLeader(leader: NodeId | undefined): void {
    if (leader !== undefined) this.#serverStore.onLeader();
    // Our own leading is told once it is established.
    if (leader !== this.nodeId) this.hooks.notify("leaderChanged", { leader: this.cluster.leader() || undefined });
    if (leader === undefined || this.#hadLeader) return;
    this.#hadLeader = true;
    this.#antiEntropy.syncFull();
  }

  #onMember(member: Member, reaped: boolean): void {
    if (member.status === "alive") this.hooks.notify("memberJoined", member);
    else if (member.status === "failed") this.hooks.notify("memberFailed", member);
    else if (member.status === "left") this.hooks.notify("memberLeft", member);
    this.#connectServers();
    this.#bootstrap.look();
    this.#care.look();
    this.#leader
      .reconcileMember(member, reaped)
      .catch((error: unknown) =>
        this.#logger.log("error", "failed to reconcile member", { member: member.name, error: messageOf(error) }),
      );
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

/** "ip:port" as {@link formatAddress} writes it. */
function parseAddress(text: string): Address | undefined {
  const colon = text.lastIndexOf(":");
  const port = Number(text.slice(colon + 1));
  if (colon < 1 || !Number.isInteger(port)) return undefined;
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ""), port };
}
