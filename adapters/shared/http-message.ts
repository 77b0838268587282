import { type Bytes, concat } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { ByteReader } from "./byte-reader.ts";

/** All header lines of a response, and all trailers, together. */
const headBytesMax = 65_536;
const chunkLineBytesMax = 4_096;

/** Interim answers (1xx) before the real one, as Go's transport. */
const interimAnswersMax = 5;

export interface ResponseHead {
  readonly status: number;
  readonly statusText: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The server will keep the connection open. */
  readonly keeps: boolean;
}

/** Reads status line and headers, and passes over interim answers. Rejects with Go's words about what is wrong. */
export async function readResponseHead(reader: ByteReader): Promise<ResponseHead> {
  for (let interim = 0; interim <= interimAnswersMax; interim++) {
    const head = await readOneHead(reader);
    if (head.status >= 200 || head.status === 101) return head;
  }
  throw broken("too many 1xx informational responses");
}

async function readOneHead(reader: ByteReader): Promise<ResponseHead> {
  const line = await reader.line(headBytesMax);
  const match = /^HTTP\/1\.([0-9]) ([0-9]{3})(?: (.*))?$/.exec(line);
  if (match === null) throw broken(`malformed HTTP response ${JSON.stringify(line.slice(0, 100))}`);
  const headers = await readHeaders(reader);
  const connection = (headers["connection"] ?? "").toLowerCase();
  const keeps = match[1] === "0" ? connection.includes("keep-alive") : !connection.includes("close");
  return { status: Number(match[2]), statusText: match[3] ?? "", headers, keeps };
}

async function readHeaders(reader: ByteReader): Promise<Record<string, string>> {
  // Without a prototype, so that a header named __proto__ is a header.
  const headers: Record<string, string> = Object.create(null);
  let room = headBytesMax;
  let last: string | undefined;
  for (;;) {
    const line = await reader.line(room);
    if (line === "") return headers;
    room = Math.max(room - line.length - 2, 0);
    if (/^[ \t]/.test(line) && last !== undefined) {
      headers[last] += ` ${line.trim()}`;
      continue;
    }
    const colon = line.indexOf(":");
    if (colon <= 0) throw broken(`malformed MIME header line: ${line.slice(0, 100)}`);
    last = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[last] = headers[last] === undefined ? value : `${headers[last]}, ${value}`;
  }
}

export interface ResponseBody {
  readonly content: Bytes;
  readonly truncated: boolean;
  /** All of it was read and its end is known: the connection can carry the next exchange. */
  readonly complete: boolean;
}

/** Reads the body as the head frames it (RFC 9112, section 6.3), up to `bytesMax`. `receive`: see HttpClientRequest. */
export async function readResponseBody(
  reader: ByteReader,
  head: ResponseHead,
  toHead: boolean,
  bytesMax: number,
  receive?: (piece: Bytes) => void,
): Promise<ResponseBody> {
  if (toHead || head.status === 204 || head.status === 304 || head.status < 200)
    return { content: new Uint8Array(0), truncated: false, complete: true };
  const parts = new BodyParts(bytesMax, head.status < 300 ? receive : undefined);
  let complete = true;
  if ((head.headers["transfer-encoding"] ?? "").toLowerCase().endsWith("chunked")) {
    await readChunked(reader, parts);
  } else if (head.headers["content-length"] !== undefined) {
    await readSized(reader, parts, lengthIn(head.headers["content-length"]));
  } else {
    complete = false;
    while (!parts.full) {
      const part = await reader.some(partBytesMax);
      if (part === undefined) break;
      parts.add(part);
    }
  }
  return { content: parts.content(), truncated: parts.truncated, complete: complete && !parts.truncated };
}

const partBytesMax = 65_536;

/** The same length several times is one length; differing ones are an attempt at smuggling. */
function lengthIn(header: string): number {
  const lengths = new Set(header.split(",").map((length) => length.trim()));
  const [length] = lengths;
  if (lengths.size !== 1 || length === undefined || !/^[0-9]{1,15}$/.test(length))
    throw broken(`bad Content-Length ${JSON.stringify(header)}`);
  return Number(length);
}

async function readSized(reader: ByteReader, parts: BodyParts, length: number): Promise<void> {
  for (let missing = length; missing > 0 && !parts.full; ) {
    const part = await reader.some(Math.min(missing, partBytesMax));
    if (part === undefined) throw new AgentError("connection-closed", { message: "unexpected EOF" });
    parts.add(part);
    missing -= part.length;
  }
}

async function readChunked(reader: ByteReader, parts: BodyParts): Promise<void> {
  while (!parts.full) {
    const line = await reader.line(chunkLineBytesMax);
    const size = /^([0-9a-fA-F]{1,12})[ \t]*(?:;.*)?$/.exec(line)?.[1];
    if (size === undefined) throw broken("invalid byte in chunk length");
    const length = Number.parseInt(size, 16);
    if (length === 0) {
      await readHeaders(reader);
      return;
    }
    await readSized(reader, parts, length);
    if (parts.full) return;
    if ((await reader.line(chunkLineBytesMax)) !== "") throw broken("malformed chunked encoding");
  }
}

/** Collects up to a bound. One byte more than the bound tells "cut" from "just fits". */
class BodyParts {
  readonly #bytesMax: number;
  readonly #parts: Bytes[] = [];
  readonly #receive: ((piece: Bytes) => void) | undefined;
  #length = 0;
  truncated = false;

  constructor(bytesMax: number, receive: ((piece: Bytes) => void) | undefined) {
    this.#bytesMax = bytesMax;
    this.#receive = receive;
  }

  get full(): boolean {
    return this.truncated;
  }

  add(part: Bytes): void {
    const room = this.#bytesMax - this.#length;
    if (part.length > room) this.truncated = true;
    const kept = part.length > room ? part.subarray(0, room) : part;
    this.#length += kept.length;
    if (this.#receive === undefined) this.#parts.push(kept);
    else this.#receive(kept);
  }

  content(): Bytes {
    return concat(this.#parts);
  }
}

function broken(what: string): AgentError {
  return new AgentError("connection-closed", { message: `net/http: HTTP/1.x transport connection broken: ${what}` });
}
