/** From a packet to the packet that answers it, whatever it came by. */
import type { AgentApi } from "../../core/plugin/agent-api.ts";
import type { Clock, Logger, Metrics, Random } from "../../core/ports/mod.ts";
import { below } from "../../core/ports/random.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { messageOf } from "../../core/types/errors.ts";
import { type Eventually, then } from "./eventually.ts";
import { depthMax, type Lookup, type Outcome, rcodeOf } from "./lookup.ts";
import { decodeQuery, type DnsQuery, questionText, replyFlags, retain } from "./message.ts";
import { targetOf } from "./names.ts";
import { rcodes } from "./records.ts";
import type { Recursors } from "./recursors.ts";
import { Replies, repeat } from "./replies.ts";
import { type Settings, settingsOf } from "./settings.ts";
import { answersMax, fitForeign, fitReply, type Transport } from "./size.ts";

const flagAuthoritative = 0x0400;
const flagRecursionAvailable = 0x0080;
/** Questions that wait for a server or a recursor; further ones are dropped, and the client asks again. */
const waitingMax = 4096;

export interface ServerParts {
  readonly agent: AgentApi;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly random: Random;
  readonly lookup: Lookup;
  readonly recursors: Recursors;
}

export class DnsServer {
  readonly #parts: ServerParts;
  readonly #domainQuery: { observe(value: number): void };
  readonly #ptrQuery: { observe(value: number): void };
  readonly #replies = new Replies();
  #settings: Settings;
  #waiting = 0;

  constructor(parts: ServerParts) {
    this.#parts = parts;
    const labels = { node: parts.agent.config.nodeName };
    this.#domainQuery = parts.metrics.sample("dns.domain_query", labels);
    this.#ptrQuery = parts.metrics.sample("dns.ptr_query", labels);
    this.#settings = this.#read();
  }

  /** `packet` may be reused once this returns. Undefined: no answer is sent. Never throws, never rejects. */
  answer(packet: Bytes, transport: Transport): Eventually<Bytes | undefined> {
    if (this.#parts.agent.config !== this.#settings.config) {
      this.#settings = this.#read();
      this.#replies.clear();
    }
    const settings = this.#settings;
    const began = this.#parts.clock.monotonic();
    const known = this.#replies.find(packet, transport);
    const repeats = known !== undefined && this.#parts.lookup.isFresh(known.share, settings);
    const order = repeats ? below(this.#parts.random, known.orders) : undefined;
    const kept = order === undefined ? undefined : known?.replies[order];
    if (kept !== undefined) {
      this.#domainQuery.observe(this.#parts.clock.monotonic() - began);
      return repeat(kept, packet);
    }
    const decoded = decodeQuery(packet);
    if (decoded.kind !== "query") return decoded.kind === "refuse" ? decoded.reply : undefined;
    const { draws } = this.#parts.lookup;
    try {
      draws.begin(order);
      const reply = this.#reply(decoded.query, transport, settings, began);
      if (!(reply instanceof Promise)) return reply;
      return this.#later(reply, retain(decoded.query), transport, settings);
    } catch (error) {
      return this.#failed(error, decoded.query, transport, settings);
    } finally {
      draws.begin();
    }
  }

  async #later(
    reply: Promise<Bytes | undefined>,
    query: DnsQuery,
    transport: Transport,
    settings: Settings,
  ): Promise<Bytes | undefined> {
    this.#waiting++;
    try {
      return await reply;
    } catch (error) {
      return this.#failed(error, query, transport, settings);
    } finally {
      this.#waiting--;
    }
  }

  #reply(query: DnsQuery, transport: Transport, settings: Settings, began: number): Eventually<Bytes | undefined> {
    const target = targetOf(query.labels, query.type, settings.zones);
    if (target.kind === "outside") {
      // Says nothing of EDNS: whoever is refused has no business here.
      if (settings.recursors.length === 0) return this.#write({ ...query, edns: undefined }, 0, refused, transport, settings);
      return this.#recurse(query, transport, settings);
    }
    const question = {
      labels: query.labels,
      type: query.type,
      owner: undefined,
      answersMax: answersMax(query, transport, settings.sizes),
      edns: query.edns !== undefined,
      depth: depthMax,
    };
    const outcome = this.#parts.lookup.find(target, question, settings);
    const kept = outcome instanceof Promise ? this.#wait(query) : query;
    if (kept === undefined) return undefined;
    return then(outcome, (found) => {
      (target.kind === "reverse" ? this.#ptrQuery : this.#domainQuery).observe(this.#parts.clock.monotonic() - began);
      if (found === undefined) return this.#recurse(kept, transport, settings);
      const reply = this.#write(kept, flagAuthoritative, found, transport, settings);
      if (found.from !== undefined && !(outcome instanceof Promise)) {
        const { order, orders } = this.#parts.lookup.draws;
        this.#replies.keep(query.packet, transport, found.from, order, orders, reply);
      }
      return reply;
    });
  }

  #recurse(query: DnsQuery, transport: Transport, settings: Settings): Eventually<Bytes | undefined> {
    const failed = { ...refused, rcode: rcodes.serverFailure };
    if (settings.recursors.length === 0) return this.#write(query, flagRecursionAvailable, failed, transport, settings);
    const kept = this.#wait(query);
    if (kept === undefined) return undefined;
    const reply = this.#parts.recursors.forward(kept, transport, settings);
    return reply.then((found) =>
      found === undefined
        ? this.#write(kept, flagRecursionAvailable, failed, transport, settings)
        : fitForeign(kept, found, transport),
    );
  }

  /** A copy of the query that may wait; undefined when too many do. */
  #wait(query: DnsQuery): DnsQuery | undefined {
    if (this.#waiting < waitingMax) return retain(query);
    this.#parts.metrics.counter("dns.queries_dropped").add(1);
    return undefined;
  }

  #failed(error: unknown, query: DnsQuery, transport: Transport, settings: Settings): Bytes {
    const rcode = rcodeOf(error);
    if (rcode === rcodes.nameError)
      return this.#write(query, flagAuthoritative, this.#parts.lookup.missing(settings), transport, settings);
    this.#parts.logger.log("error", "rpc error", { question: questionText(query), error: messageOf(error) });
    return this.#write(query, flagAuthoritative, { ...refused, rcode }, transport, settings);
  }

  #write(query: DnsQuery, extraFlags: number, outcome: Outcome, transport: Transport, settings: Settings): Bytes {
    const recursion = settings.recursors.length > 0 ? flagRecursionAvailable : 0;
    const flags = replyFlags(query) | extraFlags | recursion | outcome.rcode;
    return fitReply(query, flags, outcome, transport, settings.sizes);
  }

  #read(): Settings {
    const settings = settingsOf(this.#parts.agent.config);
    for (const recursor of settings.badRecursors) {
      this.#parts.logger.log("error", "Invalid recursor address: it must be an IP address with an optional port", { recursor });
    }
    return settings;
  }
}

const refused: Outcome = { rcode: rcodes.refused, answers: [], authorities: [], additionals: [], more: false, anyFew: false };
