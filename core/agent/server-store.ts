/**
 * The catalog as a server serves it: writes go through Raft, reads wait for what their consistency asks.
 *
 *   write ──encode──► RaftDriver ──committed──► Catalog.apply ──► result to the proposer, watches to the waiters
 *   read  stale: at once │ default: while the lease holds │ consistent: after a read index
 *
 * Without a leader a request is held for `rpc_hold_timeout`, as Consul does, then fails with `No cluster leader`.
 */
import type { Catalog } from "../catalog/catalog.ts";
import type { Command, CommandResult } from "../catalog/commands.ts";
import type { Answers, QueryKind, QueryOf } from "../catalog/queries.ts";
import { decode, encode } from "../codec/cbor.ts";
import type { AgentConfig } from "../config/config.ts";
import type { Blocking, Consistency, ReadMeta, ReadOptions, Shared, SharedRead, StoreApi } from "../plugin/agent-api.ts";
import type { Clock, LogEntry, Timer } from "../ports/mod.ts";
import { entryCommand } from "../raft/messages.ts";
import { AgentError, assert } from "../types/errors.ts";
import type { Leader } from "./leader.ts";
import type { Raft } from "./raft.ts";
import type { SharedReads } from "./shared-reads.ts";

/** Requests held without a leader; more are refused at once. */
const heldMax = 10_000;

export interface ServerStoreOptions {
  readonly catalog: Catalog;
  readonly raft: Raft;
  readonly shared: SharedReads;
  readonly leader: Leader;
  readonly clock: Clock;
  readonly config: () => AgentConfig;
}

export class ServerStore implements StoreApi {
  readonly #options: ServerStoreOptions;
  readonly #held = new Set<Held>();

  constructor(options: ServerStoreOptions) {
    this.#options = options;
  }

  now(): number {
    return this.#options.clock.wall();
  }

  meta(index: number): ReadMeta {
    const { raft } = this.#options;
    return { index, knownLeader: raft.knowsLeader(), lastContact: Math.floor(raft.lastContact()) };
  }

  async read<Kind extends QueryKind>(
    query: QueryOf<Kind>,
    options: ReadOptions,
  ): Promise<{ meta: ReadMeta; answer: Answers[Kind] }> {
    this.#requireLocal(options.datacenter);
    await this.#consistent(options.consistency);
    const { index, answer } = this.#options.catalog.evaluate<Kind>(query);
    return { meta: this.meta(index), answer };
  }

  readNow<Kind extends QueryKind>(
    query: QueryOf<Kind>,
    consistency: Consistency,
  ): { meta: ReadMeta; answer: Answers[Kind] } | undefined {
    if (!this.#mayAnswerNow(consistency)) return undefined;
    const { index, answer } = this.#options.catalog.evaluate<Kind>(query);
    return { meta: this.meta(index), answer };
  }

  async readShared<Kind extends QueryKind, Rendered extends object>(
    request: SharedRead<Kind, Rendered>,
    blocking?: Blocking,
  ): Promise<Shared<Rendered>> {
    this.#requireLocal(request.options.datacenter);
    await this.#consistent(request.options.consistency);
    return this.#options.shared.read(request, blocking);
  }

  sharedNow<Rendered extends object>(key: string, consistency: Consistency): Shared<Rendered> | undefined {
    return this.#mayAnswerNow(consistency) ? this.#options.shared.now<Rendered>(key) : undefined;
  }

  async write(command: Command, options: { readonly datacenter?: string } = {}): Promise<CommandResult> {
    this.#requireLocal(options.datacenter);
    if (!this.#options.raft.isLeader()) await this.#leaderKnown();
    const { result } = await this.#options.raft.propose(encode(command));
    return result as CommandResult;
  }

  async renewSession(id: string, options: { readonly datacenter?: string } = {}): Promise<boolean> {
    this.#requireLocal(options.datacenter);
    if (!this.#options.leader.leading) await this.#leaderKnown();
    return this.#options.leader.renewSession(id);
  }

  /** Leadership was established here: whoever was held goes on. */
  onLeading(): void {
    for (const held of this.#held) held.release();
    this.#held.clear();
  }

  /** Applies committed entries, in order; what each answers goes to its proposer. */
  apply(entries: readonly LogEntry[]): readonly unknown[] {
    const { catalog, leader } = this.#options;
    const results = entries.map((entry) => {
      if (entry.type !== entryCommand) return undefined;
      const command = decode(entry.data) as Command;
      const result = catalog.apply(entry.index, command);
      leader.onApplied(entry.index, command, result);
      return result;
    });
    catalog.watches.flush();
    return results;
  }

  stop(): void {
    for (const held of this.#held) held.refuse();
    this.#held.clear();
  }

  #mayAnswerNow(consistency: Consistency): boolean {
    switch (consistency) {
      case "stale":
        return true;
      case "default":
        return this.#options.leader.leading && this.#options.raft.leaseValid();
      case "consistent":
        return this.#options.leader.leading && this.#options.raft.isSoleVoter();
    }
  }

  async #consistent(consistency: Consistency): Promise<void> {
    if (this.#mayAnswerNow(consistency)) return;
    if (!this.#options.leader.leading) await this.#leaderKnown();
    if (!this.#mayAnswerNow(consistency)) await this.#options.raft.readIndex();
  }

  #requireLocal(datacenter: string | undefined): void {
    if (datacenter === undefined || datacenter === "" || datacenter === this.#options.config().datacenter) return;
    throw new AgentError("no-datacenter", { message: "No path to datacenter" });
  }

  #leaderKnown(): Promise<void> {
    if (this.#held.size >= heldMax) return Promise.reject(noLeader());
    return new Promise((resolve, reject) => {
      const timer: Timer = this.#options.clock.after(this.#options.config().rpcHoldTimeout, () => {
        assert(this.#held.delete(held), "a held request is released once");
        reject(noLeader());
      });
      const held: Held = {
        release: () => {
          timer.cancel();
          resolve();
        },
        refuse: () => {
          timer.cancel();
          reject(new AgentError("closed", { message: "The agent is shutting down" }));
        },
      };
      this.#held.add(held);
    });
  }
}

interface Held {
  readonly release: () => void;
  readonly refuse: () => void;
}

function noLeader(): AgentError {
  return new AgentError("no-leader", { message: "No cluster leader" });
}
