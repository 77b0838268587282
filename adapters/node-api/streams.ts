import type { Server, Socket } from "node:net";
import type { Clock } from "../../core/ports/clock.ts";
import { type Address, formatAddress } from "../../core/ports/net.ts";
import type { ByteStream, StreamListener, Streams } from "../../core/ports/streams.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import type { Millis } from "../../core/types/ids.ts";
import { AgentError } from "../../core/types/errors.ts";
import { builtin } from "./builtin.ts";
import { connectionErrorCode, dialText, goText } from "./go-errors.ts";
import { resolveName } from "./names.ts";
import { SocketStream } from "./socket-stream.ts";

const net = builtin<typeof import("node:net")>("node:net");

/** Where a stream may lead: the port's address, or a Unix socket. */
export type Target = Address | { readonly path: string };

/** `Streams` over node:net, on Node, Bun and Deno. */
export function createStreams(clock: Clock): Streams {
  return {
    connect: async (to, options) => new SocketStream(await connectSocket(clock, to, options)),
    resolve: resolveName,
    listen,
  };
}

/** Connects a paused socket. Rejects as `Streams.connect` promises. */
export function connectSocket(
  clock: Clock,
  to: Target,
  options: { readonly timeout?: Millis; readonly cancel?: Cancel },
): Promise<Socket> {
  const dialing = "path" in to ? `dial unix ${to.path}: ` : `dial tcp ${formatAddress(to)}: `;
  return new Promise((resolve, reject) => {
    const cancelled = (): AgentError =>
      new AgentError("cancelled", { message: `${dialing}operation was canceled`, cause: options.cancel?.reason });
    if (options.cancel?.aborted === true) return reject(cancelled());
    const socket =
      "path" in to ? net().connect({ path: to.path }) : net().connect({ host: to.host, port: to.port, noDelay: true });
    socket.pause();
    const settle = (): void => {
      timer?.cancel();
      options.cancel?.removeEventListener("abort", onCancel);
      socket.off("connect", onConnect);
      socket.off("error", onError);
    };
    const fail = (error: AgentError): void => {
      settle();
      // A connection attempt that is given up may still fail later; nobody waits for it any more.
      socket.on("error", () => {});
      socket.destroy();
      reject(error);
    };
    const onConnect = (): void => {
      settle();
      resolve(socket);
    };
    const onError = (error: Error): void =>
      fail(
        new AgentError(connectionErrorCode(error), {
          message: dialing + dialText(firstOf(error), "path" in to ? to.path : to.host),
          cause: error,
        }),
      );
    const onCancel = (): void => fail(cancelled());
    const timer =
      options.timeout === undefined
        ? undefined
        : clock.after(options.timeout, () => fail(new AgentError("timeout", { message: `${dialing}i/o timeout` })));
    options.cancel?.addEventListener("abort", onCancel);
    socket.on("connect", onConnect);
    socket.on("error", onError);
  });
}

/** A name with several addresses fails with one error for each: Go reports the first. */
function firstOf(error: Error): unknown {
  return error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error;
}

function listen(at: Address, accept: (stream: ByteStream) => void): Promise<StreamListener> {
  return new Promise((resolve, reject) => {
    const accepted = new Set<SocketStream>();
    const server = net().createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => {
      const stream = new SocketStream(socket);
      accepted.add(stream);
      socket.once("close", () => accepted.delete(stream));
      accept(stream);
    });
    const refuse = (error: Error): void =>
      reject(
        new AgentError(connectionErrorCode(error), {
          message: `listen tcp ${formatAddress(at)}: bind: ${goText(error)}`,
          cause: error,
        }),
      );
    server.once("error", refuse);
    server.listen({ host: at.host, port: at.port, exclusive: true }, () => {
      server.off("error", refuse);
      // What fails later is one accept (no file descriptor left): the listener goes on.
      server.on("error", () => {});
      resolve({ local: boundAddress(server), close: () => closeListener(server, accepted) });
    });
  });
}

function boundAddress(server: Server): Address {
  const bound = server.address();
  return bound === null || typeof bound === "string" ? { host: "", port: 0 } : { host: bound.address, port: bound.port };
}

function closeListener(server: Server, accepted: ReadonlySet<SocketStream>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const stream of accepted) stream.abort(new AgentError("closed", { message: "use of closed network connection" }));
  });
}
