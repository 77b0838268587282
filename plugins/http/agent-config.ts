/**
 * The configuration as /v1/agent/self shows it under DebugConfig: Consul 1.8's 206 keys. What this agent has no setting
 * for is shown as Consul shows it when it is off; secrets are "hidden".
 */
import type { Json, JsonObject } from "../../core/catalog/records.ts";
import type { AgentConfig, GossipConfig, ListenAddress } from "../../core/config/config.ts";
import { formatDuration } from "../../core/config/duration.ts";
import type { AgentApi } from "../../core/plugin/agent-api.ts";
import { formatAddress } from "../../core/ports/net.ts";
import type { Millis } from "../../core/types/ids.ts";

/** Keys in any order: they are sorted when written. */
export function debugConfig(agent: AgentApi): JsonObject {
  const { config } = agent;
  return { ...identity(agent), ...network(config), ...surfaces(config), ...behaviour(config), ...gossip(config), ...switchedOff };
}

const duration = (millis: Millis): string => formatDuration(millis);
const tcp = (host: string, port: number): string => `tcp://${formatAddress({ host, port })}`;
const listener = (at: ListenAddress, network: string): string =>
  "path" in at ? `unix://${at.path}` : `${network}://${formatAddress(at)}`;

function identity(agent: AgentApi): JsonObject {
  const { config } = agent;
  return {
    Bootstrap: config.bootstrap,
    BootstrapExpect: config.bootstrapExpect,
    AutopilotCleanupDeadServers: config.autopilot.cleanupDeadServers,
    AutopilotLastContactThreshold: duration(config.autopilot.lastContactThreshold),
    AutopilotMaxTrailingLogs: config.autopilot.maxTrailingLogs,
    AutopilotMinQuorum: config.autopilot.minQuorum,
    AutopilotServerStabilizationTime: duration(config.autopilot.serverStabilizationTime),
    AutopilotDisableUpgradeMigration: config.autopilot.disableUpgradeMigration,
    AutopilotRedundancyZoneTag: config.autopilot.redundancyZoneTag,
    AutopilotUpgradeVersionTag: config.autopilot.upgradeVersionTag,
    RejoinAfterLeave: config.rejoinAfterLeave,
    RetryJoinIntervalLAN: duration(config.retryInterval),
    RetryJoinLAN: config.retryJoin,
    RetryJoinMaxAttemptsLAN: config.retryMax,
    StartJoinAddrsLAN: config.startJoin,
    DataDir: config.dataDir ?? "",
    Datacenter: config.datacenter,
    PrimaryDatacenter: config.datacenter,
    ACLDatacenter: config.datacenter,
    DevMode: config.devMode,
    NodeID: agent.nodeId,
    NodeMeta: config.nodeMeta,
    NodeName: config.nodeName,
    PidFile: config.pidFile,
    Revision: "",
    ServerMode: config.server,
    TaggedAddresses: config.taggedAddresses,
    Version: agent.version,
    VersionPrerelease: "",
  };
}

function network(config: AgentConfig): JsonObject {
  const { ports } = config;
  const wan = ports.serfWan > 0;
  return {
    AdvertiseAddrLAN: config.advertiseAddr,
    AdvertiseAddrWAN: config.advertiseAddrWan,
    BindAddr: config.bindAddr,
    ClientAddrs: config.clientAddrs,
    RPCAdvertiseAddr: tcp(config.advertiseAddr, ports.server),
    RPCBindAddr: tcp(config.bindAddr, ports.server),
    RPCHandshakeTimeout: duration(config.limits.rpcHandshakeTimeout),
    RPCHoldTimeout: duration(config.rpcHoldTimeout),
    RPCMaxConnsPerClient: config.limits.rpcMaxConnsPerClient,
    SerfAdvertiseAddrLAN: tcp(config.advertiseAddr, ports.serfLan),
    SerfAdvertiseAddrWAN: wan ? tcp(config.advertiseAddrWan, ports.serfWan) : "",
    SerfBindAddrLAN: tcp(config.serfLanBind, ports.serfLan),
    SerfBindAddrWAN: wan ? tcp(config.serfWanBind, ports.serfWan) : "",
    SerfPortLAN: ports.serfLan,
    SerfPortWAN: ports.serfWan,
    ServerPort: ports.server,
    TranslateWANAddrs: config.translateWanAddrs,
  };
}

function surfaces(config: AgentConfig): JsonObject {
  const { dns, http, limits, ports } = config;
  return {
    AllowWriteHTTPFrom: http.allowWriteHttpFrom,
    DNSARecordLimit: dns.aRecordLimit,
    DNSAddrs: config.dnsAddrs.flatMap((at) => [listener(at, "tcp"), listener(at, "udp")]),
    DNSAllowStale: dns.allowStale,
    DNSAltDomain: config.altDomain,
    DNSDisableCompression: dns.disableCompression,
    DNSDomain: config.domain,
    DNSEnableTruncate: dns.enableTruncate,
    DNSMaxStale: duration(dns.maxStale),
    DNSNodeMetaTXT: dns.nodeMetaTxt,
    DNSNodeTTL: duration(dns.nodeTtl),
    DNSOnlyPassing: dns.onlyPassing,
    DNSPort: ports.dns,
    DNSRecursorTimeout: duration(dns.recursorTimeout),
    DNSRecursors: config.recursors,
    DNSSOA: { Expire: dns.soa.expire, Minttl: dns.soa.minTtl, Refresh: dns.soa.refresh, Retry: dns.soa.retry },
    DNSServiceTTL: Object.fromEntries(Object.entries(dns.serviceTtl).map(([name, ttl]) => [name, duration(ttl)])),
    DNSUDPAnswerLimit: dns.udpAnswerLimit,
    DisableHTTPUnprintableCharFilter: !http.unprintableCharFilter,
    EnableUI: config.ui,
    HTTPAddrs: config.httpAddrs.map((at) => listener(at, "tcp")),
    HTTPBlockEndpoints: http.blockEndpoints,
    HTTPMaxConnsPerClient: limits.httpMaxConnsPerClient,
    HTTPPort: ports.http,
    HTTPResponseHeaders: http.responseHeaders,
    HTTPSAddrs: config.httpsAddrs.map((at) => listener(at, "tcp")),
    HTTPSPort: ports.https,
    HTTPUseCache: http.useCache,
    KVMaxValueSize: limits.kvMaxValueSize,
    TxnMaxReqLen: limits.txnMaxReqLen,
    UIContentPath: config.uiContentPath,
  };
}

function behaviour(config: AgentConfig): JsonObject {
  return {
    CheckOutputMaxSize: config.checkOutputMaxSize,
    CheckUpdateInterval: duration(config.checkUpdateInterval),
    Checks: config.checks.map((check): Json => ({ ID: check.id, Name: check.name })),
    ConnectSidecarMaxPort: config.ports.sidecarMax,
    ConnectSidecarMinPort: config.ports.sidecarMin,
    DefaultQueryTime: duration(config.defaultQueryTime),
    DisableCoordinates: config.disableCoordinates,
    DisableHostNodeID: config.disableHostNodeId,
    DisableRemoteExec: config.disableRemoteExec,
    DisableUpdateCheck: config.disableUpdateCheck,
    DiscardCheckOutput: config.discardCheckOutput,
    DiscoveryMaxStale: duration(config.discoveryMaxStale),
    EnableDebug: config.enableDebug,
    EnableLocalScriptChecks: config.enableLocalScriptChecks,
    EnableRemoteScriptChecks: config.enableScriptChecks,
    LeaveDrainTime: duration(config.leaveDrainTime),
    LeaveOnTerm: config.leaveOnTerminate,
    Logging: {
      EnableSyslog: false,
      LogFilePath: config.logFile,
      LogJSON: config.logJson,
      LogLevel: config.logLevel.toUpperCase(),
      LogRotateBytes: config.logRotateBytes,
      LogRotateDuration: duration(config.logRotateDuration),
      LogRotateMaxFiles: config.logRotateMaxFiles,
      Name: "",
      SyslogFacility: "LOCAL0",
    },
    MaxQueryTime: duration(config.maxQueryTime),
    RaftSnapshotInterval: duration(config.raftSnapshotInterval),
    RaftSnapshotThreshold: config.raftSnapshotThreshold,
    RaftTrailingLogs: config.raftTrailingLogs,
    ConsulRaftElectionTimeout: duration(1000 * config.raftMultiplier),
    ConsulRaftHeartbeatTimeout: duration(1000 * config.raftMultiplier),
    ConsulRaftLeaderLeaseTimeout: duration(500 * config.raftMultiplier),
    Services: config.services.map((service): Json => ({ ID: service.id, Name: service.name })),
    SessionTTLMin: duration(config.sessionTtlMin),
    Telemetry: telemetry(config.telemetry),
    SkipLeaveOnInt: config.skipLeaveOnInterrupt,
  };
}

function telemetry(settings: AgentConfig["telemetry"]): JsonObject {
  const rules = (sign: string): string[] =>
    settings.prefixFilter.filter((rule) => rule.startsWith(sign)).map((rule) => rule.slice(1));
  return {
    AllowedPrefixes: rules("+"),
    BlockedPrefixes: rules("-"),
    CirconusAPIApp: "",
    CirconusAPIToken: "hidden",
    CirconusAPIURL: "",
    CirconusBrokerID: "",
    CirconusBrokerSelectTag: "",
    CirconusCheckDisplayName: "",
    CirconusCheckForceMetricActivation: "",
    CirconusCheckID: "",
    CirconusCheckInstanceID: "",
    CirconusCheckSearchTag: "",
    CirconusCheckTags: "",
    CirconusSubmissionInterval: "",
    CirconusSubmissionURL: "",
    Disable: false,
    DisableHostname: settings.disableHostname,
    DogstatsdAddr: "",
    DogstatsdTags: [],
    FilterDefault: settings.filterDefault,
    MetricsPrefix: settings.metricsPrefix,
    PrometheusRetentionTime: duration(settings.prometheusRetentionTime),
    StatsdAddr: settings.statsdAddress === undefined ? "" : formatAddress(settings.statsdAddress),
    StatsiteAddr: "",
  };
}

function gossip(config: AgentConfig): JsonObject {
  return {
    ...pool("LAN", config.gossipLan),
    ...pool("WAN", config.gossipWan),
    DisableKeyringFile: config.disableKeyringFile,
    EncryptVerifyIncoming: config.encryptVerifyIncoming,
    EncryptVerifyOutgoing: config.encryptVerifyOutgoing,
  };
}

function pool(name: "LAN" | "WAN", settings: GossipConfig): JsonObject {
  return {
    [`Gossip${name}GossipInterval`]: duration(settings.gossipInterval),
    [`Gossip${name}GossipNodes`]: settings.gossipNodes,
    [`Gossip${name}ProbeInterval`]: duration(settings.probeInterval),
    [`Gossip${name}ProbeTimeout`]: duration(settings.probeTimeout),
    [`Gossip${name}RetransmitMult`]: settings.retransmitMult,
    [`Gossip${name}SuspicionMult`]: settings.suspicionMult,
  };
}

/** Features that are off, and limits that are fixed. */
const switchedOff: JsonObject = {
  ACLAgentMasterToken: "hidden",
  ACLAgentToken: "hidden",
  ACLDefaultPolicy: "allow",
  ACLDisabledTTL: "2m0s",
  ACLDownPolicy: "extend-cache",
  ACLEnableKeyListPolicy: false,
  ACLEnableTokenPersistence: false,
  ACLMasterToken: "hidden",
  ACLPolicyTTL: "30s",
  ACLReplicationToken: "hidden",
  ACLRoleTTL: "0s",
  ACLToken: "hidden",
  ACLTokenReplication: false,
  ACLTokenTTL: "30s",
  ACLsEnabled: false,
  AEInterval: "1m0s",
  AutoConfig: { DNSSANs: [], Enabled: false, IPSANs: [], IntroToken: "hidden", IntroTokenFile: "", ServerAddresses: [] },
  AutoEncryptAllowTLS: false,
  AutoEncryptDNSSAN: [],
  AutoEncryptIPSAN: [],
  AutoEncryptTLS: false,
  Cache: { EntryFetchMaxBurst: 2, EntryFetchRate: Number.MAX_VALUE },
  CAFile: "",
  CAPath: "",
  CertFile: "",
  CheckDeregisterIntervalMin: "1m0s",
  CheckReapInterval: "30s",
  ConfigEntryBootstrap: [],
  ConnectCAConfig: {},
  ConnectCAProvider: "",
  ConnectEnabled: false,
  ConnectMeshGatewayWANFederationEnabled: false,
  ConnectTestCALeafRootChangeSpread: "0s",
  ConsulCoordinateUpdateBatchSize: 128,
  ConsulCoordinateUpdateMaxBatches: 5,
  ConsulCoordinateUpdatePeriod: "5s",
  ConsulServerHealthInterval: "2s",
  DNSCacheMaxAge: "0s",
  DNSUseCache: false,
  DisableAnonymousSignature: true,
  EnableAgentTLSForChecks: false,
  EnableCentralServiceConfig: false,
  EncryptKey: "hidden",
  EnterpriseRuntimeConfig: {},
  ExposeMaxPort: 21755,
  ExposeMinPort: 21500,
  GRPCAddrs: [],
  GRPCPort: -1,
  HTTPSHandshakeTimeout: "5s",
  KeyFile: "hidden",
  NonVotingServer: false,
  PrimaryGateways: [],
  PrimaryGatewaysInterval: "30s",
  RPCMaxBurst: 1000,
  RPCProtocol: 2,
  RPCRateLimit: -1,
  RaftProtocol: 3,
  ReconnectTimeoutLAN: "0s",
  ReconnectTimeoutWAN: "0s",
  RetryJoinIntervalWAN: "30s",
  RetryJoinMaxAttemptsWAN: 0,
  RetryJoinWAN: [],
  SegmentLimit: 64,
  SegmentName: "",
  SegmentNameLimit: 64,
  Segments: [],
  SerfAllowedCIDRsLAN: [],
  SerfAllowedCIDRsWAN: [],
  ServerName: "",
  StartJoinAddrsWAN: [],
  SyncCoordinateIntervalMin: "15s",
  SyncCoordinateRateTarget: 64,
  TLSCipherSuites: [],
  TLSMinVersion: "tls12",
  TLSPreferServerCipherSuites: false,
  UIDir: "",
  UnixSocketGroup: "",
  UnixSocketMode: "",
  UnixSocketUser: "",
  VerifyIncoming: false,
  VerifyIncomingHTTPS: false,
  VerifyIncomingRPC: false,
  VerifyOutgoing: false,
  VerifyServerHostname: false,
  Watches: [],
};
