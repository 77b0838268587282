/**
 * The connection that this server opened to one other, and keeps open.
 *
 *            ┌────────── ended, and a new attempt was refused: its process is gone (told once)
 *            ▼                                                         │
 *   waiting ──backoff over, or it called us──► dialing ──greeted──► open
 *            ◄──────────── failed ─────────────┘                       │
 *                                                 ◄──── ended ─────────┘   (dialed again at once)
 *
 * Out go Raft messages, our requests and pings; in come answers and pongs. Messages are kept while dialing, and dropped
 * while waiting: Raft sends again. A request that was never sent says so, because only then may it be sent to another.
 */
import type { Clock, Timer } from "../ports/clock.ts";
import { type Address, formatAddress } from "../ports/net.ts";
import { between, type Random } from "../ports/random.ts";
import type { ByteStream, Streams } from "../ports/streams.ts";
import type { Logger } from "../ports/telemetry.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis, NodeId } from "../types/ids.ts";
import { encodeFrame, FrameReader, frameType, Outbox, takeNumber } from "./frames.ts";
import { decodeFailure, decodeHello, encodeHello, type Hello, helloBytesMax, protocolByte, sendBytesMax } from "./greeting.ts";

const dialTimeout: Millis = 10_000;
const backoffMin: Millis = 50;
const backoffMax: Millis = 2000;
/** Nothing heard for this long: ask whether it is there; for three times as long: it is not. */
const pingInterval: Millis = 5000;
/** A connection that held for so long was a good one. */
const settledAfter: Millis = 500;
/** Sent and not yet answered. */
const requestsMax = 16_384;
/** Messages kept while dialing; beyond it the oldest go. */
const keptMax = 256;

export interface LinkOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly streams: Streams;
  readonly logger: Logger;
  readonly hello: Omit<Hello, "to">;
  readonly to: NodeId;
  readonly at: Address;
  /** The process that we were connected to has ended. */
  readonly onGone: () => void;
  /** A connection was lost or made: what was sent before may not have arrived. */
  readonly onReset: () => void;
}

interface Asked {
  readonly frame: Bytes;
  readonly resolve: (answer: Bytes) => void;
  readonly reject: (error: AgentError) => void;
  readonly timer: Timer;
}

export class Link {
  readonly #options: LinkOptions;
  #at: Address;
  #state: "waiting" | "dialing" | "open" | "closed" = "waiting";
  #stream: ByteStream | undefined;
  #outbox: Outbox | undefined;
  #kept: Bytes[] = [];
  readonly #asked = new Map<number, Asked>();
  #idLast = 0;
  #timer: Timer | undefined;
  #failures = 0;
  /** The process last connected to. */
  #life: string | undefined;
  #heardAt: Millis = 0;
  #openedAt: Millis = Number.NEGATIVE_INFINITY;
  #complained = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#at = options.at;
    void this.#dial();
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** It has moved, perhaps. */
  setAddress(at: Address): void {
    if (formatAddress(at) === formatAddress(this.#at)) return;
    this.#at = at;
    this.#stream?.abort(new AgentError("cancelled", { message: "the server has another address now" }));
    this.poke();
  }

  /** It was heard of otherwise: do not wait any longer. */
  poke(): void {
    if (this.#state !== "waiting") return;
    this.#timer?.cancel();
    void this.#dial();
  }

  /** Best effort. */
  send(message: Bytes): void {
    const frame = encodeFrame(frameType.message, message);
    if (this.#outbox !== undefined) this.#outbox.push(frame, true);
    else if (this.#state === "dialing") {
      if (this.#kept.length >= keptMax) this.#kept.shift();
      this.#kept.push(frame);
    }
  }

  /**
   * Rejects with what the other side answered, or with `connection-refused` (it was not sent), `connection-closed` or
   * `timeout` (it may have been carried out), `rate-limited`.
   */
  request(body: Bytes, timeout: Millis): Promise<Bytes> {
    const { clock, to } = this.#options;
    const outbox = this.#outbox;
    if (outbox === undefined)
      return Promise.reject(new AgentError("connection-refused", { message: `no connection to the server ${to}` }));
    if (this.#asked.size >= requestsMax)
      return Promise.reject(new AgentError("rate-limited", { message: `${requestsMax} requests wait for the server ${to}` }));
    this.#idLast = (this.#idLast + 1) >>> 0;
    const id = this.#idLast;
    return new Promise((resolve, reject) => {
      const timer = clock.after(timeout, () => {
        this.#asked.delete(id);
        reject(new AgentError("timeout", { message: `the server ${to} did not answer in time` }));
      });
      const frame = encodeFrame(frameType.request, body, id);
      this.#asked.set(id, { frame, resolve, reject, timer });
      outbox.push(frame, false);
    });
  }

  close(): void {
    this.#state = "closed";
    this.#timer?.cancel();
    this.#stream?.abort(new AgentError("closed", { message: "the agent is shutting down" }));
    this.#failAll();
  }

  async #dial(): Promise<void> {
    const { clock, streams, onGone } = this.#options;
    this.#state = "dialing";
    const timer = clock.after(dialTimeout, () => this.#stream?.abort(new AgentError("timeout", { message: "i/o timeout" })));
    try {
      const stream = await streams.connect(this.#at, { timeout: dialTimeout });
      if (this.#isClosed()) {
        stream.abort(new AgentError("closed", { message: "the agent is shutting down" }));
        return;
      }
      this.#stream = stream;
      const reader = new FrameReader(stream);
      const hello = await this.#greet(stream, reader);
      timer.cancel();
      if (this.#life !== undefined && this.#life !== hello.life) {
        this.#kept = []; // meant for the process that is gone
        onGone();
      }
      this.#life = hello.life;
      this.#open(stream);
      await this.#receive(stream, reader);
    } catch (error) {
      this.#onError(error);
    } finally {
      timer.cancel();
      this.#onEnd();
    }
  }

  async #greet(stream: ByteStream, reader: FrameReader): Promise<Hello> {
    const { hello, to } = this.#options;
    stream.write(Uint8Array.of(protocolByte));
    stream.write(encodeFrame(frameType.hello, encodeHello({ ...hello, to })));
    const frame = await reader.read(helloBytesMax);
    if (frame?.type === frameType.failure) throw decodeFailure(frame.body);
    const answer = frame?.type === frameType.hello ? decodeHello(frame.body) : undefined;
    if (answer === undefined) throw new AgentError("rejected", { message: "no server of this kind answers there" });
    if (answer.from !== to) throw new AgentError("rejected", { message: `another server answers there: ${answer.from}` });
    return answer;
  }

  #open(stream: ByteStream): void {
    this.#state = "open";
    this.#complained = false;
    this.#heardAt = this.#options.clock.monotonic();
    this.#openedAt = this.#heardAt;
    const outbox = new Outbox(stream, sendBytesMax, this.#options.clock);
    this.#outbox = outbox;
    for (const frame of this.#kept) outbox.push(frame, true);
    this.#kept = [];
    this.#options.onReset();
    this.#watch(stream, outbox);
  }

  #watch(stream: ByteStream, outbox: Outbox): void {
    this.#timer = this.#options.clock.after(pingInterval, () => {
      const silence = this.#options.clock.monotonic() - this.#heardAt;
      if (silence >= 3 * pingInterval) stream.abort(new AgentError("timeout", { message: "i/o timeout" }));
      else {
        if (silence >= pingInterval) outbox.push(encodeFrame(frameType.ping, new Uint8Array(0)), false);
        this.#watch(stream, outbox);
      }
    });
  }

  async #receive(stream: ByteStream, reader: FrameReader): Promise<void> {
    for (;;) {
      const frame = await reader.read();
      if (frame === undefined) {
        stream.abort(new AgentError("connection-closed", { message: "EOF" }));
        return;
      }
      this.#heardAt = this.#options.clock.monotonic();
      if (frame.type !== frameType.answer && frame.type !== frameType.failure) continue;
      const numbered = takeNumber(frame.body);
      if (numbered === undefined) throw new AgentError("bad-request", { message: "an answer without a number" });
      const asked = this.#asked.get(numbered.id);
      if (asked === undefined) continue; // it took too long
      this.#asked.delete(numbered.id);
      asked.timer.cancel();
      if (frame.type === frameType.answer) asked.resolve(numbered.rest.slice());
      else asked.reject(decodeFailure(numbered.rest));
    }
  }

  #onError(error: unknown): void {
    if (this.#isClosed()) return;
    const { logger, onGone, to } = this.#options;
    const refused = error instanceof AgentError && error.code === "connection-refused";
    if (refused && this.#life !== undefined) {
      this.#life = undefined;
      onGone();
    }
    if (!this.#complained && this.#state === "dialing")
      logger.log("warn", "no connection to server", { id: to, address: formatAddress(this.#at), error: messageOf(error) });
    this.#complained = true;
    this.#stream?.abort(new AgentError("connection-closed", { message: "the connection was given up" }));
  }

  #onEnd(): void {
    const wasOpen = this.#state === "open";
    this.#stream = undefined;
    this.#timer?.cancel();
    this.#failAll();
    this.#outbox = undefined;
    if (this.#isClosed()) return;
    this.#state = "waiting";
    if (wasOpen) {
      this.#options.onReset();
      // At once: whether it is refused tells whether the process lives. Not for one that keeps hanging up.
      if (this.#options.clock.monotonic() - this.#openedAt >= settledAfter) {
        this.#failures = 0;
        void this.#dial();
        return;
      }
    }
    this.#kept = [];
    const backoff = Math.min(backoffMax, backoffMin * 2 ** Math.min(this.#failures++, 10));
    this.#timer = this.#options.clock.after(between(this.#options.random, backoff / 2, backoff), () => void this.#dial());
  }

  /** What is still in the outbox has certainly not been carried out; of the rest nobody knows. */
  #failAll(): void {
    const unsent = new Set(this.#outbox?.unsent());
    for (const asked of this.#asked.values()) {
      asked.timer.cancel();
      asked.reject(
        unsent.has(asked.frame)
          ? new AgentError("connection-refused", { message: `no connection to the server ${this.#options.to}` })
          : new AgentError("connection-closed", { message: "EOF" }),
      );
    }
    this.#asked.clear();
  }

  #isClosed(): boolean {
    return this.#state === "closed";
  }
}
