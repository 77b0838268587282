import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Logger } from "../../core/ports/telemetry.ts";
import type { DirectRequest, HttpServeOptions } from "../../core/ports/http.ts";
import type { Address } from "../../core/ports/net.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { AgentError } from "../../core/types/errors.ts";
import { type Bytes, concat } from "../../core/types/bytes.ts";
import { RequestCancel } from "../shared/request-cancel.ts";
import { reasonOf } from "../shared/http-status.ts";
import { headTimeout, idleTimeout, requestTimeout } from "./http-limits.ts";

/** The complete HTTP/1.1 server of the platform, for connections on which something unusual was seen, and for `fetch`. */
export interface HttpFallback {
  /** Goes on with a connection. `unread` begins with a request; `declined`: `direct` was asked about that one. */
  accept(socket: Socket, unread: Bytes, declined: boolean): void;
  /** True while a request on this connection is being answered. */
  isBusy(socket: Socket): boolean;
  close(): void;
}

/** node:http parses, @hono/node-server makes Request of it and a stream of bytes of the Response. */
export async function createFallback(
  options: HttpServeOptions,
  addressOf: (socket: Socket) => Address,
  logger: Logger,
): Promise<HttpFallback> {
  const [http, { getRequestListener }] = await Promise.all([import("node:http"), import("@hono/node-server")]);
  const declined = new WeakSet<Socket>();
  const requestsIn = new WeakMap<Socket, number>();
  const listener = getRequestListener(
    async (request, env) =>
      (await options.fetch(request, addressOf((env as { incoming: IncomingMessage }).incoming.socket))) as Response,
    {
      // Its Request and Response put off what undici does at once: four times as many answers.
      overrideGlobalObjects: true,
      errorHandler: (error) => {
        if (!clientIsGone(error)) logger.log("error", "Cannot answer a request", { error });
        return new Response("Internal Server Error", { status: 500 });
      },
    },
  );
  const server: Server = http.createServer(
    {
      maxHeaderSize: options.limits.headerBytesMax,
      headersTimeout: headTimeout,
      requestTimeout,
      keepAliveTimeout: idleTimeout,
      noDelay: true,
      requireHostHeader: false,
    },
    (incoming, outgoing) => {
      const socket = incoming.socket;
      const flaw = flawOf(incoming);
      if (flaw !== undefined) {
        outgoing.sendDate = false;
        const body = `400 ${flaw}`;
        const headers = { "Content-Type": "text/plain; charset=utf-8", Connection: "close", "Content-Length": body.length };
        outgoing.writeHead(400, flaw, headers).end(body);
        return;
      }
      if (incoming.method === "OPTIONS" && incoming.url === "*") {
        outgoing.writeHead(200, { "Content-Length": "0" }).end();
        return;
      }
      requestsIn.set(socket, (requestsIn.get(socket) ?? 0) + 1);
      outgoing.once("close", () => requestsIn.set(socket, (requestsIn.get(socket) ?? 1) - 1));
      // Go says nothing about a connection it keeps. Bun never says that it does not.
      if (outgoing.shouldKeepAlive && !/\bclose\b/i.test(incoming.headers.connection ?? "")) outgoing.removeHeader("Connection");
      else outgoing.setHeader("Connection", "close");
      if (!declined.delete(socket) && answeredDirectly(options, incoming, outgoing, addressOf(socket), logger)) return;
      void listener(incoming, outgoing);
    },
  );
  server.on("clientError", refuseMalformed);
  // It never listens itself; but only a server that does looks for requests whose head is overdue.
  server.emit("listening");
  return {
    accept(socket, unread, wasDeclined) {
      if (wasDeclined) declined.add(socket);
      socket.pause();
      server.emit("connection", socket);
      // Given to the parser at once. Put back in front of the socket it would wait for the next tick, and on Deno a read that
      // was under way can reach the parser before it: the middle of a large body was taken for a request, and refused.
      if (unread.length > 0) socket.emit("data", unread);
      socket.resume();
    },
    isBusy: (socket) => (requestsIn.get(socket) ?? 0) > 0,
    close: () => void server.close(() => {}),
  };
}

/** Then there is nobody to answer, and nothing to complain about. */
function clientIsGone(error: unknown): boolean {
  return error instanceof AgentError && (error.code === "cancelled" || error.code === "connection-closed");
}

/** What Go refuses though node:http would go on, in Go's words. Of two Host headers a proxy might believe the other one. */
function flawOf({ httpVersionMajor, httpVersionMinor, rawHeaders }: IncomingMessage): string | undefined {
  if (httpVersionMajor === 0) return "Bad Request";
  if (httpVersionMajor !== 1) return "Bad Request: unsupported protocol version";
  const hosts = rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === "host");
  if (hosts.length === 0 && httpVersionMinor > 0) return "Bad Request: missing required Host header";
  if (hosts.length > 1) return "Bad Request: too many Host headers";
  return hosts.every((host) => validHost.test(host)) ? undefined : "Bad Request: malformed Host header";
}

const validHost = /^[-!$%&'()*+,./0-9:;=@A-Z[\]_a-z~]*$/;

/** As Go answers what it cannot read. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: unknown): void {
  const connection = socket as Socket;
  if (!connection.writable || error.code === "ECONNRESET" || error.code === "ERR_HTTP_REQUEST_TIMEOUT") {
    connection.destroy();
    return;
  }
  const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : 400;
  const said = `${status} ${reasonOf(status)}`;
  connection.end(`HTTP/1.1 ${said}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n${said}`, () =>
    connection.destroy(),
  );
}

function answeredDirectly(
  options: HttpServeOptions,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  from: Address,
  logger: Logger,
): boolean {
  if (options.direct === undefined) return false;
  const fail = (error: unknown): void => {
    if (outgoing.destroyed || outgoing.headersSent) return void outgoing.destroy();
    logger.log("error", "Cannot answer a request", { error });
    outgoing.writeHead(500, { "Content-Type": "text/plain; charset=utf-8" }).end("Internal Server Error");
  };
  try {
    const answer = options.direct(new IncomingRequest(incoming, outgoing, from));
    if (answer === undefined) return false;
    void Promise.resolve(answer)
      .then((response) => {
        if (outgoing.destroyed) return;
        const headers = [...response.headers];
        if (response.status !== 204 && response.status !== 304) headers.push("Content-Length", String(response.body.length));
        outgoing.writeHead(response.status, headers);
        outgoing.end(response.body);
      })
      .catch(fail);
  } catch (error) {
    fail(error);
  }
  return true;
}

/** A proxy's client sends the whole URL; who serves it looks at its path alone (RFC 9112, 3.2.2). */
function originForm(target: string): string {
  const authority = /^https?:\/\/[^/?#]*/i.exec(target)?.[0];
  if (authority === undefined) return target;
  const rest = target.slice(authority.length);
  return rest.startsWith("/") ? rest : `/${rest}`;
}

class IncomingRequest implements DirectRequest {
  readonly method: string;
  readonly target: string;
  readonly from: Address;
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  #cancel: RequestCancel | undefined;

  constructor(incoming: IncomingMessage, outgoing: ServerResponse, from: Address) {
    this.method = incoming.method ?? "GET";
    this.target = originForm(incoming.url ?? "/");
    this.from = from;
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  get cancel(): Cancel {
    if (this.#cancel === undefined) {
      const cancel = new RequestCancel();
      this.#cancel = cancel;
      const gone = (): void => {
        if (!this.#outgoing.writableFinished)
          cancel.abort(new AgentError("connection-closed", { message: "The client went away" }));
      };
      if (this.#outgoing.destroyed) gone();
      else this.#outgoing.once("close", gone);
    }
    return this.#cancel;
  }

  header(name: string): string | undefined {
    const raw = this.#incoming.rawHeaders;
    for (let at = 0; at + 1 < raw.length; at += 2) if (raw[at]?.toLowerCase() === name) return raw[at + 1];
    return undefined;
  }

  body(bytesMax: number): Promise<Bytes> {
    const incoming = this.#incoming;
    return new Promise((resolve, reject) => {
      const parts: Bytes[] = [];
      let length = 0;
      incoming.on("data", (chunk: Bytes) => {
        length += chunk.length;
        if (length <= bytesMax) {
          parts.push(chunk);
          return;
        }
        parts.length = 0;
        // The rest is read and dropped, so that the client gets to read the refusal.
        reject(new AgentError("too-large", { message: `Request body too large, max allowed is ${bytesMax} bytes` }));
      });
      incoming.on("end", () => resolve(concat(parts)));
      incoming.on("close", () => reject(new AgentError("connection-closed", { message: "The client went away" })));
    });
  }
}
