import type { Socket } from "node:net";
import type { DirectRequest, DirectResponse } from "../../core/ports/http.ts";
import type { Address } from "../../core/ports/net.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import type { Millis } from "../../core/types/ids.ts";
import { type PlainHead, readPlainHead } from "./http-head.ts";
import type { FetchAnswer, PiecesReader } from "./http-fetch.ts";
import { PlainRequest } from "./http-plain-request.ts";
import { encodeChunk, encodeChunkedHead, encodeResponse, lastChunk } from "./http-response.ts";

/** Requests with a longer body are left to node:http, which reads them with backpressure. */
const plainBodyBytesMax = 1_048_576;

/** What a client may send ahead while its request is being answered; beyond it the socket is paused. */
const sentAheadBytesMax = 65_536;

/** What connections share. */
export interface ConnectionOwner {
  readonly direct: (request: DirectRequest) => DirectResponse | Promise<DirectResponse> | undefined;
  /**
   * Answers what `direct` declined, where the platform's Request and Response are its own and cheap (Bun, Deno). Undefined:
   * such requests are handed over (Node).
   */
  readonly fetch: ((request: PlainRequest) => Promise<FetchAnswer>) | undefined;
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
 *   │     │ unusual head       │ declined, and no `fetch` here   │
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
  /** Nothing more will be written, and the system has taken all that was. */
  #flushed = false;
  /** Waiting for the client to read. */
  #blocked = false;
  #whenDrained: (() => void) | undefined;
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
    // The last answer has as long to be read as any other.
    if (this.#closing && this.#request === undefined) return this.#flushed ? "end" : "write";
    if (this.#request !== undefined) return this.#request.bodyMissing ? "body" : "answer";
    return this.#unread.length > 0 ? "head" : "request";
  }

  /** No more requests after the current one. */
  closeSoon(): void {
    this.#closing = true;
    if (this.#request === undefined && !this.#detached) this.#endSocket();
    this.since = this.#owner.now();
  }

  #endSocket(): void {
    this.#socket.end(() => {
      this.#flushed = true;
      this.since = this.#owner.now();
    });
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
      if (answer === undefined && this.#owner.fetch !== undefined) {
        if (head.contentLength === 0) this.#consume(request);
        void this.#answerByFetch(request, this.#owner.fetch(request));
        return;
      }
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

  async #answerByFetch(request: PlainRequest, promised: Promise<FetchAnswer>): Promise<void> {
    try {
      const answer = await promised;
      if (answer.body instanceof Uint8Array) this.#answer(request, { ...answer, body: answer.body });
      else await this.#answerInPieces(request, answer, answer.body);
    } catch (error) {
      this.#fail(request, error);
    }
    this.#advance();
  }

  async #answerInPieces(request: PlainRequest, answer: FetchAnswer, body: PiecesReader): Promise<void> {
    const close = request.close || this.#closing;
    const head = encodeChunkedHead(answer, close);
    try {
      await this.#sendPieces(request, head, body);
    } catch (error) {
      // The head is out: an answer that is cut short is all we can say.
      this.#owner.failed(error);
      this.#socket.destroy();
      return;
    }
    if (this.#request !== request) return;
    this.#finish(request);
    if (!close && !this.#ended) return;
    this.#closing = true;
    this.#endSocket();
  }

  /** A body whose end is not in sight: chunked, and never more of it in memory than the socket takes. */
  async #sendPieces(request: PlainRequest, head: Bytes, body: PiecesReader): Promise<void> {
    const wanted = (): boolean => this.#request === request && request.method !== "HEAD";
    if (this.#request === request) this.#socket.write(head);
    while (wanted()) {
      const piece = await body.read();
      if (!wanted()) break;
      if (piece === undefined) {
        this.#socket.write(lastChunk);
        return;
      }
      if (!this.#socket.write(encodeChunk(piece))) await this.#drained();
    }
    await body.cancel();
  }

  /** Until the client has read, or is gone. */
  #drained(): Promise<void> {
    this.#blocked = true;
    this.since = this.#owner.now();
    return new Promise((resolve) => {
      this.#whenDrained = resolve;
    });
  }

  #answer(request: PlainRequest, response: DirectResponse): void {
    if (this.#request !== request) return;
    // An answer given before the body arrived: the rest of the body has no use, and the connection ends with it.
    const saysClose = response.status === 400 && response.headers.includes("Connection");
    const close = saysClose || request.close || this.#closing || this.#ended || request.bodyMissing;
    const pieces = encodeResponse(response, { head: request.method === "HEAD", close: close && !saysClose });
    this.#finish(request);
    const socket = this.#socket;
    if (pieces.length > 1) socket.cork();
    let room = true;
    for (const piece of pieces) room = socket.write(piece);
    if (pieces.length > 1) socket.uncork();
    if (close) {
      this.#closing = true;
      this.#endSocket();
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
    if (this.#request === undefined) this.#endSocket();
    else this.#request.clientGone();
  };

  readonly #onClose = (): void => {
    this.#ended = true;
    this.#detached = true;
    this.#request?.clientGone();
    this.#request = undefined;
    this.#unread = nothing;
    this.#whenDrained?.();
  };

  readonly #onDrain = (): void => {
    if (!this.#blocked) return;
    this.#blocked = false;
    if (this.#request !== undefined) {
      this.#whenDrained?.();
      return;
    }
    if (this.#ended && this.#unread.length === 0) {
      this.#endSocket();
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
