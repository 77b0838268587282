import type { DirectResponse } from "../../core/ports/http.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { assert } from "../../core/types/errors.ts";
import { isBodiless, reasonOf } from "../shared/http-status.ts";

/** Up to this, head and body are copied into one piece: one write costs less than two. */
const onePieceBytesMax = 16_384;

interface Encoding {
  readonly head: boolean;
  readonly close: boolean;
}

/** The last answer in one piece: what thousands wait for, or ask for again and again, is put together once in a second. */
let last:
  | { readonly response: DirectResponse; readonly options: Encoding; readonly date: string; readonly pieces: readonly Bytes[] }
  | undefined;

/**
 * The pieces of an answer as they go on the wire: one, or head and body. In Go's order: own headers, Date, Content-Length.
 * Not to be written to: several connections may share them.
 */
export function encodeResponse(response: DirectResponse, options: Encoding): readonly Bytes[] {
  const date = dateLine();
  if (last !== undefined && last.date === date && isSame(last.response, response)) {
    if (last.options.head === options.head && last.options.close === options.close) return last.pieces;
  }
  const pieces = encode(response, options);
  last = pieces.length === 1 ? { response, options, date, pieces } : undefined;
  return pieces;
}

/** Headers and bodies are never changed, so that the same ones read the same. */
function isSame(left: DirectResponse, right: DirectResponse): boolean {
  return left.headers === right.headers && left.body === right.body && left.status === right.status;
}

function encode(response: DirectResponse, options: Encoding): readonly Bytes[] {
  const bodiless = isBodiless(response.status);
  const body = response.body;
  let head = headLines(response);
  if (!bodiless) head += `Content-Length: ${body.length}\r\n`;
  head += endOfHead(options.close);
  const sent = options.head || bodiless ? 0 : body.length;
  if (sent > onePieceBytesMax) return [Buffer.from(head, "latin1"), body];
  const whole = Buffer.allocUnsafe(head.length + sent);
  whole.write(head, 0, "latin1");
  if (sent > 0) whole.set(body, head.length);
  return [whole];
}

/** The head of an answer whose body follows in chunks. */
export function encodeChunkedHead(
  response: { readonly status: number; readonly headers: readonly string[] },
  close: boolean,
): Bytes {
  return Buffer.from(`${headLines(response)}Transfer-Encoding: chunked\r\n${endOfHead(close)}`, "latin1");
}

/** One chunk: its length in hexadecimal, its bytes. An empty piece would read as the end, and becomes nothing. */
export function encodeChunk(piece: Bytes): Bytes {
  if (piece.length === 0) return piece;
  return Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, lineBreak]);
}

export const lastChunk: Bytes = Buffer.from("0\r\n\r\n");

const lineBreak = Buffer.from("\r\n");

function headLines(response: { readonly status: number; readonly headers: readonly string[] }): string {
  let head = statusLine(response.status);
  const { headers } = response;
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const value = headers[at + 1] as string;
    assert(isHeaderValue(value), "a header's value has no line break in it");
    head += `${headers[at]}: ${value}\r\n`;
  }
  return head + dateLine();
}

function endOfHead(close: boolean): string {
  return close ? "Connection: close\r\n\r\n" : "\r\n";
}

const ok = "HTTP/1.1 200 OK\r\n";

function statusLine(status: number): string {
  return status === 200 ? ok : `HTTP/1.1 ${status} ${reasonOf(status)}\r\n`;
}

/** A value a peer could fill would otherwise let it write headers, or a whole response, of its own. */
function isHeaderValue(value: string): boolean {
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code < 32 ? code !== 9 : code === 127 || code > 255) return false;
  }
  return true;
}

let dateSecond = -1;
let date = "";

/** The Date header changes once in a second; so does this. */
function dateLine(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    date = `Date: ${new Date(second * 1000).toUTCString()}\r\n`;
  }
  return date;
}
