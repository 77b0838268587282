/** One server of a driven group (driven-group.ts): a real driver over the real stores, on a simulated machine. */
import { Catalog } from "../../core/catalog/catalog.ts";
import type { Command, CommandResult } from "../../core/catalog/commands.ts";
import type { KvRecord } from "../../core/catalog/records.ts";
import { decode, encode } from "../../core/codec/cbor.ts";
import type { LogEntry, RaftStore, RaftWrite } from "../../core/ports/storage.ts";
import { loadRaft, RaftDriver } from "../../core/raft/driver.ts";
import { type Configuration, entryCommand, type RaftMessage } from "../../core/raft/messages.ts";
import type { RaftMachine } from "../../core/raft/raft.ts";
import type { Proposed } from "../../core/raft/waiters.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { LogIndex, NodeId } from "../../core/types/ids.ts";
import { WalContents } from "../shared/wal-batch.ts";
import type { Damage } from "./damage.ts";
import type { Faults } from "./faults.ts";
import type { Ledger } from "./ledger.ts";
import type { SimHost } from "./sim-host.ts";
import { check } from "./violation.ts";

export interface DrivenServerOptions {
  readonly host: SimHost;
  readonly configuration: Configuration;
  readonly faults: Faults;
  readonly ledger: Ledger;
  readonly send: (message: RaftMessage) => void;
  /** The driver has stopped, or did not start. */
  readonly onFatal: (server: DrivenServer, error: unknown) => void;
  readonly isHurt: (id: NodeId) => boolean;
}

interface Running {
  readonly machine: RaftMachine;
  readonly driver: RaftDriver;
  readonly catalog: Catalog;
}

export class DrivenServer {
  readonly id: NodeId;
  readonly host: SimHost;
  /** Its disk is damaged: it does not start any more. */
  refused = false;
  readonly #options: DrivenServerOptions;
  #running: Running | undefined;

  constructor(options: DrivenServerOptions) {
    this.#options = options;
    this.host = options.host;
    this.id = options.host.name;
    const { faults } = this.host.disk;
    faults.segmentBytes = options.faults.segmentBytes;
    faults.latencyMin = 0;
    faults.latencyMax = options.faults.diskMax;
  }

  get leads(): boolean {
    return this.#running?.driver.isLeader() === true;
  }
  get appliedIndex(): LogIndex {
    return this.#running?.driver.appliedIndex ?? 0;
  }

  async start(): Promise<void> {
    if (this.refused) return;
    const { life } = this.host;
    try {
      const running = await this.#begin();
      if (this.host.life !== life) return;
      this.#running = running;
      running.driver.start();
    } catch (error) {
      const damaged = error instanceof AgentError && (error.code === "wal-corrupt" || error.code === "snapshot-corrupt");
      if (damaged && this.#options.isHurt(this.id)) this.refused = true;
      else this.#options.onFatal(this, error);
    }
  }

  crash(how: "power" | "process"): void {
    this.#running = undefined;
    this.host.crash(how);
  }

  restart(): void {
    this.host.restart();
    void this.start(); // reports its failure
  }

  receive(message: RaftMessage): void {
    this.#running?.driver.receive(message);
  }

  propose(command: Command): Promise<Proposed> {
    return this.#up().then(({ driver }) => driver.propose(encode(command)));
  }

  /** A linearizable read. */
  async read(key: string): Promise<{ readonly index: LogIndex; readonly record: KvRecord | undefined }> {
    const { driver, catalog } = await this.#up();
    await driver.whenApplied(await driver.readIndex());
    return { index: driver.appliedIndex, record: catalog.evaluate({ kind: "kvGet", key }).answer };
  }

  hurt(damage: Damage): boolean {
    const { log, snapshots } = this.host.disk;
    switch (damage) {
      case "rotten log":
        return log.rot("log");
      case "rotten snapshot":
        return snapshots.rot("files");
      case "lost write":
        log.leadAstray("lost");
        return true;
      case "misdirected write":
        log.leadAstray("misdirected");
        return true;
    }
  }

  /** After every event. */
  look(): void {
    const { ledger, faults } = this.#options;
    if (this.#running === undefined) return;
    const { machine } = this.#running;
    machine.validate();
    ledger.stepped(this.id, machine, 0, faults.timing.election, () => []);
  }

  compare(): void {
    const running = this.#running;
    check(running !== undefined, "survivors run", () => `${this.id} is down`);
    this.#options.ledger.compare(this.id, running.driver.appliedIndex, running.catalog);
  }

  #up(): Promise<Running> {
    if (this.#running !== undefined) return Promise.resolve(this.#running);
    return Promise.reject(new AgentError("connection-refused", { message: "connection refused" }));
  }

  async #begin(): Promise<Running> {
    const { ledger, faults, configuration, send } = this.#options;
    const { id, host } = this;
    const { clock, random, logger } = host.runtime;
    const { life } = host;
    const storage = await host.disk.open();
    const store = new TellingStore(storage.raft);
    const { machine, snapshot } = await loadRaft(store, storage.snapshots, {
      id,
      random: random.fork("raft"),
      timing: faults.timing,
      limits: { ...faults.limits, snapshotInterval: 0 },
      bootstrap: configuration,
      now: clock.monotonic(),
    });
    const { hardState, entries } = store.told;
    ledger.started(id, { hardState, entries, snapshotIndex: snapshot?.index ?? 0 });
    store.onWrite = (write) => ledger.logged(id, machine, write.entries);
    const catalog = new Catalog();
    const restore = async (content: AsyncIterable<Bytes>): Promise<void> => {
      const restoring = catalog.restore();
      for await (const part of content) restoring.push(part);
      restoring.finish();
      catalog.watches.flush();
    };
    if (snapshot !== undefined) {
      await restore(storage.snapshots.read(snapshot));
      ledger.compare(id, snapshot.index, catalog);
      store.snapshotIndex = snapshot.index;
    }
    const apply = (entry: LogEntry): CommandResult | undefined => {
      const result = entry.type === entryCommand ? catalog.apply(entry.index, decode(entry.data) as Command) : undefined;
      catalog.watches.flush();
      ledger.took(id, machine.term, entry, result, catalog);
      return result;
    };
    const driver = new RaftDriver({
      machine,
      clock,
      store,
      snapshots: storage.snapshots,
      logger,
      apply: (committed) => committed.map(apply),
      content: {
        async *capture() {
          yield* catalog.snapshot();
        },
        restore,
      },
      send: (message) => {
        if (host.life !== life || !host.up) return;
        store.snapshotIndex = Math.max(store.snapshotIndex, machine.snapshotIndex);
        ledger.said(message, store.claims);
        send(message);
      },
      onLeader: () => {},
      onFatal: (error) => {
        if (host.life === life && host.up) this.#options.onFatal(this, error);
      },
    });
    return { machine, driver, catalog };
  }
}

/** Remembers what was told to be durable. */
class TellingStore implements RaftStore {
  readonly told = new WalContents();
  onWrite: (write: RaftWrite) => void = () => {};
  snapshotIndex: LogIndex = 0;
  readonly #store: RaftStore;

  constructor(store: RaftStore) {
    this.#store = store;
  }

  get claims() {
    const { hardState, entries } = this.told;
    return { hardState, last: Math.max(entries[entries.length - 1]?.index ?? 0, this.snapshotIndex) };
  }

  async load() {
    const loaded = await this.#store.load();
    this.told.hardState = loaded.hardState;
    this.told.entries = loaded.entries.slice();
    this.told.compacted = loaded.compacted ?? 0;
    return loaded;
  }

  async write(write: RaftWrite): Promise<void> {
    this.onWrite(write);
    await this.#store.write(write);
    const fault = this.told.apply(write);
    check(fault === undefined, "a stored log has no gaps", () => fault ?? "");
  }

  async compact(index: LogIndex): Promise<void> {
    await this.#store.compact(index);
    this.told.compact(index);
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}
