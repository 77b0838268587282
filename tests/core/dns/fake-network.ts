/** Datagrams and streams in memory: every packet and chunk is kept, answers come from a function. */
import type { Address, ByteStream, Datagrams, DatagramSocket, Packet, Streams } from "../../../core/ports/mod.ts";
import type { Bytes } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";

export class FakeDatagrams implements Datagrams {
  readonly sent: { readonly from: number; readonly to: Address; readonly payload: Bytes }[] = [];
  /** Open sockets by port. */
  readonly sockets = new Map<number, (packet: Packet) => void>();
  #lastPort = 40_000;

  async bind(at: Address, receive: (packet: Packet) => void): Promise<DatagramSocket> {
    const port = at.port === 0 ? ++this.#lastPort : at.port;
    if (this.sockets.has(port)) throw new AgentError("address-in-use", { message: "address already in use" });
    this.sockets.set(port, receive);
    return {
      local: { host: at.host, port },
      send: (to, payload) => void this.sent.push({ from: port, to, payload }),
      close: async () => void this.sockets.delete(port),
    };
  }

  /** A packet arrives. */
  deliver(port: number, from: Address, payload: Bytes): void {
    this.sockets.get(port)?.({ from, payload, receivedAt: 0 });
  }
}

/** One side of a connection: the test feeds what is read and sees what was written. */
export class FakeStream implements ByteStream {
  readonly local: Address = { host: "127.0.0.1", port: 53 };
  readonly remote: Address = { host: "127.0.0.1", port: 5000 };
  readonly written: Bytes[] = [];
  aborted: Error | undefined;
  #chunks: (Bytes | undefined)[] = [];
  #waiting: { readonly resolve: (chunk: Bytes | undefined) => void; readonly reject: (error: Error) => void } | undefined;

  /** Undefined is the end. */
  feed(chunk: Bytes | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#chunks.push(chunk);
    else waiting.resolve(chunk);
  }

  read(): Promise<Bytes | undefined> {
    if (this.aborted !== undefined) return Promise.reject(this.aborted);
    if (this.#chunks.length > 0) return Promise.resolve(this.#chunks.shift());
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  write(chunk: Bytes): boolean {
    this.written.push(chunk);
    return true;
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  closeWrite(): Promise<void> {
    return Promise.resolve();
  }

  abort(reason: Error): void {
    this.aborted ??= reason;
    this.#waiting?.reject(reason);
    this.#waiting = undefined;
  }
}

export class FakeStreams implements Streams {
  readonly connected: FakeStream[] = [];
  readonly listening = new Map<number, (stream: ByteStream) => void>();
  /** Ports that others have. */
  readonly taken = new Set<number>();

  async connect(): Promise<ByteStream> {
    const stream = new FakeStream();
    this.connected.push(stream);
    return stream;
  }

  async listen(at: Address, accept: (stream: ByteStream) => void) {
    if (this.taken.has(at.port)) throw new AgentError("address-in-use", { message: "address already in use" });
    this.listening.set(at.port, accept);
    return { local: at, close: async () => void this.listening.delete(at.port) };
  }
}
