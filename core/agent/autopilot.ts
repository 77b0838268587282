/**
 * How servers are looked after, as operators see and change it: settings kept in the log, health judged by the leader.
 *
 *   configuration ──► the catalog, as fresh as asked for       set ──► the log
 *   health ──► here, when this server leads ─ else ─► the leader
 *
 * The first leader of a group writes its own configuration's `autopilot` block; from then on the log's settings count.
 */
import type { Catalog } from "../catalog/catalog.ts";
import type { AutopilotRecord, AutopilotSettings } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import type { AutopilotApi, GroupHealth, ReadOptions, WriteOptions } from "../plugin/agent-api.ts";
import { AgentError } from "../types/errors.ts";
import type { LogIndex, Millis, NodeId } from "../types/ids.ts";
import { decodeGroupHealth } from "./autopilot-codec.ts";
import type { ClientStore } from "./client-store.ts";
import type { ServerRequest } from "./forwarding.ts";
import type { ServerStore } from "./server-store.ts";
import type { HealthWatch } from "./server-health.ts";

export interface AutopilotOptions {
  readonly catalog: Catalog;
  readonly store: ServerStore;
  readonly config: () => AgentConfig;
  readonly health: HealthWatch;
  /** Undefined: unknown. */
  readonly leader: () => NodeId | undefined;
  readonly isLeader: () => boolean;
  readonly ask: (to: NodeId, request: ServerRequest, timeout: Millis) => Promise<unknown>;
  /** The store of another datacenter. Throws `no-datacenter`. */
  readonly elsewhere: (datacenter: string) => ClientStore;
}

const healthTimeout: Millis = 5000;

export class Autopilot implements AutopilotApi {
  readonly #options: AutopilotOptions;

  constructor(options: AutopilotOptions) {
    this.#options = options;
  }

  /** What counts now. */
  get settings(): AutopilotSettings {
    const { catalog, config } = this.#options;
    return catalog.autopilot ?? config().autopilot;
  }

  /** Where no leader has done so yet: in a new group, or one of an earlier version. */
  async initialise(): Promise<void> {
    const { catalog, store, config } = this.#options;
    if (catalog.autopilot !== undefined) return;
    await store.write({ kind: "autopilot", settings: config().autopilot, index: 0 });
  }

  async configuration(options: ReadOptions): Promise<AutopilotRecord> {
    const { catalog, store } = this.#options;
    const elsewhere = this.#elsewhere(options.datacenter);
    if (elsewhere !== undefined) return elsewhere.autopilotConfiguration(options);
    await store.fresh(options.consistency);
    const record = catalog.autopilot;
    if (record === undefined) throw new AgentError("rejected", { message: "autopilot config not initialized yet" });
    return record;
  }

  async configure(settings: AutopilotSettings, options: WriteOptions & { readonly index?: LogIndex }): Promise<boolean> {
    const elsewhere = this.#elsewhere(options.datacenter);
    if (elsewhere !== undefined) return elsewhere.configureAutopilot(settings, options);
    const result = await this.#options.store.write({ kind: "autopilot", settings, index: options.index });
    if (result.kind === "rejected") throw new AgentError("rejected", { message: result.message });
    return result.kind === "took" && result.effect;
  }

  async health(options: WriteOptions = {}): Promise<GroupHealth> {
    const { store, health, leader, isLeader, ask } = this.#options;
    const elsewhere = this.#elsewhere(options.datacenter);
    if (elsewhere !== undefined) return elsewhere.groupHealth(options);
    if (isLeader()) return health.current;
    // Waits for a leader, as any request does.
    await store.fresh("default");
    const to = leader();
    if (isLeader()) return health.current;
    const answer = to === undefined ? undefined : decodeGroupHealth(await ask(to, { kind: "groupHealth" }, healthTimeout));
    if (answer === undefined) throw new AgentError("no-leader", { message: "No cluster leader" });
    return answer;
  }

  #elsewhere(datacenter: string | undefined): ClientStore | undefined {
    if (datacenter === undefined || datacenter === "" || datacenter === this.#options.config().datacenter) return undefined;
    return this.#options.elsewhere(datacenter);
  }
}
