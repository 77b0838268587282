/**
 * Merged settings to an {@link AgentConfig}: durations, ports and addresses become values, and what depends on other
 * keys gets its default. Problems with single values are told together; the first that leaves no agent to speak of
 * (no bind address, impossible port ranges) is told alone, as in Consul.
 */
import type { StringMap } from "../catalog/records.ts";
import { AgentError } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { detectAddress, type ExpandedAddress, type Expander, expandAddresses, expandIp, listenAddresses } from "./addresses.ts";
import type { AgentConfig, GossipConfig, TelemetryConfig } from "./config.ts";
import type { Settings } from "./decode.ts";
import { checkFromFile, serviceFromFile } from "./definitions-file.ts";
import { parseDuration } from "./duration.ts";
import { errorList, goQuote } from "./go-text.ts";
import type { HclObject } from "./hcl.ts";
import { parseNetwork, parseIp } from "./ip.ts";
import { configKeys } from "./keys.ts";

export interface BuildOptions {
  readonly host: Expander & { hostname(): string };
  readonly devMode: boolean;
  readonly freePorts: boolean;
  readonly sections: readonly string[];
  readonly warnings: string[];
}

/** Throws `AgentError("config-invalid")`. The result is not yet checked as a whole: see validate.ts. */
export function buildConfig(settings: Settings, options: BuildOptions): AgentConfig {
  const builder = new Builder(settings, options);
  const config = builder.build();
  if (builder.problems.length > 0) throw refuse(errorList(builder.problems));
  return config;
}

const durationKeys = configKeys.filter((row) => row.type === "duration").map((row) => row.key);
const portMax = 65535;

/** Values that Consul leaves at 0 in its configuration and replaces where they are used. */
const raftSnapshotThresholdDefault = 16384;
const raftSnapshotIntervalDefault: Millis = 30_000;
const raftTrailingLogsDefault = 10240;
const sessionTtlMinDefault: Millis = 10_000;

const logLevels: Readonly<Record<string, AgentConfig["logLevel"]>> = {
  TRACE: "trace",
  DEBUG: "debug",
  INFO: "info",
  WARN: "warn",
  ERR: "error",
  ERROR: "error",
};

class Builder {
  readonly problems: string[] = [];
  readonly #settings: Settings;
  readonly #options: BuildOptions;
  readonly #durations = new Map<string, Millis>();

  constructor(settings: Settings, options: BuildOptions) {
    this.#settings = settings;
    this.#options = options;
    for (const key of durationKeys) this.#readDuration(key, key);
  }

  build(): AgentConfig {
    const ports = this.#ports();
    const addresses = this.#addresses();
    const clients = this.#expand("client_addr");
    if (clients.length === 0) {
      this.#options.warnings.push(
        "client_addr is empty, client services (DNS, HTTP, HTTPS, GRPC) will not be listening for connections",
      );
    }
    const server = this.#flag("server");
    const expect = this.#number("bootstrap_expect");
    const scripts = this.#flag("enable_script_checks");
    return {
      devMode: this.#options.devMode,
      server,
      bootstrap: this.#flag("bootstrap"),
      bootstrapExpect: expect,
      datacenter: this.#text("datacenter").toLowerCase(),
      nodeName: this.#text("node_name").trim() || this.#options.host.hostname(),
      nodeId: this.#text("node_id").toLowerCase(),
      nodeMeta: this.#map("node_meta"),
      dataDir: this.#text("data_dir") === "" || this.#options.devMode ? undefined : this.#text("data_dir"),

      ...addresses,
      clientAddrs: clients.flatMap((address) => ("host" in address ? [address.host] : [])),
      httpAddrs: listenAddresses(this.#expandOr("addresses.http", clients), ports.http),
      httpsAddrs: [],
      dnsAddrs: listenAddresses(this.#expandOr("addresses.dns", clients), ports.dns),
      ports,
      unixSocketMode: this.#text("unix_sockets.mode"),

      domain: this.#text("domain"),
      altDomain: this.#text("alt_domain"),
      recursors: this.#list("recursors"),
      dns: this.#dns(),
      translateWanAddrs: this.#flag("translate_wan_addrs"),

      http: {
        blockEndpoints: this.#list("http_config.block_endpoints"),
        allowWriteHttpFrom: this.#networks(),
        responseHeaders: this.#map("http_config.response_headers"),
        useCache: this.#flag("http_config.use_cache"),
        unprintableCharFilter: !this.#flag("disable_http_unprintable_char_filter"),
      },
      limits: {
        httpMaxConnsPerClient: this.#number("limits.http_max_conns_per_client"),
        kvMaxValueSize: this.#number("limits.kv_max_value_size"),
        txnMaxReqLen: this.#number("limits.txn_max_req_len"),
        rpcMaxConnsPerClient: this.#number("limits.rpc_max_conns_per_client"),
        rpcHandshakeTimeout: this.#millis("limits.rpc_handshake_timeout"),
        rpcRate: this.#rate(),
        rpcMaxBurst: this.#number("limits.rpc_max_burst"),
      },
      ui: this.#flag("ui"),
      uiContentPath: withSlashes(this.#text("ui_content_path")),

      services: this.#elements("services").map((service) => serviceFromFile(service, this.problems)),
      checks: this.#elements("checks").map((check) => checkFromFile(check, this.problems)),
      enableScriptChecks: scripts,
      enableLocalScriptChecks: (this.#settings.get("enable_local_script_checks") as boolean | undefined) ?? scripts,
      checkUpdateInterval: this.#millis("check_update_interval"),
      checkOutputMaxSize: this.#number("check_output_max_size"),
      discardCheckOutput: this.#flag("discard_check_output"),

      defaultQueryTime: this.#millis("default_query_time"),
      maxQueryTime: this.#millis("max_query_time"),
      discoveryMaxStale: this.#millis("discovery_max_stale"),
      sessionTtlMin: this.#millis("session_ttl_min") || sessionTtlMinDefault,

      raftMultiplier: this.#raftMultiplier(),
      raftSnapshotThreshold: this.#number("raft_snapshot_threshold") || raftSnapshotThresholdDefault,
      raftSnapshotInterval: this.#millis("raft_snapshot_interval") || raftSnapshotIntervalDefault,
      raftTrailingLogs: this.#number("raft_trailing_logs") || raftTrailingLogsDefault,
      rpcHoldTimeout: this.#millis("performance.rpc_hold_timeout"),
      leaveDrainTime: this.#millis("performance.leave_drain_time"),
      leaveOnTerminate: (this.#settings.get("leave_on_terminate") as boolean | undefined) ?? !server,
      skipLeaveOnInterrupt: (this.#settings.get("skip_leave_on_interrupt") as boolean | undefined) ?? server,

      startJoin: this.#list("start_join"),
      retryJoin: this.#list("retry_join"),
      retryInterval: this.#millis("retry_interval"),
      retryMax: this.#number("retry_max"),
      startJoinWan: this.#list("start_join_wan"),
      retryJoinWan: this.#list("retry_join_wan"),
      retryIntervalWan: this.#millis("retry_interval_wan"),
      retryMaxWan: this.#number("retry_max_wan"),
      reconnectTimeoutLan: this.#millis("reconnect_timeout"),
      serfLanAllowedCidrs: this.#allowedCidrs("serf_lan_allowed_cidrs"),
      serfWanAllowedCidrs: this.#allowedCidrs("serf_wan_allowed_cidrs"),
      reconnectTimeoutWan: this.#millis("reconnect_timeout_wan"),
      rejoinAfterLeave: this.#flag("rejoin_after_leave"),
      autopilot: {
        cleanupDeadServers: this.#flag("autopilot.cleanup_dead_servers"),
        lastContactThreshold: this.#millis("autopilot.last_contact_threshold"),
        maxTrailingLogs: this.#number("autopilot.max_trailing_logs"),
        minQuorum: this.#number("autopilot.min_quorum"),
        serverStabilizationTime: this.#millis("autopilot.server_stabilization_time"),
        redundancyZoneTag: this.#text("autopilot.redundancy_zone_tag"),
        disableUpgradeMigration: this.#flag("autopilot.disable_upgrade_migration"),
        upgradeVersionTag: this.#text("autopilot.upgrade_version_tag"),
      },

      gossipLan: this.#gossip("gossip_lan"),
      gossipWan: this.#gossip("gossip_wan"),
      encrypt: this.#text("encrypt"),
      encryptVerifyIncoming: this.#flag("encrypt_verify_incoming"),
      encryptVerifyOutgoing: this.#flag("encrypt_verify_outgoing"),
      disableKeyringFile: this.#flag("disable_keyring_file"),

      telemetry: this.#telemetry(),

      logLevel: this.#logLevel(),
      logJson: this.#flag("log_json"),
      logFile: this.#text("log_file"),
      logRotateBytes: this.#number("log_rotate_bytes"),
      logRotateDuration: this.#millis("log_rotate_duration"),
      logRotateMaxFiles: this.#number("log_rotate_max_files"),
      pidFile: this.#text("pid_file"),
      enableDebug: this.#flag("enable_debug"),
      disableUpdateCheck: this.#flag("disable_update_check"),
      disableRemoteExec: this.#flag("disable_remote_exec"),
      disableCoordinates: this.#flag("disable_coordinates"),
      disableHostNodeId: this.#flag("disable_host_node_id"),
      watches: this.#settings.get("watches") as AgentConfig["watches"],
      warnings: [],
      sections: this.#sections(),
    };
  }

  #ports(): AgentConfig["ports"] {
    const range = (name: string): void => {
      if (this.#number(`ports.${name}_max_port`) >= this.#number(`ports.${name}_min_port`)) return;
      throw refuse(`${name}_min_port must be less than ${name}_max_port. To disable, set both to zero.`);
    };
    const ports = {
      dns: this.#port("dns"),
      http: this.#port("http"),
      https: this.#port("https"),
      server: this.#port("server"),
      serfLan: this.#port("serf_lan"),
      serfWan: this.#port("serf_wan"),
      grpc: this.#port("grpc"),
      sidecarMin: this.#port("sidecar_min_port", -1),
      sidecarMax: this.#port("sidecar_max_port", -1),
    };
    for (const name of ["proxy", "sidecar", "expose"]) range(name);
    return ports;
  }

  /** Consul takes 0 as "off"; where free ports are asked for, 0 stays. */
  #port(name: string, zero = this.#options.freePorts ? 0 : -1): number {
    const port = this.#number(`ports.${name}`);
    if (port > portMax) this.problems.push(`ports.${name}: invalid port: ${port}`);
    if (port === 0) return zero;
    return Math.max(port, -1);
  }

  #addresses(): Pick<
    AgentConfig,
    "bindAddr" | "advertiseAddr" | "advertiseAddrWan" | "serfLanBind" | "serfWanBind" | "taggedAddresses"
  > {
    const bindAddr = this.#bindAddr();
    const ipv6 = bindAddr.includes(":");
    const ownFamily = this.#text("advertise_addr") || this.#text(ipv6 ? "advertise_addr_ipv6" : "advertise_addr_ipv4");
    const advertiseAddr =
      this.#ip("advertise_addr", ownFamily) ?? (isAny(bindAddr) && ownFamily === "" ? this.#detect(bindAddr) : bindAddr);
    const v6 = advertiseAddr.includes(":");
    const advertiseAddrWan =
      this.#ip(
        "advertise_addr_wan",
        this.#text("advertise_addr_wan") || this.#text(v6 ? "advertise_addr_wan_ipv6" : "advertise_addr_wan_ipv4"),
      ) ?? advertiseAddr;
    return {
      bindAddr,
      advertiseAddr,
      advertiseAddrWan,
      serfLanBind: this.#ip("serf_lan") ?? bindAddr,
      serfWanBind: this.#ip("serf_wan") ?? bindAddr,
      taggedAddresses: this.#taggedAddresses(advertiseAddr, advertiseAddrWan),
    };
  }

  /** Problems with the text itself are kept back, as in Consul: that there is no address is what is told. */
  #bindAddr(): string {
    const addresses = expandAddresses("bind_addr", this.#text("bind_addr"), this.#options.host, []);
    const [address] = addresses;
    if (address === undefined) throw refuse("bind_addr cannot be empty");
    if (addresses.length > 1)
      throw refuse("bind_addr cannot contain multiple addresses. Use 'addresses.{dns,http,https}' instead.");
    if ("path" in address) throw refuse("bind_addr cannot be a unix socket");
    return address.host;
  }

  #detect(bindAddr: string): string {
    const found = detectAddress(bindAddr.includes(":") ? 6 : 4, this.#options.host);
    if (found.kind === "problem") throw refuse(found.problem);
    return found.address;
  }

  /** Tags of the node. Those a file sets are kept; each family's own tag is there only for an address of that family. */
  #taggedAddresses(lan: string, wan: string): StringMap {
    const family = (address: string): string => (address.includes(":") ? "ipv6" : "ipv4");
    const detected: Record<string, string> = { lan, [`lan_${family(lan)}`]: lan, wan, [`wan_${family(wan)}`]: wan };
    for (const [tag, key] of Object.entries(familyKeys)) {
      const address = this.#ip(key);
      if (address === undefined) continue;
      detected[tag] = address;
      // What is reached over the LAN is reached so over the WAN too, unless that is said.
      detected[tag.replace("lan", "wan")] ??= address;
    }
    return { ...this.#map("tagged_addresses"), ...detected };
  }

  #dns(): AgentConfig["dns"] {
    const serviceTtl: Record<string, Millis> = {};
    for (const [name, given] of Object.entries(this.#map("dns_config.service_ttl"))) {
      const parsed = this.#parseDuration(`dns_config.service_ttl[${goQuote(name)}]`, given);
      Object.defineProperty(serviceTtl, name, { value: parsed ?? 0, enumerable: true });
    }
    return {
      allowStale: this.#flag("dns_config.allow_stale"),
      maxStale: this.#millis("dns_config.max_stale"),
      aRecordLimit: this.#number("dns_config.a_record_limit"),
      udpAnswerLimit: this.#number("dns_config.udp_answer_limit"),
      disableCompression: this.#flag("dns_config.disable_compression"),
      enableTruncate: this.#flag("dns_config.enable_truncate"),
      nodeTtl: this.#millis("dns_config.node_ttl"),
      serviceTtl,
      onlyPassing: this.#flag("dns_config.only_passing"),
      recursorTimeout: this.#millis("dns_config.recursor_timeout"),
      nodeMetaTxt: this.#flag("dns_config.enable_additional_node_meta_txt"),
      soa: {
        refresh: this.#number("dns_config.soa.refresh"),
        retry: this.#number("dns_config.soa.retry"),
        expire: this.#number("dns_config.soa.expire"),
        minTtl: this.#number("dns_config.soa.min_ttl"),
      },
    };
  }

  #gossip(pool: "gossip_lan" | "gossip_wan"): GossipConfig {
    return {
      gossipNodes: this.#number(`${pool}.gossip_nodes`),
      gossipInterval: this.#millis(`${pool}.gossip_interval`),
      probeInterval: this.#millis(`${pool}.probe_interval`),
      probeTimeout: this.#millis(`${pool}.probe_timeout`),
      suspicionMult: this.#number(`${pool}.suspicion_mult`),
      retransmitMult: this.#number(`${pool}.retransmit_mult`),
    };
  }

  #telemetry(): TelemetryConfig {
    const rules = this.#list("telemetry.prefix_filter");
    for (const rule of rules) {
      if (rule === "") this.#options.warnings.push("Cannot have empty filter rule in prefix_filter");
      else if (!isFilterRule(rule))
        this.#options.warnings.push(`Filter rule must begin with either '+' or '-': ${goQuote(rule)}`);
    }
    return {
      metricsPrefix: this.#text("telemetry.metrics_prefix"),
      disableHostname: this.#flag("telemetry.disable_hostname"),
      filterDefault: this.#flag("telemetry.filter_default"),
      prefixFilter: rules.filter(isFilterRule),
      statsdAddress: this.#statsdAddress(),
      prometheusRetentionTime: this.#millis("telemetry.prometheus_retention_time"),
    };
  }

  /** Names would have to be looked up again and again: there is no port for that. */
  #statsdAddress(): TelemetryConfig["statsdAddress"] {
    const given = this.#text("telemetry.statsd_address");
    if (given === "") return undefined;
    const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*)):([0-9]{1,5})$/.exec(given) ?? [];
    const host = bracketed ?? plain ?? "";
    const port = Number(digits);
    if (parseIp(host) !== undefined && port > 0 && port <= portMax) return { host, port };
    this.problems.push(`telemetry.statsd_address: ${goQuote(given)} is not an IP address and a port ("192.0.2.1:8125")`);
    return undefined;
  }

  #raftMultiplier(): number {
    const multiplier = this.#number("performance.raft_multiplier");
    if (multiplier >= 1 && multiplier <= 10) return multiplier;
    throw refuse(`performance.raft_multiplier cannot be ${multiplier}. Must be between 1 and 10`);
  }

  #logLevel(): AgentConfig["logLevel"] {
    const given = this.#text("log_level");
    const level = Object.hasOwn(logLevels, given.toUpperCase()) ? logLevels[given.toUpperCase()] : undefined;
    if (level === undefined) throw refuse(`Invalid log level: ${given}. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]`);
    return level;
  }

  #networks(): readonly string[] {
    const networks = this.#list("http_config.allow_write_http_from");
    for (const network of networks)
      if (parseNetwork(network) === undefined) this.problems.push(`allow_write_http_from: invalid cidr: ${network}`);
    return networks;
  }

  /** Consul names the first list that has a malformed network, and all of its malformed ones. */
  #allowedCidrs(key: string): readonly string[] {
    const networks = this.#list(key);
    const malformed = networks.filter((network) => parseNetwork(network) === undefined);
    if (malformed.length > 0) throw refuse(`${key}: ${errorList(malformed.map((network) => `invalid cidr: ${network}`))}`);
    return networks;
  }

  /** Negative: unlimited. */
  #rate(): number {
    const rate = this.#number("limits.rpc_rate");
    return rate < 0 ? Number.POSITIVE_INFINITY : rate;
  }

  #sections(): AgentConfig["sections"] {
    const owned = this.#options.sections.filter((key) => this.#settings.has(key));
    return Object.fromEntries(owned.map((key) => [key, (this.#settings.get(key) as HclObject)["value"]]));
  }

  #expand(key: string): readonly ExpandedAddress[] {
    return expandAddresses(key, this.#text(key), this.#options.host, this.problems);
  }

  #expandOr(key: string, fallback: readonly ExpandedAddress[]): readonly ExpandedAddress[] {
    const own = this.#expand(key);
    return own.length > 0 ? own : fallback;
  }

  #ip(key: string, given = this.#text(key)): string | undefined {
    return given === "" ? undefined : expandIp(key, given, this.#options.host, this.problems);
  }

  #readDuration(key: string, shown: string): void {
    const given = this.#settings.get(key);
    if (given === undefined) return;
    const millis = this.#parseDuration(shown, given as string);
    if (millis !== undefined) this.#durations.set(key, millis);
  }

  #parseDuration(shown: string, given: string): Millis | undefined {
    const parsed = parseDuration(given);
    if (parsed.kind === "duration") return parsed.millis;
    this.problems.push(`${shown}: invalid duration: ${goQuote(given)}: ${parsed.problem}`);
    return undefined;
  }

  #text(key: string): string {
    return (this.#settings.get(key) ?? "") as string;
  }
  #flag(key: string): boolean {
    return this.#settings.get(key) === true;
  }
  #number(key: string): number {
    return (this.#settings.get(key) ?? 0) as number;
  }
  #millis(key: string): Millis {
    return this.#durations.get(key) ?? 0;
  }
  #list(key: string): readonly string[] {
    return (this.#settings.get(key) ?? []) as readonly string[];
  }
  #map(key: string): StringMap {
    return (this.#settings.get(key) ?? {}) as StringMap;
  }
  #elements(key: string): readonly Settings[] {
    return (this.#settings.get(key) ?? []) as readonly Settings[];
  }
}

const familyKeys: Readonly<Record<string, string>> = {
  lan_ipv4: "advertise_addr_ipv4",
  lan_ipv6: "advertise_addr_ipv6",
  wan_ipv4: "advertise_addr_wan_ipv4",
  wan_ipv6: "advertise_addr_wan_ipv6",
};

/** 0.0.0.0 or ::, however written. */
export function isAny(address: string): boolean {
  return parseIp(address)?.bytes.every((byte) => byte === 0) ?? false;
}

function isFilterRule(rule: string): boolean {
  return rule.startsWith("+") || rule.startsWith("-");
}

/** A URL prefix with a slash at both ends. */
function withSlashes(path: string): string {
  const leading = path.startsWith("/") ? path : `/${path}`;
  return leading.endsWith("/") ? leading : `${leading}/`;
}

function refuse(message: string): AgentError {
  return new AgentError("config-invalid", { message });
}
