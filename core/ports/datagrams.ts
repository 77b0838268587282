import type { Bytes } from "../types/bytes.ts";
import type { Millis } from "../types/ids.ts";
import type { Address } from "./net.ts";

export interface Datagrams {
  /** Port 0 picks a free one. Rejects with `AgentError("address-in-use")` when taken. */
  bind(at: Address, receive: (packet: Packet) => void): Promise<DatagramSocket>;
}

/** Valid only until `receive` returns: copy what you keep. `receivedAt` is as close to the wire as the runtime allows. */
export interface Packet {
  readonly from: Address;
  readonly payload: Bytes;
  readonly receivedAt: Millis;
}

export interface DatagramSocket {
  readonly local: Address;
  /** Best effort: may drop, duplicate or reorder; never throws, never waits. Takes ownership of `payload`. */
  send(to: Address, payload: Bytes): void;
  close(): Promise<void>;
}
