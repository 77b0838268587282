/** HTTP by hand over a socket: what is on the wire is seen as it is, and anything can be put there. */
import { connect } from "node:net";
import { gunzipSync } from "node:zlib";
import { patience } from "../../support/patience.ts";

export interface RequestHead {
  readonly method: string;
  readonly target: string;
  /** `Name: value` */
  readonly headers: readonly string[];
  readonly body: string | undefined;
}

export interface Answer {
  /** `200 OK` */
  readonly status: string;
  /** `Name: value`, sorted, without Date; the framing of the body is checked and left out. */
  readonly headers: readonly string[];
  readonly body: string;
}

/** Sends bytes, reads until the other side closes; what was read when for `wait` ms nothing followed. */
export function exchange(port: number, bytes: Uint8Array | string, wait = patience): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    socket.setTimeout(patience, () => socket.destroy(new Error(`no answer within ${patience} ms`)));
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      socket.setTimeout(wait);
    });
    // A refusal may reset the connection after the answer when not all of a body was read; the answer counts.
    socket.on("error", (error) => (chunks.length > 0 ? resolve(Buffer.concat(chunks)) : reject(error)));
    socket.on("end", () => {
      socket.destroy();
      resolve(Buffer.concat(chunks));
    });
  });
}

export async function request(port: number, { method, target, headers, body }: RequestHead): Promise<Answer> {
  const content = body === undefined ? Buffer.alloc(0) : Buffer.from(body);
  const length = body === undefined && (method === "GET" || method === "HEAD") ? [] : [`Content-Length: ${content.length}`];
  const head = [`${method} ${target} HTTP/1.1`, "Host: consul", "Connection: close", ...length, ...headers, "", ""];
  return readAnswer(await exchange(port, Buffer.concat([Buffer.from(head.join("\r\n")), content])), method);
}

export function readAnswer(bytes: Buffer, method: string): Answer {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return { status: "(no answer)", headers: [], body: bytes.toString() };
  const [first, ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n") as [string, ...string[]];
  const value = (name: string) =>
    lines
      .find((line) => line.toLowerCase().startsWith(`${name}:`))
      ?.slice(name.length + 1)
      .trim();
  let body = bytes.subarray(end + 4);
  const flaws: string[] = [];
  if (value("transfer-encoding") === "chunked") body = dechunk(body);
  else if (value("content-length") !== undefined && method !== "HEAD" && Number(value("content-length")) !== body.length)
    flaws.push(`(Content-Length says ${value("content-length")}, sent were ${body.length})`);
  if (value("content-encoding") === "gzip" && body.length > 0) body = gunzipSync(body);
  const headers = lines.filter((line) => !/^(date|content-length|transfer-encoding):/i.test(line)).sort();
  return { status: first.replace(/^HTTP\/1\.1 /, ""), headers: [...headers, ...flaws], body: body.toString() };
}

function dechunk(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const line = bytes.indexOf("\r\n", at);
    const size = Number.parseInt(bytes.subarray(at, line).toString("latin1"), 16);
    if (line < 0 || !(size > 0)) return Buffer.concat(parts);
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
}
