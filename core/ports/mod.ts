/**
 * Every port in one list. A runtime implements them; core and plugins know nothing else of the world.
 */
import type { Compression } from "./compression.ts";
import type { Clock } from "./clock.ts";
import type { Crypto } from "./crypto.ts";
import type { Datagrams } from "./datagrams.ts";
import type { Host } from "./host.ts";
import type { HttpClient, HttpServer } from "./http.ts";
import type { ProcessRunner } from "./process-runner.ts";
import type { Random } from "./random.ts";
import type { Storage } from "./storage.ts";
import type { Streams, Tls } from "./streams.ts";
import type { LogFollow, Logger, Metrics } from "./telemetry.ts";

export type { Clock, Timer } from "./clock.ts";
export type { Crypto } from "./crypto.ts";
export { uuid } from "./crypto.ts";
export type { Datagrams, DatagramSocket, Packet } from "./datagrams.ts";
export type { Host, HostReport } from "./host.ts";
export type {
  DirectRequest,
  DirectResponse,
  HttpClient,
  HttpClientRequest,
  HttpClientResponse,
  HttpLimits,
  HttpListener,
  HttpServeOptions,
  HttpServer,
  WebRequest,
  WebResponse,
} from "./http.ts";
export type { Compression } from "./compression.ts";
export type { Address } from "./net.ts";
export { formatAddress } from "./net.ts";
export type { Command, CommandEnd, CommandResult, LiveCommand, ProcessRunner, RunningCommand } from "./process-runner.ts";
export type { Random } from "./random.ts";
export { below, between, shuffle } from "./random.ts";
export type { FileStore, HardState, LogEntry, RaftStore, RaftWrite, SnapshotMeta, SnapshotStore, Storage } from "./storage.ts";
export type { ByteStream, SecureStream, StreamListener, Streams, Tls, TlsOptions } from "./streams.ts";
export type { Counter, Labels, LogFollow, Logger, LogLevel, Metrics, MetricsSettings, MetricTap, Sample } from "./telemetry.ts";
export { noMetrics } from "./telemetry.ts";

/** What a runtime supplies. Optional ports are capabilities: an edge runtime has no datagrams. */
export interface Runtime {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly crypto: Crypto;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly datagrams?: Datagrams;
  readonly streams?: Streams;
  readonly tls?: Tls;
  /** Opens the stores below a data directory; undefined opens stores in memory. */
  readonly openStorage?: (dataDirectory: string | undefined) => Promise<Storage>;
  readonly processes?: ProcessRunner;
  readonly httpServer?: HttpServer;
  readonly httpClient?: HttpClient;
  readonly host?: Host;
  readonly logFollow?: LogFollow;
  readonly compression?: Compression;
}

export type Capability = Exclude<keyof Runtime, "name">;
