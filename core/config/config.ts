/**
 * The agent's configuration after all sources are merged, defaults filled in and everything checked.
 * A name here is the key of the configuration file in camelCase (core/config/keys.ts lists them all). Durations are milliseconds.
 */
import type { StringMap } from "../catalog/records.ts";
import type { Millis } from "../types/ids.ts";
import type { CheckDefinition, ServiceDefinition } from "./definitions.ts";

export interface AgentConfig {
  readonly devMode: boolean;
  readonly server: boolean;
  readonly bootstrap: boolean;
  readonly bootstrapExpect: number;
  readonly datacenter: string;
  readonly nodeName: string;
  /** "" when it is to be made or read from the data directory. */
  readonly nodeId: string;
  readonly nodeMeta: StringMap;
  /** Undefined in dev mode: everything stays in memory. */
  readonly dataDir: string | undefined;

  readonly bindAddr: string;
  readonly advertiseAddr: string;
  readonly advertiseAddrWan: string;
  readonly serfLanBind: string;
  readonly serfWanBind: string;
  readonly taggedAddresses: StringMap;
  /** Where each surface listens; a path for a Unix socket. Empty when its port is -1. */
  readonly clientAddrs: readonly string[];
  readonly httpAddrs: readonly ListenAddress[];
  readonly httpsAddrs: readonly ListenAddress[];
  readonly dnsAddrs: readonly ListenAddress[];
  /** -1 disables. 0 picks a free port (embedding and tests). */
  readonly ports: {
    readonly http: number;
    readonly https: number;
    readonly dns: number;
    readonly server: number;
    readonly serfLan: number;
    readonly serfWan: number;
    readonly grpc: number;
    readonly sidecarMin: number;
    readonly sidecarMax: number;
  };

  /** Octal, for the sockets among the addresses; "" leaves the platform's own. */
  readonly unixSocketMode?: string;

  readonly domain: string;
  readonly altDomain: string;
  readonly recursors: readonly string[];
  readonly dns: DnsConfig;
  readonly translateWanAddrs: boolean;

  readonly http: {
    readonly blockEndpoints: readonly string[];
    readonly allowWriteHttpFrom: readonly string[];
    readonly responseHeaders: StringMap;
    readonly useCache: boolean;
    readonly unprintableCharFilter: boolean;
  };
  readonly limits: {
    readonly httpMaxConnsPerClient: number;
    readonly kvMaxValueSize: number;
    readonly txnMaxReqLen: number;
    readonly rpcMaxConnsPerClient: number;
    readonly rpcHandshakeTimeout: Millis;
    /** This agent's own requests to the catalog, per second, over a burst; Infinity: as many as come. */
    readonly rpcRate: number;
    readonly rpcMaxBurst: number;
  };
  readonly ui: boolean;
  readonly uiContentPath: string;

  readonly services: readonly ServiceDefinition[];
  readonly checks: readonly CheckDefinition[];
  readonly enableScriptChecks: boolean;
  readonly enableLocalScriptChecks: boolean;
  readonly checkUpdateInterval: Millis;
  readonly checkOutputMaxSize: number;
  readonly discardCheckOutput: boolean;

  readonly defaultQueryTime: Millis;
  readonly maxQueryTime: Millis;
  readonly discoveryMaxStale: Millis;
  readonly sessionTtlMin: Millis;

  readonly raftMultiplier: number;
  readonly raftSnapshotThreshold: number;
  readonly raftSnapshotInterval: Millis;
  readonly raftTrailingLogs: number;
  readonly rpcHoldTimeout: Millis;
  readonly leaveDrainTime: Millis;
  readonly leaveOnTerminate: boolean;
  readonly skipLeaveOnInterrupt: boolean;

  /** Addresses of other agents' LAN gossip, "host" or "host:port". One attempt at start, which must succeed. */
  readonly startJoin: readonly string[];
  /** The same, tried every `retryInterval`, at most `retryMax` times unless that is 0. */
  readonly retryJoin: readonly string[];
  readonly retryInterval: Millis;
  readonly retryMax: number;
  /** The same for servers of other datacenters. */
  readonly startJoinWan: readonly string[];
  readonly retryJoinWan: readonly string[];
  readonly retryIntervalWan: Millis;
  readonly retryMaxWan: number;
  /** A failed member of a pool is forgotten after this; 0: Consul's 72 hours. */
  readonly reconnectTimeoutLan: Millis;
  readonly reconnectTimeoutWan: Millis;
  /** Networks ("10.0.0.0/8") whose addresses members may have; none: any. */
  readonly serfLanAllowedCidrs: readonly string[];
  readonly serfWanAllowedCidrs: readonly string[];
  /** Members known before are joined again at start, although this agent had left them. */
  readonly rejoinAfterLeave: boolean;
  readonly autopilot: AutopilotConfig;

  readonly gossipLan: GossipConfig;
  readonly gossipWan: GossipConfig;
  /** The key that encrypts gossip, in base64: for the start, while there is no keyring file. "": none. Secret: never shown or logged. */
  readonly encrypt: string;
  /** Refuse gossip in plain text, and send none: both false while encryption is being enabled member by member. */
  readonly encryptVerifyIncoming: boolean;
  readonly encryptVerifyOutgoing: boolean;
  /** Changed keys are forgotten at the end. */
  readonly disableKeyringFile: boolean;

  readonly telemetry: TelemetryConfig;

  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error";
  readonly logJson: boolean;
  /** A file's name or a directory, from which the names of the files are made. "": no files. */
  readonly logFile: string;
  /** A new file is begun after so many bytes; 0: never for its size. */
  readonly logRotateBytes: number;
  /** A new file is begun after this; 0: Consul's 24 hours. */
  readonly logRotateDuration: Millis;
  /** So many older files are kept; 0: all, negative: none. */
  readonly logRotateMaxFiles: number;
  readonly pidFile: string;
  readonly enableDebug: boolean;
  readonly disableUpdateCheck: boolean;
  /** False: this agent runs what `consul exec` asks for. */
  readonly disableRemoteExec: boolean;
  readonly disableCoordinates: boolean;
  readonly disableHostNodeId: boolean;

  /** Parts of the state to follow, as they were written; plugins/watches reads them. */
  readonly watches: readonly Readonly<Record<string, unknown>>[];

  /** Said once at start, at level warn. */
  readonly warnings: readonly string[];
  /** Sections that plugins own, by key, unparsed. */
  readonly sections: Readonly<Record<string, unknown>>;
}

export type ListenAddress = { readonly host: string; readonly port: number } | { readonly path: string };

export interface DnsConfig {
  readonly allowStale: boolean;
  readonly maxStale: Millis;
  readonly aRecordLimit: number;
  readonly udpAnswerLimit: number;
  readonly disableCompression: boolean;
  readonly enableTruncate: boolean;
  readonly nodeTtl: Millis;
  /** Service name, or a prefix that ends in "*", to TTL. */
  readonly serviceTtl: Readonly<Record<string, Millis>>;
  readonly onlyPassing: boolean;
  readonly recursorTimeout: Millis;
  readonly nodeMetaTxt: boolean;
  readonly soa: { readonly refresh: number; readonly retry: number; readonly expire: number; readonly minTtl: number };
}

/** How the agent's numbers are named, and who is shown them. */
export interface TelemetryConfig {
  readonly metricsPrefix: string;
  /** Gauges do not carry the machine's name. They only do where somebody collects the numbers of several machines. */
  readonly disableHostname: boolean;
  /** Whether names are kept that no rule of the filter speaks of. */
  readonly filterDefault: boolean;
  /** Prefixes of names: "+consul.raft" are kept, "-consul.http" are not. The longest that fits decides. */
  readonly prefixFilter: readonly string[];
  /** Where each number is sent, too: an IP address and a port. Undefined: nowhere. */
  readonly statsdAddress: { readonly host: string; readonly port: number } | undefined;
  /** 0: Prometheus is shown nothing. */
  readonly prometheusRetentionTime: Millis;
}

/** How the leader looks after the servers of its group: what the first leader of a group writes into its log. */
export interface AutopilotConfig {
  readonly cleanupDeadServers: boolean;
  /** A server is healthy while it was heard of so recently, and lacks at most `maxTrailingLogs` entries. */
  readonly lastContactThreshold: Millis;
  readonly maxTrailingLogs: number;
  /** Dead servers are only cleaned up while so many are left. */
  readonly minQuorum: number;
  /** A new server gets its vote after it was healthy for so long. */
  readonly serverStabilizationTime: Millis;
  /** Of Consul's Enterprise version: kept and shown, without effect. */
  readonly redundancyZoneTag: string;
  readonly disableUpgradeMigration: boolean;
  readonly upgradeVersionTag: string;
}

export interface GossipConfig {
  readonly gossipNodes: number;
  readonly gossipInterval: Millis;
  readonly probeInterval: Millis;
  readonly probeTimeout: Millis;
  readonly suspicionMult: number;
  readonly retransmitMult: number;
}
