import type { HttpServeOptions } from "../../core/ports/http.ts";
import { type Bytes, concat } from "../../core/types/bytes.ts";
import type { PlainRequest } from "./http-plain-request.ts";

/** Bodies of plain requests are bounded where the connection decides what is plain. */
const anyLength = Number.MAX_SAFE_INTEGER;

/** What `fetch` answered: a body that was complete at once as bytes, any other in pieces. */
export interface FetchAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Bytes | PiecesReader;
}

export interface PiecesReader {
  /** Undefined at the end. */
  read(): Promise<Bytes | undefined>;
  cancel(): Promise<void>;
}

/** Asks a web-standard handler with the platform's own Request, and takes its Response apart again. */
export async function answerByFetch(
  fetch: HttpServeOptions["fetch"],
  scheme: "http" | "https",
  request: PlainRequest,
): Promise<FetchAnswer> {
  const controller = new AbortController();
  request.cancel.addEventListener("abort", () => controller.abort(request.cancel.reason));
  const takesBody = request.method !== "GET" && request.method !== "HEAD";
  const webRequest = new Request(`${scheme}://${request.header("host")}${request.target}`, {
    method: request.method,
    headers: headersOf(request.lines),
    signal: controller.signal,
    ...(takesBody ? { body: (await request.body(anyLength)) as Uint8Array<ArrayBuffer> } : {}),
  });
  const response = (await fetch(webRequest, request.from)) as Response;
  const headers: string[] = [];
  response.headers.forEach((value, name) => {
    // The framing is ours: it follows from the body as it comes.
    if (name !== "content-length" && name !== "transfer-encoding" && name !== "connection" && name !== "date")
      headers.push(canonical(name), value);
  });
  return { status: response.status, headers, body: response.body === null ? new Uint8Array(0) : await bodyOf(response.body) };
}

/** All of the body, if it ends before the platform's next turn; otherwise a reader of its pieces. */
async function bodyOf(stream: ReadableStream<Uint8Array>): Promise<Bytes | PiecesReader> {
  const reader = stream.getReader();
  const nextTurn = new Promise<"later">((resolve) => setImmediate(() => resolve("later")));
  const early: Bytes[] = [];
  for (;;) {
    const reading = reader.read();
    const first = await Promise.race([reading, nextTurn]);
    if (first === "later") return piecesOf(early, reading, reader);
    if (first.done) return early.length === 1 ? (early[0] as Bytes) : concat(early);
    early.push(first.value);
  }
}

type Reading = ReturnType<ReadableStreamDefaultReader<Uint8Array>["read"]>;

function piecesOf(early: Bytes[], reading: Reading, reader: ReadableStreamDefaultReader<Uint8Array>): PiecesReader {
  let pending: Reading | undefined = reading;
  // Its failure is seen by who reads it, which may be much later, or nobody.
  reading.catch(() => {});
  return {
    async read() {
      const piece = early.shift();
      if (piece !== undefined) return piece;
      const next = await (pending ?? reader.read());
      pending = undefined;
      return next.done ? undefined : next.value;
    },
    cancel: () => reader.cancel(),
  };
}

function headersOf(lines: string): [string, string][] {
  return lines
    .split("\r\n")
    .slice(0, -1)
    .map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    });
}

/** "content-type" as Go writes it: "Content-Type". */
function canonical(name: string): string {
  return name.replace(/(^|-)[a-z]/g, (start) => start.toUpperCase());
}
