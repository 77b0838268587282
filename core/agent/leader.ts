/**
 * What only the leader does: keeps the catalog in step with the members, ends sessions, forgets old tombstones. Its care
 * for the other servers is in server-care.ts.
 *
 *   follower ──elected──► barrier ──► establish (session timers, reconcile) ──► leading ──lost──► follower
 *                            ▲                  │
 *                            └── failed: 5 s ───┘
 *
 * Everything it decides goes through the log like any client's write (Consul 1.8, agent/consul/leader.go).
 */
import type { Catalog } from "../catalog/catalog.ts";
import type { Command, CommandResult } from "../catalog/commands.ts";
import type { CheckFields, CheckStatus, ServiceFields } from "../catalog/records.ts";
import type { Member } from "../plugin/agent-api.ts";
import { type Clock, type Counter, type Logger, type Metrics, noMetrics, type Sample, type Timer } from "../ports/mod.ts";
import { messageOf } from "../types/errors.ts";
import type { LogIndex, Millis } from "../types/ids.ts";
import { SessionTimers } from "./session-timers.ts";
import { parseDuration } from "../config/duration.ts";

const reconcileInterval: Millis = 60_000;
/** After an attempt to establish leadership that failed. */
const establishAgain: Millis = 5000;
const tombstoneTtl: Millis = 15 * 60_000;
const tombstoneGranularity: Millis = 30_000;

export interface LeaderOptions {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly datacenter: string;
  /** The name of this server: it is never deregistered by itself. */
  readonly self: string;
  readonly members: () => readonly Member[];
  /** By this server's own log or not at all: what was decided here is void once another leads. */
  readonly write: (command: Command) => Promise<CommandResult>;
  /** Writes what a new group's catalog must hold. */
  readonly initialise?: () => Promise<void>;
  /** Tells all servers who leads now. */
  readonly announce: () => void;
  readonly now: () => number;
  readonly metrics?: Metrics;
}

export class Leader {
  readonly #options: LeaderOptions;
  readonly #sessions: SessionTimers;
  readonly #barriers: Counter;
  readonly #barrierTime: Sample;
  readonly #reconcileTime: Sample;
  readonly #reconcileMemberTime: Sample;
  readonly #reapTime: Sample;
  #leading = false;
  /** Rises with each beginning and each end: what began in an earlier one is over. */
  #stage = 0;
  #reconcileTimer: Timer | undefined;
  /** Between two attempts to establish leadership: goes on at once. */
  #goOn: (() => void) | undefined;
  #tombstoneTimer: Timer | undefined;
  /** Tombstones up to `index` may go at `at`. Bounded: one per granule of 30 s, 15 minutes long. */
  #tombstones: { readonly at: Millis; index: LogIndex }[] = [];

  constructor(options: LeaderOptions) {
    this.#options = options;
    const { metrics = noMetrics } = options;
    this.#barriers = metrics.counter("raft.barrier");
    this.#barrierTime = metrics.sample("leader.barrier");
    this.#reconcileTime = metrics.sample("leader.reconcile");
    this.#reconcileMemberTime = metrics.sample("leader.reconcileMember");
    this.#reapTime = metrics.sample("leader.reapTombstones");
    const invalidateTime = metrics.sample("session_ttl.invalidate");
    this.#sessions = new SessionTimers({
      clock: options.clock,
      logger: options.logger,
      parseTtl: (ttl) => {
        const parsed = parseDuration(ttl);
        return parsed.kind === "duration" ? parsed.millis : undefined;
      },
      destroy: async (id) => {
        const begun = options.clock.monotonic();
        await options.write({ kind: "sessionDestroy", id, now: options.now() });
        invalidateTime.observe(options.clock.monotonic() - begun);
      },
    });
  }

  /** Sessions with a time to live that this leader watches. */
  get timedSessions(): number {
    return this.#sessions.size;
  }

  get leading(): boolean {
    return this.#leading;
  }

  /**
   * `onLeading` is called when reads by this leader see everything its predecessors committed. What fails is tried again
   * for as long as this server leads: a leader that stands by Raft alone would end no session and add no server. Resolves
   * when all is done, or leadership is gone; never rejects.
   */
  async establish(onLeading: () => void): Promise<void> {
    const stage = ++this.#stage;
    for (;;) {
      try {
        await this.#attempt(stage, onLeading);
        return;
      } catch (error) {
        if (stage !== this.#stage) return;
        this.#options.logger.log("error", "failed to establish leadership", { error: messageOf(error) });
      }
      await this.#pause();
      if (stage !== this.#stage) return;
    }
  }

  async #attempt(stage: number, onLeading: () => void): Promise<void> {
    const { catalog, write, announce, clock } = this.#options;
    const begun = clock.monotonic();
    this.#barriers.add(1);
    await write({ kind: "barrier" });
    this.#barrierTime.observe(clock.monotonic() - begun);
    if (stage !== this.#stage) return;
    if (!this.#leading) {
      this.#leading = true;
      for (const session of catalog.evaluate({ kind: "sessions" }).answer) this.#sessions.add(session);
      this.#noteTombstones(catalog.lastIndex);
      onLeading();
    }
    await this.#options.initialise?.();
    if (stage !== this.#stage) return;
    await this.reconcile();
    if (stage !== this.#stage) return;
    announce();
    this.#armReconcile(stage);
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(establishAgain, resolve);
      this.#goOn = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  resign(): void {
    this.#stage++;
    this.#leading = false;
    this.#goOn?.();
    this.#goOn = undefined;
    this.#sessions.clear();
    this.#reconcileTimer?.cancel();
    this.#tombstoneTimer?.cancel();
    this.#tombstoneTimer = undefined;
    this.#tombstones = [];
  }

  /** False: the session is not there, or about to end. */
  renewSession(id: string): boolean {
    if (this.#options.catalog.evaluate({ kind: "session", id }).answer === undefined) return false;
    return this.#sessions.renew(id);
  }

  /** Called for each command as it is applied, with what it answered. */
  onApplied(_index: LogIndex, command: Command, result: CommandResult): void {
    if (!this.#leading) return;
    // As clients and tombstones count, which after a restore is ahead of the log.
    const index = this.#options.catalog.lastIndex;
    switch (command.kind) {
      case "sessionCreate":
        if (result.kind === "session") this.#sessions.add(command.session);
        return;
      case "sessionDestroy":
        this.#sessions.remove(command.id);
        this.#noteTombstones(index);
        return;
      case "kv":
        if (command.op.op.startsWith("delete")) this.#noteTombstones(index);
        return;
      case "txn":
      case "deregister":
        this.#noteTombstones(index);
        return;
      case "restoreEnd":
        if (result.kind === "done") this.#startAfresh(index);
        return;
      default:
        return;
    }
  }

  /** The whole state was replaced: each session's time runs anew, and the members are looked at again. */
  #startAfresh(index: LogIndex): void {
    this.#sessions.clear();
    for (const session of this.#options.catalog.evaluate({ kind: "sessions" }).answer) this.#sessions.add(session);
    this.#noteTombstones(index);
    void this.reconcile();
  }

  /** One pass over all members. */
  async reconcile(): Promise<void> {
    const { clock } = this.#options;
    const begun = clock.monotonic();
    for (const member of this.#options.members()) {
      if (!this.#leading) return;
      try {
        await this.reconcileMember(member);
      } catch (error) {
        this.#options.logger.log("error", "failed to reconcile member", { member: member.name, error: messageOf(error) });
      }
    }
    this.#reconcileTime.observe(clock.monotonic() - begun);
  }

  /** `reaped`: gossip has forgotten it. */
  async reconcileMember(member: Member, reaped = false): Promise<void> {
    if (!this.#leading) return;
    const { clock } = this.#options;
    const begun = clock.monotonic();
    await this.#reconcileOne(member, reaped);
    this.#reconcileMemberTime.observe(clock.monotonic() - begun);
  }

  async #reconcileOne(member: Member, reaped: boolean): Promise<void> {
    if (reaped) return this.#forget(member, "reaped");
    switch (member.status) {
      case "alive":
        return this.#markAlive(member);
      case "failed":
        return this.#markFailed(member);
      case "left":
        return this.#forget(member, "left");
      default:
        return;
    }
  }

  async #markAlive(member: Member): Promise<void> {
    const { catalog, logger } = this.#options;
    const known = catalog.evaluate({ kind: "nodeServices", node: member.name }).answer;
    const node = known?.node.node === member.name ? known : undefined;
    const service = consulService(member);
    const check = serfHealth("passing");
    const current = catalog
      .evaluate({ kind: "nodeChecks", node: member.name })
      .answer.find((entry) => entry.checkId === "serfHealth");
    const registered =
      service === undefined ||
      node?.services.some(
        (entry) => entry.id === "consul" && entry.port === service.port && entry.meta?.["version"] === service.meta?.["version"],
      );
    if (
      node !== undefined &&
      node.node.address === member.address &&
      node.node.id === member.tags["id"] &&
      registered === true &&
      current?.status === "passing"
    )
      return;
    logger.log("info", "member joined, marking health alive", { member: member.name });
    await this.#register(member, service, check);
  }

  async #markFailed(member: Member): Promise<void> {
    const known = this.#options.catalog.evaluate({ kind: "nodeServices", node: member.name }).answer;
    if (known?.node.node !== member.name) return;
    const current = this.#options.catalog
      .evaluate({ kind: "nodeChecks", node: member.name })
      .answer.find((entry) => entry.checkId === "serfHealth");
    if (current?.status === "critical") return;
    this.#options.logger.log("info", "member failed, marking health critical", { member: member.name });
    await this.#register(member, undefined, serfHealth("critical"));
  }

  async #forget(member: Member, reason: "left" | "reaped"): Promise<void> {
    if (member.name === this.#options.self) {
      this.#options.logger.log("warn", "deregistering self should be done by follower", { name: member.name });
      return;
    }
    const known = this.#options.catalog.evaluate({ kind: "nodeServices", node: member.name }).answer;
    if (known?.node.node !== member.name) return;
    this.#options.logger.log("info", "deregistering member", { member: member.name, reason });
    await this.#options.write({
      kind: "deregister",
      node: member.name,
      serviceId: undefined,
      checkId: undefined,
      now: this.#options.now(),
    });
  }

  async #register(member: Member, service: ServiceFields | undefined, check: CheckFields): Promise<void> {
    const result = await this.#options.write({
      kind: "register",
      node: member.name,
      id: member.tags["id"] ?? "",
      address: member.address,
      datacenter: this.#options.datacenter,
      taggedAddresses: undefined,
      nodeMeta: undefined,
      // A node that is there already, perhaps since a moment, stays as its agent describes it.
      skipNodeUpdate: true,
      service,
      checks: [check],
      now: this.#options.now(),
    });
    if (result.kind === "rejected")
      this.#options.logger.log("error", "failed to register member", { member: member.name, error: result.message });
  }

  #armReconcile(stage: number): void {
    this.#reconcileTimer = this.#options.clock.after(reconcileInterval, () => {
      void this.reconcile().then(() => {
        if (stage === this.#stage) this.#armReconcile(stage);
      });
    });
  }

  #noteTombstones(index: LogIndex): void {
    const at = (Math.floor((this.#options.clock.monotonic() + tombstoneTtl) / tombstoneGranularity) + 1) * tombstoneGranularity;
    const last = this.#tombstones.at(-1);
    if (last !== undefined && last.at === at) last.index = index;
    else this.#tombstones.push({ at, index });
    this.#armTombstones();
  }

  #armTombstones(): void {
    const first = this.#tombstones[0];
    if (first === undefined || this.#tombstoneTimer !== undefined) return;
    this.#tombstoneTimer = this.#options.clock.after(Math.max(0, first.at - this.#options.clock.monotonic()), () => {
      this.#tombstoneTimer = undefined;
      const due = this.#tombstones.shift();
      if (due === undefined || !this.#leading) return;
      const begun = this.#options.clock.monotonic();
      this.#options
        .write({ kind: "tombstonesReap", index: due.index })
        .then(() => this.#reapTime.observe(this.#options.clock.monotonic() - begun))
        .catch((error: unknown) =>
          this.#options.logger.log("error", "failed to reap tombstones", { index: due.index, error: messageOf(error) }),
        );
      this.#armTombstones();
    });
  }
}

function serfHealth(status: CheckStatus): CheckFields {
  return {
    checkId: "serfHealth",
    name: "Serf Health Status",
    status,
    notes: "",
    output: status === "passing" ? "Agent alive and reachable" : "Agent not live or unreachable",
    serviceId: "",
    type: "",
    definition: {},
  };
}

/** Servers carry the service `consul`; clients none. */
function consulService(member: Member): ServiceFields | undefined {
  if (member.tags["role"] !== "consul") return undefined;
  return {
    kind: "",
    id: "consul",
    service: "consul",
    tags: [],
    address: "",
    taggedAddresses: undefined,
    meta: {
      non_voter: member.tags["nonvoter"] === "1" ? "true" : "false",
      raft_version: member.tags["raft_vsn"] ?? "",
      serf_protocol_current: String(member.protocolCur),
      serf_protocol_max: String(member.protocolMax),
      serf_protocol_min: String(member.protocolMin),
      version: (member.tags["build"] ?? "").split(":")[0] ?? "",
    },
    port: Number(member.tags["port"] ?? 0),
    weights: { passing: 1, warning: 1 },
    enableTagOverride: false,
    proxy: undefined,
    connectNative: false,
  };
}
