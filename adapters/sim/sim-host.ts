import type { Clock, Timer } from "../../core/ports/clock.ts";
import type { Crypto } from "../../core/ports/crypto.ts";
import type { Datagrams } from "../../core/ports/datagrams.ts";
import type { HttpClient } from "../../core/ports/http.ts";
import type { Runtime } from "../../core/ports/mod.ts";
import type { Random } from "../../core/ports/random.ts";
import type { Storage } from "../../core/ports/storage.ts";
import type { Streams } from "../../core/ports/streams.ts";
import type { EpochMillis, Millis } from "../../core/types/ids.ts";
import { AgentError, assert } from "../../core/types/errors.ts";
import { createHttpClient } from "../shared/http-client.ts";
import { createTelemetry, type LogSink, type MetricsReader, type RootLogger } from "../shared/telemetry.ts";
import { SimDisk } from "./disk.ts";
import type { Ground, Machine } from "./ground.ts";
import type { Network } from "./network.ts";
import { createSimCrypto } from "./sim-crypto.ts";

export interface HostOptions {
  /** Seconds this host's clocks count in one second of the world. Default 1. */
  readonly clockRate?: number;
  /** What its wall clock is off by. Default 0. */
  readonly wallOffset?: Millis;
  readonly logSink?: LogSink;
}

/** The world begins on 2026-01-01. */
const wallOrigin: EpochMillis = 1_767_225_600_000;

/** One machine of the world, as a runtime. After `crash` take a new `runtime` by `restart`. */
export class SimHost implements Machine {
  readonly name: string;
  readonly address: string;
  readonly disk: SimDisk;
  readonly #world: Ground;
  readonly #network: Network;
  readonly #options: HostOptions;
  #lives = 1;
  #up = true;
  #runtime: SimRuntime;

  constructor(world: Ground, network: Network, name: string, address: string, options: HostOptions) {
    this.#world = world;
    this.#network = network;
    this.name = name;
    this.address = address;
    this.#options = options;
    this.disk = new SimDisk(this, world.random.fork(`disk ${name}`));
    this.#runtime = this.#boot();
  }

  /** What it has in this life. */
  get runtime(): SimRuntime {
    return this.#runtime;
  }

  get up(): boolean {
    return this.#up;
  }

  get life(): number {
    return this.#lives;
  }

  get now(): Millis {
    return this.#world.now;
  }

  monotonic(): Millis {
    return this.#world.now * (this.#options.clockRate ?? 1);
  }

  plan(delay: Millis, act: () => void): Timer {
    const life = this.#lives;
    const event = this.#world.at(delay, () => {
      if (this.#up && this.#lives === life) act();
    });
    return {
      cancel: () => {
        event.act = undefined;
      },
    };
  }

  /** "process": the system lives on and resets its connections. "power": nobody says anything, and the disk keeps only what is durable. */
  crash(how: "power" | "process"): void {
    assert(this.#up, "what crashes is up");
    this.#up = false;
    this.disk.crash(how);
    this.#network.forget(this, how === "process");
  }

  restart(): SimRuntime {
    assert(!this.#up, "what restarts is down");
    this.#up = true;
    this.#lives++;
    this.#runtime = this.#boot();
    return this.#runtime;
  }

  #boot(): SimRuntime {
    const label = `host ${this.name} life ${this.#lives}`;
    const clock = this.#clock();
    const streams = this.#network.streams(this);
    const { logger, metrics } = createTelemetry({ clock, level: "info", json: false, sink: this.#options.logSink ?? (() => {}) });
    const noTls = { wrap: () => Promise.reject(new AgentError("not-supported", { message: "The simulator has no TLS" })) };
    return {
      name: "sim",
      clock,
      random: this.#world.random.fork(label),
      crypto: createSimCrypto(this.#world.random.fork(`${label} entropy`)),
      logger,
      metrics,
      datagrams: this.#network.datagrams(this),
      streams,
      httpClient: createHttpClient({
        clock,
        tls: noTls,
        connect(to, { cancel }) {
          if ("path" in to)
            return Promise.reject(new AgentError("not-supported", { message: "The simulator has no Unix sockets" }));
          return streams.connect(to, { timeout: Infinity, cancel });
        },
      }),
      openStorage: () => this.disk.open(),
    };
  }

  #clock(): Clock {
    const rate = this.#options.clockRate ?? 1;
    return {
      monotonic: () => this.monotonic(),
      wall: () => Math.floor(wallOrigin + this.#world.now * rate + (this.#options.wallOffset ?? 0)),
      after: (delay, fire) => (delay === Infinity ? { cancel() {} } : this.plan(delay / rate, fire)),
    };
  }
}

export interface SimRuntime extends Runtime {
  readonly clock: Clock;
  readonly random: Random;
  readonly crypto: Crypto;
  readonly logger: RootLogger;
  readonly metrics: MetricsReader;
  readonly datagrams: Datagrams;
  readonly streams: Streams;
  readonly httpClient: HttpClient;
  readonly openStorage: (dataDirectory: string | undefined) => Promise<Storage>;
}
