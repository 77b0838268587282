/**
 * Reads tests/cases/swim/*.txt: one member, "self" at 10.0.0.1, in virtual time. A block is commands, "----", and what
 * the machine handed out: packets, stream requests, and what it told the layer above.
 *
 *   config KEY=VALUE…                          before `start`; names as in core/swim/config.ts, VALUE a number or off; gossip and push-pull are off
 *   answering                                  from now on every ping is answered at once, and neither is printed
 *   start
 *   alive NAME [inc=1] [ip=…] [port=7946] [meta=…] [vsn=1,5,2,2,5,4]
 *   suspect NAME [inc=1] from=NAME
 *   dead NAME [inc=1] from=NAME
 *   ping NAME seq=N [from=ip] [origin=ip]      NAME "-" is nobody
 *   indirect NAME target=ip seq=N [nack] [from=ip]
 *   ack SEQ [from=NAME] | nack SEQ | streamed SEQ reached|failed
 *   merge NAME/STATE/INC…                      the other side of a push-pull exchange
 *   update meta=…                              the layer above has new meta
 *   user TEXT                                  a user message arrives
 *   doubt NAME                                 something besides gossip says that it may be gone
 *   leave
 *   pass DURATION                              1500ms, 30s, 2m
 *   stall DURATION                             time goes by, and the process does not run
 *   wake                                       the timer fires, late or not
 *   evidence                                   prints who accused whom, on what grounds, and what came of it
 *   members                                    prints the table
 *   health                                     prints the own health score
 *
 * Members known without `ip` live at 10.0.0.2, 10.0.0.3, … in the order in which they are named. Chance is taken out.
 */
import { lanDefaults, type SwimConfig } from "../../../core/swim/config.ts";
import type { SwimDelegate } from "../../../core/swim/delegate.ts";
import type { Grounds } from "../../../core/swim/evidence.ts";
import { ipText } from "../../../core/swim/ip.ts";
import type { MemberClaim, MemberCondition, SwimMessage } from "../../../core/swim/messages.ts";
import { type SwimInput, SwimMachine } from "../../../core/swim/swim.ts";
import { decodeMessage } from "../../../core/swim/wire.ts";
import { type Bytes, emptyBytes, text, utf8 } from "../../../core/types/bytes.ts";
import { stepTrapped } from "../../support/harness.ts";
import { bytesOfIp, durationOf, Hosts, type Options, splitCommand } from "../../support/member-script.ts";
import { constantRandom } from "../../support/virtual-clock.ts";

const packetBytesMax = 1400;

export class SwimScript {
  readonly #hosts = new Hosts();
  #config: SwimConfig = {
    ...lanDefaults,
    name: "self",
    address: bytesOfIp("10.0.0.1"),
    port: 7946,
    version: Uint8Array.of(1, 5, 2, 2, 5, 4),
    gossipInterval: Number.POSITIVE_INFINITY,
    pushPullInterval: Number.POSITIVE_INFINITY,
  };
  #machine: SwimMachine | undefined;
  #meta: Bytes = emptyBytes;
  #now = 0;
  #printed: string[] = [];
  #answering = false;

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
        for (const [key, value] of options) this.#config = { ...this.#config, [key]: value === "off" ? false : Number(value) };
        return;
      case "answering":
        this.#answering = true;
        return;
      case "start":
        this.#machine = new SwimMachine({ config: this.#config, random: constantRandom(0.5), delegate: this.#delegate() });
        this.#step({ kind: "start" });
        return;
      case "alive":
      case "suspect":
      case "dead":
      case "ping":
      case "indirect":
      case "ack":
      case "nack":
      case "user":
        this.#receive(this.#message(command, name, options, plain), options);
        return;
      case "streamed":
        this.#step({ kind: "streamProbe", sequence: Number(name), ok: detail === "reached" });
        return;
      case "merge":
        this.#merge(plain);
        return;
      case "update":
        this.#meta = utf8(options.get("meta") ?? "");
        this.#step({ kind: "update" });
        return;
      case "doubt":
        this.#step({ kind: "doubt", node: name });
        return;
      case "leave":
        this.#step({ kind: "leave" });
        return;
      case "pass":
        this.#pass(durationOf(name));
        return;
      case "stall":
        this.#now += durationOf(name);
        return;
      case "wake":
        this.#step({ kind: "wake" });
        return;
      case "evidence":
        this.#explain();
        return;
      case "members":
        this.#list();
        return;
      case "health":
        this.#print(`health ${this.#running().healthScore}`);
        return;
      default:
        throw new Error(`unknown command: ${line}`);
    }
  }

  #message(command: string, name: string, options: Options, plain: readonly string[]): SwimMessage {
    const incarnation = Number(options.get("inc") ?? 1);
    const sequence = Number(options.get("seq") ?? name);
    const from = options.get("from") ?? "";
    const origin = options.get("origin");
    switch (command) {
      case "alive":
        return { kind: "alive", node: name, incarnation, ...this.#described(name, options) };
      case "suspect":
      case "dead":
        return { kind: command, node: name, incarnation, from };
      case "ping":
        return {
          kind: "ping",
          node: name === "-" ? "" : name,
          sequence,
          origin: origin === undefined ? undefined : { address: bytesOfIp(origin), port: 7946, node: "" },
        };
      case "indirect":
        return {
          kind: "indirectPing",
          node: name,
          sequence,
          target: bytesOfIp(options.get("target") ?? ""),
          port: 7946,
          nack: plain.includes("nack"),
          origin: undefined,
        };
      case "ack":
        return { kind: "ack", sequence, payload: undefined };
      case "nack":
        return { kind: "nack", sequence };
      default:
        return { kind: "user", payload: utf8(plain.join(" ")) };
    }
  }

  #described(name: string, options: Options): Pick<MemberClaim, "address" | "port" | "meta" | "version"> {
    return {
      address: bytesOfIp(options.get("ip") ?? this.#hosts.of(name)),
      port: Number(options.get("port") ?? 7946),
      meta: utf8(options.get("meta") ?? ""),
      version: Uint8Array.from((options.get("vsn") ?? "1,5,2,2,5,4").split(","), Number),
    };
  }

  #receive(message: SwimMessage, options: Options): void {
    const from = options.get("from") ?? "10.0.0.9";
    this.#step({ kind: "datagram", from: { host: this.#hosts.known(from) ?? from, port: 7946 }, message });
  }

  #merge(claims: readonly string[]): void {
    const members = claims.map((claim): MemberClaim => {
      const [name = "", state = "", incarnation = ""] = claim.split("/");
      return { name, condition: state as MemberCondition, incarnation: Number(incarnation), ...this.#described(name, new Map()) };
    });
    const state = { join: false, members, userState: emptyBytes };
    const refusal = this.#running().mergeRefusal(state);
    if (refusal === undefined) this.#step({ kind: "remoteState", state });
    else this.#print(`refused: ${refusal}`);
  }

  #pass(duration: number): void {
    const end = this.#now + duration;
    for (let wake = this.#running().wakeAt; wake <= end; wake = this.#running().wakeAt) {
      this.#now = Math.max(this.#now, wake);
      this.#step({ kind: "wake" });
    }
    this.#now = end;
  }

  #step(input: SwimInput): void {
    const machine = this.#running();
    stepTrapped(machine, this.#now, input);
    for (const packet of machine.takePackets(packetBytesMax)) {
      const first = decodeMessage(packet.parts[0] as Bytes);
      if (this.#answering && first.kind === "ping") {
        machine.step(this.#now, {
          kind: "datagram",
          from: packet.to,
          message: { kind: "ack", sequence: first.sequence, payload: undefined },
        });
        continue;
      }
      this.#print(
        `→ ${this.#hosts.nameAt(packet.to.host)} ${packet.parts.map((part) => this.#told(decodeMessage(part))).join(" + ")}`,
      );
    }
    for (const request of machine.takeStreamRequests()) {
      const to = this.#hosts.nameAt(request.to.host);
      if (request.kind === "ping")
        this.#print(`⇒ ${to} ping ${request.ping.node} #${request.ping.sequence} within ${request.timeout}ms`);
      else this.#print(`⇒ ${to} push-pull${request.join ? " to join" : ""}`);
    }
  }

  #told(message: SwimMessage): string {
    switch (message.kind) {
      case "ping":
        return `ping ${message.node} #${message.sequence}`;
      case "indirectPing":
        return `ping-for-me ${message.node} #${message.sequence}${message.nack ? " nack" : ""}`;
      case "ack":
      case "nack":
        return `${message.kind} #${message.sequence}`;
      case "suspect":
      case "dead":
        return `${message.kind} ${message.node} inc=${message.incarnation} from=${message.from}`;
      case "alive":
        return `alive ${message.node} inc=${message.incarnation}`;
      default:
        return message.kind;
    }
  }

  #delegate(): SwimDelegate {
    return {
      meta: () => this.#meta,
      ackPayload: () => undefined,
      acked: (member, roundTrip) => {
        if (!this.#answering) this.#print(`${member.name} answered after ${roundTrip}ms`);
      },
      received: (payload) => this.#print(`received ${text(payload)}`),
      broadcasts: () => [],
      localState: () => emptyBytes,
      mergeState: () => {},
      refuseMerge: () => undefined,
      refuseAlive: () => undefined,
      joined: (member) => this.#print(`joined ${member.name} at ${member.host}`),
      gone: (member) => this.#print(`${member.condition} ${member.name}`),
      updated: (member) => this.#print(`updated ${member.name} meta=${text(member.meta ?? emptyBytes)}`),
      conflicted: (member, other) => this.#print(`conflict ${member.name}: ${member.host} and ${ipText(other.address)}`),
      log: () => {},
    };
  }

  #list(): void {
    const members = [...this.#running().members].sort((left, right) => (left.name < right.name ? -1 : 1));
    for (const { name, condition, incarnation, host } of members) this.#print(`${name} ${condition} inc=${incarnation} ${host}`);
  }

  #explain(): void {
    const { evidence } = this.#running();
    for (const { node, incarnation, at, by, grounds, confirmations, ...end } of evidence.accusations()) {
      const confirmed = confirmations.map((one) => `, confirmed by ${one.by} at ${one.at}ms`).join("");
      const settled = end.settledAt === undefined ? "" : ` at ${end.settledAt}ms`;
      const judge = end.settledBy === undefined ? "" : ` by ${end.settledBy}`;
      const returned = end.returnedAt === undefined ? "" : `, back at ${end.returnedAt}ms`;
      this.#print(`${node} inc=${incarnation} accused by ${by} at ${at}ms, ${groundsText(grounds)}${confirmed}`);
      this.#print(`  ${end.outcome}${judge}${settled}${returned}`);
    }
    for (const { at, late } of evidence.stalls) this.#print(`stalled for ${late}ms until ${at}ms`);
  }

  #running(): SwimMachine {
    if (this.#machine === undefined) throw new Error("start comes first");
    return this.#machine;
  }

  #print(what: string): void {
    this.#printed.push(`${this.#now}ms ${what}`);
  }
}

function groundsText(grounds: Grounds): string {
  if (grounds.kind !== "probe") return `heard by ${grounds.kind}`;
  const helpers = grounds.helpers.map(({ via, answer }) => ` ${via}:${answer}`).join("");
  return `probed at ${grounds.sentAt}ms for ${grounds.timeout}ms, helpers${helpers || " none"}, stream ${grounds.stream}, own health ${grounds.health}`;
}
