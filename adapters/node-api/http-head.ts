import type { Bytes } from "../../core/types/bytes.ts";

/**
 * Heads longer than this are left to node:http. Nearly all of real life is below it, and it bounds what one connection
 * makes us hold before anything is decided.
 */
export const plainHeadBytesMax = 8_192;

/** The head of a request that needs no thought. */
export interface PlainHead {
  readonly method: string;
  /** Path and query as sent; begins with a slash. */
  readonly target: string;
  /** The header lines, each with its line break. */
  readonly lines: string;
  /** From the start of the request to the first byte of its body. */
  readonly length: number;
  readonly contentLength: number;
  /** The client asks to close the connection after the answer. */
  readonly close: boolean;
}

// RFC 9112, narrowed: a known method, a target in origin form, HTTP/1.1, header names of token characters with the colon
// right behind, values of visible characters and blanks (no folding, no bare CR or LF). Linear in the input: no two
// neighbouring parts can match the same character.
const head =
  /(GET|PUT|POST|DELETE|HEAD) (\/[\x21-\x7e]*) HTTP\/1\.1\r\n((?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n/y;

/** Who speaks TLS to a plain port, or nonsense, should be told at once. */
const methodBegins = /^[A-Z]{1,7}(?: |$)/;

/**
 * Reads the head of a request, if it is a plain one: bytes that every HTTP parser in the world reads alike.
 *
 * "incomplete": more bytes may make it plain. "unusual": anything else, from chunked bodies over HTTP/1.0 to an attack;
 * the caller gives it, unread, to a complete parser. So this one needs no opinion about what is malformed.
 */
export function readPlainHead(bytes: Bytes, from: number): PlainHead | "incomplete" | "unusual" {
  const beginning = latin1(bytes, from, Math.min(bytes.length, from + plainHeadBytesMax));
  const end = beginning.indexOf("\r\n\r\n");
  if (end < 0) return beginning.length < plainHeadBytesMax && methodBegins.test(beginning) ? "incomplete" : "unusual";
  head.lastIndex = 0;
  const match = head.exec(beginning);
  if (match === null) return "unusual";
  const lines = match[3] as string;
  const framing = framingOf(lines);
  if (framing === undefined) return "unusual";
  return { method: match[1] as string, target: match[2] as string, lines, length: head.lastIndex, ...framing };
}

/** The value of the first header with this name (in lower case), without blanks around it. */
export function headerIn(lines: string, name: string): string | undefined {
  for (let at = 0; at < lines.length; ) {
    const end = lines.indexOf("\r\n", at);
    const colon = at + name.length;
    if (lines.charCodeAt(colon) === colonCode && lines.slice(at, colon).toLowerCase() === name)
      return lines.slice(colon + 1, end).trim();
    at = end + 2;
  }
  return undefined;
}

const colonCode = 58;

/** A name or an address, and a port. */
const plainHost = /^[ \t]*[-.:0-9A-Z[\]_a-z]*[ \t]*$/;

/** Undefined when the headers that frame a message are anything but ordinary. */
function framingOf(lines: string): { readonly contentLength: number; readonly close: boolean } | undefined {
  let hosts = 0;
  let contentLength = -1;
  let close = false;
  for (let at = 0; at < lines.length; ) {
    const end = lines.indexOf("\r\n", at);
    // Only these lengths are of interest: host, expect, upgrade, connection, content-length, transfer-encoding.
    const colon = lines.indexOf(":", at);
    switch (colon - at) {
      case 4:
        if (!nameIs(lines, at, colon, "host")) break;
        if (!plainHost.test(lines.slice(colon + 1, end))) return undefined;
        hosts++;
        break;
      case 6:
        if (nameIs(lines, at, colon, "expect")) return undefined;
        break;
      case 7:
        if (nameIs(lines, at, colon, "upgrade")) return undefined;
        break;
      case 10:
        if (nameIs(lines, at, colon, "connection")) {
          const wish = lines
            .slice(colon + 1, end)
            .trim()
            .toLowerCase();
          if (wish === "close") close = true;
          else if (wish !== "keep-alive") return undefined;
        }
        break;
      case 14:
        if (nameIs(lines, at, colon, "content-length")) {
          const length = lines.slice(colon + 1, end).trim();
          if (contentLength >= 0 || !/^[0-9]{1,15}$/.test(length)) return undefined;
          contentLength = Number(length);
        }
        break;
      case 17:
        if (nameIs(lines, at, colon, "transfer-encoding")) return undefined;
        break;
      default:
    }
    at = end + 2;
  }
  if (hosts !== 1) return undefined;
  return { contentLength: Math.max(contentLength, 0), close };
}

function nameIs(lines: string, from: number, to: number, name: string): boolean {
  return lines.slice(from, to).toLowerCase() === name;
}

function latin1(bytes: Bytes, from: number, to: number): string {
  return (bytes as Buffer).toString("latin1", from, to);
}
