/**
 * DNS: services, nodes and addresses of the catalog under the agent's domain, by UDP and TCP on one port.
 *
 *   UDP packet ─┐                                   ┌─► catalog: now, or by a question to a server
 *               ├─► decode ─► target ─► look-up ────┤
 *   TCP frame ──┘   (message)  (names)   (lookup)   └─► recursors: names outside our zones
 *                                           │
 *                       packet ◄─ fit ◄─ records (instances)
 *                                (size, writer)
 *
 * Invariants: no packet makes an exception leave the server; what waits, what is open and what is asked of recursors has
 * a bound each; an answer over UDP is never longer than its reader allows; a name that does not exist costs no memory.
 */
import type { ListenAddress } from "../../core/config/config.ts";
import type { Lifecycle, Plugin, PluginContext } from "../../core/plugin/plugin.ts";
import type { Address, Datagrams, DatagramSocket, Packet, StreamListener, Streams } from "../../core/ports/mod.ts";
import { AgentError, assert } from "../../core/types/errors.ts";
import { Lookup } from "./lookup.ts";
import { Recursors } from "./recursors.ts";
import { DnsServer } from "./server.ts";
import { TcpConnections } from "./tcp.ts";

/** With port 0: how many ports that are free for UDP are tried for TCP. */
const portAttemptsMax = 16;

interface Listening {
  readonly datagrams: DatagramSocket;
  readonly streams: StreamListener;
}

export const dnsPlugin: Plugin = {
  name: "dns",
  needs: ["datagrams", "streams"],
  setup(context: PluginContext<undefined>): Lifecycle {
    const { agent, logger, runtime } = context;
    const { clock, crypto, datagrams, metrics, streams } = runtime;
    assert(datagrams !== undefined && streams !== undefined, "the host checks what a plugin needs");
    const listening: Listening[] = [];

    return {
      async start() {
        const recursors = new Recursors({ clock, crypto, datagrams, streams, logger, metrics });
        const random = runtime.random.fork("dns");
        const lookup = new Lookup({
          agent,
          clock,
          logger,
          metrics,
          random,
          resolve: (name, settings) => recursors.resolve(name, settings),
        });
        const server = new DnsServer({ agent, clock, logger, metrics, random, lookup, recursors });
        const connections = new TcpConnections({
          clock,
          logger,
          metrics,
          answer: (packet, transport) => server.answer(packet, transport),
        });
        const receive: ListenParts["receive"] = (socket, { from, payload }) => {
          const reply = server.answer(payload, "udp");
          // The server never rejects. A closed socket drops what comes late.
          if (reply instanceof Promise) void reply.then((later) => later !== undefined && socket()?.send(from, later));
          else if (reply !== undefined) socket()?.send(from, reply);
        };
        for (const at of agent.config.dnsAddrs) {
          const listener = await listen(at, { datagrams, streams, receive, accept: (stream) => connections.accept(stream) });
          listening.push(listener);
          const { local } = listener.datagrams;
          context.announce("dns", local, ["udp", "tcp"]);
        }
      },
      async stop() {
        for (const listener of listening.splice(0)) {
          await Promise.all([listener.datagrams.close(), listener.streams.close()]);
        }
      },
    };
  },
};

interface ListenParts {
  readonly datagrams: Datagrams;
  readonly streams: Streams;
  readonly receive: (socket: () => DatagramSocket | undefined, packet: Packet) => void;
  readonly accept: Parameters<Streams["listen"]>[1];
}

/** UDP and TCP on one port, which port 0 leaves to the system. Rejects with `address-in-use`. */
async function listen(at: ListenAddress, parts: ListenParts): Promise<Listening> {
  if ("path" in at) throw new AgentError("config-invalid", { message: `DNS address cannot be a unix socket: ${at.path}` });
  for (let attempt = 1; ; attempt++) {
    const datagrams = await bind(at, parts);
    try {
      const streams = await parts.streams.listen({ host: at.host, port: datagrams.local.port }, parts.accept);
      return { datagrams, streams };
    } catch (error) {
      await datagrams.close();
      const anotherMayBeFree = at.port === 0 && error instanceof AgentError && error.code === "address-in-use";
      if (!anotherMayBeFree || attempt === portAttemptsMax) throw error;
    }
  }
}

async function bind(at: Address, parts: ListenParts): Promise<DatagramSocket> {
  let socket: DatagramSocket | undefined;
  socket = await parts.datagrams.bind(at, (packet) => parts.receive(() => socket, packet));
  return socket;
}
