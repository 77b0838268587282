/**
 * Asks other DNS servers about names that are not ours, in the order of the configuration, over the transport the client
 * used. Each question leaves from a port of its own under a number of its own, so that nobody who cannot see it can
 * answer it; replies are passed on as they came.
 */
import { type Address, formatAddress } from "../../core/ports/net.ts";
import type { ByteStream, Clock, Crypto, Datagrams, Logger, Metrics, Streams } from "../../core/ports/mod.ts";
import { type Bytes, equalBytes } from "../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import { copyOf, decodeUpstream, type DnsQuery, headerBytes, questionText, word } from "./message.ts";
import { type DnsRecord, rcodes, recordTypes } from "./records.ts";
import type { Settings } from "./settings.ts";
import type { Transport } from "./size.ts";
import { readFrame, writeFrame } from "./tcp.ts";

/** Questions out at recursors at one time; more are answered with SERVFAIL at once. */
const exchangesMax = 256;

export interface RecursorPorts {
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly datagrams: Datagrams;
  readonly streams: Streams;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export class Recursors {
  readonly #ports: RecursorPorts;
  #exchanges = 0;

  constructor(ports: RecursorPorts) {
    this.#ports = ports;
  }

  /** The first usable reply, under the client's number; undefined when every recursor failed. */
  async forward(query: DnsQuery, transport: Transport, settings: Settings): Promise<Bytes | undefined> {
    for (const recursor of settings.recursors) {
      const reply = await this.#exchange(
        recursor,
        query.packet,
        query.questionEnd,
        transport,
        settings.config.dns.recursorTimeout,
      );
      if (reply === undefined) continue;
      const rcode = (reply[3] as number) & 15;
      if (rcode !== rcodes.success && rcode !== rcodes.nameError) {
        this.#ports.logger.log("debug", "recurse failed for question", {
          question: questionText(query),
          rcode,
          recursor: formatAddress(recursor),
        });
        continue;
      }
      const answer = copyOf(reply);
      answer.set(query.packet.subarray(0, 2));
      return answer;
    }
    this.#ports.logger.log("error", "all resolvers failed for question from client", {
      question: questionText(query),
      client_network: transport,
    });
    return undefined;
  }

  /** What the first recursor that answers knows of a name: its addresses, and the aliases on the way. */
  async resolve(name: string, settings: Settings): Promise<readonly DnsRecord[]> {
    const packet = addressQuestion(name);
    for (const recursor of settings.recursors) {
      const reply = await this.#exchange(recursor, packet, packet.length, "udp", settings.config.dns.recursorTimeout);
      const decoded = reply === undefined ? undefined : decodeUpstream(reply);
      if (decoded !== undefined) return decoded.answers;
    }
    this.#ports.logger.log("error", "all resolvers failed for FQDN", { name });
    return [];
  }

  /** Undefined when it failed, which is logged. */
  async #exchange(
    to: Address,
    packet: Bytes,
    questionEnd: number,
    transport: Transport,
    timeout: Millis,
  ): Promise<Bytes | undefined> {
    if (this.#exchanges >= exchangesMax) {
      this.#ports.metrics.counter("dns.recursions_refused").add(1);
      return undefined;
    }
    this.#exchanges++;
    try {
      const question = copyOf(packet);
      question.set(this.#ports.crypto.randomBytes(2));
      const isReply = (reply: Bytes): boolean => repliesTo(reply, question, questionEnd);
      return await (transport === "udp"
        ? this.#overUdp(to, question, isReply, timeout)
        : this.#overTcp(to, question, isReply, timeout));
    } catch (error) {
      this.#ports.logger.log("error", "recurse failed", { error: messageOf(error), recursor: formatAddress(to) });
      return undefined;
    } finally {
      this.#exchanges--;
    }
  }

  async #overUdp(to: Address, question: Bytes, isReply: (reply: Bytes) => boolean, timeout: Millis): Promise<Bytes> {
    const { clock, datagrams } = this.#ports;
    let settle: (reply: Bytes | AgentError) => void = () => {};
    const settled = new Promise<Bytes | AgentError>((resolve) => {
      settle = resolve;
    });
    const any = to.host.includes(":") ? "::" : "0.0.0.0";
    const socket = await datagrams.bind({ host: any, port: 0 }, (received) => {
      if (received.from.port === to.port && isReply(received.payload)) settle(copyOf(received.payload));
    });
    const timer = clock.after(timeout, () => settle(timedOut(to, timeout)));
    socket.send(to, question);
    const reply = await settled;
    timer.cancel();
    await socket.close();
    if (reply instanceof AgentError) throw reply;
    return reply;
  }

  async #overTcp(to: Address, question: Bytes, isReply: (reply: Bytes) => boolean, timeout: Millis): Promise<Bytes> {
    const { clock, streams } = this.#ports;
    const stream: ByteStream = await streams.connect(to, { timeout });
    const timer = clock.after(timeout, () => stream.abort(timedOut(to, timeout)));
    try {
      await writeFrame(stream, question);
      const reply = await readFrame({ stream, held: new Uint8Array(0) });
      if (reply === undefined || !isReply(reply))
        throw new AgentError("connection-closed", { message: `${formatAddress(to)} did not answer the question` });
      return reply;
    } finally {
      timer.cancel();
      stream.abort(new AgentError("closed", { message: "The exchange with the recursor is over" }));
    }
  }
}

function timedOut(to: Address, timeout: Millis): AgentError {
  return new AgentError("timeout", { message: `${formatAddress(to)} did not answer within ${timeout} ms` });
}

/** Same number, same question. */
function repliesTo(reply: Bytes, question: Bytes, questionEnd: number): boolean {
  if (reply.length < questionEnd || ((reply[2] as number) & 0x80) === 0 || word(reply, 0) !== word(question, 0)) return false;
  return word(reply, 4) === 1 && equalBytes(lowered(reply, questionEnd), lowered(question, questionEnd));
}

/** Letters in lower case. A label's length is at most 63, below every letter. */
function lowered(message: Bytes, end: number): Bytes {
  const name = copyOf(message.subarray(headerBytes, end - 4));
  for (let at = 0; at < name.length; at++) {
    const byte = name[at] as number;
    if (byte >= 65 && byte <= 90) name[at] = byte + 32;
  }
  return name;
}

/** A recursive question for the A records of `name`, which fits a message. */
function addressQuestion(name: string): Bytes {
  const bytes: number[] = [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
  for (const label of name === "" ? [] : name.split(".")) {
    const encoded = new TextEncoder().encode(label);
    bytes.push(encoded.length, ...encoded);
  }
  return Uint8Array.from([...bytes, 0, 0, recordTypes.A, 0, 1]);
}
