/**
 * The catalog as a server serves it: writes go through Raft, reads wait for what their consistency asks.
 *
 *   write ──encode──► leader: RaftDriver ──committed──► Catalog.apply ──► result to the proposer, watches to the waiters
 *                     follower: asks the leader to do so
 *   read  stale: at once
 *         default: leader, while its lease holds │ consistent: leader, after a read index
 *         follower: asks the leader for the index from which on its own catalog is fresh enough, and answers from that
 *   for another datacenter: asks one of its servers (datacenters.ts)
 *
 * Without a leader a request is held for `rpc_hold_timeout`, as Consul does, then fails with `No cluster leader`. A
 * write is only sent again when it was certainly not carried out.
 */
import type { Catalog } from "../catalog/catalog.ts";
import type { Command, CommandResult } from "../catalog/commands.ts";
import type { Answers, QueryKind, QueryOf } from "../catalog/queries.ts";
import { decodeInPlace, encode } from "../codec/cbor.ts";
import type { AgentConfig } from "../config/config.ts";
import type {
  Blocking,
  Consistency,
  ReadMeta,
  ReadOptions,
  Shared,
  SharedRead,
  StoreApi,
  WriteOptions,
} from "../plugin/agent-api.ts";
import type { Clock, LogEntry, Timer } from "../ports/mod.ts";
import { leadershipLost } from "../raft/waiters.ts";
import { entryCommand } from "../raft/messages.ts";
import type { Bytes } from "../types/bytes.ts";
import { type Cancel, clientGone } from "../types/cancel.ts";
import { AgentError, unreachable } from "../types/errors.ts";
import { checkedInteger, type LogIndex, type Millis, type NodeId } from "../types/ids.ts";
import type { ServerRequest } from "./forwarding.ts";
import { late } from "./late-cancel.ts";
import { WriteReceiver, WriteSender } from "./large-writes.ts";
import type { Leader } from "./leader.ts";
import { LeaderQuestions } from "./leader-questions.ts";
import type { Raft } from "./raft.ts";
import type { SharedReads } from "./shared-reads.ts";
import { peekKind, StoreMetrics } from "./store-metrics.ts";

/** Requests held without a leader; more are refused at once. */
const heldMax = 10_000;
/** Between attempts to reach a leader that is known but does not answer as one. */
const againAfter: Millis = 50;
/** Consul 1.8: 30 s to enter the log. */
const writeTimeout: Millis = 30_000;
const readTimeout: Millis = 5000;
/** As Consul says that it never heard of one. */
const lastContactMax: Millis = 9_223_372_036_854;
/** What another server answered gets this prefix (Consul 1.8). */
const forwardedPrefix = "rpc error making call: ";

export interface ServerStoreOptions {
  readonly catalog: Catalog;
  readonly raft: Raft;
  readonly shared: SharedReads;
  readonly leader: Leader;
  /** Asks another server of the group; see forwarding.ts. */
  readonly ask: (to: NodeId, request: ServerRequest, timeout: Millis) => Promise<unknown>;
  /** The catalog of another datacenter. Throws `no-datacenter`, or `rejected` when none of its servers answers. */
  readonly elsewhere: (datacenter: string) => StoreApi;
  readonly clock: Clock;
  readonly config: () => AgentConfig;
  readonly metrics?: StoreMetrics;
}

type ServedRequest = Extract<ServerRequest, { readonly kind: "write" | "writePiece" | "readIndex" | "renewSession" }>;

export class ServerStore implements StoreApi {
  readonly #options: ServerStoreOptions;
  readonly #held = new Set<Held>();
  readonly #questions: LeaderQuestions;
  readonly #metrics: StoreMetrics;
  #stopped = false;
  readonly #rounds = { default: new SharedRound(), consistent: new SharedRound() };

  readonly #sender: WriteSender;
  readonly #receiver: WriteReceiver;

  constructor(options: ServerStoreOptions) {
    this.#options = options;
    this.#metrics = options.metrics ?? new StoreMetrics();
    this.#questions = new LeaderQuestions({
      clock: options.clock,
      leader: () => options.raft.leader(),
      patience: () => options.config().rpcHoldTimeout,
    });
    const { raft, clock } = options;
    this.#sender = new WriteSender(options.ask);
    this.#receiver = new WriteReceiver({
      clock,
      write: async (command) => (await raft.propose(command)).result,
    });
  }

  now(): number {
    return this.#options.clock.wall();
  }

  meta(index: number): ReadMeta {
    const { raft } = this.#options;
    return { index, knownLeader: raft.knowsLeader(), lastContact: Math.min(Math.floor(raft.lastContact()), lastContactMax) };
  }

  async read<Kind extends QueryKind>(
    query: QueryOf<Kind>,
    options: ReadOptions,
  ): Promise<{ meta: ReadMeta; answer: Answers[Kind] }> {
    const remote = this.#remote(options.datacenter);
    if (remote !== undefined) return remote.read<Kind>(query, options);
    return this.#metrics.timed(query, this.#options.clock, this.#read<Kind>(query, options));
  }

  async #read<Kind extends QueryKind>(
    query: QueryOf<Kind>,
    { consistency, cancel }: ReadOptions,
  ): Promise<{ meta: ReadMeta; answer: Answers[Kind] }> {
    await this.#consistent(consistency, { cancel, at: "soon" });
    const { index, answer } = this.#options.catalog.evaluate<Kind>(query);
    this.#noteQuery(query, answer);
    return { meta: this.#metaFor(consistency, index), answer };
  }

  readNow<Kind extends QueryKind>(
    query: QueryOf<Kind>,
    consistency: Consistency,
  ): { meta: ReadMeta; answer: Answers[Kind] } | undefined {
    if (!this.#mayAnswerNow(consistency)) return undefined;
    const { index, answer } = this.#options.catalog.evaluate<Kind>(query);
    this.#noteQuery(query, answer);
    return { meta: this.meta(index), answer };
  }

  #noteQuery(query: QueryOf<QueryKind>, answer: unknown): void {
    this.#metrics.onQuery(query, Array.isArray(answer) ? answer.length > 0 : undefined);
  }

  async readShared<Kind extends QueryKind, Rendered extends object>(
    request: SharedRead<Kind, Rendered>,
    blocking?: Blocking,
  ): Promise<Shared<Rendered>> {
    const remote = this.#remote(request.options.datacenter);
    if (remote !== undefined) return remote.readShared(request, blocking);
    const at = blocking !== undefined && blocking.minIndex > 0 ? "once" : "soon";
    await this.#consistent(request.options.consistency, { cancel: blocking?.cancel, at });
    const shared = await this.#options.shared.read(request, blocking);
    if (request.options.consistency === "stale" || this.#options.raft.isLeader()) return shared;
    return { meta: this.#metaFor(request.options.consistency, shared.meta.index), rendered: shared.rendered };
  }

  sharedNow<Rendered extends object>(key: string, consistency: Consistency): Shared<Rendered> | undefined {
    return this.#mayAnswerNow(consistency) ? this.#options.shared.now<Rendered>(key) : undefined;
  }

  async write(command: Command, options: WriteOptions = {}): Promise<CommandResult> {
    const remote = this.#remote(options.datacenter);
    if (remote !== undefined) return remote.write(command, options);
    const data = encode(command);
    if (this.#options.raft.isLeader()) {
      try {
        return (await this.#propose(data, command.kind)) as CommandResult;
      } catch (error) {
        if (!mayTryAgain(error, { here: true, repeatable: false })) throw error;
      }
    }
    const { here, value } = await this.#atLeader<CommandResult>({
      here: async () => (await this.#propose(data, command.kind)) as CommandResult,
      there: (leader) =>
        this.#questions.ask(leader, false, () => this.#sender.send(leader, data, writeTimeout) as Promise<CommandResult>),
      repeatable: false,
      ends: { cancel: options.cancel, at: "soon" },
    });
    if (here || value.kind !== "rejected") return value;
    return { kind: "rejected", message: forwardedPrefix + value.message };
  }

  /** As {@link write}, by this server's own log or not at all. Rejects with `no-leader` where another leads, or nobody. */
  async propose(command: Command): Promise<CommandResult> {
    return (await this.#options.raft.propose(encode(command))).result as CommandResult;
  }

  async renewSession(id: string, options: WriteOptions = {}): Promise<boolean> {
    const remote = this.#remote(options.datacenter);
    if (remote !== undefined) return remote.renewSession(id, options);
    const { value } = await this.#atLeader({
      here: async () => this.#renewHere(id),
      there: async (leader) => (await this.#askToRead(leader, { kind: "renewSession", id })) === true,
      repeatable: true,
      ends: { cancel: options.cancel, at: "soon" },
    });
    return value;
  }

  /** Resolves when the catalog here is as fresh as this consistency asks. Rejects with `no-leader`. */
  fresh(consistency: Consistency): Promise<void> {
    return this.#consistent(consistency);
  }

  /** What a follower asks of its leader. Rejects with `no-leader` where this server is none. */
  async serve(request: ServedRequest, from: NodeId): Promise<unknown> {
    const { raft } = this.#options;
    if (!raft.isLeader()) throw noLeader();
    switch (request.kind) {
      case "writePiece":
        return this.#receiver.take(from, request);
      case "write":
        return this.#propose(request.command, peekKind(request.command));
      case "readIndex":
        return this.#readIndex(request.consistent);
      case "renewSession":
        return this.#renewHere(request.id);
      default:
        return unreachable(request);
    }
  }

  async #propose(data: Bytes, kind: Command["kind"] | undefined): Promise<unknown> {
    const { raft, clock } = this.#options;
    const begun = clock.monotonic();
    const { result } = await raft.propose(data);
    this.#metrics.onRequest(kind, begun, clock.monotonic());
    return result;
  }

  /** Another leads, here or elsewhere, and whoever was held goes on; or nobody does. */
  onLeader(): void {
    this.#questions.onLeader();
    if (this.#options.raft.leader() !== undefined) for (const held of [...this.#held]) held.release();
  }

  /** Applies committed entries, in order; what each answers goes to its proposer. */
  apply(entries: readonly LogEntry[]): readonly unknown[] {
    const { catalog, leader, clock } = this.#options;
    let begun = clock.monotonic();
    const results = entries.map((entry) => {
      if (entry.type !== entryCommand) return undefined;
      const command = decodeInPlace(entry.data) as Command; // the catalog copies what it keeps
      const result = catalog.apply(entry.index, command);
      leader.onApplied(entry.index, command, result);
      const now = clock.monotonic();
      this.#metrics.onApplied(command, begun, now);
      begun = now;
      return result;
    });
    catalog.watches.flush();
    return results;
  }

  stop(): void {
    this.#stopped = true;
    this.#receiver.stop();
    for (const held of [...this.#held]) held.refuse();
  }

  #mayAnswerNow(consistency: Consistency): boolean {
    const { leader, raft } = this.#options;
    switch (consistency) {
      case "stale":
        return true;
      case "default":
        return leader.leading && raft.leaseValid() && hasApplied(raft);
      case "consistent":
        return leader.leading && raft.isSoleVoter() && hasApplied(raft);
    }
  }

  /** The leader's word: a catalog that reflects this index is fresh enough. */
  async #readIndex(consistent: boolean): Promise<LogIndex> {
    const { leader, raft } = this.#options;
    return !consistent && leader.leading && raft.leaseValid() ? raft.commitIndex : raft.readIndex();
  }

  #askToRead(leader: NodeId, request: ServerRequest): Promise<unknown> {
    return this.#questions.ask(leader, true, () => this.#options.ask(leader, request, readTimeout));
  }

  /** What was asked of the leader is as fresh as the leader is, wherever it is answered. */
  #metaFor(consistency: Consistency, index: LogIndex): ReadMeta {
    return consistency === "stale" ? this.meta(index) : { index, knownLeader: true, lastContact: 0 };
  }

  /** Resolves when the catalog may answer with this consistency. */
  async #consistent(consistency: Consistency, ends?: Ends): Promise<void> {
    if (this.#mayAnswerNow(consistency)) {
      if (consistency === "consistent") this.#metrics.consistentRead.observe(0);
      return;
    }
    const { raft } = this.#options;
    const consistent = consistency === "consistent";
    const begun = this.#options.clock.monotonic();
    const round = consistent ? this.#rounds.consistent : this.#rounds.default;
    await this.#atLeader({
      here: async () => raft.whenApplied(await this.#readIndex(consistent), readTimeout),
      there: async (leader) => {
        const index = await round.ask(() => this.#askToRead(leader, { kind: "readIndex", consistent }));
        await raft.whenApplied(checkedInteger(index) ?? Number.MAX_SAFE_INTEGER, readTimeout);
      },
      repeatable: true,
      ends,
    });
    if (consistent) this.#metrics.consistentRead.observe(this.#options.clock.monotonic() - begun);
  }

  /** A leader that others have deposed, and that has not heard of it, must not say that a session goes on. */
  #renewHere(id: string): boolean {
    const { leader, raft, clock } = this.#options;
    if (!leader.leading || !raft.leaseValid()) throw noLeader();
    const begun = clock.monotonic();
    const renewed = leader.renewSession(id);
    this.#metrics.renew.observe(clock.monotonic() - begun);
    return renewed;
  }

  /** Does something at the leader, wherever that is. Tries again while that is safe and `rpc_hold_timeout` is not over. */
  async #atLeader<Value>(act: {
    readonly here: () => Promise<Value>;
    readonly there: (leader: NodeId) => Promise<Value>;
    /** Doing it twice does no harm. */
    readonly repeatable: boolean;
    readonly ends: Ends | undefined;
  }): Promise<{ readonly here: boolean; readonly value: Value }> {
    const { raft, clock } = this.#options;
    let deadline: Millis | undefined;
    let cancel: Cancel | undefined;
    for (;;) {
      if (this.#stopped) throw shuttingDown();
      const leader = raft.leader();
      const here = raft.isLeader();
      if (here || leader !== undefined) {
        try {
          return { here, value: here ? await act.here() : await act.there(leader as NodeId) };
        } catch (error) {
          if (!mayTryAgain(error, { here, repeatable: act.repeatable })) throw here ? error : forwarded(error);
        }
      }
      if (deadline === undefined) {
        deadline = clock.monotonic() + this.#options.config().rpcHoldTimeout;
        cancel = act.ends?.at === "soon" ? late(clock, act.ends.cancel) : act.ends?.cancel;
      }
      if (clock.monotonic() >= deadline) throw noLeader();
      await this.#hold(deadline, leader !== undefined && leader === raft.leader() ? againAfter : undefined, cancel);
    }
  }

  /** Undefined: this catalog is meant. */
  #remote(datacenter: string | undefined): StoreApi | undefined {
    if (datacenter === undefined || datacenter === "" || datacenter === this.#options.config().datacenter) return undefined;
    return this.#options.elsewhere(datacenter);
  }

  /**
   * Until there is a leader, or for `pause`. Rejects with `no-leader` at the deadline, and when too many wait already; with
   * `cancelled` when nobody wants it any more.
   */
  #hold(deadline: Millis, pause: Millis | undefined, cancel: Cancel | undefined): Promise<void> {
    if (cancel?.aborted === true) return Promise.reject(clientGone());
    if (this.#held.size >= heldMax) return Promise.reject(noLeader());
    const { clock } = this.#options;
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        timer.cancel();
        cancel?.removeEventListener("abort", onCancel);
        this.#held.delete(held);
        settle();
      };
      const onCancel = (): void => end(() => reject(clientGone()));
      const held: Held = {
        release: () => end(resolve),
        refuse: () => end(() => reject(shuttingDown())),
      };
      const left = Math.max(0, deadline - clock.monotonic());
      const timer: Timer =
        pause === undefined
          ? clock.after(left, () => end(() => reject(noLeader())))
          : clock.after(Math.min(pause, left), () => end(resolve));
      this.#held.add(held);
      cancel?.addEventListener("abort", onCancel);
    });
  }
}

/** When its client is gone, a request that waits for a leader ends: at once, or soon (late-cancel.ts). */
interface Ends {
  readonly cancel: Cancel | undefined;
  readonly at: "once" | "soon";
}

interface Held {
  readonly release: () => void;
  readonly refuse: () => void;
}

/**
 * A majority without the leader may have an entry on its disks before the leader has it on its own: then followers show
 * it first, and the leader must not answer from a catalog that lacks it.
 */
function hasApplied(raft: Raft): boolean {
  return raft.appliedIndex >= raft.commitIndex;
}

/** One question out at a time; all who come meanwhile share the next one, which is asked after they came. */
class SharedRound {
  #current: Promise<unknown> | undefined;
  #next: Promise<unknown> | undefined;

  ask(question: () => Promise<unknown>): Promise<unknown> {
    if (this.#current === undefined) return this.#start(question);
    this.#next ??= this.#current
      .catch(() => undefined) // told to those who asked it
      .then(() => {
        this.#next = undefined;
        return this.#start(question);
      });
    return this.#next;
  }

  #start(question: () => Promise<unknown>): Promise<unknown> {
    const current = question().finally(() => {
      if (this.#current === current) this.#current = undefined;
    });
    this.#current = current;
    return current;
  }
}

/** What certainly was not carried out, or may be carried out twice. */
function mayTryAgain(error: unknown, { here, repeatable }: { readonly here: boolean; readonly repeatable: boolean }): boolean {
  if (!(error instanceof AgentError)) return false;
  switch (error.code) {
    case "connection-refused":
      return true;
    case "no-leader":
      return repeatable || error.message !== leadershipLost;
    case "connection-closed":
    case "timeout":
      return repeatable;
    case "closed":
      return repeatable && !here; // it is the leader that ends
    default:
      return false;
  }
}

function forwarded(error: unknown): unknown {
  return error instanceof AgentError
    ? new AgentError(error.code, { message: forwardedPrefix + error.message, cause: error })
    : error;
}

function noLeader(): AgentError {
  return new AgentError("no-leader", { message: "No cluster leader" });
}

function shuttingDown(): AgentError {
  return new AgentError("closed", { message: "The agent is shutting down" });
}
