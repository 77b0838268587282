/**
 * Reads tests/cases/serf/*.txt: one member, "self" at 10.0.0.1, in virtual time. A block is commands, "----", and what the
 * machine told its owner, what it sent to somebody in particular, and whom it asked over a stream.
 *
 *   config KEY=VALUE…                          before `start`: times of core/serf/config.ts, in milliseconds
 *   start [clock=N] [events=N] [queries=N]     Lamport times of an earlier life
 *   alive NAME [inc=1] [ip=…] [role=…] [vsn=1,5,2,2,5,4]
 *   gone NAME [inc=1] [by=NAME]                SWIM hears that it is dead; by itself: that it left
 *   join NAME t=N | leave NAME t=N [prune]     somebody's intent
 *   event NAME PAYLOAD t=N                     somebody's user event
 *   query NAME t=N [id=1] [ack] [quiet] [relay=N] [nodes=a,b] [tag=NAME/EXPR] [payload=…]   asked by "asker" at 10.0.0.9
 *   answer NAME [payload=…] [ack]              to our own last question
 *   state t=N [events=N] [queries=N] [left=a,b] [times=a/3,b/4] [event=NAME/PAYLOAD/T]… [joining] [reconnect]
 *   fire NAME PAYLOAD | ask NAME [relay=N] | announce | goodbye | force NAME [prune] | retag KEY=VALUE…
 *   pass DURATION                              1500ms, 30s, 2m, 24h; whoever is alive answers every ping
 *   members | times | passing                  prints the table, the clocks, and how many messages are being passed on
 *
 * Members known without `ip` live at 10.0.0.2, 10.0.0.3, … in the order in which they are named. Chance is taken out.
 */
import type { Address } from "../../../core/ports/net.ts";
import { below } from "../../../core/ports/random.ts";
import { serfDefaults, consulVersion, type SerfConfig } from "../../../core/serf/config.ts";
import type { SerfEvent, SerfInput } from "../../../core/serf/inputs.ts";
import {
  queryFlags,
  type QueryFilter,
  type QueryResponse,
  responseFlags,
  type SerfMessage,
} from "../../../core/serf/messages.ts";
import { SerfMachine } from "../../../core/serf/serf.ts";
import { decodeSerf, encodeSerf, encodeState, encodeTags } from "../../../core/serf/wire.ts";
import { lanDefaults } from "../../../core/swim/config.ts";
import type { SwimMessage } from "../../../core/swim/messages.ts";
import { decodeMessage } from "../../../core/swim/wire.ts";
import { type Bytes, text, utf8 } from "../../../core/types/bytes.ts";
import { stepTrapped } from "../../support/harness.ts";
import { bytesOfIp, durationOf, Hosts, type Options, splitCommand } from "../../support/member-script.ts";
import { constantRandom } from "../../support/virtual-clock.ts";

const packetBytesMax = 1400;
const port = 7946;
const asker = "10.0.0.9";

export class SerfScript {
  readonly #hosts = new Hosts();
  #config: Partial<SerfConfig> = {};
  #machine: SerfMachine | undefined;
  #now = 0;
  #printed: string[] = [];
  #asked: { readonly time: number; readonly id: number } | undefined;

  run(commands: readonly string[]): string[] {
    this.#printed = [];
    for (const line of commands) this.#command(line);
    return this.#printed;
  }

  #command(line: string): void {
    const { command, plain, options } = splitCommand(line);
    const [name = "", detail = ""] = plain;
    switch (command) {
      case "config":
        for (const [key, value] of options) this.#config = { ...this.#config, [key]: Number(value) };
        return;
      case "start":
        this.#start(options);
        return;
      case "alive":
      case "gone":
        this.#receive(this.#aboutMember(command, name, options), asker);
        return;
      case "join":
      case "leave":
      case "event":
      case "query":
      case "answer":
        this.#receive({ kind: "user", payload: encodeSerf(this.#said(command, plain, options)) }, asker);
        return;
      case "state":
        this.#merge(line, options, plain);
        return;
      case "fire":
        this.#step({ kind: "userEvent", name, payload: utf8(detail), coalesce: false });
        return;
      case "ask":
        // Its identity follows from the clock, and from chance that is taken out.
        this.#asked = { time: this.#running().times.query, id: below(constantRandom(0.5), 0x7fffffff) };
        this.#step({ kind: "query", token: 1, name, payload: undefined, relayFactor: number(options, "relay", 0) });
        return;
      case "announce":
        this.#step({ kind: "joinIntent" });
        return;
      case "goodbye":
        this.#step({ kind: "leaveIntent" });
        return;
      case "force":
        this.#step({ kind: "forceLeave", node: name, prune: plain.includes("prune") });
        return;
      case "retag":
        this.#step({ kind: "tags", tags: Object.fromEntries(options) });
        return;
      case "pass":
        this.#pass(durationOf(name));
        return;
      case "members":
        this.#list();
        return;
      case "times": {
        const { member, event, query } = this.#running().times;
        this.#print(`members ${member}, events ${event}, queries ${query}`);
        return;
      }
      case "passing": {
        const { intent, event, query } = this.#running().queueLengths;
        this.#print(`intents ${intent}, events ${event}, queries ${query}`);
        return;
      }
      default:
        throw new Error(`unknown command: ${line}`);
    }
  }

  #start(options: Options): void {
    const swim = {
      ...lanDefaults,
      name: "self",
      address: bytesOfIp("10.0.0.1"),
      port,
      version: consulVersion,
      gossipInterval: Number.POSITIVE_INFINITY,
      pushPullInterval: Number.POSITIVE_INFINITY,
    };
    const resume = {
      clock: number(options, "clock", 0),
      eventClock: number(options, "events", 0),
      queryClock: number(options, "queries", 0),
    };
    this.#machine = new SerfMachine({
      swim,
      serf: { ...serfDefaults, ...this.#config, name: "self", tags: { role: "db" }, gossipInterval: 200 },
      random: constantRandom(0.5),
      ...(options.size === 0 ? {} : { resume }),
    });
    this.#step({ kind: "start" });
  }

  #aboutMember(command: string, name: string, options: Options): SwimMessage {
    const incarnation = number(options, "inc", 1);
    if (command === "gone") return { kind: "dead", node: name, incarnation, from: options.get("by") ?? "other" };
    return {
      kind: "alive",
      node: name,
      incarnation,
      address: bytesOfIp(options.get("ip") ?? this.#hosts.of(name)),
      port,
      meta: encodeTags({ role: options.get("role") ?? "node" }),
      version: Uint8Array.from((options.get("vsn") ?? "1,5,2,2,5,4").split(","), Number),
    };
  }

  #said(command: string, plain: readonly string[], options: Options): SerfMessage {
    const time = number(options, "t", 0);
    const [name = "", detail = ""] = plain;
    const payload = options.has("payload") ? utf8(options.get("payload") as string) : undefined;
    switch (command) {
      case "join":
        return { kind: "join", time, node: name };
      case "leave":
        return { kind: "leave", time, node: name, prune: plain.includes("prune") };
      case "event":
        return { kind: "userEvent", time, name, payload: utf8(detail), coalesce: false };
      case "answer":
        return this.#answer(name, payload, plain.includes("ack"));
      default:
        return {
          kind: "query",
          time,
          id: number(options, "id", 1),
          address: bytesOfIp(asker),
          port,
          sourceNode: "asker",
          filters: filtersOf(options),
          flags: (plain.includes("ack") ? queryFlags.ack : 0) | (plain.includes("quiet") ? queryFlags.noBroadcast : 0),
          relayFactor: number(options, "relay", 0),
          timeout: 10_000_000_000,
          name,
          payload,
        };
    }
  }

  #answer(from: string, payload: Bytes | undefined, ack: boolean): QueryResponse {
    if (this.#asked === undefined) throw new Error("ask comes first");
    const { time, id } = this.#asked;
    return { kind: "queryResponse", time, id, from, flags: ack ? responseFlags.ack : 0, payload };
  }

  #merge(line: string, options: Options, plain: readonly string[]): void {
    const pairs = (options.get("times") ?? "").split(",").filter((pair) => pair !== "");
    const slots = [...line.matchAll(/ event=([^/ ]*)\/([^/ ]*)\/([0-9]+)/g)].map(([, name = "", payload = "", time = "0"]) => ({
      time: Number(time),
      events: [{ name, payload: utf8(payload) }],
    }));
    const userState = encodeState({
      time: number(options, "t", 1),
      statusTimes: new Map(pairs.map((pair) => [pair.split("/")[0] as string, Number(pair.split("/")[1])])),
      leftMembers: (options.get("left") ?? "").split(",").filter((name) => name !== ""),
      eventTime: number(options, "events", 1),
      events: slots,
      queryTime: number(options, "queries", 1),
    });
    const joining = plain.includes("joining");
    const state = { join: joining || plain.includes("reconnect"), members: [], userState };
    this.#step({ kind: "remoteState", state, joining });
  }

  #receive(message: SwimMessage, host: string): void {
    this.#step({ kind: "datagram", from: { host, port }, message });
  }

  #pass(duration: number): void {
    const end = this.#now + duration;
    for (let wake = this.#running().wakeAt; wake <= end; wake = this.#running().wakeAt) {
      this.#now = Math.max(this.#now, wake);
      this.#step({ kind: "wake" });
    }
    this.#now = end;
  }

  #step(input: SerfInput): void {
    const machine = this.#running();
    stepTrapped(machine, this.#now, input);
    for (const packet of machine.takePackets(packetBytesMax))
      this.#sent(machine, packet.to, decodeMessage(packet.parts[0] as Bytes));
    for (const request of machine.takeStreamRequests()) {
      if (request.kind === "pushPull")
        this.#print(`⇒ ${this.#nameAt(request.to.host)} push-pull${request.join ? " to join" : ""}`);
    }
    for (const event of machine.takeEvents()) this.#told(event);
  }

  /** Pings are answered at once; only what Serf says to one member is printed. */
  #sent(machine: SerfMachine, to: Address, message: SwimMessage): void {
    if (message.kind === "ping") {
      const ack = { kind: "ack", sequence: message.sequence, payload: undefined } as const;
      machine.step(this.#now, { kind: "datagram", from: to, message: ack });
    } else if (message.kind === "user") {
      this.#print(`→ ${this.#nameAt(to.host)} ${this.#shown(decodeSerf(message.payload))}`);
    }
  }

  #shown(message: SerfMessage): string {
    switch (message.kind) {
      case "queryResponse": {
        const about = `to query ${message.time}/${message.id} from ${message.from}`;
        return message.flags & responseFlags.ack ? `ack ${about}` : `answer ${about}: ${message.payload?.length ?? 0} bytes`;
      }
      case "relay":
        return `relay for ${message.node}: ${this.#shown(decodeSerf(message.inner))}`;
      default:
        return message.kind;
    }
  }

  #told(event: SerfEvent): void {
    switch (event.kind) {
      case "log":
        if (event.level === "warn" || event.level === "error") this.#print(`${event.level}: ${event.message}`);
        return;
      case "user":
        this.#print(`event ${event.name} ${text(event.payload)} at ${event.time}`);
        return;
      case "query":
        this.#print(`query ${event.name} from ${event.from}`);
        return;
      case "answer":
        this.#print(`answered by ${event.from}: ${text(event.payload)}`);
        return;
      case "answered":
        this.#print("no more answers");
        return;
      case "keys":
        this.#print("keys changed");
        return;
      default:
        this.#print(`${event.kind} ${event.member.name}`);
    }
  }

  #list(): void {
    const members = [...this.#running().members.values()].sort((left, right) => (left.name < right.name ? -1 : 1));
    for (const { name, status, statusTime, address, tags } of members)
      this.#print(`${name} ${status} since ${statusTime} ${address} role=${tags["role"]}`);
  }

  #running(): SerfMachine {
    if (this.#machine === undefined) throw new Error("start comes first");
    return this.#machine;
  }

  #nameAt(host: string): string {
    return host === asker ? "asker" : this.#hosts.nameAt(host);
  }

  #print(what: string): void {
    this.#printed.push(`${this.#now}ms ${what}`);
  }
}

function filtersOf(options: Options): readonly QueryFilter[] | undefined {
  const filters: QueryFilter[] = [];
  const nodes = options.get("nodes");
  if (nodes !== undefined) filters.push({ kind: "nodes", nodes: nodes.split(",") });
  const tag = options.get("tag")?.split("/");
  if (tag !== undefined) filters.push({ kind: "tag", tag: tag[0] ?? "", expression: tag[1] ?? "" });
  return filters.length === 0 ? undefined : filters;
}

function number(options: Options, name: string, fallback: number): number {
  return Number(options.get(name) ?? fallback);
}
