/**
 * Each number on its way to a collector, as go-metrics' statsd sink sends it: one line a number,
 * "consul.raft.apply:1.000000|c". Lines are gathered for 100 ms, or until a packet is full.
 *
 *   Metrics ──tap──► lines ──100 ms, 1,400 bytes──► Datagrams
 *
 * What cannot be sent is lost: numbers are worth less than memory.
 */
import type { Address, Clock, DatagramSocket, Datagrams, Logger, MetricTap, Timer } from "../ports/mod.ts";
import { utf8 } from "../types/bytes.ts";
import { messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";

const flushInterval: Millis = 100;
/** As go-metrics: below the payload of one Ethernet frame. */
const packetBytesMax = 1400;
const suffixes = { counter: "c", gauge: "g", sample: "ms" } as const;

export interface StatsdOptions {
  readonly clock: Clock;
  readonly datagrams: Datagrams;
  readonly logger: Logger;
  readonly to: Address;
}

export class StatsdSink {
  readonly #options: StatsdOptions;
  #socket: DatagramSocket | undefined;
  #lines = "";
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: StatsdOptions) {
    this.#options = options;
  }

  /** Never rejects: without a socket the agent goes on, and says so. */
  async start(): Promise<void> {
    const { datagrams, logger, to } = this.#options;
    try {
      const socket = await datagrams.bind({ host: to.host.includes(":") ? "::" : "0.0.0.0", port: 0 }, () => {});
      if (this.#stopped) await socket.close();
      else this.#socket = socket;
    } catch (error) {
      logger.log("error", "cannot send metrics to statsd", { error: messageOf(error) });
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#flush();
    await this.#socket?.close();
  }

  readonly tap: MetricTap = (kind, name, labels, value) => {
    if (this.#socket === undefined || this.#stopped) return;
    const line = `${flatten(name, labels)}:${value.toFixed(6)}|${suffixes[kind]}\n`;
    if (this.#lines.length + line.length > packetBytesMax) this.#flush();
    this.#lines += line;
    this.#timer ??= this.#options.clock.after(flushInterval, () => this.#flush());
  };

  #flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#lines === "") return;
    const packet = utf8(this.#lines);
    this.#lines = "";
    this.#socket?.send(this.#options.to, packet);
  }
}

/** Statsd knows no labels: their values go on the name. What it reads as a separator becomes "_". */
function flatten(name: string, labels: Readonly<Record<string, string>>): string {
  return [name, ...Object.values(labels)].join(".").replace(/[:\s|@]/g, "_");
}
