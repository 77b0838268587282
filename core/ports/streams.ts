import type { Bytes } from "../types/bytes.ts";
import type { Cancel } from "../types/cancel.ts";
import type { Millis } from "../types/ids.ts";
import type { Address } from "./net.ts";

export interface Streams {
  /**
   * Resolves names. Rejects with `connection-refused`, `timeout`, `cancelled` or `connection-closed`; the message is
   * Go's ("dial tcp 127.0.0.1:1: connect: connection refused"), because check outputs and errors show it.
   */
  connect(to: Address, options: { readonly timeout: Millis; readonly cancel?: Cancel }): Promise<ByteStream>;
  /**
   * All addresses that a name stands for, IP literals, in the resolver's order. Rejects with Go's text ("lookup x: no such
   * host"). Absent: names are for `connect` alone.
   */
  readonly resolve?: (name: string) => Promise<readonly string[]>;
  /** Port 0 picks a free one. Rejects with `address-in-use`. */
  listen(at: Address, accept: (stream: ByteStream) => void): Promise<StreamListener>;
}

export interface StreamListener {
  readonly local: Address;
  /** Stops accepting and aborts the connections it accepted. */
  close(): Promise<void>;
}

export interface ByteStream {
  readonly local: Address;
  readonly remote: Address;
  /** The next bytes, or undefined at the end. One read at a time. Not reading is the backpressure. Rejects after an abort. */
  read(): Promise<Bytes | undefined>;
  /** Takes ownership of `chunk`. False means: wait for `drained` before writing more. */
  write(chunk: Bytes): boolean;
  /** Resolves when there is room again; rejects when the stream is gone. */
  drained(): Promise<void>;
  /** Sends the end; reading goes on. */
  closeWrite(): Promise<void>;
  abort(reason: Error): void;
}

/** Files' contents in PEM, never paths: who reads files is the composition. */
export interface TlsOptions {
  readonly caPem?: readonly string[];
  readonly certificatePem?: string;
  readonly keyPem?: string;
  readonly serverName?: string;
  /** Refuse a peer without a certificate signed by `caPem`. */
  readonly verifyPeer: boolean;
}

export interface SecureStream extends ByteStream {
  /** The peer certificate's common name, when it showed one. */
  readonly peerName?: string;
}

/** Consul's server port decides what a connection is by its first byte; one of the answers is "TLS from here on". */
export interface Tls {
  wrap(stream: ByteStream, side: "client" | "server", options: TlsOptions): Promise<SecureStream>;
}
