/**
 * User events: small messages that anyone fires and every agent of the datacenter hears, except those its filters leave out.
 *
 *   fire ──validate──► Role.fireEvent ──(a client: RPC to a server)──► LAN gossip ──► every agent's `receive`
 *   receive ──filters: this node, its services, their tags──► the last 256 ──► followers (blocking readers)
 *                                └─ "_rexec": `consul exec` asks for work; kept nowhere
 *
 * Nobody answers and nothing is stored in the catalog: an event reaches who is there. Invariant: `list` holds at most
 * `eventsMax`, oldest first.
 */
import type { AgentConfig } from "../config/config.ts";
import { Malformed } from "../codec/msgpack.ts";
import type { EventsApi, EventToFire, LocalApi, UserEvent } from "../plugin/agent-api.ts";
import { type Crypto, type Logger, uuid } from "../ports/mod.ts";
import { compileRegex, type LinearRegex } from "../structures/linear-regex.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import { decodeUserEvent, encodeUserEvent, userEventVersion } from "./user-event.ts";

export interface EventsOptions {
  readonly config: () => AgentConfig;
  readonly local: Pick<LocalApi, "services">;
  readonly crypto: Crypto;
  readonly logger: Logger;
  /** Gossips an encoded event, through a server where this agent is none. `name` is without a prefix. */
  readonly send: (name: string, payload: Bytes, where: EventTarget) => Promise<void>;
  /** Runs what `consul exec` asks for. Undefined: this agent runs nothing for others. */
  readonly remoteExec?: ((event: UserEvent) => void) | undefined;
}

export interface EventTarget {
  readonly datacenter?: string;
  readonly token?: string;
}

/** Events an agent remembers. */
const eventsMax = 256;
/** By which `consul exec` asks agents to look for work. */
const remoteExecName = "_rexec";

export class Events implements EventsApi {
  readonly #options: EventsOptions;
  readonly #followers = new Set<() => void>();
  #kept: readonly UserEvent[] = [];

  constructor(options: EventsOptions) {
    this.#options = options;
  }

  async fire(event: EventToFire, where: EventTarget = {}): Promise<UserEvent> {
    const { crypto, send } = this.#options;
    validate(event);
    const fired = { ...event, id: uuid(crypto), version: userEventVersion, time: 0 };
    await send(event.name, encodeUserEvent(fired), where);
    return fired;
  }

  list(): readonly UserEvent[] {
    return this.#kept;
  }

  follow(follower: () => void): () => void {
    this.#followers.add(follower);
    return () => void this.#followers.delete(follower);
  }

  /** An event came through gossip; `time` is its Lamport time. */
  receive(payload: Bytes, time: number): void {
    const { logger } = this.#options;
    const event = this.#decode(payload, time);
    if (event === undefined || !this.#concerns(event)) return;
    const named = { event_name: event.name, event_id: event.id };
    if (event.name === remoteExecName) {
      const { remoteExec } = this.#options;
      if (remoteExec === undefined) logger.log("info", "ignoring remote exec event, disabled.", named);
      else remoteExec(event);
      return;
    }
    logger.log("debug", "new event", named);
    // A new list each time: readers keep the one they got.
    this.#kept = [...this.#kept.slice(-(eventsMax - 1)), event];
    for (const follower of [...this.#followers]) follower();
  }

  #decode(payload: Bytes, time: number): UserEvent | undefined {
    try {
      return decodeUserEvent(payload, time);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.#options.logger.log("error", "Failed to decode event", { error: error.message });
      return undefined;
    }
  }

  #concerns(event: UserEvent): boolean {
    const { config, local, logger } = this.#options;
    if (event.version > userEventVersion)
      logger.log("warn", "Event version may have unsupported features", { version: event.version, event: event.id });
    if (event.nodeFilter !== "") {
      const node = this.#filter("node", event.nodeFilter, event);
      if (node === undefined || !node.test(config().nodeName)) return false;
    }
    if (event.serviceFilter === "") return true;
    const service = this.#filter("service", event.serviceFilter, event);
    const tag = event.tagFilter === "" ? anything : this.#filter("tag", event.tagFilter, event);
    if (service === undefined || tag === undefined) return false;
    // Services are known by their IDs here, as in Consul: a name that differs from the ID is not looked at.
    for (const [id, { service: fields }] of local.services) {
      if (service.test(id) && (tag === anything || fields.tags.some((each) => tag.test(each)))) return true;
    }
    return false;
  }

  /** Undefined when it is no regular expression; whoever fired it should have been told. */
  #filter(kind: "node" | "service" | "tag", source: string, event: UserEvent): LinearRegex | undefined {
    const compiled = compileRegex(source);
    if ("regex" in compiled) return compiled.regex;
    const fields = { filter: source, event: event.id, error: compiled.fault };
    this.#options.logger.log("error", `Failed to parse ${kind} filter for event`, fields);
    return undefined;
  }
}

const anything: LinearRegex = { test: () => true };

/** Throws `rejected` in Consul's words. */
function validate({ name, nodeFilter, serviceFilter, tagFilter }: EventToFire): void {
  if (name === "") throw rejected("User event missing name");
  if (tagFilter !== "" && serviceFilter === "") throw rejected("Cannot provide tag filter without service filter");
  const filters = { node: nodeFilter, service: serviceFilter, tag: tagFilter };
  for (const [kind, source] of Object.entries(filters)) {
    const compiled = compileRegex(source);
    if ("fault" in compiled) throw rejected(`Invalid ${kind} filter: ${compiled.fault}`);
  }
}

function rejected(message: string): AgentError {
  return new AgentError("rejected", { message });
}
