/**
 * The tables of the catalog and the index at which each topic last changed.
 *
 * An index belongs to a topic (core/catalog/watch.ts): the tables ("nodes", "kv"…), each service ("service:web") and
 * "extinctions". To bump a topic's index and to wake its watchers is one act.
 */
import { OrderedMap } from "../structures/ordered-map.ts";
import type { LogIndex } from "../types/ids.ts";
import { Journal } from "./journal.ts";
import { KvTable } from "./kv-table.ts";
import { LockDelays } from "./lock-delays.ts";
import type { CoordinateEntry, Topic } from "./queries.ts";
import type { AutopilotRecord, CheckRecord, NodeRecord, ServiceRecord, SessionRecord } from "./records.ts";
import { foldedKey, Table } from "./table.ts";
import { idKey } from "./uuid.ts";
import { topics, type Watches } from "./watch.ts";

export class Tables {
  readonly journal = new Journal();
  readonly nodes = new Table<NodeRecord, "id" | "address">(this.journal, (node) => foldedKey(node.node), {
    id: (node) => (node.id === "" ? undefined : idKey(node.id)),
    address: (node) => node.address,
  });
  readonly services = new Table<ServiceRecord, "name" | "connect" | "address">(
    this.journal,
    (service) => foldedKey(service.node, service.id),
    {
      name: (service) => foldedKey(service.service),
      connect: (service) => {
        const name = connectName(service);
        return name === undefined ? undefined : foldedKey(name);
      },
      address: (service) => (service.address === "" ? undefined : service.address),
    },
  );
  readonly checks = new Table<CheckRecord, "service" | "status" | "instance">(
    this.journal,
    (check) => foldedKey(check.node, check.checkId),
    {
      service: (check) => (check.serviceName === "" ? undefined : foldedKey(check.serviceName)),
      status: (check) => check.status,
      instance: (check) => foldedKey(check.node, check.serviceId),
    },
  );
  readonly sessions = new Table<SessionRecord, "node">(this.journal, (session) => idKey(session.id), {
    node: (session) => foldedKey(session.node),
  });
  /** Which sessions a check ends: one row per session and check. */
  readonly sessionChecks = new Table<{ readonly node: string; readonly checkId: string; readonly session: string }>(
    this.journal,
    (row) => foldedKey(row.node, row.checkId, row.session),
    {},
  );
  readonly coordinates = new Table<CoordinateEntry>(this.journal, (entry) => foldedKey(entry.node, entry.segment), {});
  /** One row at most. */
  readonly autopilot = new Table<AutopilotRecord>(this.journal, () => "", {});
  readonly kv = new KvTable(this.journal);
  readonly lockDelays = new LockDelays(this.journal);
  readonly #indexes = new OrderedMap<LogIndex>();
  /** The index of topic "kv", apart from the others because every write of a key moves it. */
  #kvIndex: LogIndex = 0;
  readonly #watches: Watches;

  constructor(watches: Watches) {
    this.#watches = watches;
  }

  /** When `topic` last changed; undefined for never. */
  indexOf(topic: Topic): LogIndex | undefined {
    return this.#indexes.get(topic);
  }

  /** The latest of several tables' indexes; 0 for none. */
  maxIndex(...names: readonly Topic[]): LogIndex {
    let latest = 0;
    for (const name of names) latest = Math.max(latest, this.#indexes.get(name) ?? 0);
    return latest;
  }

  /** `topic` changed at `index`: remembers it and wakes who watches. */
  bump(topic: Topic, index: LogIndex): void {
    const before = this.#indexes.get(topic);
    this.#indexes.set(topic, index);
    if (this.journal.open) this.journal.record(() => this.#resetIndex(topic, before));
    this.touch(topic);
  }

  /** `topic` is no more: the last instance of a service is gone. */
  forget(topic: Topic): void {
    const before = this.#indexes.get(topic);
    this.#indexes.delete(topic);
    if (this.journal.open) this.journal.record(() => this.#resetIndex(topic, before));
    this.touch(topic);
  }

  touch(topic: Topic): void {
    if (this.journal.open) this.journal.touch(topic);
    else this.#watches.touch(topic);
  }

  /** When any key was last set or deleted; 0 for never. */
  get kvIndex(): LogIndex {
    return this.#kvIndex;
  }

  /** A key was set or deleted at `index`. */
  keyChanged(key: string, index: LogIndex): void {
    const before = this.#kvIndex;
    this.#kvIndex = index;
    if (this.journal.open) {
      this.journal.record(() => {
        this.#kvIndex = before;
      });
      this.journal.touch(topics.kvKey(key));
    } else this.#watches.touchKey(key);
  }

  /** Ends a command that took effect. */
  commit(): void {
    for (const topic of this.journal.commit()) this.#watches.touch(topic);
  }

  /** For snapshots. */
  freezeIndexes(): { readonly kvIndex: LogIndex; readonly indexes: OrderedMap<LogIndex> } {
    return { kvIndex: this.#kvIndex, indexes: this.#indexes.clone() };
  }

  /** For snapshots: into empty tables. */
  restoreIndexes(kvIndex: LogIndex, indexes: Iterable<readonly [Topic, LogIndex]>): void {
    this.#kvIndex = kvIndex;
    for (const [topic, index] of indexes) this.#indexes.set(topic, index);
  }

  #resetIndex(topic: Topic, index: LogIndex | undefined): void {
    if (index === undefined) this.#indexes.delete(topic);
    else this.#indexes.set(topic, index);
  }
}

/** The service that this one speaks for in the mesh: a proxy's destination, a native service itself. */
export function connectName(service: Pick<ServiceRecord, "kind" | "service" | "proxy" | "connectNative">): string | undefined {
  if (service.kind === "connect-proxy") {
    const destination = service.proxy?.["DestinationServiceName"];
    return typeof destination === "string" ? destination : undefined;
  }
  return service.connectNative ? service.service : undefined;
}
