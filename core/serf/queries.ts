/**
 * Questions to everyone, answered straight to the asker.
 *
 *   asker ──gossip──► all ──ack, answer──► asker          by datagram, perhaps also through relays
 *
 * A query is known by its Lamport time and a random number. Everyone passes it on once, also whom its filters leave out.
 */
import type { Address } from "../ports/net.ts";
import { below, type Random, shuffle } from "../ports/random.ts";
import type { LogLevel } from "../ports/telemetry.ts";
import type { Member } from "../plugin/agent-api.ts";
import { ceilLog10 } from "../structures/log2.ts";
import { ipText } from "../swim/ip.ts";
import type { Keyring } from "../swim/keyring.ts";
import { type Bytes, emptyBytes, text } from "../types/bytes.ts";
import type { Millis } from "../types/ids.ts";
import type { SerfConfig } from "./config.ts";
import type { SerfEvent, SerfInput } from "./inputs.ts";
import { applyKeyRequest, encodeKeyResponse, type KeyOperation, type KeyResponse, keyQueries, refusedKeys } from "./keys.ts";
import type { LamportClock } from "./lamport.ts";
import type { SerfMembers } from "./members.ts";
import { type Query, type QueryResponse, queryFlags, type Relay, responseFlags } from "./messages.ts";
import { passesFilters, QueryRing } from "./query-ring.ts";
import { encodeConflict, encodeSerf } from "./wire.ts";

/** Of an encoded query, of an encoded answer, and of a relayed one. */
const queryBytesMax = 1024;
const nanosPerMilli = 1_000_000;
/** Changes of the keys that are being stored. Who may ask for one has the keys already; a disk that hangs must not collect more. */
const unstoredMax = 64;
/** Answers believed to one question, besides two from each member that is known: some may have come since. More are made up. */
const answersMin = 64;
/** Protocol from which a member passes answers on. */
const relayProtocol = 5;

export interface QueryParts {
  readonly config: SerfConfig;
  /** Where answers to our own questions go. */
  readonly address: Bytes;
  readonly port: number;
  readonly random: Random;
  readonly members: SerfMembers;
  readonly keyring: Keyring;
  readonly clock: LamportClock;
  /** The bytes of a member's address, as it announced them. */
  readonly addressOf: (node: string) => Bytes | undefined;
  readonly broadcast: (content: Bytes) => void;
  readonly send: (to: Address, content: Bytes) => void;
  readonly tell: (event: SerfEvent) => void;
}

export class Queries {
  readonly #parts: QueryParts;
  readonly #ring = new QueryRing();
  /** The asker's token by query. */
  readonly #tokens = new Map<string, number>();
  /** Answers about changed keys that wait until the ring is on disk: a member that said yes must still know the key after a crash. */
  readonly #unstored = new Map<number, { readonly query: Query; readonly response: KeyResponse }>();
  #nextChange = 1;

  constructor(parts: QueryParts) {
    this.#parts = parts;
  }

  get wakeAt(): Millis {
    return this.#ring.wakeAt;
  }

  /** What was asked before this was answered in an earlier life. */
  ignoreBefore(time: number): void {
    this.#ring.ignoreBefore(time);
  }

  wake(now: Millis): void {
    for (const { time, id } of this.#ring.expire(now)) {
      const token = this.#tokens.get(`${time} ${id}`);
      this.#tokens.delete(`${time} ${id}`);
      if (token !== undefined) this.#parts.tell({ kind: "answered", token });
    }
  }

  ask(now: Millis, question: SerfInput & { readonly kind: "query" }): void {
    const { token, name, payload, timeout = this.#timeout(), relayFactor = 0 } = question;
    const query: Query = {
      kind: "query",
      time: this.#parts.clock.time,
      id: below(this.#parts.random, 0x7fffffff),
      address: this.#parts.address,
      port: this.#parts.port,
      sourceNode: this.#parts.config.name,
      filters: undefined,
      flags: 0,
      relayFactor,
      timeout: timeout * nanosPerMilli,
      name,
      payload,
    };
    this.#parts.clock.increment();
    const content = encodeSerf(query);
    if (content.length > queryBytesMax || !this.#ring.asked(query, now + timeout)) {
      this.#log("error", `serf: query '${name}' cannot be asked: it is too large, or too many are open`);
      this.#parts.tell({ kind: "answered", token });
      return;
    }
    this.#tokens.set(`${query.time} ${query.id}`, token);
    this.receive(query, content);
  }

  /** `content` is the query as it came, to be passed on unchanged. */
  receive(query: Query, content: Bytes): void {
    this.#parts.clock.witness(query.time);
    if (!this.#ring.admit(query, this.#parts.clock.time)) return;
    if (!(query.flags & queryFlags.noBroadcast)) this.#parts.broadcast(content);
    const { name } = this.#parts.config;
    if (!passesFilters(query, name, this.#parts.members.get(name)?.tags ?? {})) return;
    if (query.flags & queryFlags.ack) this.#respond(query, undefined, responseFlags.ack);
    if (query.name === "_serf_ping") return;
    if (query.name === "_serf_conflict") {
      this.#answerConflict(query);
      return;
    }
    const operation = keyQueries.get(query.name);
    if (operation !== undefined) {
      this.#changeKeys(operation, query);
      return;
    }
    this.#parts.tell({
      kind: "query",
      name: query.name,
      payload: query.payload ?? emptyBytes,
      from: query.sourceNode,
      time: query.time,
    });
  }

  /** The change that the event `keys` told of is on disk, or could not be put there. */
  keysStored(change: number, problem: string | undefined): void {
    const waiting = this.#unstored.get(change);
    this.#unstored.delete(change);
    if (waiting !== undefined) this.#respondKeys(waiting.query, problem === undefined ? waiting.response : refusedKeys(problem));
  }

  #changeKeys(operation: KeyOperation, query: Query): void {
    const change = operation !== "list";
    const { response, changed } =
      change && this.#unstored.size >= unstoredMax
        ? { response: refusedKeys("too many changes of the keyring are being stored"), changed: false }
        : applyKeyRequest(operation, query.payload, this.#parts.keyring);
    this.#logKeys(operation, response);
    if (!changed) {
      this.#respondKeys(query, response);
      return;
    }
    const token = this.#nextChange++;
    this.#unstored.set(token, { query, response });
    this.#parts.tell({ kind: "keys", change: token });
  }

  #logKeys(operation: KeyOperation, { result, message }: KeyResponse): void {
    if (this.#parts.keyring.primary === undefined) {
      this.#log("error", `serf: ${message}`);
      return;
    }
    this.#log("info", `serf: Received ${operation}-${operation === "list" ? "keys" : "key"} query`);
    if (!result) this.#log("error", `serf: Failed to ${operation === "use" ? "change primary" : operation} key: ${message}`);
  }

  #respondKeys(query: Query, response: KeyResponse): void {
    const fits = (payload: Bytes): boolean => this.#response(query, payload, 0).length <= queryBytesMax;
    this.#respond(query, encodeKeyResponse(response, fits), 0);
  }

  /** Who has this name, as far as we know? Whoever it is about stays silent. */
  #answerConflict(query: Query): void {
    const node = text(query.payload ?? emptyBytes);
    if (node === this.#parts.config.name) return;
    this.#respond(query, encodeConflict(this.#parts.members.get(node), this.#parts.addressOf(node)), 0);
  }

  #response(query: Query, payload: Bytes | undefined, flags: number): Bytes {
    return encodeSerf({ kind: "queryResponse", time: query.time, id: query.id, from: this.#parts.config.name, flags, payload });
  }

  #respond(query: Query, payload: Bytes | undefined, flags: number): void {
    const host = ipText(query.address);
    if (host === undefined) return;
    const content = this.#response(query, payload, flags);
    if (content.length > queryBytesMax) {
      this.#log("error", `serf: response to '${query.name}' exceeds limit of ${queryBytesMax} bytes`);
      return;
    }
    this.#parts.send({ host, port: query.port }, content);
    if (query.relayFactor > 0) this.#respondThroughOthers(query, content);
  }

  #respondThroughOthers(query: Query, inner: Bytes): void {
    if (this.#parts.members.size < query.relayFactor + 1) return;
    const content = encodeSerf({ kind: "relay", address: query.address, port: query.port, node: query.sourceNode, inner });
    if (content.length > queryBytesMax) return;
    const others: Member[] = [];
    for (const member of this.#parts.members.values()) {
      if (member.status === "alive" && member.protocolMax >= relayProtocol && member.name !== this.#parts.config.name)
        others.push(member);
    }
    for (const { address, port } of shuffle(this.#parts.random, others).slice(0, query.relayFactor)) {
      this.#parts.send({ host: address, port }, content);
    }
  }

  /** Passes an answer on, on behalf of whoever gave it. */
  relay(relay: Relay): void {
    const host = ipText(relay.address);
    if (host !== undefined && relay.inner.length <= queryBytesMax) this.#parts.send({ host, port: relay.port }, relay.inner);
  }

  answered(response: QueryResponse): void {
    const asked = this.#ring.answered(response, answersMin + 2 * this.#parts.members.size);
    if (asked === undefined || response.flags & responseFlags.ack) return;
    const token = this.#tokens.get(`${asked.time} ${asked.id}`);
    if (token !== undefined)
      this.#parts.tell({ kind: "answer", token, from: response.from, payload: response.payload ?? emptyBytes });
  }

  /** How long answers may take to a question of ours: what it takes to reach everyone, and to come back. */
  #timeout(): Millis {
    const { gossipInterval, queryTimeoutMult } = this.#parts.config;
    return gossipInterval * queryTimeoutMult * ceilLog10(this.#parts.members.count("alive") + 1);
  }

  #log(level: LogLevel, message: string): void {
    this.#parts.tell({ kind: "log", level, message });
  }
}
