/**
 * How the servers of one group reach each other: one connection in each direction between any two, on the server port.
 *
 *   this server ──link.ts: messages, requests, pings──► peer's accept()
 *   this server ◄──────── answers, pongs ──────────────┘          and the other way round on a second connection
 *
 * Requests are opaque here; the agent forwards writes and read indexes with them (core/agent/forwarding.ts). Nothing is
 * promised for messages. A request is answered at most once; one that was not sent rejects with `connection-refused`.
 *
 * Invariants: a message is only taken from the server that greeted with the ID it carries · whoever speaks another
 * version, belongs to another datacenter, or expected somebody else here is turned away before anything else is read.
 */
import type { Clock } from "../ports/clock.ts";
import { type Address, formatAddress } from "../ports/net.ts";
import type { Random } from "../ports/random.ts";
import type { ByteStream, Streams } from "../ports/streams.ts";
import type { Logger } from "../ports/telemetry.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import type { Millis, NodeId } from "../types/ids.ts";
import { encodeFrame, FrameReader, frameType, Outbox, takeNumber } from "./frames.ts";
import { decodeHello, encodeFailure, encodeHello, type Hello, helloBytesMax, protocolVersion, sendBytesMax } from "./greeting.ts";
import { Link } from "./link.ts";
import type { RaftMessage } from "./messages.ts";
import { decodeMessage, encodeMessage } from "./wire.ts";

const greetingTimeout: Millis = 5000;
/** The log is quiet about others who are turned away for the same reason. */
const refusalPause: Millis = 60_000;
/** Requests of one other server in hand. */
const requestsMax = 16_384;

export interface RaftTransportOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly streams: Streams;
  readonly logger: Logger;
  readonly self: NodeId;
  readonly datacenter: string;
  /** Another one at each start of the process. */
  readonly life: string;
  readonly onMessage: (message: RaftMessage) => void;
  /** Whatever it rejects with is told to the one who asked. `body` may be kept. */
  readonly onRequest: (from: NodeId, body: Bytes) => Promise<Bytes>;
  /** That server's process has ended. */
  readonly onGone: (peer: NodeId) => void;
  /** What was sent to it before may not have arrived. */
  readonly onUnreachable: (peer: NodeId) => void;
}

export class RaftTransport {
  readonly #options: RaftTransportOptions;
  readonly #links = new Map<NodeId, Link>();
  #stopped = false;
  #refusal = { reason: "", quietUntil: 0 };

  constructor(options: RaftTransportOptions) {
    this.#options = options;
  }

  /** Whom to keep a connection to, from now on. */
  connectTo(peers: ReadonlyMap<NodeId, Address>): void {
    if (this.#stopped) return;
    for (const [id, link] of this.#links) {
      if (peers.has(id)) continue;
      link.close();
      this.#links.delete(id);
    }
    for (const [id, at] of peers) {
      if (id === this.#options.self) continue;
      const link = this.#links.get(id);
      if (link === undefined) this.#links.set(id, this.#link(id, at));
      else link.setAddress(at);
    }
  }

  isConnected(peer: NodeId): boolean {
    return this.#links.get(peer)?.isOpen === true;
  }

  /** Best effort. */
  send(message: RaftMessage): void {
    this.#links.get(message.to)?.send(encodeMessage(message));
  }

  /** As {@link Link.request}. */
  request(to: NodeId, body: Bytes, timeout: Millis): Promise<Bytes> {
    const link = this.#links.get(to);
    return link === undefined
      ? Promise.reject(new AgentError("connection-refused", { message: `the server ${to} is not known` }))
      : link.request(body, timeout);
  }

  /** A connection that another server opened; its first byte is read already. Resolves when it is over. */
  async accept(stream: ByteStream): Promise<void> {
    const reader = new FrameReader(stream);
    const peer = await this.#greeted(stream, reader);
    if (peer === undefined) return;
    this.#links.get(peer)?.poke();
    const outbox = new Outbox(stream, sendBytesMax, this.#options.clock);
    let open = 0;
    for (let frame = await reader.read(); frame !== undefined; frame = await reader.read()) {
      switch (frame.type) {
        case frameType.message: {
          const message = decodeMessage(frame.body);
          if (message?.from === peer && !this.#stopped) this.#options.onMessage(message);
          break;
        }
        case frameType.request: {
          const request = takeNumber(frame.body);
          if (request === undefined) throw new AgentError("bad-request", { message: "a request without a number" });
          if (open >= requestsMax) {
            const error = new AgentError("rate-limited", { message: `${requestsMax} requests are in hand already` });
            outbox.push(encodeFrame(frameType.failure, encodeFailure(error), request.id), false);
            break;
          }
          open++;
          void this.#answer(peer, request.rest.slice(), request.id, outbox).then(() => open--);
          break;
        }
        case frameType.ping:
          outbox.push(encodeFrame(frameType.pong, new Uint8Array(0)), false);
          break;
        default:
          break; // from a later version
      }
    }
    await stream.closeWrite();
  }

  stop(): void {
    this.#stopped = true;
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }

  #link(to: NodeId, at: Address): Link {
    const { clock, random, streams, logger, onGone, onUnreachable } = this.#options;
    return new Link({
      clock,
      random,
      streams,
      logger,
      hello: this.#hello(),
      to,
      at,
      onGone: () => onGone(to),
      onReset: () => onUnreachable(to),
    });
  }

  #hello(): Omit<Hello, "to"> {
    const { self, datacenter, life } = this.#options;
    return { version: protocolVersion, datacenter, from: self, life };
  }

  /** The ID of the server at the other end; undefined when it was turned away. */
  async #greeted(stream: ByteStream, reader: FrameReader): Promise<NodeId | undefined> {
    const { clock, self, datacenter } = this.#options;
    const late = new AgentError("timeout", { message: "i/o timeout" });
    const timer = clock.after(greetingTimeout, () => stream.abort(late));
    try {
      const frame = await reader.read(helloBytesMax);
      const hello = frame?.type === frameType.hello ? decodeHello(frame.body) : undefined;
      let refusal: string | undefined;
      if (hello === undefined) refusal = "no greeting";
      else if (hello.version !== protocolVersion) refusal = `version ${hello.version} of the protocol is not spoken here`;
      else if (hello.datacenter !== datacenter) refusal = `this server belongs to the datacenter ${datacenter}`;
      else if (hello.to !== self) refusal = `this is the server ${self}`;
      else if (hello.from === self) refusal = "a server with the same ID";
      if (hello !== undefined && refusal === undefined) {
        stream.write(encodeFrame(frameType.hello, encodeHello({ ...this.#hello(), to: hello.from })));
        return hello.from;
      }
      this.#tellRefusal(stream.remote, refusal ?? "");
      stream.write(encodeFrame(frameType.failure, encodeFailure(new AgentError("rejected", { message: refusal ?? "" }))));
      await stream.closeWrite();
      return undefined;
    } finally {
      timer.cancel();
    }
  }

  /** Who is turned away comes again and again: the log has one line of it in a while. */
  #tellRefusal(from: Address, reason: string): void {
    const { clock, logger } = this.#options;
    const now = clock.monotonic();
    const again = reason === this.#refusal.reason && now < this.#refusal.quietUntil;
    if (again) return;
    this.#refusal = { reason, quietUntil: now + refusalPause };
    logger.log("warn", "turned away a server", { from: formatAddress(from), reason });
  }

  async #answer(from: NodeId, body: Bytes, id: number, outbox: Outbox): Promise<void> {
    try {
      if (this.#stopped) throw new AgentError("closed", { message: "The agent is shutting down" });
      outbox.push(encodeFrame(frameType.answer, await this.#options.onRequest(from, body), id), false);
    } catch (error) {
      outbox.push(encodeFrame(frameType.failure, encodeFailure(error), id), false);
    }
  }
}
