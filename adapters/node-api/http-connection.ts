import type { Socket } from "node:net";
import type { DirectRequest, DirectResponse } from "../../core/ports/http.ts";
import type { Address } from "../../core/ports/net.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import type { Millis } from "../../core/types/ids.ts";
import { RequestCancel } from "../shared/request-cancel.ts";
import { headerIn, type PlainHead, readPlainHead } from "./http-head.ts";
import { encodeResponse } from "./http-response.ts";

/** Requests with a longer body are left to node:http, which reads them with backpressure. */
const plainBodyBytesMax = 1_048_576;

/** What a client may send ahead while its request is being answered; beyond it the socket is paused. */
const sentAheadBytesMax = 65_536;

/** What connections share. */
export interface ConnectionOwner {
  readonly direct: (request: DirectRequest) => DirectResponse | Promise<DirectResponse> | undefined;
  /** Takes over a connection this one does not go on with. `unread` begins with a request. `declined`: `direct` was asked about it. */
  handOver(socket: Socket, unread: Bytes, declined: boolean): void;
  /** `direct` threw, which it should not. */
  failed(error: unknown): void;
  now(): Millis;
}

/**
 * One connection on the fast path.
 *
 *              head complete        direct answers          sent
 *   ┌▶ reading ───────────▶ asking ───────────▶ answering ───────┐
 *   │     │ unusual head       │ declined                        │
 *   │     ▼                    ▼                                 │
 *   │  handed over: node:http reads the request again            │
 *   └────────────────────────────────────────────────────────────┘
 *
 * `#unread` holds the current request and whatever came after it; nothing is dropped before its answer is on its way, so
 * that a request can be handed over whole. One answer at a time, in order.
 */
export class HttpConnection {
  readonly #owner: ConnectionOwner;
  readonly #socket: Socket;
  readonly #from: Address;
  #unread: Bytes = nothing;
  /** What `#unread` is the beginning of, while it grows. */
  #growing: Bytes | undefined;
  #request: PlainRequest | undefined;
  /** The client sent its end, or is gone. */
  #ended = false;
  #closing = false;
  /** Waiting for the client to read. */
  #blocked = false;
  #detached = false;
  /** Since when the connection has been doing what it does; the owner's sweep compares. */
  since: Millis;

  constructor(owner: ConnectionOwner, socket: Socket, from: Address) {
    this.#owner = owner;
    this.#socket = socket;
    this.#from = from;
    this.since = owner.now();
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("close", this.#onClose);
    socket.on("drain", this.#onDrain);
  }

  /** "head": part of a request is here. "body": all but part of its body. "write": the client does not read. "end": nothing more to say. */
  get waitsFor(): "request" | "head" | "body" | "answer" | "write" | "end" {
    if (this.#blocked) return "write";
    if (this.#closing && this.#request === undefined) return "end";
    if (this.#request !== undefined) return this.#request.bodyMissing ? "body" : "answer";
    return this.#unread.length > 0 ? "head" : "request";
  }

  /** No more requests after the current one. */
  closeSoon(): void {
    this.#closing = true;
    if (this.#request === undefined && !this.#detached) this.#socket.end();
    this.since = this.#owner.now();
  }

  readonly #onData = (chunk: Bytes): void => {
    if (this.#closing && this.#request === undefined) return;
    if (this.#unread.length === 0) {
      this.#unread = chunk;
      if (this.#request === undefined) this.since = this.#owner.now();
    } else this.#append(chunk);
    const request = this.#request;
    if (request === undefined) {
      this.#advance();
      return;
    }
    request.bodyArrived(this.#unread);
    if (this.#unread.length > request.length + sentAheadBytesMax) this.#socket.pause();
  };

  /** Grows by doubling: a body that comes byte by byte must not be copied once for each. */
  #append(chunk: Bytes): void {
    const length = this.#unread.length + chunk.length;
    if (this.#growing === undefined || this.#unread.buffer !== this.#growing.buffer || this.#growing.length < length) {
      this.#growing = Buffer.allocUnsafeSlow(Math.max(length * 2, 1024));
      this.#growing.set(this.#unread);
    }
    this.#growing.set(chunk, this.#unread.length);
    this.#unread = this.#growing.subarray(0, length);
  }

  /** Reads and answers as many requests as are here. */
  #advance(): void {
    while (this.#request === undefined && this.#unread.length > 0 && !this.#blocked && !this.#closing && !this.#detached) {
      const head = readPlainHead(this.#unread, 0);
      if (head === "incomplete") return;
      if (head === "unusual" || head.contentLength > plainBodyBytesMax) this.#handOver(false);
      else this.#ask(head);
    }
  }

  #ask(head: PlainHead): void {
    const request = new PlainRequest(head, this.#from, this.#unread);
    this.#request = request;
    try {
      const answer = this.#owner.direct(request);
      if (answer === undefined) {
        this.#request = undefined;
        this.#handOver(true);
        return;
      }
      if (head.contentLength === 0) this.#consume(request);
      if (answer instanceof Promise) void this.#answerLater(request, answer);
      else this.#answer(request, answer);
    } catch (error) {
      this.#fail(request, error);
    }
  }

  async #answerLater(request: PlainRequest, answer: Promise<DirectResponse>): Promise<void> {
    try {
      this.#answer(request, await answer);
    } catch (error) {
      this.#fail(request, error);
    }
    this.#advance();
  }

  #answer(request: PlainRequest, response: DirectResponse): void {
    if (this.#request !== request) return;
    // An answer given before the body arrived: the rest of the body has no use, and the connection ends with it.
    const close = request.close || this.#closing || this.#ended || request.bodyMissing;
    const pieces = encodeResponse(response, { head: request.method === "HEAD", close });
    this.#finish(request);
    const socket = this.#socket;
    if (pieces.length > 1) socket.cork();
    let room = true;
    for (const piece of pieces) room = socket.write(piece);
    if (pieces.length > 1) socket.uncork();
    if (close) {
      this.#closing = true;
      socket.end();
    } else if (!room) {
      this.#blocked = true;
      this.since = this.#owner.now();
      socket.pause();
    } else if (socket.isPaused()) socket.resume();
  }

  /** Forgets the request and its bytes. */
  #finish(request: PlainRequest): void {
    this.#consume(request);
    this.#request = undefined;
    this.since = this.#owner.now();
  }

  /** Thousands of requests wait with nothing to read any more: their bytes are let go as soon as they cannot be handed over. */
  #consume(request: PlainRequest): void {
    this.#unread = this.#unread.length > request.length ? this.#unread.subarray(request.length) : nothing;
    this.#growing = undefined;
    request.consumed();
  }

  #fail(request: PlainRequest, error: unknown): void {
    if (this.#request !== request) return;
    const clientIsGone = error instanceof AgentError && (error.code === "cancelled" || error.code === "connection-closed");
    if (this.#ended && clientIsGone) {
      this.#request = undefined;
      this.#socket.destroy();
      return;
    }
    this.#owner.failed(error);
    this.#answer(request, internalError);
  }

  #handOver(declined: boolean): void {
    this.#detached = true;
    const socket = this.#socket;
    socket.pause();
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    socket.off("close", this.#onClose);
    socket.off("drain", this.#onDrain);
    this.#owner.handOver(socket, this.#unread, declined);
    this.#unread = nothing;
  }

  /** The client sent its end. As in Go, that cancels what it was waiting for; an answer that comes anyway is still sent. */
  readonly #onEnd = (): void => {
    this.#ended = true;
    if (this.#request === undefined) this.#socket.end();
    else this.#request.clientGone();
  };

  readonly #onClose = (): void => {
    this.#ended = true;
    this.#detached = true;
    this.#request?.clientGone();
    this.#request = undefined;
    this.#unread = nothing;
  };

  readonly #onDrain = (): void => {
    if (!this.#blocked) return;
    this.#blocked = false;
    if (this.#ended && this.#unread.length === 0) {
      this.#socket.end();
      return;
    }
    this.#socket.resume();
    this.#advance();
  };
}

const nothing: Bytes = new Uint8Array(0);

const internalError: DirectResponse = {
  status: 500,
  headers: ["Content-Type", "text/plain; charset=utf-8"],
  body: Buffer.from("Internal Server Error"),
};

class PlainRequest implements DirectRequest {
  readonly method: string;
  readonly target: string;
  readonly from: Address;
  /** Head and body, as far as they are still in the connection's hands. */
  length: number;
  readonly close: boolean;
  readonly #lines: string;
  readonly #contentLength: number;
  #received: Bytes;
  #gone = false;
  #cancel: RequestCancel | undefined;
  #bodyWaiter: { readonly resolve: (body: Bytes) => void; readonly reject: (error: Error) => void } | undefined;

  constructor(head: PlainHead, from: Address, received: Bytes) {
    this.method = head.method;
    this.target = head.target;
    this.from = from;
    this.length = head.length + head.contentLength;
    this.close = head.close;
    this.#lines = head.lines;
    this.#contentLength = head.contentLength;
    // With the body still to come these are replaced as they arrive; without one they are let go when it is answered.
    this.#received = received;
  }

  get bodyMissing(): boolean {
    return this.#received.length < this.length;
  }

  get cancel(): Cancel {
    if (this.#cancel === undefined) {
      this.#cancel = new RequestCancel();
      if (this.#gone) this.#cancel.abort(clientGone());
    }
    return this.#cancel;
  }

  header(name: string): string | undefined {
    return headerIn(this.#lines, name);
  }

  body(bytesMax: number): Promise<Bytes> {
    if (this.#contentLength > bytesMax) {
      return Promise.reject(new AgentError("too-large", { message: `Request body too large, max allowed is ${bytesMax} bytes` }));
    }
    if (!this.bodyMissing) return Promise.resolve(this.#bodyCopy());
    if (this.#gone) return Promise.reject(clientGone());
    return new Promise((resolve, reject) => {
      this.#bodyWaiter = { resolve, reject };
    });
  }

  consumed(): void {
    this.length = 0;
    this.#received = nothing;
  }

  bodyArrived(received: Bytes): void {
    if (!this.bodyMissing) return;
    this.#received = received;
    if (this.bodyMissing) return;
    this.#bodyWaiter?.resolve(this.#bodyCopy());
    this.#bodyWaiter = undefined;
  }

  clientGone(): void {
    this.#gone = true;
    this.#bodyWaiter?.reject(clientGone());
    this.#bodyWaiter = undefined;
    this.#cancel?.abort(clientGone());
  }

  /** A copy: what is kept of a body must not keep the whole of what came with it. */
  #bodyCopy(): Bytes {
    return new Uint8Array(this.#received.subarray(this.length - this.#contentLength, this.length));
  }
}

function clientGone(): AgentError {
  return new AgentError("connection-closed", { message: "The client went away" });
}
