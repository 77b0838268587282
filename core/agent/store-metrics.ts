/** What a server tells of the requests it serves and the entries it applies, under the names of Consul 1.8. */
import type { Command, KvOp } from "../catalog/commands.ts";
import type { QueryKind, QueryOf } from "../catalog/queries.ts";
import type { Clock } from "../ports/clock.ts";
import { type Counter, type Metrics, noMetrics, type Sample } from "../ports/telemetry.ts";
import { BoundedSeries } from "../structures/bounded-series.ts";
import type { Bytes } from "../types/bytes.ts";
import type { Millis } from "../types/ids.ts";

/** Services, with their tags, that are counted one by one. */
const servicesMax = 512;
/** Longer names are not counted one by one. */
const nameLengthMax = 256;

type CommandKind = Command["kind"];

interface ServiceCounters {
  readonly query: Counter;
  readonly notFound: Counter;
  readonly tags: BoundedSeries<Counter>;
}

export class StoreMetrics {
  readonly consistentRead: Sample;
  readonly renew: Sample;
  readonly #query: Counter;
  readonly #txnRead: Sample;
  readonly #requests: Partial<Record<CommandKind, Sample>>;
  readonly #applied: Partial<Record<CommandKind, Sample>>;
  readonly #kv: Readonly<Record<KvOp["op"], Sample>>;
  readonly #services: Readonly<Record<"catalog" | "catalogConnect" | "health" | "healthConnect", BoundedSeries<ServiceCounters>>>;

  constructor(metrics: Metrics = noMetrics) {
    const sample = (name: string): Sample => metrics.sample(name);
    const fsm = (name: string, op: string): Sample => metrics.sample(`fsm.${name}`, { op });
    const services = (group: string): BoundedSeries<ServiceCounters> =>
      new BoundedSeries(servicesMax, (service) => ({
        query: metrics.counter(`${group}.query`, { service }),
        notFound: metrics.counter(`${group}.not-found`, { service }),
        tags: new BoundedSeries(servicesMax, (tag) => metrics.counter(`${group}.query-tags`, { service, tag })),
      }));
    this.consistentRead = sample("rpc.consistentRead");
    this.renew = sample("session.renew");
    this.#query = metrics.counter("rpc.query");
    this.#txnRead = sample("txn.read");
    const session = sample("session.apply");
    this.#requests = {
      kv: sample("kvs.apply"),
      txn: sample("txn.apply"),
      register: sample("catalog.register"),
      deregister: sample("catalog.deregister"),
      sessionCreate: session,
      sessionDestroy: session,
    };
    this.#applied = {
      register: sample("fsm.register"),
      deregister: sample("fsm.deregister"),
      sessionCreate: fsm("session", "create"),
      sessionDestroy: fsm("session", "destroy"),
      txn: sample("fsm.txn"),
      coordinates: sample("fsm.coordinate.batch-update"),
      autopilot: sample("fsm.autopilot"),
      tombstonesReap: fsm("tombstone", "reap"),
    };
    this.#kv = {
      set: fsm("kvs", "set"),
      cas: fsm("kvs", "cas"),
      acquire: fsm("kvs", "lock"),
      release: fsm("kvs", "unlock"),
      delete: fsm("kvs", "delete"),
      deleteCas: fsm("kvs", "delete-cas"),
      deleteTree: fsm("kvs", "delete-tree"),
    };
    this.#services = {
      catalog: services("catalog.service"),
      catalogConnect: services("catalog.connect"),
      health: services("health.service"),
      healthConnect: services("health.connect"),
    };
  }

  /** A client's write, from its arrival at the leader to its result. */
  onRequest(kind: CommandKind | undefined, begun: Millis, now: Millis): void {
    if (kind !== undefined) this.#requests[kind]?.observe(now - begun, now);
  }

  onApplied(command: Command, begun: Millis, now: Millis): void {
    const sample = command.kind === "kv" ? this.#kv[command.op.op] : this.#applied[command.kind];
    sample?.observe(now - begun, now);
  }

  /** A client's read. `found` undefined: not known. */
  onQuery(query: QueryOf<QueryKind>, found: boolean | undefined): void {
    this.#query.add(1);
    if (query.kind !== "serviceInstances" && query.kind !== "checkedInstances") return;
    const { service, tags, through } = query;
    if (through === "ingress" || service.length > nameLengthMax) return;
    const group = query.kind === "serviceInstances" ? "catalog" : "health";
    const counters = this.#services[through === "connect" ? (`${group}Connect` as const) : group].of(service);
    counters.query.add(1);
    if (tags !== undefined && tags.length > 0) {
      const tag = tags.join(",");
      if (tag.length <= nameLengthMax) counters.tags.of(tag).add(1);
    }
    if (found === false) counters.notFound.add(1);
  }

  /** Counts how long `reading` takes where it is a transaction. */
  timed<Result>(query: QueryOf<QueryKind>, clock: Pick<Clock, "monotonic">, reading: Promise<Result>): Promise<Result> {
    if (query.kind !== "txnRead") return reading;
    const begun = clock.monotonic();
    return reading.finally(() => this.#txnRead.observe(clock.monotonic() - begun));
  }
}

const kindsByText = new Map<string, CommandKind>(
  (["kv", "txn", "register", "deregister", "sessionCreate", "sessionDestroy"] as const).map((kind) => [kind, kind]),
);
/** A map of at most 23 fields, then the text "kind" of four bytes. */
const mapHead = 0xa0;
const textHead = 0x60;
const kindText = [0x64, 0x6b, 0x69, 0x6e, 0x64];

/** The kind of an encoded command without decoding it; undefined for one of no interest here, or laid out in another way. */
export function peekKind(command: Bytes): CommandKind | undefined {
  const head = command[0] ?? 0;
  if (head < mapHead || head >= mapHead + 24) return undefined;
  for (let at = 0; at < kindText.length; at++) if (command[at + 1] !== kindText[at]) return undefined;
  const length = (command[6] ?? 0) - textHead;
  if (length < 0 || length > 23) return undefined;
  return kindsByText.get(String.fromCharCode(...command.subarray(7, 7 + length)));
}
