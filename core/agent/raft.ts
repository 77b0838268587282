/**
 * Raft as the agent runs it: loads what the stores hold, restores the catalog from the newest snapshot, then drives.
 *
 *   new ──start(): load, restore──► running ──stop()──► at rest
 *
 * A lone server (dev mode, -bootstrap) brings up a group of itself at its first start.
 */
import type { Catalog } from "../catalog/catalog.ts";
import type { StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import { type Address, formatAddress, type LogEntry, type Logger, type Runtime, type Storage } from "../ports/mod.ts";
import { loadRaft, RaftDriver, type RaftStatus } from "../raft/driver.ts";
import { entryCommand, raftTiming } from "../raft/messages.ts";
import type { SnapshotContent } from "../raft/snapshot-transfer.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import type { LogIndex, Millis, NodeId } from "../types/ids.ts";

export interface RaftOptions {
  readonly runtime: Runtime;
  readonly storage: Storage;
  readonly config: AgentConfig;
  readonly nodeId: NodeId;
  /** Where this server is reached, once its listener is up. */
  readonly address: () => Address;
  readonly logger: Logger;
  readonly catalog: Catalog;
  readonly apply: (entries: readonly LogEntry[]) => readonly unknown[];
  readonly onLeader: (leading: boolean) => void;
  readonly onFatal: (error: unknown) => void;
}

export class Raft {
  readonly #options: RaftOptions;
  #driver: RaftDriver | undefined;
  #leading = false;

  constructor(options: RaftOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { runtime, storage, config, nodeId, logger, catalog } = this.#options;
    const address = formatAddress(this.#options.address());
    const { machine, snapshot } = await loadRaft(storage.raft, storage.snapshots, {
      id: nodeId,
      random: runtime.random.fork("raft"),
      timing: raftTiming(config.raftMultiplier, config.devMode),
      limits: {
        ...(config.raftSnapshotThreshold > 0 ? { snapshotThreshold: config.raftSnapshotThreshold } : {}),
        ...(config.raftTrailingLogs > 0 ? { trailingEntries: config.raftTrailingLogs } : {}),
      },
      bootstrap: { servers: [{ id: nodeId, address, voter: true }] },
      now: runtime.clock.monotonic(),
    });
    const content = snapshotContent(catalog);
    if (snapshot !== undefined) {
      await content.restore(storage.snapshots.read(snapshot));
      logger.log("info", "restored from snapshot", { id: snapshot.id });
    }
    logger.log("info", "initial configuration", {
      index: machine.configurationIndex,
      servers: describeServers(machine.configuration.servers),
    });
    if (!machine.configuration.servers.some((server) => server.id === nodeId)) {
      throw new AgentError("config-invalid", {
        message: `The data directory belongs to another server: its Raft group is ${describeServers(machine.configuration.servers)} and this one is ${nodeId}. Restore the file node-id, or start with an empty data directory`,
      });
    }
    this.#driver = new RaftDriver({
      machine,
      clock: runtime.clock,
      store: storage.raft,
      snapshots: storage.snapshots,
      logger,
      content,
      apply: this.#options.apply,
      // A group of one has nobody to write to.
      send: () => {},
      onLeader: (event) => {
        logger.log("info", `entering ${event.role} state`, {
          node: `Node at ${address} [${capitalised(event.role)}]`,
          term: event.term,
        });
        if (event.isLeader === this.#leading) return;
        this.#leading = event.isLeader;
        this.#options.onLeader(event.isLeader);
      },
      onFatal: this.#options.onFatal,
    });
    this.#driver.start();
  }

  async stop(): Promise<void> {
    await this.#driver?.stop();
  }

  propose(data: Bytes): Promise<{ readonly index: LogIndex; readonly result: unknown }> {
    return this.#running().propose(data, entryCommand);
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
    return this.#driver?.state().leader !== undefined;
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
      num_peers: String(Math.max(0, voters - 1)),
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

/** The catalog as Raft saves and replaces it. */
function snapshotContent(catalog: Catalog): SnapshotContent {
  return {
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

function capitalised(word: string): string {
  return word === "" ? "" : (word[0] as string).toUpperCase() + word.slice(1);
}
