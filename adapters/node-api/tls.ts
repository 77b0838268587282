import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
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

/**
 * Deno goes on reading from a socket that it handed to TLS, and swallows the beginning of the handshake. There TLS stands
 * on our stream instead of the socket, as it does everywhere when the stream is not a socket's.
 */
const handsSocketsOver = !("Deno" in globalThis);

/** `Tls` over node:tls: upgrades a connection in place. */
export function createTls(clock: Clock): Tls {
  return { wrap: (stream, side, options) => wrap(clock, stream, side, options) };
}

async function wrap(clock: Clock, stream: ByteStream, side: "client" | "server", options: TlsOptions): Promise<SecureStream> {
  const ground = stream instanceof SocketStream && handsSocketsOver ? stream.takeSocket() : duplexOver(stream);
  // A peer that ends its side within the handshake has given up; after it, that is its right.
  ground.allowHalfOpen = false;
  try {
    const socket = await inTime(clock, side === "client" ? clientHandshake(ground, options) : serverHandshake(ground, options));
    ground.allowHalfOpen = true;
    socket.allowHalfOpen = true;
    socket.pause();
    const peerName = commonName(socket);
    return new SocketStream(socket, {
      local: stream.local,
      remote: stream.remote,
      ...(peerName === undefined ? {} : { peerName }),
    });
  } catch (error) {
    ground.destroy();
    const code = error instanceof AgentError ? error.code : "connection-closed";
    throw new AgentError(code, { message: `tls: handshake failed: ${messageOf(error)}`, cause: error });
  }
}

function inTime(clock: Clock, handshake: Promise<TLSSocket>): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(handshakeTimeout, () => reject(new AgentError("timeout", { message: "i/o timeout" })));
    handshake.finally(() => timer.cancel()).then(resolve, reject);
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

function clientHandshake(ground: Duplex, options: TlsOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tls().connect({
      ...secureContextOptions(options),
      socket: ground,
      rejectUnauthorized: options.verifyPeer,
      ...(options.serverName === undefined ? {} : { servername: options.serverName }),
      // Without a name to compare with, the chain alone is verified: Consul's verify_outgoing without verify_server_hostname.
      ...(options.serverName === undefined ? { checkServerIdentity: () => undefined } : {}),
    });
    socket.once("secureConnect", () => resolve(socket));
    // Stays: an error that comes after the refusal has no other listener.
    socket.on("error", reject);
    socket.once("close", () => reject(new Error("EOF")));
  });
}

/** A server that never listens: it is given the one connection. Only tls.Server checks a client's certificate. */
function serverHandshake(ground: Duplex, options: TlsOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const server = tls().createServer({
      ...secureContextOptions(options),
      requestCert: options.verifyPeer,
      rejectUnauthorized: options.verifyPeer,
      handshakeTimeout,
    });
    server.once("secureConnection", resolve);
    server.on("tlsClientError", reject);
    ground.once("close", () => reject(new Error("EOF")));
    server.emit("connection", ground);
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
