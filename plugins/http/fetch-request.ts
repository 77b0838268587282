/** An {@link HttpRequest} over a web-standard Request. */
import type { Address } from "../../core/ports/net.ts";
import { type Bytes, concat, emptyBytes } from "../../core/types/bytes.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { HttpRequest } from "./extension.ts";
import type { QueryValues } from "./query-string.ts";

export interface FetchRequestOptions {
  readonly request: Request;
  readonly target: string;
  readonly path: string;
  readonly rest: string;
  readonly query: QueryValues;
  readonly from: Address;
  /** Ends it, too. */
  readonly closing: Cancel | undefined;
}

export class FetchRequest implements HttpRequest {
  readonly target: string;
  readonly path: string;
  readonly rest: string;
  readonly query: QueryValues;
  readonly from: Address;
  readonly #request: Request;
  readonly #closing: Cancel | undefined;

  constructor(options: FetchRequestOptions) {
    this.#request = options.request;
    this.#closing = options.closing;
    this.target = options.target;
    this.path = options.path;
    this.rest = options.rest;
    this.query = options.query;
    this.from = options.from;
  }

  get method(): string {
    return this.#request.method;
  }

  header(name: string): string | undefined {
    return this.#request.headers.get(name) ?? undefined;
  }

  /** Made on first use: most requests never need it. */
  get cancel(): Cancel {
    const { signal } = this.#request;
    return this.#closing === undefined ? signal : either(signal, this.#closing);
  }

  async body(bytesMax: number): Promise<Bytes> {
    const declared = this.#request.headers.get("content-length");
    if (declared !== null && Number(declared) > bytesMax) throw tooLarge(Number(declared), bytesMax);
    const stream = this.#request.body;
    if (stream === null) return emptyBytes;
    if (declared !== null) {
      const whole = new Uint8Array(await this.#request.arrayBuffer().catch(gone));
      if (whole.length > bytesMax) throw tooLarge(whole.length, bytesMax);
      return whole;
    }
    return readBounded(stream, bytesMax);
  }
}

/** A body of unknown length: stops reading as soon as it is too large. */
async function readBounded(stream: ReadableStream<Uint8Array>, bytesMax: number): Promise<Bytes> {
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(gone);
    if (done) return chunks.length === 1 ? (chunks[0] as Uint8Array) : concat(chunks);
    length += value.length;
    if (length > bytesMax) {
      // The rest is of no interest; a failure to say so changes nothing.
      void reader.cancel().catch(() => {});
      throw tooLarge(length, bytesMax);
    }
    chunks.push(value);
  }
}

function gone(cause: unknown): never {
  throw new AgentError("connection-closed", { message: "The client went away before its request was complete", cause });
}

export function tooLarge(length: number, bytesMax: number): AgentError {
  return new AgentError("too-large", { message: `Request body(${length} bytes) too large, max size: ${bytesMax} bytes.` });
}

/** Aborted with the first of two. It keeps nothing, so that the one that lives long does not remember the other. */
function either(left: Cancel, right: Cancel): Cancel {
  return {
    get aborted() {
      return left.aborted || right.aborted;
    },
    get reason() {
      return left.aborted ? left.reason : right.reason;
    },
    addEventListener(type, listener) {
      left.addEventListener(type, listener);
      right.addEventListener(type, listener);
    },
    removeEventListener(type, listener) {
      left.removeEventListener(type, listener);
      right.removeEventListener(type, listener);
    },
  };
}
