/**
 * Founding a group of several servers (`bootstrap_expect`).
 *
 *   waiting ──enough servers are members, and ours is the lowest ID──► enrolling all of them ──all are──► deciding ──► founded
 *      ▲                                                                  │                                 │
 *      └─────────────────── the founding is void ─────────────────────────┴─────────────────────────────────┘
 *
 * One server founds: the one with the lowest ID. It takes all servers that it sees alive for the set, and asks twice:
 *
 *   enrol   every server of the set, which from then on belongs to this founding and to no other until it is settled
 *   accept  a majority of the set: "found"
 *
 * Only then it writes the first configuration, which is the set, and campaigns; the others have no data, vote for it, and
 * get the configuration with the log. Whether a founding came to be is one decision of Paxos among the servers of its set,
 * between "found" and "void". The founder owns the first ballot. When nothing is heard of it, another server of the set
 * asks a majority with a higher ballot, and completes what was accepted, which may mean that it writes the configuration
 * in the founder's stead (the same bytes, so it does not matter who does, or how many), or else has the founding declared
 * void. All of this is durable before it is said (founding-record.ts), so no crash and no pause changes anything.
 *
 * Guaranteed, as long as disks keep what they stored: of two foundings that share a server at most one comes to be. For
 * a server leaves a founding only when that is void, and a founding that is void never comes to be. Leaders of groups that
 * exist claim a server before they add it, by which it is enrolled nowhere any more.
 *
 * What follows: there is one group, if `bootstrap_expect` is more than half of all servers that are ever started before
 * there is a group; since then any two sets share a server. With more servers than that, two groups can come about only
 * of two sets none of whose servers knew one of the other's: the founder waits while a server of its set sees one alive
 * that is not of the set. (Consul 1.8 lets every server write the configuration that it sees, once, for good, and asks
 * the others only whether they have one: two that see different members found two groups.)
 *
 * Progress: a founding is settled as long as a majority of its set can talk, whoever founded. If a majority of a set is
 * lost for good before the group came to be, the rest waits, and with it every other server: nobody can tell whether the
 * lost ones founded it. Then those that are left need an empty data directory. (In Consul they have written a
 * configuration by then, and need the same.)
 */
import type { Member } from "../plugin/agent-api.ts";
import type { Clock, Logger, Timer } from "../ports/mod.ts";
import { between, type Random } from "../ports/random.ts";
import type { RaftServer } from "../raft/messages.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis, NodeId } from "../types/ids.ts";
import type { ServerRequest } from "./forwarding.ts";
import { answerClaim, answerFounding, enrolledIn } from "./founding-member.ts";
import {
  type Ballot,
  type Founding,
  type FoundingAnswer,
  type FoundingMessage,
  othersMax,
  readFoundingAnswer,
  sameServers,
} from "./founding-messages.ts";
import { type AskFounding, type Conclusion, found, type Refusal, settle } from "./founding-proposal.ts";
import { emptyRecord, type Enrolment, type FoundingRecord, type RecordStore } from "./founding-record.ts";
import { decideFounding, type FoundingDecision } from "./founding-set.ts";
import { serversAmong } from "./servers.ts";

const lookInterval: Millis = 1000;
const againAfter: Millis = 100;
const askTimeout: Millis = 2000;
/** A founding that nothing was heard of for this long, up to twice as long, is settled by another server of its set. */
const patience: Millis = 5000;
/** After somebody else was ahead or refused, from and up to: two who propose must not go on meeting. */
const giveWayMin: Millis = 200;
const giveWayMax: Millis = 1500;
/** Up to which that grows where a server goes on refusing: each try costs every disk a write. */
const refusedPauseMax: Millis = 15_000;
/** Changes of the record that wait for the disk; more are refused. */
const changesMax = 64;

export interface BootstrapOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly records: RecordStore;
  readonly self: NodeId;
  readonly expect: number;
  readonly datacenter: string;
  readonly members: () => readonly Member[];
  readonly hasData: () => boolean;
  readonly ask: (to: NodeId, request: ServerRequest, timeout: Millis) => Promise<unknown>;
  /** Writes the first configuration, and campaigns. Harmless where there is a log. */
  readonly found: (servers: readonly RaftServer[]) => void;
  /** This server belongs to another founding, or to none. */
  readonly onEnrolled?: () => void;
}

export class Bootstrap {
  readonly #options: BootstrapOptions;
  #record: FoundingRecord = emptyRecord;
  #damage: unknown;
  #state: "new" | "running" | "stopped" = "new";
  /** This server may be the one that founds. */
  #founds = false;
  /** It is asking: one conversation at a time. */
  #asking = false;
  #timer: Timer | undefined;
  /** Changes of the record follow one another. */
  #changes: Promise<unknown> = Promise.resolve();
  #changesWaiting = 0;
  /** When our founding is settled without its founder. */
  #settleAt: Millis = 0;
  /** The highest ballot and number that others named. */
  #roundHeard = 0;
  #numberHeard = 0;
  /** Foundings of ours that failed in a row. */
  #refusals = 0;
  /** What was reported already. */
  #said = "";

  constructor(options: BootstrapOptions) {
    this.#options = options;
  }

  /** Reads what was promised. Before anything is answered. */
  async load(): Promise<void> {
    try {
      this.#record = await this.#options.records.load();
    } catch (error) {
      this.#damage = error;
    }
  }

  /** What Raft holds is known. Throws `storage-failed` when nobody knows what this server promised, and it matters. */
  start(): void {
    const { expect, hasData, logger } = this.#options;
    if (this.#damage !== undefined) {
      if (!hasData()) throw this.#damage;
      logger.log("error", "the promises of the time before there was a group cannot be read", {
        error: messageOf(this.#damage),
      });
    }
    this.#state = "running";
    this.#founds = expect > 1 && !hasData();
    if (expect > 1 && hasData()) logger.log("info", "Raft data found, disabling bootstrap mode");
    this.#bePatient();
    this.look();
  }

  /** The servers of the founding that this one is enrolled in. */
  get enrolledWith(): readonly RaftServer[] {
    return this.#record.enrolment?.founding.servers ?? [];
  }

  /** Members changed, or time passed. */
  look(): void {
    if (this.#state !== "running" || this.#asking) return;
    if (this.#options.hasData()) {
      this.#founds = false;
      this.#timer?.cancel();
      return;
    }
    const decision = this.#decide();
    const { enrolment } = this.#record;
    if (enrolment === undefined) {
      if (!this.#founds || this.#record.claimed.length > 0) return;
      if (decision.kind === "ask")
        void this.#converse(() => this.#begin(decision.servers)); // reports to the log
      else this.#arm(lookInterval);
      return;
    }
    const left = this.#settleAt - this.#options.clock.monotonic();
    if (this.#leads(enrolment, decision)) void this.#converse(() => this.#lead(enrolment.founding));
    else if (left <= 0 || this.#isOutdated(enrolment, decision)) void this.#converse(() => this.#settle(enrolment));
    else this.#arm(left);
  }

  /** Another server of a set speaks. Rejects with `bad-request` when it has no business to, or with what the disk says. */
  async onFounding(from: NodeId, message: FoundingMessage): Promise<FoundingAnswer> {
    const { founding } = message;
    const speaks = message.kind === "enrol" ? founding.by === from : !("ballot" in message) || message.ballot.by === from;
    const isOf = (id: NodeId): boolean => founding.servers.some((server) => server.id === id);
    if (!speaks || !isOf(from) || !isOf(this.#options.self))
      throw new AgentError("bad-request", { message: `${from} may not ask this server to ${message.kind}` });
    return this.#answer(message);
  }

  /** As {@link answerClaim}. */
  claim(servers: readonly NodeId[]): Promise<readonly NodeId[]> {
    return this.#change((record) => answerClaim(record, servers));
  }

  stop(): void {
    this.#state = "stopped";
    this.#timer?.cancel();
  }

  #decide(): FoundingDecision {
    const { self, expect, datacenter, members } = this.#options;
    if (!this.#founds) return { kind: "wait" };
    const decision = decideFounding({ self, expect, datacenter, hasData: false, members: members() });
    if (decision.kind === "wait" && decision.problem !== undefined)
      this.#say(decision.problem.member, "error", decision.problem.message, { member: decision.problem.member });
    return decision;
  }

  /** It is our own founding, and we see the same servers yet. */
  #leads(enrolment: Enrolment, decision: FoundingDecision): boolean {
    return this.#isOurs(enrolment) && decision.kind === "ask" && sameServers(decision.servers, enrolment.founding.servers);
  }

  /** It is our own founding, and another one is due. */
  #isOutdated(enrolment: Enrolment, decision: FoundingDecision): boolean {
    return this.#isOurs(enrolment) && (decision.kind === "ask" || decision.kind === "follow");
  }

  /** And nobody has taken it over. */
  #isOurs({ founding, promised }: Enrolment): boolean {
    return founding.by === this.#options.self && promised.round === 0 && this.#roundHeard === 0;
  }

  async #converse(talk: () => Promise<Millis>): Promise<void> {
    this.#asking = true;
    let pause = lookInterval;
    try {
      pause = await talk();
    } catch (error) {
      this.#options.logger.log("error", "failed to store a promise", { error: messageOf(error) });
    }
    this.#asking = false;
    if (this.#state !== "running") return;
    if (pause === 0) this.look();
    else this.#arm(pause);
  }

  async #begin(servers: readonly RaftServer[]): Promise<Millis> {
    const number = Math.max(this.#record.highest, this.#numberHeard) + 1;
    // Ours is the first to be durable: no number is given to two sets.
    const { kind } = await this.#answer({ kind: "enrol", founding: { number, by: this.#options.self, servers } });
    return kind === "enrolled" ? 0 : againAfter;
  }

  async #lead(founding: Founding): Promise<Millis> {
    const conclusion = await found(this.#ask, founding);
    switch (conclusion.kind) {
      case "others":
      case "open":
        return againAfter;
      default:
        return this.#conclude(founding, conclusion);
    }
  }

  async #settle({ founding, promised }: Enrolment): Promise<Millis> {
    const ballot: Ballot = { round: Math.max(promised.round, this.#roundHeard) + 1, by: this.#options.self };
    // Ours is the first to be durable: no ballot is used twice.
    await this.#answer({ kind: "prepare", founding, ballot });
    const conclusion = await settle(this.#ask, founding, ballot);
    this.#bePatient();
    if (conclusion.kind === "open") {
      const waitsFor = founding.servers.filter(({ id }) => conclusion.silent.includes(id)).map(({ address }) => address);
      this.#say(
        `${founding.number} ${founding.by}`,
        "warn",
        "waiting for a majority of the servers that began to found a group",
        {
          servers: founding.servers.map(({ address }) => address).join(","),
          silent: waitsFor.join(","),
        },
      );
    }
    return this.#conclude(founding, conclusion);
  }

  async #conclude(founding: Founding, conclusion: Conclusion): Promise<Millis> {
    const { logger, random } = this.#options;
    if (conclusion.kind === "open") return againAfter;
    if (conclusion.kind === "behind") {
      this.#roundHeard = Math.max(this.#roundHeard, conclusion.promised.round);
      const pause = between(random, giveWayMin, giveWayMax);
      this.#settleAt = this.#options.clock.monotonic() + pause;
      return pause;
    }
    if (conclusion.outcome === "void") return this.#voided(founding, conclusion.refusal);
    this.#refusals = 0;
    if (this.#state !== "running" || this.#options.hasData()) return lookInterval;
    logger.log("info", "Found expected number of peers, attempting bootstrap", {
      addresses: founding.servers.map((server) => server.address).join(","),
    });
    this.#options.found(founding.servers);
    return lookInterval;
  }

  /** Tells the others, too, who would have to find out by themselves. Gives the pause before the next try. */
  async #voided(founding: Founding, refusal: Refusal | undefined): Promise<Millis> {
    const { logger, random, self } = this.#options;
    const message = { kind: "voided", founding } as const;
    await this.#answer(message);
    for (const { id } of founding.servers) if (id !== self) void this.#ask(id, message); // never rejects
    if (refusal === undefined) return againAfter;
    this.#numberHeard = Math.max(this.#numberHeard, refusal.highest);
    if (refusal.hasData && this.#founds) {
      this.#founds = false;
      logger.log("info", "Existing Raft peers reported by server, disabling bootstrap mode.", { server: refusal.by });
    }
    return Math.min(refusedPauseMax, between(random, giveWayMin, giveWayMax) * 2 ** this.#refusals++);
  }

  readonly #ask: AskFounding = async (to, message) => {
    const { self, ask, logger } = this.#options;
    try {
      if (to === self) return await this.#answer(message);
      return readFoundingAnswer(await ask(to, { kind: "founding", message }, askTimeout));
    } catch (error) {
      logger.log("debug", "Failed to confirm peer status for server (will retry).", { server: to, error: messageOf(error) });
      return undefined;
    }
  };

  #answer(message: FoundingMessage): Promise<FoundingAnswer> {
    const { hasData } = this.#options;
    return this.#change((record) => {
      if (enrolledIn(record, message.founding) !== undefined) this.#bePatient();
      return answerFounding(record, message, { hasData: hasData(), othersThan: (founding) => this.#othersThan(founding) });
    });
  }

  #othersThan({ servers }: Founding): readonly NodeId[] {
    const { members, datacenter } = this.#options;
    const alive = serversAmong(members(), datacenter).filter((server) => server.alive);
    return alive.flatMap(({ id }) => (servers.some((server) => server.id === id) ? [] : id)).slice(0, othersMax);
  }

  /** One after the other, each durable before the next is thought of. */
  #change<Answer>(
    decide: (record: FoundingRecord) => { readonly record: FoundingRecord; readonly answer: Answer },
  ): Promise<Answer> {
    if (this.#damage !== undefined) return Promise.reject(new AgentError("storage-failed", { message: messageOf(this.#damage) }));
    if (this.#changesWaiting >= changesMax)
      return Promise.reject(new AgentError("rate-limited", { message: `${changesMax} questions about a founding are in hand` }));
    this.#changesWaiting++;
    const change = this.#changes.then(async () => {
      try {
        const before = this.#record;
        const { record, answer } = decide(before);
        if (record !== before) await this.#options.records.save(record);
        this.#record = record;
        if (record.enrolment?.founding !== before.enrolment?.founding) this.#enrolmentChanged();
        return answer;
      } finally {
        this.#changesWaiting--;
      }
    });
    this.#changes = change.catch(() => undefined); // told to whom it concerns
    return change;
  }

  #enrolmentChanged(): void {
    this.#roundHeard = 0;
    this.#bePatient();
    this.#options.onEnrolled?.();
    if (!this.#asking) this.#arm(lookInterval);
  }

  #bePatient(): void {
    const { clock, random } = this.#options;
    this.#settleAt = clock.monotonic() + between(random, patience, 2 * patience);
  }

  /** Each once in a row. */
  #say(about: string, level: "warn" | "error", message: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.#said === about) return;
    this.#said = about;
    this.#options.logger.log(level, message, fields);
  }

  #arm(delay: Millis): void {
    this.#timer?.cancel();
    if (this.#state === "running") this.#timer = this.#options.clock.after(delay, () => this.look());
  }
}
