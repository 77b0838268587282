import type { DatagramSocket, Datagrams, Packet } from "../../core/ports/datagrams.ts";
import { type Address, formatAddress } from "../../core/ports/net.ts";
import { below, between, type Random } from "../../core/ports/random.ts";
import type { StreamListener, Streams } from "../../core/ports/streams.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import type { Ground, Machine } from "./ground.ts";
import { connectPair, type SimStream } from "./sim-stream.ts";

/** Knobs, drawn by the swarm. Rates are per mille of packets. */
export interface NetworkFaults {
  loss: number;
  duplication: number;
  /** A bit of the datagram turns. */
  corruption: number;
  /** Of what is on its way in a connection: a part arrives, and then the connection is gone for both. */
  streamCuts: number;
  delayMin: Millis;
  delayMax: Millis;
  /** True: nothing gets from the one address to the other. One-way on purpose. */
  cut: (from: string, to: string) => boolean;
}

interface Listener {
  readonly host: Machine;
  readonly accept: (stream: SimStream) => void;
  readonly accepted: Set<SimStream>;
}

const ephemeralPortFirst = 49_152;

/** All links of the ground. */
export class Network {
  readonly faults: NetworkFaults = {
    loss: 0,
    duplication: 0,
    corruption: 0,
    streamCuts: 0,
    delayMin: 0.05,
    delayMax: 1,
    cut: () => false,
  };
  readonly #ground: Ground;
  readonly #random: Random;
  readonly #sockets = new Map<string, { readonly host: Machine; readonly receive: (packet: Packet) => void }>();
  readonly #listeners = new Map<string, Listener>();
  readonly #streams = new Set<SimStream>();
  #nextPort = ephemeralPortFirst;

  constructor(ground: Ground) {
    this.#ground = ground;
    this.#random = ground.random.fork("network");
  }

  /** How long the next thing takes on its way. */
  delay(): Millis {
    return between(this.#random, this.faults.delayMin, this.faults.delayMax);
  }

  breaks(): boolean {
    return this.faults.streamCuts > 0 && below(this.#random, 1000) < this.faults.streamCuts;
  }

  isCut(from: Machine, to: Machine): boolean {
    return from !== to && this.faults.cut(from.address, to.address);
  }

  datagrams(host: Machine): Datagrams {
    return {
      bind: async (at, receive) => {
        const local = this.#claim(host, at, "udp", this.#sockets);
        const key = formatAddress(local);
        this.#sockets.set(key, { host, receive });
        const life = host.life;
        return {
          local,
          send: (to, payload) => {
            if (host.up && host.life === life && this.#sockets.has(key)) this.#post(host, local, to, payload);
          },
          close: async () => void this.#sockets.delete(key),
        } satisfies DatagramSocket;
      },
    };
  }

  streams(host: Machine): Streams {
    return {
      connect: (to, options) => this.#connect(host, to, options),
      listen: async (at, accept) => {
        const local = this.#claim(host, at, "tcp", this.#listeners);
        const listener: Listener = { host, accept, accepted: new Set() };
        this.#listeners.set(formatAddress(local), listener);
        return {
          local,
          close: async () => {
            this.#listeners.delete(formatAddress(local));
            for (const stream of listener.accepted)
              stream.abort(new AgentError("closed", { message: "use of closed network connection" }));
          },
        } satisfies StreamListener;
      },
    };
  }

  /** The host is gone. `politely`: its system resets its connections; otherwise the other side finds out by itself. */
  forget(host: Machine, politely: boolean): void {
    for (const [key, socket] of this.#sockets) if (socket.host === host) this.#sockets.delete(key);
    for (const [key, listener] of this.#listeners) if (listener.host === host) this.#listeners.delete(key);
    for (const stream of this.#streams) {
      if (stream.host !== host) continue;
      if (politely) stream.abort(new AgentError("connection-closed", { message: "connection reset by peer" }));
      this.#streams.delete(stream);
    }
  }

  #claim(host: Machine, at: Address, protocol: string, taken: ReadonlyMap<string, unknown>): Address {
    const anywhere = at.host === "0.0.0.0" || at.host === "127.0.0.1";
    const local = { host: anywhere ? host.address : at.host, port: at.port === 0 ? this.#nextPort++ : at.port };
    if (local.host !== host.address)
      throw new AgentError("connection-refused", {
        message: `listen ${protocol} ${formatAddress(at)}: bind: cannot assign requested address`,
      });
    if (taken.has(formatAddress(local)))
      throw new AgentError("address-in-use", {
        message: `listen ${protocol} ${formatAddress(at)}: bind: address already in use`,
      });
    return local;
  }

  #post(from: Machine, local: Address, to: Address, payload: Uint8Array): void {
    const copies = below(this.#random, 1000) < this.faults.duplication ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (below(this.#random, 1000) < this.faults.loss) continue;
      // The receiver's bytes are valid until it returns, and the sender gave them away: copied once, at sending.
      const bytes = payload.slice();
      // Drawn only where it may happen, so that a fault that is off moves no history.
      if (this.faults.corruption > 0 && bytes.length > 0 && below(this.#random, 1000) < this.faults.corruption) {
        const at = below(this.#random, bytes.length);
        bytes[at] = (bytes[at] as number) ^ (1 << below(this.#random, 8));
      }
      this.#ground.at(this.delay(), () => {
        const target = this.#sockets.get(formatAddress(to));
        if (target === undefined || !target.host.up || this.isCut(from, target.host)) return;
        target.receive({ from: local, payload: bytes, receivedAt: target.host.monotonic() });
      });
    }
  }

  #connect(host: Machine, to: Address, options: Parameters<Streams["connect"]>[1]): ReturnType<Streams["connect"]> {
    const dialing = `dial tcp ${formatAddress(to)}: `;
    return new Promise((resolve, reject) => {
      let open = true;
      const settle = (act: () => void): void => {
        if (!open) return;
        open = false;
        timer?.cancel();
        options.cancel?.removeEventListener("abort", onCancel);
        act();
      };
      const fail = (code: "timeout" | "cancelled" | "connection-refused", text: string): void =>
        settle(() => reject(new AgentError(code, { message: dialing + text })));
      const onCancel = (): void => fail("cancelled", "operation was canceled");
      const timer = options.timeout === Infinity ? undefined : host.plan(options.timeout, () => fail("timeout", "i/o timeout"));
      options.cancel?.addEventListener("abort", onCancel);
      if (options.cancel?.aborted === true) onCancel();
      const target = to.host === "127.0.0.1" ? { host: host.address, port: to.port } : to;
      const machine = this.#ground.hosts.find((other) => other.address === target.host);
      // A machine that is not there, or behind a cut, says nothing: the timeout decides.
      host.plan(this.delay() + this.delay(), () => {
        if (!open || machine?.up !== true || this.isCut(host, machine) || this.isCut(machine, host)) return;
        const listener = this.#listeners.get(formatAddress(target));
        if (listener === undefined) return fail("connection-refused", "connect: connection refused");
        const [near, far] = connectPair(
          this,
          { host, address: { host: host.address, port: this.#nextPort++ } },
          { host: machine, address: target },
        );
        for (const stream of [near, far]) this.#streams.add(stream);
        near.onGone = () => void this.#streams.delete(near);
        far.onGone = () => {
          this.#streams.delete(far);
          listener.accepted.delete(far);
        };
        listener.accepted.add(far);
        listener.accept(far);
        settle(() => resolve(near));
        if (options.cancel?.aborted === true)
          near.abort(new AgentError("cancelled", { message: `${dialing}operation was canceled` }));
      });
    });
  }
}
