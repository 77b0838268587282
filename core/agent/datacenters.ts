/**
 * The other datacenters, as this server reaches them: which there are, how far each is, and how to ask one of its servers.
 *
 *   WAN gossip ──members──► datacenter ──► its servers ──► calls ──RPC──► one of them
 *                               │             ├─ joined, changed    asked in turn
 *                               │             ├─ failed             the others first; do any of them answer?
 *                               │             └─ left, reaped       not asked any more
 *                               └─ without servers: forgotten, with its connections
 *
 * A datacenter nobody knows is `No path to datacenter`. One whose servers gossip holds for failed, and none of which
 * answers a ping, is `Remote DC has no server currently reachable` until one comes back: requests for a datacenter that
 * is cut off fail at once instead of running into timeouts. (Consul 1.8, agent/router; it takes a few minutes longer.)
 */
import type { Coordinate } from "../catalog/records.ts";
import type { Fields } from "../codec/fields.ts";
import type { Encodable, Value } from "../codec/msgpack.ts";
import type { AgentConfig } from "../config/config.ts";
import type { DatacenterMap, Member, SnapshotApi } from "../plugin/agent-api.ts";
import type { Clock, Logger, Random, Streams } from "../ports/mod.ts";
import { decodeQueryOptions } from "../rpc/endpoints/query-options.ts";
import { distance } from "../serf/coordinates.ts";
import type { MemberEventKind } from "../serf/members.ts";
import type { Pool } from "../serf/pool.ts";
import type { Cancel } from "../types/cancel.ts";
import { AgentError, noPathToDatacenter } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { ClientServers } from "./client-servers.ts";
import type { ClientStore } from "./client-store.ts";
import { RemoteSnapshots } from "./remote-snapshots.ts";
import { serverOf } from "./servers.ts";

export interface DatacentersOptions {
  /** Undefined: other datacenters cannot be reached. */
  readonly streams: Streams | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly config: () => AgentConfig;
  /** Of the servers of all datacenters. Undefined: there is none. */
  readonly pool: () => Pool | undefined;
}

/** More than any federation has. */
const datacentersMax = 512;
/** For the call itself, beside the time a blocking one waits. */
const callTimeout: Millis = 60_000;
/** Servers add up to this share of a wait at random. */
const jitterShare = 1 / 16;
/** As Consul's servers keep connections to one another. */
const idleTimeout: Millis = 120_000;
const idleStreamsMax = 64;
const areaId = "wan";

export class Datacenters {
  readonly #options: DatacentersOptions;
  readonly #own: string;
  readonly #others = new Map<string, ClientServers>();
  #stopping: Promise<unknown> | undefined;

  constructor(options: DatacentersOptions) {
    this.#options = options;
    this.#own = options.config().datacenter;
  }

  /** A member of the WAN pool came, went, or changed. */
  onMember(change: MemberEventKind, member: Member): void {
    const { logger } = this.#options;
    const datacenter = member.tags["dc"] ?? "";
    if (serverOf(member, datacenter) === undefined) {
      logger.log("warn", "Non-server in server-only area", { non_server: member.name, area: areaId });
      return;
    }
    logger.log("info", "Handled event for server in area", { event: `member-${change}`, server: member.name, area: areaId });
    if (datacenter === this.#own || this.#stopping !== undefined) return;
    this.#keepServers(datacenter);
    const servers = this.#others.get(datacenter);
    if (change === "failed") servers?.failed(member.name);
    else if (change === "join") servers?.revived();
  }

  /**
   * The catalog of another datacenter. Throws `no-datacenter` ("No path to datacenter"), or `rejected` when none of its
   * servers answers.
   */
  store(datacenter: string): ClientStore {
    return this.#servers(datacenter).store;
  }

  /** Throws as {@link store}. */
  snapshots(datacenter: string): SnapshotApi {
    const servers = this.#servers(datacenter);
    return new RemoteSnapshots({ connect: () => servers.connect(), datacenter });
  }

  /** Passes a call on as it came; its answer is to be passed back. Rejects as {@link store}, and as the server refuses. */
  async forward(datacenter: string, method: string, args: Fields, cancel?: Cancel): Promise<Encodable> {
    const { minIndex, wait } = decodeQueryOptions(args);
    const { defaultQueryTime, maxQueryTime } = this.#options.config();
    const blocks = minIndex === 0 ? 0 : wait === 0 ? defaultQueryTime : Math.min(wait, maxQueryTime);
    const isRead = args.has("AllowStale") && !notRepeatable.has(method);
    return this.call(datacenter, { method, args: args.map, isRead, timeout: callTimeout + blocks * (1 + jitterShare), cancel });
  }

  /** One call to whichever server of the datacenter answers. Rejects as {@link store}, and as the server refuses. */
  async call(
    datacenter: string,
    call: {
      readonly method: string;
      readonly args: Encodable;
      readonly isRead: boolean;
      readonly timeout?: Millis;
      readonly cancel?: Cancel | undefined;
    },
  ): Promise<Value> {
    return this.#servers(datacenter).calls.call({ timeout: callTimeout, ...call }, (reply) => reply);
  }

  /** All that the WAN pool knows, this one included, by name. */
  names(): readonly string[] {
    const names = new Set([this.#own]);
    for (const { datacenter } of this.#present()) names.add(datacenter);
    return [...names].sort();
  }

  /** The same, nearest first: by the median of the round trips to their servers. This one is at no distance. */
  byDistance(): readonly string[] {
    const pool = this.#options.pool();
    const trips = new Map<string, number[]>([[this.#own, [0]]]);
    for (const { member, datacenter } of this.#present()) {
      const other = pool?.coordinateOf(member.name);
      const away = datacenter === this.#own ? 0 : secondsBetween(pool?.coordinate(), other);
      const known = trips.get(datacenter);
      if (known === undefined) trips.set(datacenter, [away]);
      else known.push(away);
    }
    const median = (datacenter: string): number => {
      const sorted = (trips.get(datacenter) as number[]).sort((left, right) => left - right);
      return sorted[Math.floor(sorted.length / 2)] as number;
    };
    const away = new Map([...trips.keys()].map((datacenter) => [datacenter, median(datacenter)]));
    const apart = (left: string, right: string): number => {
      const [first, second] = [away.get(left) as number, away.get(right) as number];
      return first === second ? 0 : first - second;
    };
    // By name where distances do not differ: the sort is stable.
    return [...away.keys()].sort().sort(apart);
  }

  /** The servers of each datacenter and where they are, as far as that is known. */
  maps(): readonly DatacenterMap[] {
    const pool = this.#options.pool();
    const maps = new Map<string, { readonly node: string; readonly coordinate: Coordinate }[]>();
    for (const { member, datacenter, shortName } of this.#present()) {
      const coordinate = pool?.coordinateOf(member.name);
      if (coordinate === undefined) continue;
      const known = maps.get(datacenter) ?? [];
      maps.set(datacenter, known);
      known.push({ node: shortName, coordinate });
    }
    return [...maps.keys()].sort().map((datacenter) => ({
      datacenter,
      areaId,
      coordinates: maps.get(datacenter) as { node: string; coordinate: Coordinate }[],
    }));
  }

  /** Who waits for an answer is told that the agent is closing. */
  async stop(): Promise<void> {
    this.#stopping ??= Promise.all([...this.#others.values()].map((servers) => servers.stop()));
    this.#others.clear();
    await this.#stopping;
  }

  #servers(datacenter: string): ClientServers {
    const { logger } = this.#options;
    const servers = this.#others.get(datacenter);
    if (servers === undefined) {
      logger.log("warn", "RPC request for DC is currently failing as no path was found", { datacenter });
      throw noPathToDatacenter();
    }
    if (servers.offline) {
      logger.log("warn", "RPC request to DC is currently failing as no server can be reached", { datacenter });
      throw unreachable();
    }
    return servers;
  }

  /** Those the router would ask: members that left are out of it, those that failed may come back. */
  #present(): readonly { readonly member: Member; readonly datacenter: string; readonly shortName: string }[] {
    const members = this.#options.pool()?.members() ?? [];
    return members.flatMap((member) => {
      const datacenter = member.tags["dc"] ?? "";
      if (member.status === "left" || serverOf(member, datacenter) === undefined) return [];
      const suffix = `.${datacenter}`;
      const shortName = member.name.endsWith(suffix) ? member.name.slice(0, -suffix.length) : member.name;
      return [{ member, datacenter, shortName }];
    });
  }

  /** Makes the list of a datacenter's servers what gossip says. */
  #keepServers(datacenter: string): void {
    const present = this.#present().flatMap(({ member }) => serverOf(member, datacenter) ?? []);
    const known = this.#others.get(datacenter);
    if (present.length > 0) {
      const servers = known ?? this.#create(datacenter);
      servers?.set(present);
    } else if (known !== undefined) {
      this.#others.delete(datacenter);
      void known.stop(noPathToDatacenter());
    }
  }

  #create(datacenter: string): ClientServers | undefined {
    const { streams, clock, random, logger, config } = this.#options;
    if (streams === undefined) return undefined;
    if (this.#others.size >= datacentersMax) {
      logger.log("error", "too many datacenters: this one cannot be asked", { datacenter, datacenters_max: datacentersMax });
      return undefined;
    }
    const servers: ClientServers = new ClientServers({
      streams,
      clock,
      random: random.fork(`datacenter ${datacenter}`),
      logger,
      config,
      clusterSize: () => this.#present().length,
      connections: { idleTimeout, idleStreamsMax },
      refusal: () =>
        this.#others.get(datacenter) !== servers ? noPathToDatacenter() : servers.offline ? unreachable() : undefined,
    });
    this.#others.set(datacenter, servers);
    return servers;
  }
}

/** They carry the options of a read, and happen twice when they are sent twice. */
const notRepeatable: ReadonlySet<string> = new Set(["Internal.EventFire", "Internal.KeyringOperation"]);

/** Infinity when one of them is not known. */
function secondsBetween(from: Coordinate | undefined, to: Coordinate | undefined): number {
  return from === undefined || to === undefined ? Number.POSITIVE_INFINITY : distance(from, to);
}

function unreachable(): AgentError {
  return new AgentError("rejected", { message: "Remote DC has no server currently reachable" });
}
