/**
 * Many streams over one connection: yamux, as Consul speaks it between agents and servers.
 *
 *   frame    version 0 · type · flags u16 · stream u32 · length u32, then for data that many bytes
 *   stream   opened by SYN, both windows 256 KiB; the reader gives credit back once half is consumed; each side ends
 *            its direction with FIN, or both at once with RST
 *
 * The dialler's streams are odd, the acceptor's even. Whoever breaks the protocol loses the connection.
 *
 * Invariants: bytes buffered of a stream ≤ its window · bytes buffered of a session ≤ `sessionBytesMax`, beyond which
 * nothing is read until somebody consumes · a blocked connection stops us from reading once `controlBytesMax` of answers wait.
 */
import { Malformed } from "../codec/msgpack.ts";
import { ValueReader } from "../codec/value-stream.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Address } from "../ports/net.ts";
import type { ByteStream } from "../ports/streams.ts";
import type { Bytes } from "../types/bytes.ts";
import type { Cancel } from "../types/cancel.ts";
import { AgentError, assert } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { CancelSource } from "./cancel-source.ts";

const frameType = { data: 0, windowUpdate: 1, ping: 2, goAway: 3 } as const;
const flag = { syn: 1, ack: 2, fin: 4, rst: 8 } as const;
const goAwayReason = { normal: 0, protocolError: 1, internalError: 2 } as const;

const headLength = 12;
const windowBytes = 256 * 1024;
/** One frame of ours; small enough that one stream's answer does not hold up the others for long. */
const frameBytesMax = 64 * 1024;
const streamsMaxDefault = 4096;
/** Of all its streams together, read from the connection and not yet by anyone: who reads requests keeps up. */
const sessionBytesMax = 8 * 1024 * 1024;
const controlBytesMax = 64 * 1024;
const keepAliveIntervalDefault: Millis = 30_000;
const writeTimeoutDefault: Millis = 10_000;

export interface YamuxOptions {
  readonly side: "client" | "server";
  readonly clock: Clock;
  /** The other side opened a stream. Without it all are refused. */
  readonly accept?: (stream: YamuxStream) => void;
  /** Streams open at once; more are refused. */
  readonly streamsMax?: number;
  readonly keepAliveInterval?: Millis;
  /** A ping unanswered or a write stuck for this long ends the session. */
  readonly writeTimeout?: Millis;
}

/** One stream. It ends like any connection; `cancel` is aborted when it breaks, which a waiting handler wants to know. */
export interface YamuxStream extends ByteStream {
  readonly cancel: Cancel;
}

export class YamuxSession {
  readonly #ground: ByteStream;
  readonly #options: YamuxOptions;
  readonly #reader: ValueReader;
  readonly #streams = new Map<number, Stream>();
  readonly #closed = new CancelSource();
  #nextId: number;
  #goneAway = false;
  #pingValue = 0;
  #pingDeadline: Timer | undefined;
  #keepAlive: Timer | undefined;
  /** Set while the connection takes no more; resolves when it does again. */
  #blocked: Promise<void> | undefined;
  #controlBytes = 0;
  #bufferedBytes = 0;
  #consumed: (() => void) | undefined;

  /** `ground` is the session's from now on. */
  constructor(ground: ByteStream, options: YamuxOptions) {
    this.#ground = ground;
    this.#options = options;
    this.#reader = new ValueReader(ground);
    this.#nextId = options.side === "client" ? 1 : 2;
    this.#armKeepAlive();
    void this.#run();
  }

  get local(): Address {
    return this.#ground.local;
  }

  get remote(): Address {
    return this.#ground.remote;
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  /** Aborted when the session is over. */
  get closed(): Cancel {
    return this.#closed;
  }

  /** True when new streams can be opened. */
  get isOpen(): boolean {
    return !this.#closed.aborted && !this.#goneAway && this.#streams.size < (this.#options.streamsMax ?? streamsMaxDefault);
  }

  /** Throws `closed` when the session is over, or the other side wants no new streams. */
  open(): YamuxStream {
    if (!this.isOpen)
      throw new AgentError("closed", {
        message: this.#closed.aborted ? "session shutdown" : "remote end is not accepting connections",
      });
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = new Stream(id, this.#link());
    this.#streams.set(id, stream);
    this.#control(frameType.windowUpdate, flag.syn, id, 0);
    return stream;
  }

  /** Ends all streams and the connection. */
  close(reason: Error = new AgentError("closed", { message: "session shutdown" })): void {
    if (this.#closed.aborted) return;
    this.#closed.abort(reason);
    this.#keepAlive?.cancel();
    this.#pingDeadline?.cancel();
    for (const stream of this.#streams.values()) stream.fail(reason);
    this.#streams.clear();
    this.#consumed?.();
    this.#ground.abort(reason);
  }

  async #run(): Promise<void> {
    try {
      while (!this.#closed.aborted) {
        const head = await this.#head();
        if (head === undefined) break;
        await this.#frame(head);
        if (this.#bufferedBytes > sessionBytesMax) await new Promise<void>((resolve) => this.#whenConsumed(resolve));
        if (this.#controlBytes > controlBytesMax) await this.#blocked;
      }
      this.close(new AgentError("connection-closed", { message: "EOF" }));
    } catch (error) {
      if (error instanceof ProtocolError) this.#control(frameType.goAway, 0, 0, goAwayReason.protocolError);
      this.close(error instanceof Error ? error : new AgentError("connection-closed", { message: String(error) }));
    }
  }

  async #head(): Promise<DataView | undefined> {
    const first = await this.#reader.byte();
    if (first === undefined) return undefined;
    if (first !== 0) throw new ProtocolError(`yamux version ${first} is not known`);
    const rest = await this.#reader.exactly(headLength - 1);
    return new DataView(rest.buffer, rest.byteOffset, rest.length);
  }

  async #frame(head: DataView): Promise<void> {
    const type = head.getUint8(0);
    const flags = head.getUint16(1);
    const id = head.getUint32(3);
    const length = head.getUint32(7);
    switch (type) {
      case frameType.data:
      case frameType.windowUpdate:
        return this.#streamFrame({ type, flags, id, length });
      case frameType.ping:
        if (flags & flag.syn) this.#control(frameType.ping, flag.ack, 0, length);
        else if (flags & flag.ack && length === this.#pingValue) this.#pingDeadline?.cancel();
        return;
      case frameType.goAway:
        if (length !== goAwayReason.normal)
          throw new AgentError("connection-closed", { message: `remote end sent go away ${length}` });
        this.#goneAway = true;
        return;
      default:
        throw new ProtocolError(`yamux frame type ${type} is not known`);
    }
  }

  async #streamFrame(frame: {
    readonly type: number;
    readonly flags: number;
    readonly id: number;
    readonly length: number;
  }): Promise<void> {
    const { type, flags, id, length } = frame;
    if (flags & flag.syn) this.#incoming(id);
    const stream = this.#streams.get(id);
    if (type === frameType.data && length > 0) {
      // Nobody sends more than a window at once; for streams that are gone, too, it must end somewhere.
      if (length > (stream?.credit ?? windowBytes)) throw new ProtocolError(`receive window of stream ${id} exceeded`);
      const content = await this.#reader.exactly(length);
      if (stream?.received(content)) this.#bufferedBytes += length;
    } else if (type === frameType.windowUpdate) stream?.credited(length);
    if (stream === undefined) return;
    if (flags & flag.rst) {
      this.#forget(stream);
      stream.fail(new AgentError("connection-closed", { message: "connection reset" }));
    } else if (flags & flag.fin) stream.ended();
  }

  #incoming(id: number): void {
    const theirs = this.#options.side === "client" ? 0 : 1;
    if (id === 0 || id % 2 !== theirs || this.#streams.has(id)) throw new ProtocolError(`stream ${id} cannot be opened`);
    const { accept, streamsMax = streamsMaxDefault } = this.#options;
    if (accept === undefined || this.#streams.size >= streamsMax) {
      this.#control(frameType.windowUpdate, flag.rst, id, 0);
      return;
    }
    const stream = new Stream(id, this.#link());
    this.#streams.set(id, stream);
    this.#control(frameType.windowUpdate, flag.ack, id, 0);
    accept(stream);
  }

  #link(): Link {
    return {
      local: this.#ground.local,
      remote: this.#ground.remote,
      blocked: () => this.#blocked,
      data: (id, content) => this.#send(frame(frameType.data, 0, id, content.length, content), false),
      control: (flags, id, credit) => this.#control(frameType.windowUpdate, flags, id, credit),
      consumed: (length) => {
        this.#bufferedBytes -= length;
        if (this.#bufferedBytes <= sessionBytesMax) this.#consumed?.();
      },
      done: (stream) => this.#forget(stream),
    };
  }

  #forget(stream: Stream): void {
    this.#streams.delete(stream.id);
  }

  #whenConsumed(resolve: () => void): void {
    this.#consumed = () => {
      this.#consumed = undefined;
      resolve();
    };
  }

  #control(type: number, flags: number, id: number, length: number): void {
    if (!this.#closed.aborted) this.#send(frame(type, flags, id, length), true);
  }

  #send(bytes: Bytes, isControl: boolean): void {
    if (this.#closed.aborted) return;
    const taken = this.#ground.write(bytes);
    if (isControl && this.#blocked !== undefined) this.#controlBytes += bytes.length;
    if (!taken && this.#blocked === undefined) this.#blocked = this.#waitForGround();
  }

  async #waitForGround(): Promise<void> {
    const timer = this.#options.clock.after(this.#options.writeTimeout ?? writeTimeoutDefault, () =>
      this.close(new AgentError("timeout", { message: "connection write timeout" })),
    );
    try {
      await this.#ground.drained();
    } catch (error) {
      this.close(error instanceof Error ? error : undefined);
    }
    timer.cancel();
    this.#blocked = undefined;
    this.#controlBytes = 0;
    for (const stream of [...this.#streams.values()]) stream.pump();
  }

  #armKeepAlive(): void {
    const { clock, keepAliveInterval = keepAliveIntervalDefault, writeTimeout = writeTimeoutDefault } = this.#options;
    this.#keepAlive = clock.after(keepAliveInterval, () => {
      this.#pingValue = (this.#pingValue + 1) >>> 0;
      this.#control(frameType.ping, flag.syn, 0, this.#pingValue);
      this.#pingDeadline = clock.after(writeTimeout, () =>
        this.close(new AgentError("timeout", { message: "keepalive timeout" })),
      );
      this.#armKeepAlive();
    });
  }
}

/** The other side does not speak yamux, or breaks its rules. */
class ProtocolError extends Malformed {}

/** What a stream may do with its session. */
interface Link {
  readonly local: Address;
  readonly remote: Address;
  blocked(): Promise<void> | undefined;
  data(id: number, content: Bytes): void;
  control(flags: number, id: number, credit: number): void;
  consumed(length: number): void;
  done(stream: Stream): void;
}

interface Waiter<Result> {
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
}

class Stream implements YamuxStream {
  readonly id: number;
  readonly cancel: CancelSource = new CancelSource();
  readonly #link: Link;
  #sendWindow = windowBytes;
  /** What the other side may still send. */
  #receiveWindow = windowBytes;
  #consumedBytes = 0;
  readonly #received: Bytes[] = [];
  readonly #pending: Bytes[] = [];
  #reader: Waiter<Bytes | undefined> | undefined;
  #drainWaiters: Waiter<void>[] = [];
  /** Our direction: open; to be ended when everything is sent; ended. */
  #writing: "open" | "ending" | "ended" = "open";
  #readingEnded = false;
  #failure: Error | undefined;

  constructor(id: number, link: Link) {
    this.id = id;
    this.#link = link;
  }

  get local(): Address {
    return this.#link.local;
  }

  get remote(): Address {
    return this.#link.remote;
  }

  get credit(): number {
    return this.#receiveWindow;
  }

  read(): Promise<Bytes | undefined> {
    assert(this.#reader === undefined, "one read at a time");
    const chunk = this.#received.shift();
    if (chunk !== undefined) {
      this.#giveBack(chunk.length);
      return Promise.resolve(chunk);
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#readingEnded) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  write(chunk: Bytes): boolean {
    if (this.#failure !== undefined || this.#writing !== "open") return false;
    if (chunk.length > 0) this.#pending.push(chunk);
    this.pump();
    return this.#pending.length === 0;
  }

  drained(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#pending.length === 0) return Promise.resolve();
    return new Promise((resolve, reject) => this.#drainWaiters.push({ resolve, reject }));
  }

  async closeWrite(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#writing === "open") this.#writing = "ending";
    const sent = this.drained();
    this.pump();
    await sent;
  }

  abort(reason: Error): void {
    if (this.#failure !== undefined) return;
    const over = this.#writing === "ended" && this.#readingEnded;
    if (!over) this.#link.control(flag.rst, this.id, 0);
    this.#link.done(this);
    this.fail(reason);
  }

  /** Sends what the window and the connection let through. */
  pump(): void {
    while (this.#pending.length > 0 && this.#sendWindow > 0 && this.#link.blocked() === undefined) {
      const chunk = this.#pending[0] as Bytes;
      const length = Math.min(chunk.length, this.#sendWindow, frameBytesMax);
      if (length === chunk.length) this.#pending.shift();
      else this.#pending[0] = chunk.subarray(length);
      this.#sendWindow -= length;
      this.#link.data(this.id, chunk.subarray(0, length));
    }
    if (this.#pending.length > 0) return;
    if (this.#writing === "ending") {
      this.#writing = "ended";
      this.#link.control(flag.fin, this.id, 0);
      if (this.#readingEnded) this.#link.done(this);
    }
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const waiter of waiters) waiter.resolve();
  }

  /** False when nobody will read it: then it does not count as buffered. */
  received(content: Bytes): boolean {
    this.#receiveWindow -= content.length;
    if (this.#failure !== undefined || this.#readingEnded) return false;
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader === undefined) {
      this.#received.push(content);
      return true;
    }
    this.#earn(content.length);
    reader.resolve(content);
    return false;
  }

  credited(length: number): void {
    this.#sendWindow += length;
    if (this.#failure === undefined) this.pump();
  }

  /** The other side sends no more. */
  ended(): void {
    this.#readingEnded = true;
    if (this.#writing === "ended") this.#link.done(this);
    this.#reader?.resolve(undefined);
    this.#reader = undefined;
  }

  fail(reason: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    for (const chunk of this.#received) this.#link.consumed(chunk.length);
    this.#received.length = 0;
    this.#pending.length = 0;
    this.#reader?.reject(reason);
    this.#reader = undefined;
    for (const waiter of this.#drainWaiters) waiter.reject(reason);
    this.#drainWaiters = [];
    this.cancel.abort(reason);
  }

  #giveBack(length: number): void {
    this.#link.consumed(length);
    this.#earn(length);
  }

  /** Credit goes back in large portions: an update for each read would double the frames. */
  #earn(length: number): void {
    this.#consumedBytes += length;
    if (this.#consumedBytes < windowBytes / 2 || this.#readingEnded) return;
    this.#receiveWindow += this.#consumedBytes;
    this.#link.control(0, this.id, this.#consumedBytes);
    this.#consumedBytes = 0;
  }
}

function frame(type: number, flags: number, id: number, length: number, content?: Bytes): Bytes {
  const bytes = new Uint8Array(headLength + (content?.length ?? 0));
  const view = new DataView(bytes.buffer);
  bytes[1] = type;
  view.setUint16(2, flags);
  view.setUint32(4, id);
  view.setUint32(8, length);
  if (content !== undefined) bytes.set(content, headLength);
  return bytes;
}
