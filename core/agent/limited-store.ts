/**
 * The store as this agent's own surfaces use it: no faster than `limits.rpc_rate` (Consul 1.8 limits what an agent asks
 * of the servers, also where it is one). Unlimited, it hands everything on.
 */
import type { Command, CommandResult } from "../catalog/commands.ts";
import type { Answers, QueryKind, QueryOf } from "../catalog/queries.ts";
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
import type { Clock } from "../ports/clock.ts";
import { type Counter, type Metrics, noMetrics } from "../ports/telemetry.ts";
import { AgentError } from "../types/errors.ts";
import { RateLimit } from "../types/rate-limit.ts";

export class LimitedStore implements StoreApi {
  readonly #store: StoreApi;
  readonly #clock: Clock;
  readonly #limits: () => AgentConfig["limits"];
  readonly #limit: RateLimit;
  readonly #calls: Counter;
  readonly #exceeded: Counter;

  constructor(store: StoreApi, clock: Clock, limits: () => AgentConfig["limits"], metrics: Metrics = noMetrics) {
    this.#store = store;
    this.#clock = clock;
    this.#limits = limits;
    this.#calls = metrics.counter("client.rpc");
    this.#exceeded = metrics.counter("client.rpc.exceeded");
    this.#limit = new RateLimit(limits().rpcMaxBurst, clock.monotonic());
  }

  now(): number {
    return this.#store.now();
  }

  async read<Kind extends QueryKind>(
    query: QueryOf<Kind>,
    options: ReadOptions,
  ): Promise<{ readonly meta: ReadMeta; readonly answer: Answers[Kind] }> {
    this.#take();
    return this.#store.read(query, options);
  }

  readNow<Kind extends QueryKind>(
    query: QueryOf<Kind>,
    consistency: Consistency,
  ): { readonly meta: ReadMeta; readonly answer: Answers[Kind] } | undefined {
    const found = this.#isUnlimited() ? this.#store.readNow(query, consistency) : undefined;
    if (found !== undefined) this.#calls.add(1);
    return found;
  }

  async readShared<Kind extends QueryKind, Rendered extends object>(
    request: SharedRead<Kind, Rendered>,
    blocking?: Blocking,
  ): Promise<Shared<Rendered>> {
    this.#take();
    return this.#store.readShared(request, blocking);
  }

  sharedNow<Rendered extends object>(key: string, consistency: Consistency): Shared<Rendered> | undefined {
    const found = this.#isUnlimited() ? this.#store.sharedNow<Rendered>(key, consistency) : undefined;
    if (found !== undefined) this.#calls.add(1);
    return found;
  }

  async write(command: Command, options?: WriteOptions): Promise<CommandResult> {
    this.#take();
    return this.#store.write(command, options);
  }

  async renewSession(id: string, options?: WriteOptions): Promise<boolean> {
    this.#take();
    return this.#store.renewSession(id, options);
  }

  /** What is limited goes the long way, where it is counted once. */
  #isUnlimited(): boolean {
    return this.#limits().rpcRate === Number.POSITIVE_INFINITY;
  }

  #take(): void {
    const { rpcRate, rpcMaxBurst } = this.#limits();
    this.#calls.add(1);
    if (this.#limit.take(this.#clock.monotonic(), rpcRate, rpcMaxBurst)) return;
    this.#exceeded.add(1);
    throw new AgentError("rate-limited", { message: "RPC rate limit exceeded" });
  }
}
