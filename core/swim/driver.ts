/**
 * Where gossip meets `await`: one datagram socket and one listener on the same port, a timer at the machine's `wakeAt`,
 * and the conversations over streams. Everything else is the machine's.
 */
import { ByteBudget, MeteredSource } from "../codec/byte-budget.ts";
import { Malformed } from "../codec/msgpack.ts";
import { type Clock, runNext, type Timer } from "../ports/clock.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { DatagramSocket, Datagrams, Packet } from "../ports/datagrams.ts";
import { type Address, formatAddress } from "../ports/net.ts";
import type { ByteStream, StreamListener, Streams } from "../ports/streams.ts";
import type { Logger } from "../ports/telemetry.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { encryptionOverhead, sendingKey } from "./encryption.ts";
import type { Keyring } from "./keyring.ts";
import { SwimMetrics } from "./metrics.ts";
import { openPacket, packPacket, undecipherable } from "./packets.ts";
import type { StreamPing } from "./probe.ts";
import { encodeStream, readStream, type StreamMessage, type StreamOptions } from "./streams.ts";
import type { GossipMachine, StreamRequest, SwimInput } from "./swim.ts";

export interface DriverPorts {
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly datagrams: Datagrams;
  readonly streams: Streams;
  readonly logger: Logger;
}

export interface DriverOptions {
  readonly keyring: Keyring;
  /** LZW where it pays. Default true. */
  readonly compress?: boolean;
  /** Refuse plain text when there are keys. Default true. */
  readonly verifyIncoming?: boolean;
  /** Send nothing in plain text when there are keys. Default true. */
  readonly verifyOutgoing?: boolean;
  /** For a whole exchange over a stream. Default 10 s, memberlist's for a LAN. */
  readonly streamTimeout?: Millis;
  /** memberlist's UDP budget. Default 1,400. */
  readonly packetBytesMax?: number;
  readonly metrics?: SwimMetrics;
}

/** Exchanges that others may have open with us; memberlist drops more, too. */
const inboundStreamsMax = 128;
/** In exchanges that others have open with us. */
const inboundBytesMax = 128 * 1024 * 1024;
/** How often one free port may turn out to be taken for the other protocol. */
const bindAttemptsMax = 16;
/** Broken packets are reported this often at most: whoever sends them must not fill the log. */
const complaintInterval: Millis = 1000;

export class GossipDriver {
  readonly #ports: DriverPorts;
  readonly #streamOptions: StreamOptions;
  readonly #streamTimeout: Millis;
  readonly #packetBytesMax: number;
  readonly #metrics: SwimMetrics;
  #socket: DatagramSocket | undefined;
  #listener: StreamListener | undefined;
  #machine: GossipMachine | undefined;
  #onTurn: () => void = () => {};
  #timer: Timer | undefined;
  #turnQueued = false;
  #closed = false;
  #now: Millis = 0;
  #inboundStreams = 0;
  readonly #inboundBytes = new ByteBudget(inboundBytesMax);
  #complainedAt: Millis = Number.NEGATIVE_INFINITY;
  /** Since then: the last one and how many, told when the interval is over. */
  #kept: { text: string; count: number; readonly timer: Timer } | undefined;
  readonly #open = new Set<ByteStream>();

  constructor(ports: DriverPorts, options: DriverOptions) {
    this.#ports = ports;
    this.#streamOptions = {
      sealer: { crypto: ports.crypto, keyring: options.keyring, verifyOutgoing: options.verifyOutgoing ?? true },
      compress: options.compress ?? true,
      verifyIncoming: options.verifyIncoming ?? true,
    };
    this.#streamTimeout = options.streamTimeout ?? 10_000;
    this.#metrics = options.metrics ?? new SwimMetrics();
    this.#packetBytesMax = options.packetBytesMax ?? 1400;
  }

  /** Takes one port for datagrams and streams; 0 takes any that is free for both. Rejects with `address-in-use`. */
  async bind(at: Address): Promise<number> {
    for (let attempt = 1; ; attempt++) {
      const listener = await this.#ports.streams.listen(at, (stream) => void this.#accept(stream));
      const both = { host: at.host, port: listener.local.port };
      try {
        this.#socket = await this.#ports.datagrams.bind(both, (packet) => this.#receive(packet));
        this.#listener = listener;
        return both.port;
      } catch (error) {
        await listener.close();
        const taken = error instanceof AgentError && error.code === "address-in-use";
        if (!taken || at.port !== 0 || attempt === bindAttemptsMax) throw error;
      }
    }
  }

  /** Starts the machine. `onTurn` is called after each turn, for what else it hands out. */
  run(machine: GossipMachine, onTurn: () => void): void {
    this.#machine = machine;
    this.#onTurn = onTurn;
    // Of ourselves, which the machine takes as it takes any other's.
    this.#metrics.onAlive();
    this.feed({ kind: "start" });
  }

  feed(input: SwimInput): void {
    this.#step(input);
  }

  /** Something of the machine was changed directly: hand out what follows. */
  nudge(): void {
    if (this.#turnQueued || this.#closed) return;
    this.#turnQueued = true;
    runNext(() => this.#turn());
  }

  /** Never goes back: what `step` takes. */
  now(): Millis {
    this.#now = Math.max(this.#now, this.#ports.clock.monotonic());
    return this.#now;
  }

  /**
   * Exchanges all state with whoever is at `to`. `joining`: to be let in, as opposed to being found again. Rejects with what
   * went wrong, in memberlist's words.
   */
  async pushPull(to: Address, join: boolean, options: { readonly joining?: boolean } = {}): Promise<void> {
    const machine = this.#machine;
    if (machine === undefined || this.#closed) throw new AgentError("closed", { message: "gossip is not running" });
    const begun = this.now();
    const reply = await this.#exchange(to, { kind: "pushPull", ...machine.localState(join) }, this.#streamTimeout);
    if (reply?.kind === "refusal") throw new AgentError("rejected", { message: `remote error: ${reply.reason}` });
    if (reply?.kind !== "pushPull") throw new AgentError("connection-closed", { message: "EOF" });
    const state = { join, members: reply.members, userState: reply.userState };
    const refusal = machine.mergeRefusal(state);
    if (refusal !== undefined) throw new AgentError("rejected", { message: refusal });
    this.#metrics.pushPullNode.observe(this.now() - begun);
    this.#metrics.onClaims(state.members);
    this.#step({ kind: "remoteState", state, joining: options.joining === true });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#kept?.timer.cancel();
    for (const stream of this.#open) stream.abort(new AgentError("closed", { message: "gossip is shutting down" }));
    this.#open.clear();
    await Promise.all([this.#socket?.close(), this.#listener?.close()]);
  }

  #step(input: SwimInput): void {
    if (this.#machine === undefined || this.#closed) return;
    this.#machine.step(this.now(), input);
    this.nudge();
  }

  #turn(): void {
    this.#turnQueued = false;
    const machine = this.#machine;
    if (machine === undefined || this.#closed) return;
    const { sealer, compress } = this.#streamOptions;
    const bytesMax = this.#packetBytesMax - (sendingKey(sealer) === undefined ? 0 : encryptionOverhead);
    for (const packet of machine.takePackets(bytesMax)) {
      const packed = packPacket(packet.parts, { checksum: packet.checksum, compress, sealer });
      this.#metrics.udpSent.add(packed.length);
      this.#socket?.send(packet.to, packed);
    }
    for (const request of machine.takeStreamRequests()) void this.#serve(request);
    this.#onTurn();
    this.#timer?.cancel();
    const delay = machine.wakeAt - this.#ports.clock.monotonic();
    if (delay !== Number.POSITIVE_INFINITY)
      this.#timer = this.#ports.clock.after(Math.max(0, delay), () => this.#step({ kind: "wake" }));
  }

  #receive(packet: Packet): void {
    if (this.#machine === undefined || this.#closed) return;
    this.#metrics.udpReceived.add(packet.payload.length);
    const { messages, problems } = openPacket(packet.payload, this.#streamOptions);
    for (const problem of problems) {
      const what = problem === undecipherable ? "Decrypt packet failed" : "Dropped a packet or a part of it";
      this.#complain(`memberlist: ${what}: ${problem} from=${formatAddress(packet.from)}`);
    }
    const receivedAt = Math.min(packet.receivedAt, this.now());
    for (const message of messages) {
      this.#metrics.onMessage(message);
      this.#step({ kind: "datagram", from: packet.from, message, receivedAt });
    }
  }

  /** The other side began. */
  async #accept(stream: ByteStream): Promise<void> {
    if (this.#machine === undefined || this.#closed || this.#inboundStreams >= inboundStreamsMax) {
      stream.abort(new AgentError("rate-limited", { message: "too many streams" }));
      return;
    }
    this.#inboundStreams++;
    this.#metrics.tcpAccept.add(1);
    this.#ports.logger.log("debug", `memberlist: Stream connection from=${formatAddress(stream.remote)}`);
    try {
      await this.#within(stream, this.#streamTimeout, () => this.#answer(stream));
    } catch (error) {
      this.#complain(`memberlist: stream from=${formatAddress(stream.remote)} failed: ${messageOf(error)}`);
    } finally {
      this.#inboundStreams--;
    }
  }

  async #answer(stream: ByteStream): Promise<void> {
    const source = new MeteredSource(stream, this.#inboundBytes);
    try {
      await this.#answerTo(stream, source);
    } finally {
      // Not before: what was read is held until our answer is on its way, and the other side may take its time.
      source.settle();
    }
  }

  async #answerTo(stream: ByteStream, source: MeteredSource): Promise<void> {
    const machine = this.#machine as GossipMachine;
    let message: StreamMessage | undefined;
    try {
      message = await readStream(source, { ...this.#streamOptions, charge: (length) => source.charge(length) });
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.#complain(`memberlist: failed to receive: ${error.message} from=${formatAddress(stream.remote)}`);
      source.settle();
      await this.#write(stream, { kind: "refusal", reason: error.message });
      return;
    }
    if (message?.kind === "pushPull") {
      // Answer first: the other side must not wait for our merge.
      await this.#write(stream, { kind: "pushPull", ...machine.localState(message.join) });
      const refusal = machine.mergeRefusal(message);
      if (refusal !== undefined)
        this.#complain(`memberlist: Failed push/pull merge: ${refusal} from=${formatAddress(stream.remote)}`);
      else {
        this.#metrics.onClaims(message.members);
        this.#step({ kind: "remoteState", state: message });
      }
    } else if (message?.kind === "ping") {
      if (machine.isMeant(message)) await this.#write(stream, { kind: "ack", sequence: message.sequence, payload: undefined });
      else this.#complain(`memberlist: Got ping for unexpected node ${message.node} from=${formatAddress(stream.remote)}`);
    } else if (message?.kind === "user") {
      this.#step({ kind: "datagram", from: stream.remote, message });
    } else if (message !== undefined) {
      this.#complain(`memberlist: Received invalid msgType (${message.kind}) from=${formatAddress(stream.remote)}`);
    }
  }

  async #serve(request: StreamRequest): Promise<void> {
    if (request.kind === "ping") {
      this.#step({ kind: "streamProbe", sequence: request.ping.sequence, ok: await this.#pingByStream(request) });
      return;
    }
    this.#ports.logger.log("debug", `memberlist: Initiating push/pull sync with: ${formatAddress(request.to)}`);
    try {
      await this.pushPull(request.to, request.join);
    } catch (error) {
      if (!this.#closed)
        this.#ports.logger.log("error", `memberlist: Push/Pull with ${formatAddress(request.to)} failed: ${messageOf(error)}`);
    }
  }

  async #pingByStream(request: StreamPing): Promise<boolean> {
    try {
      const reply = await this.#exchange(request.to, request.ping, request.timeout);
      return reply?.kind === "ack" && reply.sequence === request.ping.sequence;
    } catch {
      // Not reached is the answer, whatever the reason.
      return false;
    }
  }

  async #exchange(to: Address, message: StreamMessage, timeout: Millis): Promise<StreamMessage | undefined> {
    const stream = await this.#ports.streams.connect(to, { timeout });
    this.#metrics.tcpConnect.add(1);
    return this.#within(stream, timeout, async () => {
      await this.#write(stream, message);
      return readStream(stream, this.#streamOptions);
    });
  }

  /** Runs a conversation over `stream` and ends it; when time is up it is cut off. */
  async #within<Result>(stream: ByteStream, timeout: Millis, converse: () => Promise<Result>): Promise<Result> {
    const late = new AgentError("timeout", { message: "i/o timeout" });
    const timer = this.#ports.clock.after(timeout, () => stream.abort(late));
    this.#open.add(stream);
    try {
      const result = await converse();
      void this.#finish(stream, timer);
      return result;
    } catch (error) {
      timer.cancel();
      this.#open.delete(stream);
      stream.abort(error instanceof Error ? error : late);
      throw error;
    }
  }

  /** Ends our side and waits for the other's end, so that what was written last still arrives. */
  async #finish(stream: ByteStream, timer: Timer): Promise<void> {
    try {
      await stream.closeWrite();
      while ((await stream.read()) !== undefined);
    } catch {
      // The exchange is complete; how the connection ends does not matter any more.
    }
    timer.cancel();
    this.#open.delete(stream);
  }

  async #write(stream: ByteStream, message: StreamMessage): Promise<void> {
    const encoded = encodeStream(message, this.#streamOptions);
    this.#metrics.tcpSent.add(encoded.length);
    if (!stream.write(encoded)) await stream.drained();
  }

  #complain(text: string): void {
    if (this.#closed) return;
    const wait = this.#complainedAt + complaintInterval - this.now();
    if (this.#kept !== undefined) {
      this.#kept.text = text;
      this.#kept.count++;
    } else if (wait > 0) {
      this.#kept = { text, count: 1, timer: this.#ports.clock.after(wait, () => this.#tellKept()) };
    } else this.#tell(text);
  }

  #tellKept(): void {
    const kept = this.#kept;
    this.#kept = undefined;
    if (kept !== undefined) this.#tell(kept.count === 1 ? kept.text : `${kept.text} (and ${kept.count - 1} more like it)`);
  }

  #tell(complaint: string): void {
    this.#complainedAt = this.now();
    this.#ports.logger.log("error", complaint);
  }
}
