/**
 * A server: the catalog, the Raft group that replicates it, and what the leader of that group does.
 *
 *   plugins, anti-entropy ──StoreApi──► ServerStore ──► Raft ──► RaftStore (disk or memory)
 *                                          └──────────► Catalog ◄─apply─┘
 *   Cluster: pools (LAN, WAN gossip), RPC listener
 *
 *   other servers ◄──RaftTransport──► Raft, ServerStore (forwarded requests), Bootstrap;  the leader: Leader, ServerCare
 */
import { Catalog } from "../catalog/catalog.ts";
import type { StringMap } from "../catalog/records.ts";
import { archiveBytesMax } from "../codec/snapshot-archive.ts";
import { formatDuration } from "../config/duration.ts";
import type { Member, SnapshotApi } from "../plugin/agent-api.ts";
import { type Address, formatAddress, type Logger, type Metrics, uuid } from "../ports/mod.ts";
import { raftTiming } from "../raft/messages.ts";
import { RaftTransport } from "../raft/transport.ts";
import { decodeKeyringAnswers, encodeKeyringRequest } from "../rpc/endpoints/keyring.ts";
import { serveSnapshot } from "../rpc/snapshot-stream.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis, NodeId } from "../types/ids.ts";
import { Autopilot } from "./autopilot.ts";
import { decodeRaftStats } from "./autopilot-codec.ts";
import { Bootstrap } from "./bootstrap.ts";
import { foundingRecords } from "./founding-record.ts";
import { Cluster } from "./cluster.ts";
import { Datacenters } from "./datacenters.ts";
import { ask, type ServerRequest } from "./forwarding.ts";
import { KeyringOperations } from "./keyring.ts";
import { Leader } from "./leader.ts";
import { OperatorSnapshots } from "./operator-snapshots.ts";
import { Raft } from "./raft.ts";
import type { Role, RoleOptions } from "./role.ts";
import { RoutedSnapshots } from "./routed-snapshots.ts";
import { forwarding } from "./rpc-forwarding.ts";
import { type RpcEndpoints, rpcEndpoints } from "./rpc-handlers.ts";
import { ServerCare } from "./server-care.ts";
import { HealthWatch } from "./server-health.ts";
import { leaveFault } from "./server-leave.ts";
import { answerServer, raftStatsOf } from "./server-requests.ts";
import { ServerStore } from "./server-store.ts";
import { SnapshotFiles } from "./snapshot-files.ts";
import { SharedReads } from "./shared-reads.ts";
import { serverStats } from "./stats.ts";
import { StoreMetrics } from "./store-metrics.ts";

/** For another server to take over, and for its answer to what we ask as one leaves. */
const handOverMax: Millis = 5000;
const handOverPause: Millis = 20;
const belongingTimeout: Millis = 2000;

export class ServerRole implements Role {
  readonly store: ServerStore;
  readonly cluster: Cluster;
  readonly keyring: KeyringOperations;
  readonly snapshots: SnapshotApi | undefined;

  readonly #options: RoleOptions;
  readonly #logger: Logger;
  readonly #catalog = new Catalog();
  readonly #leader: Leader;
  readonly #raft: Raft;
  readonly #shared: SharedReads;
  readonly #endpoints: RpcEndpoints;
  readonly #datacenters: Datacenters;
  readonly #archives: OperatorSnapshots;
  readonly #transport: RaftTransport | undefined;
  readonly #bootstrap: Bootstrap;
  readonly #care: ServerCare;
  readonly #health: HealthWatch;
  readonly #gauges: ReturnType<typeof gaugesOf>;
  readonly autopilot: Autopilot;
  #hadLeader = false;
  /** The last time that this server led: it has begun to, or given up. */
  #established: Promise<void> = Promise.resolve();

  constructor(options: RoleOptions) {
    const { runtime, storage, config, nodeId, currentConfig } = options;
    const { clock, random, crypto } = runtime;
    const logger = options.logger.child("server");
    this.#options = options;
    this.#gauges = gaugesOf(runtime.metrics);
    this.#logger = logger;

    this.#datacenters = new Datacenters({
      streams: options.sockets ? runtime.streams : undefined,
      clock,
      random: random.fork("datacenters"),
      logger,
      config: currentConfig,
      pool: () => this.cluster.pools().wan,
    });
    this.cluster = new Cluster({
      datacenters: this.#datacenters,
      handlers: () =>
        forwarding(this.#endpoints.handlers, {
          datacenter: config.datacenter,
          forward: (datacenter, method, args, cancel) => this.#datacenters.forward(datacenter, method, args, cancel),
        }),
      runtime,
      config,
      nodeId,
      sockets: options.sockets,
      files: config.dataDir === undefined ? undefined : storage.files,
      logger,
      agentLogger: options.logger,
      group: {
        leader: () => this.#raft.leader(),
        isLeader: () => this.#raft.isLeader(),
        servers: () => this.#raft.servers(),
        caughtUp: (consistency) => this.store.fresh(consistency),
        remove: (id) => this.#removeServer(id),
      },
      acceptServer: (stream) =>
        this.#transport?.accept(stream) ?? Promise.reject(new AgentError("closed", { message: "this server is alone" })),
      acceptSnapshot: (stream) =>
        serveSnapshot(stream, { clock, fileBytesMax: archiveBytesMax, snapshots: (datacenter) => this.#snapshotsOf(datacenter) }),
      onMember: (member, change) => this.#onMember(member, change === "reap"),
      onUserEvent: options.onUserEvent,
    });
    this.#transport = this.#createTransport(logger.child("raft"));
    const members = (): readonly Member[] => this.cluster.members("lan");
    const askServer = (to: NodeId, request: ServerRequest, timeout: Millis): Promise<unknown> =>
      ask(this.#transport, to, request, timeout);
    const heartbeatInterval = raftTiming(config.raftMultiplier, config.devMode).heartbeat / 10;
    this.#bootstrap = new Bootstrap({
      clock,
      random: random.fork("bootstrap"),
      logger,
      records: foundingRecords(storage.files),
      self: nodeId,
      expect: config.bootstrapExpect,
      datacenter: config.datacenter,
      members,
      hasData: () => this.#raft.hasData,
      ask: askServer,
      found: (servers) => this.#raft.found(servers),
      onEnrolled: () => this.#connectServers(),
    });
    this.#care = new ServerCare({
      clock,
      logger: logger.child("autopilot"),
      self: nodeId,
      datacenter: config.datacenter,
      autopilot: () => this.autopilot.settings,
      members,
      servers: () => this.#raft.servers(),
      lastIndex: () => this.#raft.lastIndex,
      progressOf: (id) => this.#raft.progressOf(id),
      heartbeatInterval,
      change: (change) => this.#raft.change(change),
      belonging: async (id) => {
        const answer = await askServer(
          id,
          { kind: "belonging", servers: this.#raft.servers().map((server) => server.id) },
          belongingTimeout,
        );
        return Array.isArray(answer) ? answer.map(String) : [];
      },
      forceLeave: (name) => this.cluster.forceLeave(name, false),
    });
    this.#leader = new Leader({
      catalog: this.#catalog,
      clock,
      metrics: runtime.metrics,
      logger,
      datacenter: config.datacenter,
      self: config.nodeName,
      members,
      write: (command) => this.store.propose(command),
      initialise: () => this.autopilot.initialise(),
      announce: () => this.cluster.announceLeader(),
      now: () => clock.wall(),
    });
    this.#raft = new Raft({
      runtime,
      storage,
      config,
      nodeId,
      address: () => this.cluster.rpcAddress(),
      logger: logger.child("raft"),
      serverLogger: logger,
      catalog: this.#catalog,
      apply: (entries) => this.store.apply(entries),
      transport: this.#transport,
      alone: config.bootstrap || config.devMode || !options.sockets,
      onLeading: (leading) => this.#onLeading(leading),
      onLeader: (leader) => this.#onLeader(leader),
      onConfiguration: () => this.#connectServers(),
      onFatal: (error) => {
        options.logger.log("error", "the log cannot be written any more; shutting down", { error: messageOf(error) });
        options.onEnd(1);
      },
    });
    const storeMetrics = new StoreMetrics(runtime.metrics);
    this.#shared = new SharedReads({
      catalog: this.#catalog,
      clock,
      random: random.fork("shared-reads"),
      limits: { defaultWait: config.defaultQueryTime, maxWait: config.maxQueryTime },
      meta: (index) => this.store.meta(index),
      onQuery: (query, found) => storeMetrics.onQuery(query, found),
    });
    this.store = new ServerStore({
      catalog: this.#catalog,
      raft: this.#raft,
      shared: this.#shared,
      leader: this.#leader,
      ask: askServer,
      elsewhere: (datacenter) => this.#datacenters.store(datacenter),
      clock,
      config: currentConfig,
      metrics: storeMetrics,
    });
    this.#health = new HealthWatch({
      clock,
      metrics: runtime.metrics,
      logger: logger.child("autopilot"),
      view: () => ({
        servers: this.#raft.servers(),
        members: members(),
        datacenter: config.datacenter,
        leader: nodeId,
        lastTerm: this.#raft.lastTerm,
        lastIndex: this.#raft.lastIndex,
        settings: this.autopilot.settings,
        contactGrace: 2 * heartbeatInterval,
      }),
      statsOf: async (id, timeout) => {
        const stats =
          id === nodeId ? raftStatsOf(this.#raft) : decodeRaftStats(await askServer(id, { kind: "raftStats" }, timeout));
        if (stats === undefined) throw new AgentError("rejected", { message: "the answer cannot be read" });
        return stats;
      },
    });
    this.autopilot = new Autopilot({
      catalog: this.#catalog,
      store: this.store,
      config: currentConfig,
      health: this.#health,
      leader: () => this.#raft.leader(),
      isLeader: () => this.#raft.isLeader(),
      ask: askServer,
      elsewhere: (datacenter) => this.#datacenters.store(datacenter),
    });
    this.keyring = new KeyringOperations({
      datacenter: config.datacenter,
      pools: () => this.cluster.pools(),
      others: () => this.#datacenters.names().filter((name) => name !== config.datacenter),
      ask: async (datacenter, request) => {
        const args = encodeKeyringRequest(request, datacenter);
        const isRead = request.operation === "list";
        return decodeKeyringAnswers(
          await this.#datacenters.call(datacenter, { method: "Internal.KeyringOperation", args, isRead }),
        );
      },
    });
    this.#endpoints = rpcEndpoints({
      store: this.store,
      cluster: this.cluster,
      autopilot: this.autopilot,
      raftStats: () => {
        const { lastContact, lastIndex, lastTerm } = raftStatsOf(this.#raft);
        const heard = Number.isFinite(lastContact) ? formatDuration(lastContact) : "never";
        return { lastContact: this.#raft.isLeader() ? "0" : heard, lastIndex, lastTerm };
      },
      config: currentConfig,
      clock,
      crypto,
      logger,
      fireEvent: (name, payload) => this.cluster.fireEvent(name, payload),
      keyring: this.keyring,
    });
    this.#archives = new OperatorSnapshots({
      catalog: this.#catalog,
      store: this.store,
      raft: this.#raft,
      clock,
      crypto,
      logger,
      onRestored: () => {
        options.onCatalogDoubtful();
        // A state of an earlier version has no settings.
        this.autopilot
          .initialise()
          .catch((error: unknown) => logger.log("warn", "failed to write the autopilot's settings", { error: messageOf(error) }));
      },
    });
    this.snapshots =
      runtime.compression === undefined
        ? undefined
        : new RoutedSnapshots({
            here: new SnapshotFiles(this.#archives, runtime.compression),
            datacenter: config.datacenter,
            elsewhere: (datacenter) => this.#datacenters.snapshots(datacenter),
          });
  }

  async fireEvent(name: string, payload: Bytes, where: { readonly datacenter?: string; readonly token?: string }): Promise<void> {
    const own = this.#options.config.datacenter;
    const datacenter = where.datacenter || own;
    if (datacenter === own) await this.cluster.fireEvent(name, payload);
    else await this.#datacenters.store(datacenter).fireEvent(name, payload, where);
  }

  async start(): Promise<void> {
    await this.#bootstrap.load();
    await this.cluster.start();
    await this.#raft.start();
    this.#connectServers();
    this.#bootstrap.start();
  }

  /** Without a data directory there is nothing to come back to: nothing is lost by leaving. */
  leaveFault(): string | undefined {
    const { nodeId, config } = this.#options;
    if (config.dataDir === undefined) return undefined;
    const members = this.cluster.members("lan");
    return leaveFault({ self: nodeId, servers: this.#raft.servers(), members, datacenter: config.datacenter });
  }

  async ready(): Promise<void> {
    await this.store.write({ kind: "barrier" });
    await this.#established;
  }

  async leave(): Promise<void> {
    this.#logger.log("info", "server starting leave");
    await this.#handOver();
    await this.cluster.leave();
  }

  quiesce(): void {
    this.#bootstrap.stop();
    this.#care.stop();
    this.#health.stop();
    this.#leader.resign();
    this.#endpoints.stop();
    this.store.stop();
    this.#shared.stop();
    void this.#datacenters.stop(); // awaited by stop()
  }

  async stop(): Promise<void> {
    await this.#datacenters.stop();
    await this.#raft.stop();
    this.#transport?.stop();
    await this.cluster.stop();
  }

  tellMetrics(): void {
    const { appliedIndex, last, sessions, blocking, lastContact } = this.#gauges;
    appliedIndex.set(this.#raft.appliedIndex);
    last.set(this.#raft.lastIndex);
    sessions.set(this.#leader.timedSessions);
    blocking.set(this.#shared.counts.waiters);
    if (this.#raft.isLeader()) {
      for (const { id, voter } of this.#raft.servers()) {
        const progress = voter && id !== this.#options.nodeId ? this.#raft.progressOf(id) : undefined;
        if (progress !== undefined && Number.isFinite(progress.lastContact)) lastContact.observe(progress.lastContact);
      }
    }
    this.cluster.tellMetrics();
  }

  stats(): Readonly<Record<string, StringMap>> {
    return serverStats({
      config: this.#options.currentConfig(),
      raft: this.#raft,
      cluster: this.cluster,
      leading: this.#leader.leading,
    });
  }

  #snapshotsOf(datacenter: string): SnapshotApi {
    if (datacenter !== "" && datacenter !== this.#options.config.datacenter) return this.#datacenters.snapshots(datacenter);
    if (this.snapshots === undefined)
      throw new AgentError("not-supported", { message: "snapshots are not supported in a runtime without compression" });
    return this.snapshots;
  }

  /** Undefined where there are no sockets: the server is alone. */
  #createTransport(logger: Logger): RaftTransport | undefined {
    const { runtime, config, nodeId, sockets } = this.#options;
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
      onRequest: (from, body) =>
        answerServer(
          {
            raft: this.#raft,
            store: this.store,
            care: this.#care,
            health: this.#health,
            bootstrap: this.#bootstrap,
          },
          from,
          body,
        ),
      onGone: (peer) => {
        this.#raft.feed({ kind: "peerGone", peer });
        this.cluster.doubt(peer);
      },
      onUnreachable: (peer) => this.#raft.feed({ kind: "unreachable", peer }),
    });
  }

  /** Keeps a connection to each server that gossip, the Raft configuration or a founding knows. Gossip is right about addresses. */
  #connectServers(): void {
    const peers = new Map<NodeId, Address>();
    const known = this.#raft.servers();
    for (const { id, address } of known.length > 0 ? known : this.#bootstrap.enrolledWith) {
      const at = parseAddress(address);
      if (at !== undefined) peers.set(id, at);
    }
    for (const { id, address, reachable } of this.cluster.servers()) if (reachable || peers.has(id)) peers.set(id, address);
    peers.delete(this.#options.nodeId);
    this.#transport?.connectTo(peers);
  }

  async #removeServer(id: NodeId): Promise<void> {
    // Removing itself, a leader would not see the end of it, and nobody would lead until the others have noticed.
    if (id === this.#options.nodeId) await this.#handOver();
    const leader = this.#raft.leader();
    if (this.#raft.isLeader()) await this.#care.remove(id);
    else if (leader === undefined) throw new AgentError("no-leader", { message: "No cluster leader" });
    else await ask(this.#transport, leader, { kind: "removeServer", id }, handOverMax);
  }

  /** A leader that leaves or is removed lets another one lead first, so that nobody waits for an election. */
  async #handOver(): Promise<void> {
    const voters = this.#raft.servers().filter((server) => server.voter);
    if (!this.#raft.isLeader() || voters.length < 2) return;
    this.#raft.transferLeadership();
    const { clock } = this.#options.runtime;
    const deadline = clock.monotonic() + handOverMax;
    while (clock.monotonic() < deadline) {
      const leader = this.#raft.leader();
      if (leader !== undefined && leader !== this.#options.nodeId) return;
      await new Promise<void>((resolve) => void clock.after(handOverPause, resolve));
    }
    this.#options.logger.log("warn", "no other server took over from the leader, which goes all the same");
  }

  #onLeading(leading: boolean): void {
    if (!leading) {
      this.#care.stop();
      this.#health.stop();
      this.#leader.resign();
      this.#logger.log("info", "cluster leadership lost");
      return;
    }
    this.#logger.log("info", "cluster leadership acquired");
    this.#established = this.#leader.establish(() => {
      this.store.onLeader();
      this.#archives.onLeading();
      this.#care.start();
      this.#health.start();
      this.#options.onLeaderChanged(formatAddress(this.cluster.rpcAddress()));
    });
  }

  #onLeader(leader: NodeId | undefined): void {
    this.store.onLeader();
    // Our own leading is told once it is established.
    if (leader !== this.#options.nodeId) this.#options.onLeaderChanged(this.cluster.leader() || undefined);
    if (leader === undefined || this.#hadLeader) return;
    this.#hadLeader = true;
    this.#options.onCatalogDoubtful();
  }

  #onMember(member: Member, reaped: boolean): void {
    this.#options.onMember(member);
    this.#connectServers();
    this.#bootstrap.look();
    this.#care.look();
    this.#leader
      .reconcileMember(member, reaped)
      .catch((error: unknown) =>
        this.#options.logger.log("error", "failed to reconcile member", { member: member.name, error: messageOf(error) }),
      );
  }
}

function gaugesOf(metrics: Metrics) {
  return {
    appliedIndex: metrics.gauge("raft.applied_index"),
    last: metrics.gauge("raft.last_index"),
    sessions: metrics.gauge("session_ttl.active"),
    blocking: metrics.gauge("rpc.queries_blocking"),
    lastContact: metrics.sample("raft.leader.lastContact"),
  };
}

/** "ip:port" as {@link formatAddress} writes it. */
function parseAddress(text: string): Address | undefined {
  const colon = text.lastIndexOf(":");
  const port = Number(text.slice(colon + 1));
  if (colon < 1 || !Number.isInteger(port)) return undefined;
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ""), port };
}
