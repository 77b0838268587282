import type { Socket } from "node:dgram";
import type { Clock } from "../../core/ports/clock.ts";
import type { Datagrams, DatagramSocket, Packet } from "../../core/ports/datagrams.ts";
import { type Address, formatAddress } from "../../core/ports/net.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import { builtin } from "./builtin.ts";
import { errnoOf, goText } from "./go-errors.ts";

const dgram = builtin<typeof import("node:dgram")>("node:dgram");

/** Sends handed to the platform and not yet done; beyond it packets are dropped, as a full socket buffer drops them. */
const sendsInFlightMax = 4096;
/**
 * Bun reports an earlier packet's refusal (ICMP: nobody listens there) by failing the next send on the socket, to whomever that
 * goes: the packet was not sent and must be sent again. Each attempt consumes one such report.
 */
const sendAttemptsMax = 4;

/**
 * `Datagrams` over node:dgram. The buffer sizes stay the system's: on Deno a larger receive buffer is allocated for each
 * packet, and throughput falls to a tenth.
 */
export function createDatagrams(clock: Clock): Datagrams {
  return {
    bind(at, receive) {
      return new Promise((resolve, reject) => {
        const socket = dgram().createSocket({ type: at.host.includes(":") ? "udp6" : "udp4" });
        const refuse = (error: Error): void => {
          socket.close();
          const code = errnoOf(error) === "EADDRINUSE" ? "address-in-use" : "connection-refused";
          reject(new AgentError(code, { message: `listen udp ${formatAddress(at)}: bind: ${goText(error)}`, cause: error }));
        };
        socket.once("error", refuse);
        socket.bind({ address: at.host, port: at.port, exclusive: true }, () => {
          socket.off("error", refuse);
          resolve(new NodeDatagramSocket(socket, clock, receive));
        });
      });
    },
  };
}

class NodeDatagramSocket implements DatagramSocket {
  readonly local: Address;
  readonly #socket: Socket;
  #closed = false;
  #sendsInFlight = 0;

  constructor(socket: Socket, clock: Clock, receive: (packet: Packet) => void) {
    this.#socket = socket;
    const bound = socket.address();
    this.local = { host: bound.address, port: bound.port };
    // A send refused by the other side (ICMP) surfaces here on some systems; datagrams promise nothing.
    socket.on("error", () => {});
    socket.on("message", (payload, from) => {
      if (this.#closed) return;
      receive({ from: { host: from.address, port: from.port }, payload, receivedAt: clock.monotonic() });
    });
  }

  send(to: Address, payload: Bytes): void {
    this.#post(to, payload, sendAttemptsMax);
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }

  #post(to: Address, payload: Bytes, attemptsLeft: number): void {
    if (this.#closed || this.#sendsInFlight >= sendsInFlightMax) return;
    this.#sendsInFlight++;
    try {
      this.#socket.send(payload, to.port, to.host, (error) => {
        this.#sendsInFlight--;
        if (error !== null && attemptsLeft > 1 && errnoOf(error) === "ECONNREFUSED") this.#post(to, payload, attemptsLeft - 1);
      });
    } catch {
      this.#sendsInFlight--;
    }
  }
}
