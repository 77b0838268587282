/**
 * The ports over the `node:` modules, which Bun and Deno have too. A runtime takes from here every port for which it
 * passes the contract suite, and brings its own where that is faster.
 *
 * Nothing is loaded before its first use: `consul members` must not pay for datagrams, TLS and child processes.
 */
import type { Clock } from "../../core/ports/clock.ts";
import type { Crypto } from "../../core/ports/crypto.ts";
import type { Datagrams } from "../../core/ports/datagrams.ts";
import type { Host } from "../../core/ports/host.ts";
import type { HttpClient, HttpServer } from "../../core/ports/http.ts";
import type { Runtime } from "../../core/ports/mod.ts";
import type { ProcessRunner } from "../../core/ports/process-runner.ts";
import type { Random } from "../../core/ports/random.ts";
import type { Storage } from "../../core/ports/storage.ts";
import type { Streams, Tls } from "../../core/ports/streams.ts";
import type { LogFollow, LogLevel } from "../../core/ports/telemetry.ts";
import { compression } from "../shared/compression.ts";
import { createHttpClient } from "../shared/http-client.ts";
import { createRandom, seedFromBytes } from "../shared/random.ts";
import { createTelemetry, type LogSink, type MetricsReader, type RootLogger } from "../shared/telemetry.ts";
import { createClock } from "./clock.ts";
import { createCrypto } from "./crypto.ts";
import { createDatagrams } from "./datagrams.ts";
import { createHttpServer } from "./http-server.ts";
import { createHost } from "./host.ts";
import { createProcesses } from "./processes.ts";
import { SocketStream } from "./socket-stream.ts";
import { connectSocket, createStreams } from "./streams.ts";
import { createTls } from "./tls.ts";

export interface RuntimeOptions {
  /** Where log lines go. Default: standard output, with four spaces in front, as Consul's. */
  readonly logSink?: LogSink;
  /** Default "info". */
  readonly logLevel?: LogLevel;
  readonly logJson?: boolean;
  /** True: lines wait for `logger.openGate()`, so that the banner comes first. */
  readonly gated?: boolean;
}

/** A runtime on a whole operating system: every port is there. */
export interface FullRuntime extends Runtime {
  readonly logger: RootLogger;
  readonly logFollow: LogFollow;
  readonly metrics: MetricsReader;
  readonly datagrams: Datagrams;
  readonly streams: Streams;
  readonly tls: Tls;
  readonly processes: ProcessRunner;
  readonly httpServer: HttpServer;
  readonly httpClient: HttpClient;
  readonly host: Host;
  readonly openStorage: (dataDirectory: string | undefined) => Promise<Storage>;
}

/** What a runtime brings of its own. */
export interface RuntimeParts {
  readonly name: string;
  /** Whether Request and Response are the platform's own, rather than written in JavaScript. */
  readonly fetchIsCheap: boolean;
  /** Default: node:dgram. */
  createDatagrams?(clock: Clock): Datagrams;
}

export function createNodeApiRuntime(parts: RuntimeParts, options: RuntimeOptions): FullRuntime {
  const clock = createClock();
  const crypto = createCrypto();
  const host = createHost(clock);
  const telemetry = createTelemetry({
    clock,
    level: options.logLevel ?? "info",
    json: options.logJson === true,
    sink: options.logSink ?? ((line) => host.stdout(`    ${line}\n`)),
    gated: options.gated === true,
  });
  const { logger, metrics } = telemetry;
  const tls = createTls(clock);
  return {
    name: parts.name,
    clock,
    random: new LateRandom(crypto),
    crypto,
    host,
    logger,
    logFollow: { follow: (options, take) => logger.addSink(take, options) },
    metrics,
    tls,
    compression,
    datagrams: parts.createDatagrams?.(clock) ?? createDatagrams(clock),
    streams: createStreams(clock),
    processes: createProcesses(clock),
    httpServer: createHttpServer(clock, logger, { fetchIsCheap: parts.fetchIsCheap }),
    httpClient: createHttpClient({
      clock,
      tls,
      connect: async (to, { cancel }) => new SocketStream(await connectSocket(clock, to, { cancel })),
    }),
    async openStorage(dataDirectory) {
      const { openStorage } = await import("./storage.ts");
      return openStorage({ dataDirectory, clock, crypto, logger });
    },
  };
}

/** Seeded at the first draw: most commands draw nothing, and the seed loads node:crypto. */
class LateRandom implements Random {
  readonly #crypto: Crypto;
  #random: Random | undefined;

  constructor(crypto: Crypto) {
    this.#crypto = crypto;
  }

  uint32(): number {
    return this.#seeded().uint32();
  }

  fork(label: string): Random {
    return this.#seeded().fork(label);
  }

  #seeded(): Random {
    this.#random ??= createRandom(seedFromBytes(this.#crypto.randomBytes(16)));
    return this.#random;
  }
}
