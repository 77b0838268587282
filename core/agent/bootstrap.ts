/**
 * Founding a group of several servers (`bootstrap_expect`).
 *
 *   waiting ──enough servers are members, and ours is the lowest ID──► asking all of them ──all promised──► founded
 *      ▲                                                                  │          │
 *      └──────────────────── not all answered ───────────────────────────┘          └─ one has data ─► never
 *
 * One server founds: the one with the lowest ID. It writes the first configuration and campaigns; the others have no
 * data, vote for it, and get the configuration with the log. Each promises itself to one founder at a time, and a
 * founder needs the promise of everyone it counts, so two servers that see different members cannot both succeed.
 * (Consul 1.8 lets every server write the configuration it sees.)
 */
import type { Member } from "../plugin/agent-api.ts";
import type { Clock, Logger, Timer } from "../ports/mod.ts";
import { formatAddress } from "../ports/net.ts";
import type { RaftServer } from "../raft/messages.ts";
import { messageOf } from "../types/errors.ts";
import type { Millis, NodeId } from "../types/ids.ts";
import type { FoundingAnswer, ServerRequest } from "./forwarding.ts";
import { serversAmong } from "./servers.ts";

export interface FoundingView {
  readonly self: NodeId;
  /** `bootstrap_expect`, above 1. */
  readonly expect: number;
  readonly hasData: boolean;
  readonly datacenter: string;
  readonly members: readonly Member[];
}

export type FoundingDecision =
  /** There is data: this server belongs, or belonged, to a group. */
  | { readonly kind: "never" }
  /** `problem`, for the log, says more than that there are too few. */
  | { readonly kind: "wait"; readonly problem?: { readonly message: string; readonly member: string } }
  /** Another server founds. */
  | { readonly kind: "follow" }
  | { readonly kind: "ask"; readonly servers: readonly RaftServer[] };

export function decideFounding(view: FoundingView): FoundingDecision {
  if (view.hasData) return { kind: "never" };
  const servers = serversAmong(view.members, view.datacenter).filter((server) => server.alive);
  for (const { name, expect, bootstrap } of servers) {
    if (bootstrap) return { kind: "wait", problem: { message: "Member has bootstrap mode. Expect disabled.", member: name } };
    if (expect !== 0 && expect !== view.expect) {
      const message = "Member has a conflicting expect value. All nodes should expect the same number.";
      return { kind: "wait", problem: { message, member: name } };
    }
  }
  if (servers.length < view.expect) return { kind: "wait" };
  const founder = servers.filter((server) => server.expect > 0).sort(byId)[0];
  if (founder?.id !== view.self) return { kind: "follow" };
  return {
    kind: "ask",
    servers: [...servers].sort(byId).map(({ id, address }) => ({ id, address: formatAddress(address), voter: true })),
  };
}

function byId(left: { readonly id: NodeId }, right: { readonly id: NodeId }): number {
  return left.id < right.id ? -1 : 1;
}

/** What the founder makes of the answers; undefined stands for one that did not answer. */
export function concludeFounding(answers: readonly (FoundingAnswer | undefined)[]): "found" | "again" | "never" {
  if (answers.some((answer) => answer?.hasData === true)) return "never";
  return answers.every((answer) => answer?.promised === true) ? "found" : "again";
}

const lookInterval: Millis = 1000;
const againAfter: Millis = 100;
const askTimeout: Millis = 2000;
/** A promise to a founder that was not heard of again is void after this. */
const promiseMax: Millis = 10_000;

export interface BootstrapOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly self: NodeId;
  readonly expect: number;
  readonly datacenter: string;
  readonly members: () => readonly Member[];
  readonly hasData: () => boolean;
  readonly ask: (to: NodeId, request: ServerRequest, timeout: Millis) => Promise<unknown>;
  readonly found: (servers: readonly RaftServer[]) => void;
}

export class Bootstrap {
  readonly #options: BootstrapOptions;
  #state: "idle" | "waiting" | "asking" | "over" = "idle";
  #timer: Timer | undefined;
  #promise: { readonly to: NodeId; readonly until: Millis } | undefined;
  #said = "";

  constructor(options: BootstrapOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#options.expect <= 1) {
      this.#state = "over";
      return;
    }
    if (this.#options.hasData()) {
      this.#options.logger.log("info", "Raft data found, disabling bootstrap mode");
      this.#state = "over";
      return;
    }
    this.#state = "waiting";
    this.look();
  }

  /** Members changed, or time passed. */
  look(): void {
    if (this.#state !== "waiting") return;
    const { self, expect, datacenter, logger } = this.#options;
    const decision = decideFounding({
      self,
      expect,
      datacenter,
      hasData: this.#options.hasData(),
      members: this.#options.members(),
    });
    switch (decision.kind) {
      case "never":
        this.#end();
        return;
      case "wait":
        if (decision.problem !== undefined && this.#said !== decision.problem.member) {
          this.#said = decision.problem.member;
          logger.log("error", decision.problem.message, { member: decision.problem.member });
        }
        break;
      case "follow":
        break;
      case "ask":
        this.#state = "asking";
        void this.#ask(decision.servers); // reports to the log
        return;
    }
    this.#arm(lookInterval);
  }

  /** Another server is about to found. */
  onFounding(from: NodeId): FoundingAnswer {
    const hasData = this.#options.hasData();
    return { hasData, promised: !hasData && this.#promiseTo(from) };
  }

  stop(): void {
    this.#end();
  }

  async #ask(servers: readonly RaftServer[]): Promise<void> {
    const { clock, logger, self, ask, found } = this.#options;
    const askedAt = clock.monotonic();
    const answers = await Promise.all(
      servers.map(async ({ id }): Promise<FoundingAnswer | undefined> => {
        if (id === self) return this.onFounding(self);
        try {
          const answer = (await ask(id, { kind: "founding" }, askTimeout)) as Partial<FoundingAnswer> | null;
          return { hasData: answer?.hasData === true, promised: answer?.promised === true };
        } catch (error) {
          logger.log("debug", "Failed to confirm peer status for server (will retry).", { server: id, error: messageOf(error) });
          return undefined;
        }
      }),
    );
    if (this.#isOver()) return;
    const conclusion = concludeFounding(answers);
    // A process that stood still finds promises that may have been given to another founder since.
    const lapsed = clock.monotonic() - askedAt >= promiseMax;
    if (conclusion === "again" || (conclusion === "found" && lapsed)) {
      this.#state = "waiting";
      this.#arm(againAfter);
      return;
    }
    this.#end();
    if (conclusion === "never") {
      logger.log("info", "Existing Raft peers reported by server, disabling bootstrap mode.", {
        server: servers[answers.findIndex((answer) => answer?.hasData === true)]?.id,
      });
      return;
    }
    logger.log("info", "Found expected number of peers, attempting bootstrap", {
      addresses: servers.map((server) => server.address).join(","),
    });
    found(servers);
  }

  #promiseTo(founder: NodeId): boolean {
    const now = this.#options.clock.monotonic();
    if (this.#promise !== undefined && this.#promise.to !== founder && now < this.#promise.until) return false;
    this.#promise = { to: founder, until: now + promiseMax };
    return true;
  }

  #arm(delay: Millis): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(delay, () => this.look());
  }

  #end(): void {
    this.#state = "over";
    this.#timer?.cancel();
  }

  #isOver(): boolean {
    return this.#state === "over";
  }
}
