/**
 * The leader's care for the servers of its group: who is added, who gets a vote, who is taken out.
 *
 *   member alive, unknown to Raft ──► learner ──healthy for server_stabilization_time──► voter
 *   member left, or reaped ─────────► removed, unless the rest would then be no quorum
 *   member failed ──────────────────► forced to leave, where a minority failed (cleanup_dead_servers)
 *
 * A server that has data of another group is never added: ours would overwrite it.
 *
 * One change at a time; each is decided anew from what is true then, so nothing needs to be undone. What cannot be done
 * now is tried again with the next look. (Consul 1.8: agent/consul/autopilot and leader.go.)
 */
import type { AutopilotSettings } from "../catalog/records.ts";
import type { Member } from "../plugin/agent-api.ts";
import type { Clock, Logger, Timer } from "../ports/mod.ts";
import { formatAddress } from "../ports/net.ts";
import type { MembershipChange, RaftServer } from "../raft/messages.ts";
import { majority } from "../raft/quorum.ts";
import { configurationFault } from "../raft/recovery.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { LogIndex, Millis, NodeId } from "../types/ids.ts";
import { serversAmong } from "./servers.ts";

/** What of the settings has an effect. */
export type CareSettings = Omit<AutopilotSettings, "redundancyZoneTag" | "disableUpgradeMigration" | "upgradeVersionTag">;

export interface CareView {
  readonly now: Millis;
  readonly self: NodeId;
  readonly datacenter: string;
  readonly autopilot: CareSettings;
  readonly servers: readonly RaftServer[];
  readonly members: readonly Member[];
  /** Since when each learner has been healthy. */
  readonly healthySince: ReadonlyMap<NodeId, Millis>;
  /** Not to be added now. */
  readonly strangers?: ReadonlySet<NodeId>;
}

export interface CareStep {
  readonly change: MembershipChange;
  readonly why: "joined" | "moved" | "stable" | "left";
}

/** The next change of the configuration, if one is due. */
export function nextChange(view: CareView): CareStep | undefined {
  const { servers, members, datacenter, self } = view;
  const known = new Map(servers.map((server) => [server.id, server]));
  const present = new Map(serversAmong(members, datacenter).map((server) => [server.id, server]));
  for (const [id, member] of present) {
    const address = formatAddress(member.address);
    const server = known.get(id);
    if (view.strangers?.has(id) === true) continue;
    if (member.alive && server === undefined)
      return { change: { kind: "add", server: { id, address, voter: false } }, why: "joined" };
    if (member.alive && server !== undefined && server.address !== address)
      return { change: { kind: "add", server: { ...server, address } }, why: "moved" };
    const mayGo = id !== self && member.status === "left" && server !== undefined && leavesQuorum(view, [id]);
    if (mayGo) return { change: { kind: "remove", id }, why: "left" };
  }
  for (const server of servers) {
    const since = view.healthySince.get(server.id);
    if (server.voter || since === undefined || view.now - since < view.autopilot.serverStabilizationTime) continue;
    return { change: { kind: "add", server: { ...server, voter: true } }, why: "stable" };
  }
  return undefined;
}

/** Whether enough voters are alive without these: a group that cannot decide cannot even take a server back. */
export function leavesQuorum(
  view: Pick<CareView, "servers" | "members" | "datacenter" | "self">,
  gone: readonly NodeId[],
): boolean {
  const alive = new Set(serversAmong(view.members, view.datacenter).flatMap(({ alive, id }) => (alive ? [id] : [])));
  const voters = view.servers.filter((server) => server.voter && !gone.includes(server.id));
  return voters.filter(({ id }) => id === view.self || alive.has(id)).length >= majority(voters.length) && voters.length > 0;
}

/** Whether a server with this configuration (none: no data) may enter the group. */
export function belongs(theirs: readonly NodeId[], id: NodeId, servers: readonly RaftServer[]): boolean {
  return theirs.length === 0 || servers.some((server) => server.id !== id && theirs.includes(server.id));
}

export interface DeadServers {
  /** Names of failed members that are servers of the group. */
  readonly failed: readonly string[];
  /** Servers that gossip does not know. */
  readonly unknown: readonly NodeId[];
  /** Why they stay; undefined: they may go. */
  readonly keep: string | undefined;
}

/** Whom to clean up: only ever a minority, and never below `min_quorum`. */
export function deadServers(view: Omit<CareView, "now" | "healthySince">): DeadServers {
  const { servers, members, datacenter, self, autopilot } = view;
  const present = new Map(serversAmong(members, datacenter).map((server) => [server.id, server]));
  const failed: string[] = [];
  const unknown: NodeId[] = [];
  for (const { id } of servers) {
    if (id === self) continue;
    const member = present.get(id);
    if (member === undefined) unknown.push(id);
    else if (member.status === "failed") failed.push(member.name);
  }
  const removals = failed.length + unknown.length;
  const peers = servers.filter((server) => server.voter).length;
  let keep: string | undefined;
  if (removals > 0 && removals > Math.floor((peers - 1) / 2))
    keep = `too many dead servers: ${removals} dead servers out of ${peers}`;
  else if (peers - removals < autopilot.minQuorum) keep = `min quorum of ${autopilot.minQuorum} would be broken`;
  return { failed, unknown, keep };
}

const lookInterval: Millis = 1000;
/** A server that an operator removed although it lives is taken back after this: Consul 1.8 does so with its next full pass. */
const removedFor: Millis = 60_000;
/** How long an operator's change waits for one that is under way, and how long between two tries. */
const turnWaitMax: Millis = 4000;
const turnPause: Millis = 20;
/** Autopilot's own pace, for what it does to dead servers. */
const cleanupInterval: Millis = 10_000;

export interface ServerCareOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly self: NodeId;
  readonly datacenter: string;
  readonly autopilot: () => CareSettings;
  readonly members: () => readonly Member[];
  readonly servers: () => readonly RaftServer[];
  readonly lastIndex: () => LogIndex;
  readonly progressOf: (id: NodeId) => { readonly match: LogIndex; readonly lastContact: Millis } | undefined;
  /** Followers are heard of so often. */
  readonly heartbeatInterval: Millis;
  readonly change: (change: MembershipChange) => Promise<void>;
  /** The configuration that a server has; empty when it has no data. Rejects when it cannot be asked. */
  readonly belonging: (id: NodeId) => Promise<readonly NodeId[]>;
  readonly forceLeave: (name: string) => Promise<void>;
}

export class ServerCare {
  readonly #options: ServerCareOptions;
  readonly #healthySince = new Map<NodeId, Millis>();
  /** Servers of other groups that were reported. */
  readonly #reported = new Set<NodeId>();
  /** Removed by an operator, until when it stays out. */
  readonly #removed = new Map<NodeId, Millis>();
  #leading = false;
  #looking: Promise<void> | undefined;
  #timer: Timer | undefined;
  #cleanupAt: Millis = 0;
  /** Unknown to gossip at the last cleaning: a leader may be elected before it has met everyone. */
  #unknownBefore: ReadonlySet<NodeId> = new Set();

  constructor(options: ServerCareOptions) {
    this.#options = options;
  }

  start(): void {
    this.#leading = true;
    this.#healthySince.clear();
    this.#unknownBefore = new Set();
    this.#cleanupAt = this.#options.clock.monotonic() + cleanupInterval;
    this.look();
  }

  stop(): void {
    this.#leading = false;
    this.#timer?.cancel();
  }

  /** Members changed, or time passed. */
  look(): void {
    if (!this.#leading || this.#looking !== undefined) return;
    this.#timer?.cancel();
    this.#looking = this.#look()
      .catch((error: unknown) =>
        this.#options.logger.log("debug", "failed to look after the servers", { error: messageOf(error) }),
      )
      .then(() => {
        this.#looking = undefined;
        if (this.#leading) this.#timer = this.#options.clock.after(lookInterval, () => this.look());
      });
  }

  /** An operator, or the server itself, wants it out. Rejects with `rejected` in Consul's words. */
  async remove(id: NodeId): Promise<void> {
    const { servers, logger, clock } = this.#options;
    if (!servers().some((server) => server.id === id))
      throw new AgentError("rejected", { message: `id ${JSON.stringify(id)} was not found in the Raft configuration` });
    const fault = configurationFault({ servers: servers().filter((server) => server.id !== id) });
    if (fault !== undefined) throw new AgentError("rejected", { message: fault });
    this.#removed.set(id, clock.monotonic() + removedFor);
    await this.#changeInTurn({ kind: "remove", id });
    logger.log("warn", "Removed Raft peer", { id });
  }

  /** One change at a time: another, or a new leader's first entry, may be under way. Rejects with `rejected` when it goes on for long. */
  async #changeInTurn(membership: MembershipChange): Promise<void> {
    const { change, clock } = this.#options;
    const deadline = clock.monotonic() + turnWaitMax;
    for (;;) {
      try {
        return await change(membership);
      } catch (error) {
        if (!(error instanceof AgentError) || error.code !== "rate-limited") throw error;
        if (clock.monotonic() >= deadline) throw new AgentError("rejected", { message: error.message, cause: error });
      }
      await new Promise<void>((resolve) => void clock.after(turnPause, resolve));
    }
  }

  async #look(): Promise<void> {
    const { clock, change, logger } = this.#options;
    this.#noteHealth();
    for (const [id, until] of this.#removed) if (until <= clock.monotonic()) this.#removed.delete(id);
    const strangers = new Set(this.#removed.keys());
    for (;;) {
      if (!this.#leading) return;
      const step = nextChange({ ...this.#view(), now: clock.monotonic(), healthySince: this.#healthySince, strangers });
      if (step === undefined) break;
      if (step.why === "joined" && step.change.kind === "add" && !(await this.#isOurs(step.change.server))) {
        strangers.add(step.change.server.id);
        continue;
      }
      await change(step.change);
      const { change: done, why } = step;
      // A new server makes room for taking dead ones out: their replacement has come.
      if (why === "joined") this.#cleanupAt = clock.monotonic();
      if (done.kind === "add")
        logger.log("info", why === "stable" ? "Promoted server to voter" : `server ${why}, updated raft peer`, {
          id: done.server.id,
          address: done.server.address,
        });
      else logger.log("info", "removed server with id", { id: done.id, reason: why });
    }
    if (clock.monotonic() >= this.#cleanupAt) await this.#cleanUp();
  }

  async #isOurs({ id, address }: RaftServer): Promise<boolean> {
    const { belonging, servers, logger } = this.#options;
    let theirs: readonly NodeId[];
    try {
      theirs = await belonging(id);
    } catch (error) {
      logger.log("debug", "failed to ask a new server for its group", { id, address, error: messageOf(error) });
      return false;
    }
    if (belongs(theirs, id, servers())) return true;
    if (!this.#reported.has(id))
      logger.log("error", "not adding Raft peer: its data belongs to another group. Start it with an empty data directory", {
        id,
        address,
      });
    this.#reported.add(id);
    return false;
  }

  #view(): Omit<CareView, "now" | "healthySince"> {
    const { self, datacenter, autopilot, servers, members } = this.#options;
    return { self, datacenter, autopilot: autopilot(), servers: servers(), members: members() };
  }

  #noteHealth(): void {
    const { clock, autopilot, servers, members, datacenter, progressOf, lastIndex, heartbeatInterval } = this.#options;
    const { lastContactThreshold, maxTrailingLogs } = autopilot();
    const now = clock.monotonic();
    const alive = new Set(serversAmong(members(), datacenter).flatMap((server) => (server.alive ? [server.id] : [])));
    for (const { id, voter } of servers()) {
      const progress = progressOf(id);
      const healthy =
        !voter &&
        progress !== undefined &&
        alive.has(id) &&
        now - progress.lastContact <= lastContactThreshold + 2 * heartbeatInterval &&
        lastIndex() - progress.match <= maxTrailingLogs;
      if (!healthy) this.#healthySince.delete(id);
      else if (!this.#healthySince.has(id)) this.#healthySince.set(id, now);
    }
  }

  async #cleanUp(): Promise<void> {
    const { clock, logger, forceLeave, change } = this.#options;
    this.#cleanupAt = clock.monotonic() + cleanupInterval;
    const view = this.#view();
    if (!view.autopilot.cleanupDeadServers) return;
    const { failed, unknown, keep } = deadServers(view);
    const unknownBefore = this.#unknownBefore;
    this.#unknownBefore = new Set(unknown);
    if (keep !== undefined) {
      logger.log("debug", "Failed to remove dead servers", { reason: keep });
      return;
    }
    for (const name of failed) {
      logger.log("info", "Attempting removal of failed server node", { name });
      await forceLeave(name);
    }
    for (const id of unknown) {
      if (!unknownBefore.has(id)) continue;
      logger.log("info", "Attempting removal of stale server", { id });
      await change({ kind: "remove", id });
    }
  }
}
