/**
 * A gossip pool as the agent uses it: `createPool`, then `start`, `join`, `leave`, `stop`.
 */
import type { Coordinate } from "../catalog/records.ts";
import type { GossipConfig } from "../config/config.ts";
import { goQuote } from "../config/go-text.ts";
import type { Clock } from "../ports/clock.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Datagrams } from "../ports/datagrams.ts";
import { type Address, formatAddress } from "../ports/net.ts";
import { type Random, shuffle } from "../ports/random.ts";
import type { FileStore } from "../ports/storage.ts";
import type { Streams } from "../ports/streams.ts";
import type { Logger, Metrics } from "../ports/telemetry.ts";
import type { Member } from "../plugin/agent-api.ts";
import type { Evidence } from "../plugin/evidence.ts";
import { lanDefaults, type SwimConfig } from "../swim/config.ts";
import { GossipDriver } from "../swim/driver.ts";
import { ipBytes } from "../swim/ip.ts";
import { Keyring } from "../swim/keyring.ts";
import { metaBytesMax } from "../swim/messages.ts";
import { type SwimMeasure, SwimMetrics } from "../swim/metrics.ts";
import { type Bytes, emptyBytes } from "../types/bytes.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { consulVersion, serfDefaults, type SerfConfig } from "./config.ts";
import { evidenceOf } from "./evidence.ts";
import { encodeKeyRequest, type KeyOperation, keyQueries, type KeySummary, summarise } from "./keys.ts";
import type { SerfEvent, SerfInput } from "./inputs.ts";
import { type SerfMeasure, SerfMetrics } from "./metrics.ts";
import { SerfMachine, snapshotOf } from "./serf.ts";
import type { SnapshotContent } from "./snapshot.ts";
import { loadSnapshot, SnapshotFile } from "./snapshot-file.ts";
import { encodeSerf, encodeTags } from "./wire.ts";
import { lamportMax } from "./lamport.ts";

export interface PoolOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly crypto: Crypto;
  readonly datagrams: Datagrams;
  readonly streams: Streams;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** Ends the names of this pool's loggers: "serf.lan" and "memberlist.lan". */
  readonly kind: "lan" | "wan";

  readonly name: string;
  /** An IP literal, and a port: 0 takes any that is free for datagrams and streams. */
  readonly bind: Address;
  /** An IP literal that others can reach. Default: the bind address. */
  readonly advertise?: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly gossip: GossipConfig;
  /** What GossipConfig does not hold; the defaults are a LAN's. */
  readonly timing?: Partial<
    Pick<
      SwimConfig,
      "pushPullInterval" | "gossipToTheDead" | "suspicionMaxMult" | "awarenessMax" | "deadNodeReclaim" | "indirectChecks"
    >
  > & { readonly streamTimeout?: Millis };
  readonly serf?: Partial<Omit<SerfConfig, "name" | "tags" | "gossipInterval">>;
  /** Remembers members and clocks across a restart; then the pool joins again by itself. */
  readonly snapshot?: { readonly files: FileStore; readonly name: string; readonly rejoinAfterLeave: boolean };
  /** Empty or undefined: gossip is not encrypted. */
  readonly keyring?: Keyring;
  readonly compress?: boolean;
  /** Refuse plain text when there are keys. Default true. */
  readonly verifyIncoming?: boolean;
  /** Send no plain text when there are keys. Default true. */
  readonly verifyOutgoing?: boolean;
  /** Makes changed keys (base64, primary first) durable. Whoever asked for the change is answered after it, with what it rejects with. */
  readonly storeKeys?: ((keys: readonly string[]) => Promise<void>) | undefined;
  /** Called after each turn, in the order in which things happened. */
  readonly onEvent: (event: PoolEvent) => void;
}

export type PoolEvent = Exclude<SerfEvent, { readonly kind: "log" | "answer" | "answered" }>;

export interface Pool {
  /** Binds, and is a pool of one. Rejects with `address-in-use`, or `config-invalid` for tags that are too long. */
  start(): Promise<{ readonly port: number }>;
  /** Where it is bound; the port is 0 before `start`. */
  readonly local: Address;
  members(): readonly Member[];
  self(): Member;
  /**
   * How many answered of `addresses` ("host", "host:port", "name/host:port"), each address of a name for itself. Rejects
   * with `rejected` and Consul's text when there are some and none did.
   */
  join(addresses: readonly string[]): Promise<number>;
  /** Says goodbye and waits until the others should have heard it. Stays up: `stop` follows. */
  leave(): Promise<void>;
  forceLeave(name: string, prune: boolean): Promise<void>;
  /** Something besides gossip says that this member may be gone: it is probed at once. */
  doubt(name: string): void;
  /** Tells everyone, once each. Rejects with `too-large`. */
  userEvent(name: string, payload: Bytes, coalesce: boolean): Promise<void>;
  setTags(tags: Readonly<Record<string, string>>): void;
  /** Asks everyone and gives what came back when the time is up, or when all have answered. */
  query(name: string, payload: Bytes | undefined, options?: QueryOptions): Promise<readonly PoolAnswer[]>;
  /** Changes or lists the keys of all members. Rejects with `rejected`: "1/3 nodes reported failure", with the summary as cause. */
  keys(operation: KeyOperation, key?: Bytes, options?: QueryOptions): Promise<KeySummary>;
  /** This member's own keys, primary first, in base64. */
  ownKeys(): readonly string[];
  coordinate(): Coordinate;
  /** Who accused whom of having failed, and on what grounds; of one member when `node` is given. */
  evidence(node?: string): Evidence;
  /** Where another member said that it is; this one's own for its own name. Undefined: not known yet. */
  coordinateOf(name: string): Coordinate | undefined;
  /** Sets what is measured now and then. */
  tellMetrics(): void;
  /** The group serf_lan or serf_wan of `consul info`. */
  stats(): Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

export interface QueryOptions {
  /** Each answer comes through so many others as well, in case the direct way is broken. Default 0. */
  readonly relayFactor?: number;
}

export interface PoolAnswer {
  readonly from: string;
  readonly payload: Bytes;
}

export function createPool(options: PoolOptions): Pool {
  return new GossipPool(options);
}

/** Of the addresses of one name; as many as an answer of DNS can hold would keep a joiner busy for hours. */
const joinedOfNameMax = 256;
/** How long the goodbye itself may take on its way out of our own queue. */
const leaveTimeout: Millis = 5000;

interface Question {
  readonly answers: PoolAnswer[];
  /** When this many have answered, nobody is missing. */
  readonly expected: number;
  readonly resolve: (answers: readonly PoolAnswer[]) => void;
}

class GossipPool implements Pool {
  readonly #options: PoolOptions;
  readonly #keyring: Keyring;
  readonly #driver: GossipDriver;
  readonly #serfLogger: Logger;
  readonly #swimLogger: Logger;
  readonly #swimMetrics: SwimMetrics;
  readonly #serfMetrics: SerfMetrics;
  /** A round of gossip that is not on its way yet. */
  #gossipBegunAt: Millis | undefined;
  #machine: SerfMachine | undefined;
  #port = 0;
  #stopped = false;
  readonly #waiters = new Set<() => void>();
  readonly #questions = new Map<number, Question>();
  #nextToken = 1;
  #snapshot: SnapshotFile | undefined;
  /** Membership events so far, and what the snapshot was last asked to hold. */
  #changes = 0;
  #stamp = "";
  #left = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#keyring = options.keyring ?? new Keyring();
    this.#serfLogger = options.logger.child(`serf.${options.kind}`);
    this.#swimLogger = options.logger.child(`memberlist.${options.kind}`);
    this.#swimMetrics = new SwimMetrics(options.metrics);
    this.#serfMetrics = new SerfMetrics(options.metrics);
    this.#driver = new GossipDriver(
      {
        clock: options.clock,
        crypto: options.crypto,
        datagrams: options.datagrams,
        streams: options.streams,
        logger: this.#swimLogger,
      },
      {
        keyring: this.#keyring,
        compress: options.compress ?? true,
        verifyIncoming: options.verifyIncoming ?? true,
        verifyOutgoing: options.verifyOutgoing ?? true,
        streamTimeout: options.timing?.streamTimeout ?? 10_000,
        metrics: this.#swimMetrics,
      },
    );
  }

  async start(): Promise<{ readonly port: number }> {
    const { bind, random, name, kind, gossip, tags, serf } = this.#options;
    const advertised = this.#options.advertise ?? bind.host;
    const address = ipBytes(advertised);
    if (address === undefined)
      throw new AgentError("config-invalid", { message: `cannot advertise ${advertised}: it is not an IP address` });
    checkTags(tags);
    const { snapshot } = this.#options;
    const before =
      snapshot === undefined
        ? undefined
        : await loadSnapshot(snapshot.files, snapshot.name, { ...snapshot, logger: this.#serfLogger });
    this.#port = await this.#driver.bind(bind);
    const { streamTimeout: _, ...timing } = this.#options.timing ?? {};
    this.#machine = new SerfMachine({
      keyring: this.#keyring,
      measured: (what, value) => this.#onMeasure(what, value),
      ...(before === undefined ? {} : { resume: before }),
      // A fork of its own: the LAN and the WAN pool of one agent must not draw the same numbers.
      random: random.fork(`gossip ${kind}`),
      swim: { ...lanDefaults, ...gossip, ...timing, name, address, port: this.#port, version: consulVersion },
      serf: { ...serfDefaults, ...serf, name, tags, gossipInterval: gossip.gossipInterval },
    });
    this.#driver.run(this.#machine, () => this.#turn());
    this.#turn();
    if (snapshot !== undefined) {
      const { clock } = this.#options;
      this.#snapshot = new SnapshotFile({
        ...snapshot,
        found: before,
        clock,
        logger: this.#serfLogger,
        metrics: this.#serfMetrics,
        content: () => this.#remembered(),
      });
      this.#snapshot.touch();
    }
    if (before !== undefined) void this.#rejoin(before.alive);
    return { port: this.#port };
  }

  get local(): Address {
    return { host: this.#options.bind.host, port: this.#port };
  }

  members(): readonly Member[] {
    return [...this.#running().members.values()].map(snapshotOf);
  }

  self(): Member {
    const member = this.#running().members.get(this.#options.name);
    if (member === undefined)
      throw new AgentError("closed", { message: `${this.#options.name} is not a member of its own pool` });
    return snapshotOf(member);
  }

  async join(addresses: readonly string[]): Promise<number> {
    this.#running();
    const failures: string[] = [];
    let joined = 0;
    const failed = (level: "warn" | "debug", failure: string): void => {
      this.#swimLogger.log(level, `memberlist: ${failure}`);
      failures.push(failure);
    };
    for (const given of addresses) {
      const found = await this.#addressesOf(given);
      if (typeof found === "string") failed("warn", `Failed to resolve ${given}: ${found}`);
      else
        for (const to of found) {
          const failure = await this.#joinOne(to);
          if (failure === undefined) joined++;
          else failed("debug", `Failed to join ${to.host}: ${failure}`);
        }
    }
    if (joined > 0) this.#feed({ kind: "joinIntent" });
    else if (failures.length > 0) throw new AgentError("rejected", { message: listed(failures) });
    return joined;
  }

  /** All that a name stands for: each may be the one member that lives. Otherwise why there is none, in memberlist's words. */
  async #addressesOf(given: string): Promise<readonly Address[] | string> {
    if (given.startsWith("/")) return "empty node name provided";
    const unclosed = given.slice(given.indexOf("/") + 1);
    if (/^\[[^\]]*$/.test(unclosed)) return `address ${unclosed}: missing ']' in address`;
    const { host, port } = parseJoinAddress(given, this.#port);
    if (host.trim() === "") return `lookup ${host}: no such host`;
    if (!(port <= 65_535)) {
      const text = goQuote(given.slice(given.lastIndexOf(":") + 1));
      return `strconv.ParseUint: parsing ${text}: ${Number.isNaN(port) ? "invalid syntax" : "value out of range"}`;
    }
    const { resolve } = this.#options.streams;
    if (resolve === undefined || ipBytes(host) !== undefined) return [{ host, port }];
    try {
      return (await resolve(host)).slice(0, joinedOfNameMax).map((address) => ({ host: address, port }));
    } catch (error) {
      return messageOf(error);
    }
  }

  /** Why not. */
  async #joinOne(to: Address): Promise<string | undefined> {
    try {
      await this.#driver.pushPull(to, true, { joining: true });
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  }

  async leave(): Promise<void> {
    const machine = this.#running();
    const { serf, name } = this.#options;
    this.#left = true;
    const heard = machine.swim.members.some(
      (member) => member.name !== name && (member.condition === "alive" || member.condition === "suspect"),
    );
    this.#feed({ kind: "leaveIntent" });
    await this.#until(() => machine.leaveIntentSent, serf?.broadcastTimeout ?? serfDefaults.broadcastTimeout);
    this.#feed({ kind: "leave" });
    await this.#until(() => machine.swim.leaveSent, leaveTimeout);
    // Whoever has not heard yet still gets answers to its pings, and so does not report a failure.
    if (heard) await this.#until(() => false, serf?.leavePropagateDelay ?? serfDefaults.leavePropagateDelay);
  }

  async forceLeave(name: string, prune: boolean): Promise<void> {
    this.#running();
    this.#feed({ kind: "forceLeave", node: name, prune });
  }

  doubt(name: string): void {
    this.#feed({ kind: "doubt", node: name });
  }

  async userEvent(name: string, payload: Bytes, coalesce: boolean): Promise<void> {
    const machine = this.#running();
    const bytesMax = this.#options.serf?.userEventBytesMax ?? serfDefaults.userEventBytesMax;
    const size = name.length + payload.length;
    const encoded = encodeSerf({
      kind: "userEvent",
      time: Math.min(machine.times.event, lamportMax),
      name,
      payload,
      coalesce,
    }).length;
    if (size > bytesMax) {
      throw new AgentError("too-large", { message: `user event exceeds configured limit of ${bytesMax} bytes before encoding` });
    }
    if (encoded > bytesMax) {
      throw new AgentError("too-large", {
        message: `encoded user event exceeds configured limit of ${bytesMax} bytes after encoding`,
      });
    }
    this.#feed({ kind: "userEvent", name, payload, coalesce });
  }

  query(name: string, payload: Bytes | undefined, options: QueryOptions = {}): Promise<readonly PoolAnswer[]> {
    const machine = this.#running();
    const token = this.#nextToken++;
    return new Promise((resolve) => {
      this.#questions.set(token, { answers: [], expected: machine.members.count("alive"), resolve });
      this.#feed({ kind: "query", token, name, payload, ...options });
      if (this.#stopped) this.#settle(token);
    });
  }

  async keys(operation: KeyOperation, key: Bytes = emptyBytes, options: QueryOptions = {}): Promise<KeySummary> {
    const nodes = this.#running().members.count("alive");
    const name = [...keyQueries].find(([, known]) => known === operation)?.[0] as string;
    const summary = summarise(await this.query(name, encodeKeyRequest(key), options), nodes);
    const { errors, responses } = summary;
    if (errors > 0) throw new AgentError("rejected", { message: `${errors}/${nodes} nodes reported failure`, cause: summary });
    if (responses !== nodes)
      throw new AgentError("rejected", { message: `${responses}/${nodes} nodes reported success`, cause: summary });
    return summary;
  }

  ownKeys(): readonly string[] {
    return this.#keyring.encoded();
  }

  setTags(tags: Readonly<Record<string, string>>): void {
    checkTags(tags);
    this.#feed({ kind: "tags", tags });
  }

  coordinate(): Coordinate {
    return this.#running().coordinates.coordinate;
  }

  coordinateOf(name: string): Coordinate | undefined {
    return name === this.#options.name ? this.coordinate() : this.#running().coordinates.of(name);
  }

  evidence(node?: string): Evidence {
    return evidenceOf(this.#running().swim, node, this.#options.clock.wall() - this.#driver.now());
  }

  tellMetrics(): void {
    if (this.#machine === undefined) return;
    this.#serfMetrics.onQueues(this.#machine.queueLengths);
    this.#swimMetrics.onHealthScore(this.#machine.swim.healthScore);
  }

  stats(): Readonly<Record<string, string>> {
    const { members, times, queueLengths, swim, coordinates } = this.#running();
    return {
      coordinate_resets: String(coordinates.resets),
      encrypted: String(this.#keyring.primary !== undefined),
      event_queue: String(queueLengths.event),
      event_time: String(times.event),
      failed: String(members.count("failed")),
      health_score: String(swim.healthScore),
      intent_queue: String(queueLengths.intent),
      left: String(members.count("left")),
      member_time: String(times.member),
      members: String(members.size),
      query_queue: String(queueLengths.query),
      query_time: String(times.query),
    };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const check of [...this.#waiters]) check();
    for (const token of [...this.#questions.keys()]) this.#settle(token);
    await Promise.all([this.#driver.close(), this.#snapshot?.close()]);
  }

  #running(): SerfMachine {
    if (this.#machine === undefined)
      throw new AgentError("closed", { message: `the ${this.#options.kind} pool has not been started` });
    return this.#machine;
  }

  #feed(input: SerfInput): void {
    const machine = this.#running();
    if (this.#stopped) return;
    machine.step(this.#driver.now(), input);
    this.#driver.nudge();
  }

  #onMeasure(what: SwimMeasure | SerfMeasure, value: number): void {
    if (what === "gossip") this.#gossipBegunAt = this.#driver.now();
    else if (what === "probe") this.#swimMetrics.probeNode.observe(value);
    else if (what === "degradedProbe" || what === "degradedTimeout") this.#swimMetrics[what].add(value);
    else this.#serfMetrics.onMeasure(what, value);
  }

  #turn(): void {
    if (this.#gossipBegunAt !== undefined) {
      this.#swimMetrics.gossip.observe(this.#driver.now() - this.#gossipBegunAt);
      this.#gossipBegunAt = undefined;
    }
    for (const event of this.#machine?.takeEvents() ?? []) {
      if ("member" in event) {
        this.#changes++;
        this.#serfMetrics.onMember(event.kind);
      } else if (event.kind === "user") this.#serfMetrics.onUserEvent(event.name);
      else if (event.kind === "query") this.#serfMetrics.onQuery();
      if (event.kind === "keys") void this.#storeKeys(event.change);
      if (event.kind === "answer") this.#answered(event.token, event);
      else if (event.kind === "answered") this.#settle(event.token);
      else if (event.kind !== "log") this.#options.onEvent(event);
      else {
        const logger = event.message.startsWith("memberlist:") ? this.#swimLogger : this.#serfLogger;
        logger.log(event.level, event.message, event.fields);
      }
    }
    for (const check of [...this.#waiters]) check();
    if (this.#machine !== undefined) this.#noticeChange(this.#machine);
  }

  /** Never rejects: what went wrong is the answer to whoever asked for the change. */
  async #storeKeys(change: number): Promise<void> {
    let problem: string | undefined;
    try {
      await this.#options.storeKeys?.(this.#keyring.encoded());
    } catch (error) {
      problem = `Failed to write keyring file: ${messageOf(error)}`;
      this.#serfLogger.log("error", `serf: ${problem}`);
    }
    this.#feed({ kind: "keysStored", change, problem });
  }

  /** Has anything changed that the snapshot holds? */
  #noticeChange(machine: SerfMachine): void {
    const { member, event, query } = machine.times;
    const stamp = `${member} ${event} ${query} ${this.#changes}`;
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    this.#snapshot?.touch();
  }

  #remembered(): SnapshotContent {
    const machine = this.#running();
    const alive = new Map<string, Address>();
    for (const { name, status, address, port } of machine.members.values()) {
      if (status === "alive" && name !== this.#options.name) alive.set(name, { host: address, port });
    }
    // A clock stands one past the last time it has seen.
    const { member, event, query } = machine.times;
    return { alive, clock: member - 1, eventClock: event - 1, queryClock: query - 1, left: this.#left };
  }

  /** Tries those known before, in random order, until one answers. */
  async #rejoin(known: ReadonlyMap<string, Address>): Promise<void> {
    const random = this.#options.random.fork(`rejoin ${this.#options.kind}`);
    for (const [name, address] of shuffle(random, [...known])) {
      if (this.#stopped || name === this.#options.name) continue;
      this.#serfLogger.log("info", `serf: Attempting re-join to previously known node: ${name}: ${formatAddress(address)}`);
      try {
        await this.#driver.pushPull(address, true);
      } catch {
        // One that is gone is why there are others.
        continue;
      }
      this.#serfLogger.log("info", `serf: Re-joined to previously known node: ${name}: ${formatAddress(address)}`);
      this.#feed({ kind: "joinIntent" });
      return;
    }
    if (known.size > 0 && !this.#stopped) this.#serfLogger.log("warn", "serf: Failed to re-join any previously known node");
  }

  #answered(token: number, { from, payload }: PoolAnswer): void {
    const question = this.#questions.get(token);
    if (question === undefined) return;
    question.answers.push({ from, payload });
    if (question.answers.length >= question.expected) this.#settle(token);
  }

  #settle(token: number): void {
    const question = this.#questions.get(token);
    this.#questions.delete(token);
    question?.resolve(question.answers);
  }

  /** Resolves when `holds`, looked at after each turn, or when the time is up, or when the pool stops. */
  #until(holds: () => boolean, timeout: Millis): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        timer.cancel();
        this.#waiters.delete(check);
        resolve();
      };
      const check = () => {
        if (this.#stopped || holds()) done();
      };
      const timer = this.#options.clock.after(timeout, done);
      this.#waiters.add(check);
      check();
    });
  }
}

function checkTags(tags: Readonly<Record<string, string>>): void {
  const { length } = encodeTags(tags);
  if (length > metaBytesMax) {
    throw new AgentError("config-invalid", { message: `Encoded length of tags exceeds limit of ${metaBytesMax} bytes` });
  }
}

/** "host", "host:port", "[v6]:port", "v6", each perhaps behind "name/". A port that is no number is NaN. */
export function parseJoinAddress(text: string, defaultPort: number): Address {
  const address = text.includes("/") ? text.slice(text.indexOf("/") + 1) : text;
  const bracketed = /^\[([^\]]*)\](?::([0-9]+))?$/.exec(address);
  if (bracketed !== null) return { host: bracketed[1] as string, port: Number(bracketed[2] ?? defaultPort) };
  const parts = address.split(":");
  if (parts.length !== 2) return { host: address, port: defaultPort };
  const [host, port] = parts as [string, string];
  return { host, port: /^[0-9]+$/.test(port) ? Number(port) : Number.NaN };
}

/** As Go's multierror prints. */
function listed(errors: readonly string[]): string {
  const head = errors.length === 1 ? "1 error occurred:" : `${errors.length} errors occurred:`;
  return `${head}\n${errors.map((error) => `\t* ${error}\n`).join("")}\n`;
}
