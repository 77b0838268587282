import type { Socket } from "node:net";
import { type Address, formatAddress } from "../../core/ports/net.ts";
import type { SecureStream } from "../../core/ports/streams.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError, assert } from "../../core/types/errors.ts";
import { goText } from "./go-errors.ts";

/** Bytes read ahead of the reader before the socket is paused; the system's receive buffer then fills and the peer stops. */
const readAheadBytesMax = 65_536;

/**
 * `ByteStream` over a node:net or node:tls socket.
 *
 *   socket 'data' ──▶ #chunks ──▶ read()        beyond readAheadBytesMax: pause(); emptied: resume()
 *   write() ──▶ socket, false above its high-water mark ──▶ 'drain' ──▶ drained()
 *
 * Ends in one of two ways: `#ended` (the peer sent its end: read gives undefined) or `#failed` (error or abort: read,
 * drained and closeWrite reject). The socket is destroyed once both directions have ended.
 */
export class SocketStream implements SecureStream {
  readonly local: Address;
  readonly remote: Address;
  readonly peerName?: string;
  readonly #socket: Socket;
  readonly #chunks: Bytes[] = [];
  #readAheadBytes = 0;
  #ended = false;
  #failed: Error | undefined;
  #reader: { readonly resolve: (chunk: Bytes | undefined) => void; readonly reject: (error: Error) => void } | undefined;
  #drainWaiters: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  #taken = false;

  /** `socket` is connected and paused. `from` replaces its addresses when it is only a layer above the real one. */
  constructor(socket: Socket, from?: { readonly local: Address; readonly remote: Address; readonly peerName?: string }) {
    this.#socket = socket;
    this.local = from?.local ?? { host: socket.localAddress ?? "", port: socket.localPort ?? 0 };
    this.remote = from?.remote ?? { host: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 };
    if (from?.peerName !== undefined) this.peerName = from.peerName;
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("error", this.#onError);
    socket.on("close", this.#onClose);
    socket.on("drain", this.#onDrain);
    socket.resume();
  }

  read(): Promise<Bytes | undefined> {
    assert(this.#reader === undefined, "one read at a time");
    assert(!this.#taken, "a stream that became the ground of another is not read");
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#readAheadBytes -= chunk.length;
      if (this.#chunks.length === 0 && !this.#ended) this.#socket.resume();
      return Promise.resolve(chunk);
    }
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    if (this.#ended) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  write(chunk: Bytes): boolean {
    if (this.#failed !== undefined || this.#socket.writableEnded || this.#socket.destroyed) return false;
    return this.#socket.write(chunk);
  }

  drained(): Promise<void> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    if (!this.#socket.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve, reject) => this.#drainWaiters.push({ resolve, reject }));
  }

  closeWrite(): Promise<void> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    if (this.#socket.writableFinished) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject };
      this.#drainWaiters.push(waiter);
      this.#socket.end(() => {
        this.#drainWaiters = this.#drainWaiters.filter((other) => other !== waiter);
        resolve();
        this.#destroyWhenDone();
      });
    });
  }

  abort(reason: Error): void {
    this.#fail(reason);
    this.#chunks.length = 0;
    this.#socket.destroy();
  }

  /** Gives up the socket to a layer above, with what was read and not asked for put back. This stream is dead afterwards. */
  takeSocket(): Socket {
    assert(this.#reader === undefined && !this.#taken, "no read is pending");
    if (this.#failed !== undefined) throw this.#failed;
    this.#taken = true;
    const socket = this.#socket;
    socket.pause();
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    socket.off("close", this.#onClose);
    socket.off("drain", this.#onDrain);
    for (const chunk of this.#chunks.reverse()) socket.unshift(chunk);
    this.#chunks.length = 0;
    return socket;
  }

  readonly #onData = (chunk: Bytes): void => {
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      reader.resolve(chunk);
      return;
    }
    this.#chunks.push(chunk);
    this.#readAheadBytes += chunk.length;
    if (this.#readAheadBytes >= readAheadBytesMax) this.#socket.pause();
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.resolve(undefined);
    this.#destroyWhenDone();
  };

  readonly #onError = (error: Error): void => {
    const [verb, from, to] = ["read", formatAddress(this.local), formatAddress(this.remote)];
    this.#fail(
      new AgentError("connection-closed", { message: `${verb} tcp ${from}->${to}: ${verb}: ${goText(error)}`, cause: error }),
    );
  };

  readonly #onClose = (): void => {
    if (this.#ended && this.#reader === undefined && this.#drainWaiters.length === 0) return;
    this.#fail(new AgentError("connection-closed", { message: "use of closed network connection" }));
  };

  readonly #onDrain = (): void => {
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const waiter of waiters) waiter.resolve();
  };

  #fail(error: Error): void {
    this.#failed ??= error;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.reject(this.#failed);
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const waiter of waiters) waiter.reject(this.#failed);
  }

  /** Half-open sockets are not closed by the platform when both halves are done. */
  #destroyWhenDone(): void {
    if (this.#ended && this.#socket.writableFinished) this.#socket.destroy();
  }
}
