import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { ConnectionOptions, SecureContext, TLSSocket } from "node:tls";
import type { Clock } from "../../core/ports/clock.ts";
import type { ByteStream, SecureStream, Tls, TlsOptions } from "../../core/ports/streams.ts";
import type { Millis } from "../../core/types/ids.ts";
import { AgentError, messageOf } from "../../core/types/errors.ts";
import { builtin } from "./builtin.ts";
import { SocketStream } from "./socket-stream.ts";

const nodeStream = builtin<typeof import("node:stream")>("node:stream");
const tls = builtin<typeof import("node:tls")>("node:tls");

/** As Consul's `limits.https_handshake_timeout` and `rpc_handshake_timeout`. */
const handshakeTimeout: Millis = 5_000;

/** `Tls` over node:tls: upgrades a connection in place. */
export function createTls(clock: Clock): Tls {
  return { wrap: (stream, side, options) => wrap(clock, stream, side, options) };
}

async function wrap(clock: Clock, stream: ByteStream, side: "client" | "server", options: TlsOptions): Promise<SecureStream> {
  const ground = stream instanceof SocketStream ? stream.takeSocket() : duplexOver(stream);
  const socket = side === "client" ? tls().connect(clientOptions(ground, options)) : serverSocket(ground, options);
  try {
    await handshake(clock, socket, side);
    if (side === "server" && options.verifyPeer && !socket.authorized) {
      throw new Error(String(socket.authorizationError ?? "tls: client didn't provide a certificate"));
    }
  } catch (error) {
    socket.on("error", () => {});
    socket.destroy();
    ground.destroy();
    const cause = error instanceof AgentError ? error.code : "connection-closed";
    throw new AgentError(cause, { message: `tls: handshake failed: ${messageOf(error)}`, cause: error });
  }
  socket.pause();
  const peerName = commonName(socket);
  return new SocketStream(socket, {
    local: stream.local,
    remote: stream.remote,
    ...(peerName === undefined ? {} : { peerName }),
  });
}

/** Options of `tls.createSecureContext` for either side. */
export function secureContextOptions(options: Partial<TlsOptions>): {
  ca?: string[];
  cert?: string;
  key?: string;
  minVersion: "TLSv1.2";
} {
  return {
    ...(options.caPem === undefined || options.caPem.length === 0 ? {} : { ca: [...options.caPem] }),
    ...(options.certificatePem === undefined ? {} : { cert: options.certificatePem }),
    ...(options.keyPem === undefined ? {} : { key: options.keyPem }),
    minVersion: "TLSv1.2",
  };
}

function clientOptions(ground: Duplex, options: TlsOptions): ConnectionOptions {
  return {
    ...secureContextOptions(options),
    socket: ground,
    rejectUnauthorized: options.verifyPeer,
    ...(options.serverName === undefined ? {} : { servername: options.serverName }),
    // Without a name to compare with, the chain alone is verified: Consul's verify_outgoing without verify_server_hostname.
    ...(options.serverName === undefined ? { checkServerIdentity: () => undefined } : {}),
  };
}

function serverSocket(ground: Duplex, options: TlsOptions): TLSSocket {
  const secureContext: SecureContext = tls().createSecureContext(secureContextOptions(options));
  return new (tls().TLSSocket)(ground as Socket, {
    isServer: true,
    secureContext,
    requestCert: options.verifyPeer,
    rejectUnauthorized: options.verifyPeer,
  });
}

function handshake(clock: Clock, socket: TLSSocket, side: "client" | "server"): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(handshakeTimeout, () => done(new AgentError("timeout", { message: "i/o timeout" })));
    const closed = (): void => done(new Error("EOF"));
    const done = (error?: Error): void => {
      timer.cancel();
      socket.off("error", done);
      socket.off("close", closed);
      if (error === undefined) resolve();
      else reject(error);
    };
    socket.on("error", done);
    socket.on("close", closed);
    socket.once(side === "client" ? "secureConnect" : "secure", () => done());
  });
}

function commonName(socket: TLSSocket): string | undefined {
  const certificate = socket.getPeerCertificate();
  const name = certificate?.subject?.CN;
  return Array.isArray(name) ? name[0] : name;
}

/** Any byte stream as the ground for TLS: one with bytes put back in front, or a stream of a multiplexer. */
function duplexOver(stream: ByteStream): Duplex {
  const duplex: Duplex = new (nodeStream().Duplex)({
    read() {
      stream.read().then(
        (chunk) => duplex.push(chunk ?? null),
        (error) => duplex.destroy(error as Error),
      );
    },
    write(chunk: Uint8Array, _encoding, done) {
      if (stream.write(chunk)) done();
      else stream.drained().then(() => done(), done);
    },
    final(done) {
      stream.closeWrite().then(() => done(), done);
    },
    destroy(error, done) {
      stream.abort(error ?? new AgentError("closed", { message: "use of closed network connection" }));
      done(error);
    },
  });
  return duplex;
}
