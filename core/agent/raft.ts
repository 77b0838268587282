/**
 * Raft as the agent runs it: loads what the stores hold, restores the catalog from the newest snapshot, then drives.
 *
 *   new ──start(): load, restore──► running ──stop()──► at rest
 *                                     │ ▲
 *                                     └─┘ found(): the first configuration, where there is no data yet
 *
 * A lone server (dev mode, -bootstrap) founds a group of itself at its first start. Any other is passive until its group
 * is founded (bootstrap.ts) or a leader adds it: without a configuration a Raft machine votes, and campaigns never.
 */
import type { Catalog } from "../catalog/catalog.ts";
import type { StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import { type Address, formatAddress, type LogEntry, type Logger, type Runtime, type Storage } from "../ports/mod.ts";
import { type LeaderEvent, loadRaft, RaftDriver } from "../raft/driver.ts";
import {
  entryCommand,
  entryPiece,
  type MembershipChange,
  type RaftInput,
  type RaftMessage,
  type RaftServer,
  raftTiming,
} from "../raft/messages.ts";
import type { RaftMachine } from "../raft/raft.ts";
import { Assembler, commandBytesMax, cut, wholeBytesMax } from "../raft/pieces.ts";
import type { Held } from "../raft/recovery.ts";
import type { SnapshotContent } from "../raft/snapshot-transfer.ts";
import type { RaftStatus } from "../raft/status.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import type { RaftTransport } from "../raft/transport.ts";
import type { LogIndex, Millis, NodeId, Term } from "../types/ids.ts";
import { recover } from "./recovery.ts";

/** Consul's default for `raft_snapshot_interval`. */
const snapshotInterval: Millis = 30_000;

export interface RaftOptions {
  readonly runtime: Runtime;
  readonly storage: Storage;
  readonly config: AgentConfig;
  readonly nodeId: NodeId;
  /** Where this server is reached, once its listener is up. */
  readonly address: () => Address;
  readonly logger: Logger;
  /** For what Consul's server says, and not its Raft library. */
  readonly serverLogger: Logger;
  readonly catalog: Catalog;
  readonly apply: (entries: readonly LogEntry[]) => readonly unknown[];
  /** Undefined: a group of one, which has nobody to write to. */
  readonly transport: RaftTransport | undefined;
  /** The first start founds a group of this server alone. */
  readonly alone: boolean;
  /** This server began or ceased to lead. */
  readonly onLeading: (leading: boolean) => void;
  /** Another leader, or none. */
  readonly onLeader: (leader: NodeId | undefined) => void;
  readonly onConfiguration: () => void;
  readonly onFatal: (error: unknown) => void;
}

export class Raft {
  readonly #options: RaftOptions;
  readonly #assembler = new Assembler();
  #driver: RaftDriver | undefined;
  #machine: RaftMachine | undefined;
  #leading = false;
  #campaigns = false;
  #lastLeaderAddress = "";
  #leader: NodeId | undefined;

  constructor(options: RaftOptions) {
    this.#options = options;
  }

  /** What the stores hold is known. */
  get started(): boolean {
    return this.#driver !== undefined;
  }

  /** This server belongs, or belonged, to a group. */
  get hasData(): boolean {
    const state = this.#driver?.state();
    return state === undefined || state.lastIndex > 0 || state.snapshotIndex > 0;
  }

  /** Writes the group's first configuration and campaigns. Only where there is no data, and by one server of the group. */
  found(servers: readonly RaftServer[]): void {
    this.feed({ kind: "found", configuration: { servers } });
  }

  async start(): Promise<void> {
    const { runtime, storage, config, nodeId, logger, catalog, transport } = this.#options;
    const address = formatAddress(this.#options.address());
    const { machine, snapshot } = await loadRaft(storage.raft, storage.snapshots, {
      id: nodeId,
      random: runtime.random.fork("raft"),
      timing: raftTiming(config.raftMultiplier, config.devMode),
      limits: {
        snapshotInterval: config.raftSnapshotInterval > 0 ? config.raftSnapshotInterval : snapshotInterval,
        ...(config.raftSnapshotThreshold > 0 ? { snapshotThreshold: config.raftSnapshotThreshold } : {}),
        ...(config.raftTrailingLogs > 0 ? { trailingEntries: config.raftTrailingLogs } : {}),
      },
      ...(this.#options.alone ? { bootstrap: { servers: [{ id: nodeId, address, voter: true }] } } : {}),
      now: runtime.clock.monotonic(),
      ...(config.dataDir === undefined
        ? {}
        : { recover: (held: Held) => recover({ files: storage.files, logger: this.#options.serverLogger }, held) }),
    }).catch(startFailed);
    const content = snapshotContent(catalog, this.#assembler);
    if (snapshot !== undefined) {
      await content.restore(storage.snapshots.read(snapshot));
      logger.log("info", "restored from snapshot", { id: snapshot.id });
    }
    logger.log("info", "initial configuration", {
      index: machine.configurationIndex,
      servers: describeServers(machine.configuration.servers),
    });
    const { servers } = machine.configuration;
    // In a group of several a leader adds us again; alone, nobody would.
    if (servers.length > 0 && !servers.some((server) => server.id === nodeId)) {
      if (!this.#options.alone)
        logger.log("warn", "this server is not in its own configuration", { servers: describeServers(servers) });
      else
        throw new AgentError("config-invalid", {
          message: `The data directory belongs to another server: its Raft group is ${describeServers(servers)} and this one is ${nodeId}. Restore the file node-id, or start with an empty data directory`,
        });
    }
    this.#machine = machine;
    this.#driver = new RaftDriver({
      machine,
      clock: runtime.clock,
      store: storage.raft,
      snapshots: storage.snapshots,
      logger,
      metrics: runtime.metrics,
      content,
      apply: (entries) => this.#options.apply(this.#assembler.assemble(entries)),
      send: (message) => transport?.send(message),
      onConfiguration: () => this.#options.onConfiguration(),
      onLeader: (event) => {
        this.#tellElection(event);
        logger.log("info", `entering ${event.role} state`, roleFields(event, address));
        if (event.isLeader !== this.#leading) {
          this.#leading = event.isLeader;
          this.#options.onLeading(event.isLeader);
        }
        if (event.leader === this.#leader) return;
        this.#leader = event.leader;
        this.#options.onLeader(event.leader);
      },
      onFatal: this.#options.onFatal,
    });
    this.#driver.start();
    this.#options.onConfiguration();
  }

  /** Why there is an election, in the words that operators of Consul look for. */
  #tellElection({ role, leader, leaderAddress }: LeaderEvent): void {
    const { logger } = this.#options;
    if (role === "preCandidate" && this.#campaigns) logger.log("warn", "Election timeout reached, restarting election");
    else if (role === "preCandidate")
      logger.log("warn", "heartbeat timeout reached, starting election", { "last-leader": this.#lastLeaderAddress });
    this.#campaigns = role === "preCandidate" || role === "candidate";
    if (leader !== undefined) this.#lastLeaderAddress = leaderAddress ?? "";
  }

  async stop(): Promise<void> {
    await this.#driver?.stop();
  }

  receive(message: RaftMessage): void {
    this.#driver?.receive(message);
  }

  feed(input: Extract<RaftInput, { kind: "peerGone" | "unreachable" | "found" }>): void {
    this.#driver?.feed(input);
  }

  /** The configuration in force. */
  servers(): readonly RaftServer[] {
    return this.#machine?.configuration.servers ?? [];
  }

  /** Who leads, as far as is known here. */
  leader(): NodeId | undefined {
    return this.#leader;
  }

  /** What the leader knows of another server; undefined for others than the leader. */
  progressOf(id: NodeId): { readonly match: LogIndex; readonly lastContact: Millis } | undefined {
    return this.#machine?.progressOf(id);
  }

  get lastIndex(): LogIndex {
    return this.#machine?.lastIndex ?? 0;
  }

  /** Of the last entry. */
  get lastTerm(): Term {
    return this.#machine?.lastTerm ?? 0;
  }

  get term(): Term {
    return this.#driver?.state().term ?? 0;
  }

  get appliedIndex(): LogIndex {
    return this.#machine?.appliedIndex ?? 0;
  }

  /** As far as is known here. */
  get commitIndex(): LogIndex {
    return this.#machine?.commitIndex ?? 0;
  }

  /** As {@link RaftDriver.whenApplied}. */
  whenApplied(index: LogIndex, timeout: Millis): Promise<void> {
    return this.#running().whenApplied(index, timeout);
  }

  /** As {@link RaftDriver.change}. */
  async change(change: MembershipChange): Promise<void> {
    await this.#running().change(change);
  }

  /** Asks another voter to lead. The outcome shows in `onLeader`. */
  transferLeadership(): void {
    this.#driver?.transferLeadership();
  }

  propose(data: Bytes): Promise<{ readonly index: LogIndex; readonly result: unknown }> {
    const driver = this.#running();
    if (data.length <= wholeBytesMax) return driver.propose(data, entryCommand);
    if (data.length > commandBytesMax)
      return Promise.reject(
        new AgentError("too-large", { message: `A command of ${data.length} bytes exceeds the limit of ${commandBytesMax}` }),
      );
    this.#options.serverLogger.child("rpc").log("warn", "Attempting to apply large raft entry", { size_in_bytes: data.length });
    return driver.proposeAll(cut(data).map((piece) => ({ type: entryPiece, data: piece })));
  }

  readIndex(): Promise<LogIndex> {
    return this.#running().readIndex();
  }

  isLeader(): boolean {
    return this.#driver?.isLeader() === true;
  }

  isSoleVoter(): boolean {
    return this.#driver?.isSoleVoter() === true;
  }

  leaseValid(): boolean {
    return this.#driver?.leaseValid() === true;
  }

  lastContact(): Millis {
    return this.#driver?.lastContact() ?? 0;
  }

  knowsLeader(): boolean {
    return this.#leader !== undefined;
  }

  /** The group `raft` of `consul info`. */
  stats(): StringMap {
    const state = this.#driver?.state();
    if (state === undefined) return {};
    const voters = state.configuration.servers.filter((server) => server.voter).length;
    return {
      applied_index: String(state.appliedIndex),
      commit_index: String(state.commitIndex),
      fsm_pending: "0",
      last_contact: contact(state),
      last_log_index: String(state.lastIndex),
      last_log_term: String(state.lastTerm),
      last_snapshot_index: String(state.snapshotIndex),
      last_snapshot_term: String(state.snapshotTerm),
      latest_configuration: describeServers(state.configuration.servers),
      latest_configuration_index: "0",
      num_peers: String(
        Math.max(0, voters - (state.configuration.servers.some(({ id, voter }) => voter && id === state.id) ? 1 : 0)),
      ),
      protocol_version: "3",
      protocol_version_max: "3",
      protocol_version_min: "0",
      snapshot_version_max: "1",
      snapshot_version_min: "0",
      state: capitalised(state.role),
      term: String(state.term),
    };
  }

  #running(): RaftDriver {
    if (this.#driver === undefined) throw new AgentError("no-leader", { message: "No cluster leader" });
    return this.#driver;
  }
}

/** As Consul introduces it. */
function startFailed(error: unknown): never {
  if (!(error instanceof AgentError) || error.code !== "config-invalid") throw error;
  throw new AgentError(error.code, {
    message: `Failed to start Consul server: Failed to start Raft: ${error.message}`,
    cause: error,
  });
}

/** The catalog as Raft saves and replaces it. */
function snapshotContent(catalog: Catalog, assembler: Assembler): SnapshotContent {
  return {
    midway: () => assembler.midway,
    capture() {
      const snapshot = catalog.snapshot();
      return (async function* () {
        yield* snapshot;
      })();
    },
    async restore(content) {
      const restoring = catalog.restore();
      for await (const chunk of content) restoring.push(chunk);
      restoring.finish();
      assembler.reset();
      catalog.watches.flush();
    },
  };
}

function describeServers(servers: RaftStatus["configuration"]["servers"]): string {
  return `[${servers.map(({ id, address, voter }) => `{Suffrage:${voter ? "Voter" : "Nonvoter"} ID:${id} Address:${address}}`).join(" ")}]`;
}

function contact(state: RaftStatus): string {
  if (state.lastContact === 0) return "0";
  return state.lastContact === Number.POSITIVE_INFINITY ? "never" : `${Math.floor(state.lastContact)}ms`;
}

/** As Consul words each role's line. */
function roleFields({ role, term, leaderAddress }: LeaderEvent, address: string): Readonly<Record<string, unknown>> {
  const self = `Node at ${address} [${capitalised(role)}]`;
  if (role === "leader") return { leader: self };
  return role === "follower" ? { follower: self, leader: leaderAddress ?? "" } : { node: self, term };
}

function capitalised(word: string): string {
  return word === "" ? "" : (word[0] as string).toUpperCase() + word.slice(1);
}
