import type { DirectRequest } from "../../core/ports/http.ts";
import type { Address } from "../../core/ports/net.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { AgentError } from "../../core/types/errors.ts";
import { RequestCancel } from "../shared/request-cancel.ts";
import { headerIn, type PlainHead } from "./http-head.ts";

const nothing: Bytes = new Uint8Array(0);

/** A request on the fast path. Small, because thousands of them wait at the same time. */
export class PlainRequest implements DirectRequest {
  readonly method: string;
  readonly target: string;
  readonly from: Address;
  /** Head and body, as far as they are still in the connection's hands. */
  length: number;
  readonly close: boolean;
  /** The header lines, each with its line break. */
  readonly lines: string;
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
    this.lines = head.lines;
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
    return headerIn(this.lines, name);
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
