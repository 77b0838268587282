/**
 * Servers that found a group (core/agent/bootstrap.ts), and nothing else of them: their gossip, their Raft and their
 * network are models of some lines, so that a seed takes some milliseconds instead of half a second.
 *
 *   gossip    who was heard of lately, spread by talks of two; silent servers fail after a while
 *   network   delays beyond every timeout, loss, halves and single servers that are cut off
 *   servers   started over half a minute, killed with writes under way, paused, one of them lost for good
 *   Raft      a founded group is one as soon as a majority of it can talk; its leader claims and adds the servers it sees
 *
 * More servers than expected may be there. Checked: founded sets that share a server are the same set; none is founded
 * beside it where more than half of all servers are expected; no server gets the data of two groups; and in the end, when
 * all but a lost one can talk, every one of them is in a group before long.
 */
import { World } from "../../adapters/sim/world.ts";
import { Bootstrap } from "../../core/agent/bootstrap.ts";
import { decodeRequest, encodeRequest } from "../../core/agent/forwarding.ts";
import { foundingRecords } from "../../core/agent/founding-record.ts";
import { belongs } from "../../core/agent/server-care.ts";
import { decode, encode } from "../../core/codec/cbor.ts";
import type { FoundingMessage } from "../../core/agent/founding-messages.ts";
import type { Member } from "../../core/plugin/agent-api.ts";
import type { Clock } from "../../core/ports/clock.ts";
import { below, between, type Random, shuffle } from "../../core/ports/random.ts";
import type { FileStore } from "../../core/ports/storage.ts";
import type { Logger } from "../../core/ports/telemetry.ts";
import type { RaftServer } from "../../core/raft/messages.ts";
import { majority } from "../../core/raft/quorum.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Millis, NodeId } from "../../core/types/ids.ts";
import type { Catch } from "./mutants.ts";

/** A violation of one of the rules above. */
export class FoundingFault extends Error {
  readonly rule: string;

  constructor(rule: string, message: string) {
    super(message);
    this.rule = rule;
  }
}

/** A server that was not heard of for this long has failed. */
const failedAfter: Millis = 3000;
const troubleTime: Millis = 60_000;
/** What struck lasts for up to 20 s. */
const strikesUntil: Millis = troubleTime - 21_000;
const settledTime: Millis = 120_000;

interface Group {
  readonly founders: readonly RaftServer[];
  readonly members: Set<NodeId>;
  committed: boolean;
}

class Server {
  readonly id: NodeId;
  readonly swarm: Swarm;
  readonly heard = new Map<NodeId, Millis>();
  up = false;
  lost = false;
  life = 0;
  /** The file as the disk has it. */
  file: Bytes | undefined;
  group: Group | undefined;
  bootstrap: Bootstrap | undefined;
  backlog: (() => void)[] | undefined;

  constructor(swarm: Swarm, id: NodeId) {
    this.swarm = swarm;
    this.id = id;
  }

  async start(): Promise<void> {
    const { swarm, id } = this;
    this.up = true;
    this.life++;
    this.heard.clear();
    const { life } = this;
    const bootstrap = new Bootstrap({
      clock: this.#clock(),
      random: swarm.random.fork(`${id} life ${life}`),
      logger: swarm.logger(this),
      records: foundingRecords(this.#files()),
      self: id,
      expect: swarm.expect,
      datacenter: "dc1",
      members: () => swarm.members(this),
      hasData: () => this.group !== undefined,
      ask: async (to, request, timeout) => {
        const bytes = await swarm.request(this, to, timeout, async (server) => {
          const read = decodeRequest(encodeRequest(request));
          if (read?.kind !== "founding") throw new Error("a request that cannot be read");
          this.swarm.tell(id, `asks ${to}: ${describe(read.message)}`);
          const answer = await server.onFounding(id, read.message);
          this.swarm.tell(to, `answers ${id}: ${answer.kind}`);
          return encode(answer);
        });
        return decode(bytes);
      },
      found: (servers) => swarm.founded(this, servers),
    });
    await bootstrap.load();
    if (this.life !== life) return;
    this.bootstrap = bootstrap;
    bootstrap.start();
  }

  crash(): void {
    this.bootstrap?.stop();
    this.bootstrap = undefined;
    this.up = false;
    this.life++;
    this.backlog = undefined;
  }

  pause(): void {
    this.backlog ??= [];
  }

  resume(): void {
    const backlog = this.backlog ?? [];
    this.backlog = undefined;
    for (const act of backlog) act();
  }

  /** Something that happens to it in this life, once it is not paused any more. */
  plan(delay: Millis, act: () => void): { cancel(): void } {
    const { life } = this;
    const event = this.swarm.world.at(delay, () => {
      if (this.life !== life) return;
      if (this.backlog === undefined) act();
      else this.backlog.push(() => this.life === life && event.act !== undefined && act());
    });
    return {
      cancel: () => {
        event.act = undefined;
      },
    };
  }

  #clock(): Clock {
    const { world } = this.swarm;
    return { monotonic: () => world.now, wall: () => Math.floor(world.now), after: (delay, fire) => this.plan(delay, fire) };
  }

  /** Of a write that was under way when the server ended, the disk has all or nothing. */
  #files(): Pick<FileStore, "get" | "put"> {
    const { swarm } = this;
    const { life } = this;
    return {
      get: async () => this.file?.slice(),
      put: (_name, content) =>
        new Promise((resolve) => {
          const copy = content.slice();
          const reaches = below(swarm.disks, 2) === 0;
          swarm.world.at(between(swarm.disks, 0.1, swarm.diskMax), () => {
            if (this.life === life || reaches) this.file = copy;
            if (this.life === life) this.plan(0, resolve);
          });
        }),
    };
  }
}

class Swarm {
  readonly world: World;
  readonly random: Random;
  readonly disks: Random;
  readonly expect: number;
  diskMax: Millis;
  readonly servers: Server[];
  readonly groups: Group[] = [];
  readonly log: string[] = [];
  #fault: FoundingFault | undefined;
  /** Servers of one side; the others are the other side. */
  #side = new Set<NodeId>();
  #lossPermille: number;
  #delayMax: Millis;
  readonly #delicacy: Random;
  readonly #strikePermille: number;
  #strikesLeft = 12;

  constructor(seed: number) {
    this.world = new World(seed);
    this.random = this.world.random.fork("founding");
    const { random } = this;
    this.disks = random.fork("disks");
    this.expect = below(random, 3) === 0 ? 3 : 2;
    // Mostly so many that two sets can be founded beside each other.
    const count = below(random, 3) === 0 ? this.expect : 2 * this.expect - 1 + below(random, 3);
    this.servers = Array.from({ length: count }, (_, at) => new Server(this, String.fromCharCode(97 + at)));
    this.diskMax = [2, 50, 2500][below(random, 3)] as Millis;
    this.#delayMax = [2, 100, 3000][below(random, 3)] as Millis;
    this.#lossPermille = below(random, 2) * below(random, 300);
    this.#delicacy = random.fork("delicate moments");
    this.#strikePermille = [0, 100, 300, 600][below(random, 4)] as number;
  }

  logger(server: Server): Logger {
    const logger: Logger = {
      log: (level, message, fields) => this.tell(server.id, `${level} ${message} ${JSON.stringify(fields ?? {})}`),
      enabled: () => true,
      child: () => logger,
    };
    return logger;
  }

  tell(who: string, what: string): void {
    if (this.log.length < 5000) this.log.push(`${this.world.now.toFixed(1).padStart(9)} ${who} ${what}`);
  }

  async run(): Promise<void> {
    const { world, random, servers } = this;
    const spread = [100, 3000, 30_000][below(random, 3)] as Millis;
    for (const server of servers) world.at(between(random, 0, spread), () => void server.start());
    this.#every(100, () => this.#gossip());
    // From elections that follow at once to such that leave the founded group to its founder for a while.
    this.#every([100, 1000, 5000][below(random, 3)] as Millis, () => this.#raft());
    this.#trouble(random.fork("trouble"));
    const end = troubleTime + settledTime;
    await world.run(
      new Promise<void>((resolve, reject) => {
        const watch = (): void => {
          if (this.#fault !== undefined) reject(this.#fault);
          else if (this.#allBelong()) resolve();
          else if (world.now > end) reject(new FoundingFault("liveness", `without a group: ${this.#stranded().join(" ")}`));
          else world.at(50, watch);
        };
        watch();
      }),
      end + 1000,
    );
  }

  /** The pool as `server` sees it. */
  members(server: Server): readonly Member[] {
    const { now } = this.world;
    return this.servers.flatMap(({ id }) => {
      const heard = id === server.id ? now : server.heard.get(id);
      return heard === undefined ? [] : member(id, now - heard <= failedAfter ? "alive" : "failed", this.expect);
    });
  }

  /** A question and its answer, each with its own delay, which may be longer than anybody waits. */
  request(from: Server, to: NodeId, timeout: Millis, act: (server: Bootstrap) => Promise<Bytes>): Promise<Bytes> {
    this.#delicate(from);
    return new Promise((resolve, reject) => {
      from.plan(timeout, () => reject(new AgentError("timeout", { message: "no answer" })));
      const server = this.servers.find(({ id }) => id === to);
      if (server === undefined || this.#drops(from, server)) return;
      server.plan(this.#delay(), () => {
        const { bootstrap } = server;
        if (bootstrap === undefined) return;
        act(bootstrap).then(
          (answer) => {
            if (!this.#drops(server, from)) from.plan(this.#delay(), () => resolve(answer));
          },
          (error: unknown) => from.plan(this.#delay(), () => reject(error)),
        );
      });
    });
  }

  /** `server` writes a first configuration. */
  founded(server: Server, founders: readonly RaftServer[]): void {
    this.tell(server.id, `FOUNDS ${names(founders)}`);
    let group = this.groups.find((known) => names(known.founders) === names(founders));
    if (group === undefined) {
      const other = this.groups.find((known) => known.founders.some(({ id }) => founders.some((founder) => founder.id === id)));
      if (other !== undefined)
        this.#violated("one founding for a server", `${names(other.founders)} and ${names(founders)} are founded both`);
      if (this.groups.length > 0 && this.expect * 2 > this.servers.length)
        this.#violated("one group", `${names(this.groups[0]?.founders ?? [])} and ${names(founders)} are founded both`);
      group = { founders, members: new Set(founders.map(({ id }) => id)), committed: false };
      this.groups.push(group);
    }
    this.#take(server, group);
  }

  #violated(rule: string, message: string): void {
    this.#fault ??= new FoundingFault(rule, message);
  }

  #take(server: Server, group: Group): void {
    if (server.group !== undefined && server.group !== group)
      this.#violated("one group for a server", `${server.id} is of ${names(server.group.founders)} and ${names(group.founders)}`);
    if (server.group === undefined) this.tell(server.id, `is of ${names(group.founders)}`);
    server.group ??= group;
  }

  #allBelong(): boolean {
    return this.servers.every((server) => server.lost || (server.up && server.group?.committed === true));
  }

  #stranded(): readonly NodeId[] {
    return this.servers.flatMap((server) => (server.lost || server.group?.committed === true ? [] : server.id));
  }

  #every(interval: Millis, act: () => void): void {
    const again = (): void => {
      act();
      this.world.at(interval, again);
    };
    this.world.at(interval, again);
  }

  #connected(one: Server, other: Server): boolean {
    const runs = (server: Server): boolean => server.up && server.backlog === undefined;
    return runs(one) && runs(other) && this.#side.has(one.id) === this.#side.has(other.id);
  }

  #drops(from: Server, to: Server): boolean {
    const cut = this.#side.has(from.id) !== this.#side.has(to.id);
    return cut || (from !== to && below(this.random, 1000) < this.#lossPermille);
  }

  #delay(): Millis {
    return between(this.random, 0.1, this.#delayMax);
  }

  /** Two servers that reach each other tell each other whom they heard of. */
  #gossip(): void {
    const { now } = this.world;
    const [one, other] = shuffle(this.random, [...this.servers]) as [Server, Server];
    if (!this.#connected(one, other)) return;
    one.heard.set(one.id, now);
    other.heard.set(other.id, now);
    for (const { id } of this.servers) {
      const latest = Math.max(one.heard.get(id) ?? -1, other.heard.get(id) ?? -1);
      if (latest < 0) continue;
      one.heard.set(id, latest);
      other.heard.set(id, latest);
    }
    for (const server of [one, other]) server.plan(0, () => server.bootstrap?.look());
  }

  /** Groups decide, spread their data, and take in whom they see. */
  #raft(): void {
    for (const group of this.groups) {
      const leader = this.servers.find((server) => server.up && server.group === group && this.#hasQuorum(server, group));
      if (leader === undefined) continue;
      group.committed = true;
      for (const server of this.servers) {
        if (server === leader || !this.#connected(leader, server)) continue;
        if (group.members.has(server.id)) this.#take(server, group);
        else if (this.members(leader).some(({ name, status }) => name === server.id && status === "alive"))
          void this.#adopt(leader, server, group);
      }
    }
  }

  #hasQuorum(leader: Server, group: Group): boolean {
    const talking = this.servers.filter(
      (server) => group.members.has(server.id) && (server === leader || this.#connected(leader, server)),
    );
    return talking.length >= majority(group.members.size);
  }

  async #adopt(leader: Server, server: Server, group: Group): Promise<void> {
    if (server.group !== undefined) return;
    const answer = this.request(leader, server.id, 2000, async (bootstrap) => encode(await bootstrap.claim([...group.members])));
    const theirs = (await answer.then(decode, () => undefined)) as readonly NodeId[] | undefined;
    const servers = [...group.members].map((id) => ({ id, address: "", voter: true }));
    if (theirs === undefined || server.group !== undefined || !belongs(theirs, server.id, servers)) return;
    // In between lies the change of membership, and the way of the log to the new one.
    leader.plan(this.#delay() * 2, () => group.members.add(server.id));
  }

  /** Trouble all the time, and just while somebody asks. */
  #trouble(random: Random): void {
    const { world, servers } = this;
    const again = (): void => {
      this.#strike(random, servers[below(random, servers.length)] as Server);
      world.at(between(random, 1, pauseMax), again);
    };
    // From trouble at every step to such that leaves time to recover.
    const pauseMax = [30, 500, 8000][below(random, 3)] as Millis;
    if (below(random, 3) === 0) world.at(between(random, 1, pauseMax), again);
    // Of two that began to found a group neither can go on alone.
    if (this.expect > 2 && servers.length > this.expect && below(random, 2) === 0) {
      const victim = servers[below(random, servers.length)] as Server;
      world.at(between(random, 100, 30_000), () => {
        victim.lost = true;
      });
    }
    world.at(troubleTime, () => {
      this.#side.clear();
      this.#lossPermille = 0;
      this.#delayMax = 50;
      this.diskMax = 20;
      for (const server of servers) {
        server.resume();
        if (server.lost) server.crash();
      }
    });
  }

  /** `server` asks something. */
  #delicate(server: Server): void {
    const random = this.#delicacy;
    if (this.#strikesLeft === 0 || below(random, 1000) >= this.#strikePermille) return;
    this.#strikesLeft--;
    const victim = below(random, 3) > 0 ? server : (this.servers[below(random, this.servers.length)] as Server);
    const soon = between(random, 0, this.#delayMax + this.diskMax);
    this.world.at(below(random, 2) === 0 ? soon : soon + between(random, 0, 1000), () => this.#strike(random, victim));
  }

  #strike(random: Random, victim: Server): void {
    const { world, servers } = this;
    if (world.now > strikesUntil) return;
    // Up to one moment, or until others have lost their patience.
    const later = (act: () => void): void =>
      void world.at(
        between(
          random,
          ...((
            [
              [50, 3000],
              [8000, 20_000],
            ] as const
          )[below(random, 2)] as [number, number]),
        ),
        act,
      );
    switch (below(random, 4)) {
      case 0:
      case 1: {
        const sides = below(random, 3) === 0 ? [victim] : servers.filter(() => below(random, 2) === 0);
        this.#side = new Set(sides.map(({ id }) => id));
        this.tell("-", `cut off: ${[...this.#side].join(" ")}`);
        const side = this.#side;
        // As when a rack loses its power.
        if (below(random, 3) === 0) for (const server of sides) this.#crash(random, server);
        later(() => {
          if (this.#side !== side) return;
          this.#side = new Set();
          this.tell("-", "all reach one another");
        });
        return;
      }
      case 2:
        this.#crash(random, victim);
        return;
      default:
        if (!victim.up || victim.backlog !== undefined) return;
        this.tell(victim.id, "is paused");
        victim.pause();
        later(() => {
          this.tell(victim.id, "goes on");
          victim.resume();
        });
    }
  }

  #crash(random: Random, victim: Server): void {
    if (!victim.up || victim.lost) return;
    this.tell(victim.id, "crashes");
    victim.crash();
    this.world.at(below(random, 2) === 0 ? between(random, 1, 100) : between(random, 100, 15_000), () => {
      this.tell(victim.id, "starts again");
      void victim.start();
    });
  }
}

function member(id: NodeId, status: Member["status"], expect: number): Member {
  const numbers = { protocolMin: 1, protocolMax: 5, protocolCur: 2, delegateMin: 2, delegateMax: 5, delegateCur: 4 };
  const tags = { role: "consul", dc: "dc1", id, port: "8300", expect: String(expect) };
  return { name: id, address: `10.0.0.${id.charCodeAt(0)}`, port: 8301, tags, status, ...numbers };
}

function describe(message: FoundingMessage): string {
  const { kind, founding } = message;
  const ballot = "ballot" in message ? ` ${message.ballot.round}${message.ballot.by}` : "";
  const outcome = "outcome" in message ? ` ${message.outcome}` : "";
  return `${kind} ${founding.number}${founding.by}:${names(founding.servers)}${ballot}${outcome}`;
}

function names(servers: readonly RaftServer[]): string {
  return servers.map(({ id }) => id).join("");
}

/** Rejects with a {@link FoundingFault}; `story` tells what happened. */
export async function runFounding(seed: number, story: string[] = []): Promise<{ readonly groups: number }> {
  const swarm = new Swarm(seed);
  try {
    await swarm.run();
  } finally {
    story.push(...swarm.log);
  }
  return { groups: swarm.groups.length };
}

/** The first seed in which a rule is broken. */
export async function huntFounding(seeds: number): Promise<Catch | undefined> {
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      await runFounding(seed);
    } catch (error) {
      if (!(error instanceof FoundingFault)) throw error;
      return { seed, failure: { checker: error.rule, message: error.message } };
    }
  }
  return undefined;
}
