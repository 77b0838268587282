/**
 * Whether the servers of the group are well: the leader asks each of them now and then, and judges (Consul 1.8: autopilot).
 *
 *   every 2 s: raftStats of each server ──► alive in gossip, in touch, of the leader's term, not far behind ──► healthy
 *
 * As many healthy voters as there are above a majority may still be lost: the failure tolerance.
 */
import type { AutopilotSettings } from "../catalog/records.ts";
import type { GroupHealth, Member, ServerHealth } from "../plugin/agent-api.ts";
import { type Clock, type Logger, type Metrics, noMetrics, type Timer } from "../ports/mod.ts";
import { majority } from "../raft/quorum.ts";
import type { RaftServer } from "../raft/messages.ts";
import { messageOf } from "../types/errors.ts";
import type { EpochMillis, LogIndex, Millis, NodeId, Term } from "../types/ids.ts";
import { serverOf } from "./servers.ts";

/** What a server says of itself. */
export interface RaftStats {
  /** Since it heard of the leader; 0 for the leader, Infinity for never. */
  readonly lastContact: Millis;
  readonly lastTerm: Term;
  readonly lastIndex: LogIndex;
}

export interface HealthView {
  readonly servers: readonly RaftServer[];
  readonly members: readonly Member[];
  readonly datacenter: string;
  readonly leader: NodeId;
  readonly lastTerm: Term;
  readonly lastIndex: LogIndex;
  /** Of those that answered. */
  readonly stats: ReadonlyMap<NodeId, RaftStats>;
  readonly settings: Pick<AutopilotSettings, "lastContactThreshold" | "maxTrailingLogs">;
  /** A server that is in touch may have heard of the leader so long ago, besides the threshold. */
  readonly contactGrace: Millis;
  /** The last judgement. */
  readonly before: readonly ServerHealth[];
  readonly now: EpochMillis;
}

/** As Consul shows a contact that never was. */
const never: Millis = -1e-6;

export function judgeHealth(view: HealthView): GroupHealth {
  const members = new Map(
    view.members.flatMap((member) => {
      const server = serverOf(member, view.datacenter);
      return server === undefined ? [] : [[server.id, { ...server, version: versionOf(member) }] as const];
    }),
  );
  const before = new Map(view.before.map((health) => [health.id, health]));
  const servers = view.servers.map(({ id, address, voter }): ServerHealth => {
    const member = members.get(id);
    const stats = member === undefined ? undefined : view.stats.get(id);
    const contact = stats?.lastContact ?? Number.POSITIVE_INFINITY;
    const status = member?.status ?? "none";
    const healthy = stats !== undefined && status === "alive" && isHealthy(stats, view);
    const last = before.get(id);
    return {
      id,
      name: member?.name ?? "",
      address,
      status,
      version: member?.version ?? "",
      leader: id === view.leader,
      lastContact: Number.isFinite(contact) ? contact : never,
      lastTerm: stats?.lastTerm ?? 0,
      lastIndex: stats?.lastIndex ?? 0,
      healthy,
      voter,
      // Who does not answer is not judged anew.
      stableSince:
        stats === undefined
          ? undefined
          : last?.stableSince !== undefined && last.healthy === healthy
            ? last.stableSince
            : view.now,
    };
  });
  const voters = servers.filter(({ voter }) => voter);
  const healthyVoters = voters.filter(({ healthy }) => healthy).length;
  return {
    healthy: servers.every(({ healthy }) => healthy),
    failureTolerance: Math.max(0, healthyVoters - majority(voters.length)),
    servers,
  };
}

function isHealthy(stats: RaftStats, { settings, contactGrace, lastTerm, lastIndex }: HealthView): boolean {
  const inTouch = stats.lastContact <= settings.lastContactThreshold + contactGrace;
  return inTouch && stats.lastTerm === lastTerm && lastIndex - stats.lastIndex <= settings.maxTrailingLogs;
}

/** "1.8.7" of the tag "1.8.7:26eb2b". */
function versionOf({ tags }: Member): string {
  return (tags["build"] ?? "").split(":", 1)[0] as string;
}

const lookInterval: Millis = 2000;

export interface HealthWatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** What is true now, but for the servers' answers. */
  readonly view: () => Omit<HealthView, "stats" | "before" | "now">;
  /** Rejects for one that does not answer. */
  readonly statsOf: (id: NodeId, timeout: Millis) => Promise<RaftStats>;
}

/** Looks while this server leads. */
export class HealthWatch {
  readonly #options: HealthWatchOptions;
  #current: GroupHealth = { healthy: false, failureTolerance: 0, servers: undefined };
  /** Rises with each start and stop: what was begun in an earlier one is void. */
  #stage = 0;
  #timer: Timer | undefined;
  readonly #healthyGauge: { set(value: number): void };
  readonly #toleranceGauge: { set(value: number): void };

  constructor(options: HealthWatchOptions) {
    this.#options = options;
    const { metrics = noMetrics } = options;
    this.#healthyGauge = metrics.gauge("autopilot.healthy");
    this.#toleranceGauge = metrics.gauge("autopilot.failure_tolerance");
  }

  /** The last judgement; without servers before the first one. */
  get current(): GroupHealth {
    return this.#current;
  }

  start(): void {
    void this.#look(++this.#stage); // never rejects
  }

  stop(): void {
    this.#stage++;
    this.#timer?.cancel();
    this.#current = { healthy: false, failureTolerance: 0, servers: undefined };
  }

  async #look(stage: number): Promise<void> {
    const { clock, logger, view, statsOf } = this.#options;
    const begun = clock.monotonic();
    const stats = new Map<NodeId, RaftStats>();
    const { servers } = view();
    await Promise.all(
      servers.map(async ({ id }) => {
        try {
          stats.set(id, await statsOf(id, lookInterval));
        } catch (error) {
          logger.log("debug", "error getting server health from server", { server: id, error: messageOf(error) });
        }
      }),
    );
    if (stage !== this.#stage) return;
    this.#current = judgeHealth({ ...view(), stats, before: this.#current.servers ?? [], now: clock.wall() });
    this.#healthyGauge.set(this.#current.healthy ? 1 : 0);
    this.#toleranceGauge.set(this.#current.failureTolerance);
    const rest = Math.max(0, begun + lookInterval - clock.monotonic());
    this.#timer = clock.after(rest, () => void this.#look(stage));
  }
}
