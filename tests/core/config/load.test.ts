import type { AgentConfig } from "../../../core/config/config.ts";
import { configKeys } from "../../../core/config/keys.ts";
import { type ConfigSources, emptySources, loadConfig, loadServices } from "../../../core/config/load.ts";
import { messageOf } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { configHost } from "./host.ts";

const dev: ConfigSources = { ...emptySources, devMode: true };

async function refusal(sources: ConfigSources, files: Readonly<Record<string, string>> = {}): Promise<string> {
  return loadConfig(sources, configHost(files)).then(
    () => "accepted",
    (error: unknown) => messageOf(error).trim(),
  );
}

const hcl = (...fragments: readonly string[]): ConfigSources => ({ ...dev, fragments });

describe("defaults", () => {
  it("of a server in development mode", async () => {
    const config = await loadConfig(dev, configHost());
    const { services, checks, warnings, sections, ...rest } = config;
    assert.deepEqual({ services, checks, warnings, sections }, { services: [], checks: [], warnings: [], sections: {} });
    assert.deepEqual(rest, devConfig);
  });

  it("of a server", async () => {
    const host = configHost();
    const config = await loadConfig({ ...emptySources, fragments: ['data_dir="/var/x" server=true bootstrap=true'] }, host);
    const different = Object.fromEntries(
      Object.entries(config).filter(
        ([key, value]) => JSON.stringify(value) !== JSON.stringify(devConfig[key as keyof typeof devConfig]),
      ),
    );
    assert.deepEqual(different, {
      devMode: false,
      bootstrap: true,
      dataDir: "/var/x",
      bindAddr: "0.0.0.0",
      advertiseAddr: "192.0.2.2",
      advertiseAddrWan: "192.0.2.2",
      serfLanBind: "0.0.0.0",
      serfWanBind: "0.0.0.0",
      taggedAddresses: { lan: "192.0.2.2", lan_ipv4: "192.0.2.2", wan: "192.0.2.2", wan_ipv4: "192.0.2.2" },
      ui: false,
      raftMultiplier: 5,
      gossipLan: {
        gossipNodes: 3,
        gossipInterval: 200,
        probeInterval: 1000,
        probeTimeout: 500,
        suspicionMult: 4,
        retransmitMult: 4,
      },
      gossipWan: {
        gossipNodes: 3,
        gossipInterval: 500,
        probeInterval: 5000,
        probeTimeout: 3000,
        suspicionMult: 6,
        retransmitMult: 4,
      },
      disableKeyringFile: false,
      logLevel: "info",
      enableDebug: false,
      services: [],
      checks: [],
      sections: {},
      warnings: ["bootstrap = true: do not enable unless necessary"],
    });
  });

  it("of a client: it leaves on both signals", async () => {
    const config = await loadConfig({ ...emptySources, fragments: ['data_dir="x"'], validateOnly: true }, configHost());
    assert.deepEqual([config.server, config.leaveOnTerminate, config.skipLeaveOnInterrupt], [false, true, false]);
  });

  it("of zero in Raft's tuning and the session TTL are the effective values", async () => {
    const config = await loadConfig(hcl('raft_trailing_logs=0 raft_snapshot_interval="0s" session_ttl_min="0s"'), configHost());
    assert.deepEqual([config.raftTrailingLogs, config.raftSnapshotInterval, config.sessionTtlMin], [10240, 30_000, 10_000]);
  });

  it("follow other keys: local script checks, the WAN address, the datacenter in small letters, slashes", async () => {
    const config = await loadConfig(
      hcl('enable_script_checks=true advertise_addr="10.0.0.9" datacenter="DC2" ui_content_path="x"'),
      configHost(),
    );
    assert.deepEqual(
      [config.enableLocalScriptChecks, config.advertiseAddrWan, config.datacenter, config.uiContentPath],
      [true, "10.0.0.9", "dc2", "/x/"],
    );
  });
});

describe("networks that members may be in", () => {
  it("are refused as Consul refuses them: the first list that has a malformed one", async () => {
    assert.equal(
      await refusal(hcl('serf_wan_allowed_cidrs=["q"] serf_lan_allowed_cidrs=["10.0.0.0/8", "zz", "1.2.3.4"]')),
      "serf_lan_allowed_cidrs: 2 errors occurred:\n\t* invalid cidr: zz\n\t* invalid cidr: 1.2.3.4",
    );
    assert.equal(
      await refusal(hcl('serf_wan_allowed_cidrs=["q"]')),
      "serf_wan_allowed_cidrs: 1 error occurred:\n\t* invalid cidr: q",
    );
  });
});

describe("sources", () => {
  const files = {
    "a.hcl": 'recursors=["2.2.2.2"] node_name="file" node_meta { a="file" b="file" } service { name="one" }',
    "b.json": '{"recursors":["3.3.3.3"], "node_meta":{"b":"second"}, "services":[{"name":"two"}], "service":{"name":"three"}}',
  };

  it("come in Consul's order: list flags, files, other flags, fragments", async () => {
    const config = await loadConfig(
      {
        ...dev,
        files: ["a.hcl", "b.json"],
        lists: new Map([["recursors", ["1.1.1.1"]]]),
        scalars: new Map<string, string | Record<string, string>>([
          ["node_name", "flag"],
          ["domain", "flag."],
          ["node_meta", { a: "flag" }],
        ]),
        fragments: ['recursors=["4.4.4.4"] domain="fragment." service { name="four" }'],
      },
      configHost(files),
    );
    assert.deepEqual(config.recursors, ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"]);
    assert.equal(config.nodeName, "flag");
    assert.equal(config.domain, "fragment.");
    assert.deepEqual(config.nodeMeta, { a: "flag", b: "second" });
    assert.deepEqual(
      config.services.map((service) => service.name),
      ["one", "two", "three", "four"],
    );
  });

  it("of a directory are its .hcl and .json files by name, not those of directories inside", async () => {
    const host = configHost({
      "d/b.hcl": 'node_name="b"',
      "d/a.hcl": 'node_name="a"',
      "d/c.txt": "not read",
      "d/sub/z.hcl": 'node_name="z"',
    });
    const config = await loadConfig({ ...dev, files: ["d/"] }, host);
    assert.equal(config.nodeName, "b");
    assert.deepEqual(config.warnings, ["skipping file d/c.txt, extension must be .hcl or .json, or config format must be set"]);
  });

  it("all have the format that is forced", async () => {
    const config = await loadConfig({ ...dev, files: ["c.txt"], format: "json" }, configHost({ "c.txt": '{"node_name":"c"}' }));
    assert.equal(config.nodeName, "c");
    assert.match(
      await refusal({ ...dev, files: ["a.hcl"], format: "json" }, { "a.hcl": "a=1" }),
      /^failed to parse a.hcl: invalid character 'a'/,
    );
  });

  it("that are not UTF-8 are refused in HCL with the place, and mended in JSON", async () => {
    const host = configHost({
      "a.hcl": Uint8Array.from([0x61, 0x3d, 0x0a, 0x22, 0xff, 0x22]),
      "b.json": Uint8Array.from([...'{"node_name":"x'].map((letter) => letter.charCodeAt(0)).concat([0xff, 0x22, 0x7d])),
    });
    await assert.rejects(loadConfig({ ...dev, files: ["a.hcl"] }, host), {
      message: "failed to parse a.hcl: At 2:2: illegal UTF-8 encoding",
    });
    assert.equal((await loadConfig({ ...dev, files: ["b.json"] }, host)).nodeName, "x\ufffd");
  });

  it("larger than the limit are refused", async () => {
    const said = await refusal({ ...dev, files: ["a.hcl"] }, { "a.hcl": `#${"x".repeat(4 * 1024 * 1024)}` });
    assert.equal(said, "failed to parse a.hcl: larger than 4194304 bytes");
  });

  it("may hold sections that plugins own, and pass them on unread", async () => {
    const config = await loadConfig({ ...hcl('mine { a = 1 b = ["x"] }'), sections: ["mine", "absent"] }, configHost());
    assert.deepEqual(config.sections, { mine: [{ a: 1, b: ["x"] }] });
    assert.match(await refusal(hcl("mine { a = 1 }")), /invalid config key mine/);
  });
});

describe("telemetry", () => {
  it("takes a collector's address, and says what is wrong with rules of the filter", async () => {
    const { telemetry, warnings } = await loadConfig(
      {
        ...dev,
        fragments: [
          'telemetry { statsd_address = "[2001:db8::1]:8125" prefix_filter = ["+consul.raft", "-consul.http", "", "x"] metrics_prefix = "a" }',
        ],
      },
      configHost(),
    );
    assert.deepEqual(telemetry.statsdAddress, { host: "2001:db8::1", port: 8125 });
    assert.deepEqual([telemetry.metricsPrefix, telemetry.prefixFilter], ["a", ["+consul.raft", "-consul.http"]]);
    assert.deepEqual(
      warnings.filter((warning) => /filter/i.test(warning)),
      ["Cannot have empty filter rule in prefix_filter", "Filter rule must begin with either '+' or '-': \"x\""],
    );
  });

  for (const address of ["collector:8125", "192.0.2.1", "192.0.2.1:0", "192.0.2.1:70000"]) {
    it(`refuses the collector ${address}`, async () => {
      assert.match(
        await refusal(hcl(`telemetry { statsd_address = "${address}" }`)),
        /telemetry\.statsd_address: .* is not an IP address and a port/,
      );
    });
  }
});

describe("features that are not built", () => {
  const asked: readonly (readonly [string, string])[] = [
    ["acl { enabled = true }", "acl.enabled"],
    ['acl_datacenter = "dc1"', "acl_datacenter"],
    ["connect { enabled = true }", "connect.enabled"],
    ["verify_incoming = true", "verify_incoming"],
    ['cert_file = "x"', "cert_file"],
    ["ports { https = 8501 }", "ports.https"],
    ["ports { grpc = 8502 }", "ports.grpc"],
    ["dns_config { use_cache = true }", "dns_config.use_cache"],
    ['telemetry { statsite_address = "a:1" }', "telemetry.statsite_address"],
    ['telemetry { circonus_api_url = "http://a" }', "telemetry.circonus_api_url"],
    ["raft_protocol = 2", "raft_protocol"],
    ['unix_sockets { user = "a" }', "unix_sockets.user"],
    ["enable_syslog = true", "enable_syslog"],
  ];
  for (const [fragment, key] of asked) {
    it(`are refused by name: ${fragment}`, async () => {
      assert.equal(await refusal(hcl(fragment)), `1 error occurred:\n\t* ${key}: not supported yet`);
    });
  }

  const harmless = [
    'acl { enabled = false default_policy = "deny" tokens { default = "x" agent = "y" } }',
    "connect { enabled = false } verify_incoming = false verify_outgoing = false",
    'retry_join_wan = [] start_join_wan = [] watches = [] retry_interval_wan = "10s"',
    "ports { https = -1 grpc = 0 } raft_protocol = 3 protocol = 3 limits { rpc_rate = -1 }",
    'autopilot { cleanup_dead_servers = true last_contact_threshold = "0.2s" }',
    'reconnect_timeout = "0h" telemetry { metrics_prefix = "consul" filter_default = true }',
    'primary_datacenter = "DC1" ae_interval = "5s" snapshot_agent { a = 1 }',
  ];
  for (const fragment of harmless) {
    it(`pass when nothing is asked for: ${fragment}`, async () => {
      assert.equal(await refusal(hcl(fragment)), "accepted");
    });
  }

  it("are told together", async () => {
    assert.equal(
      await refusal(hcl('verify_incoming = true primary_datacenter = "dc2"')),
      "2 errors occurred:\n\t* verify_incoming: not supported yet\n\t* primary_datacenter: another than the agent's own is not supported yet",
    );
  });

  it("include finding others through a cloud", async () => {
    assert.match(await refusal(hcl('retry_join = ["provider=aws tag_key=x"]')), /retry_join: .*cloud provider/);
  });
});

describe("values", () => {
  it("that are fixed cannot be changed", () => {
    assert.ok(configKeys.filter((row) => row.status === "fixed").length >= 15);
  });

  it("of ports: below 1 is off, and 0 is any free port only where that is asked for", async () => {
    const off = await loadConfig(hcl("ports { dns = 0 http = -5 }"), configHost());
    assert.deepEqual([off.ports.dns, off.ports.http, off.dnsAddrs, off.httpAddrs], [-1, -1, [], []]);
    const free = await loadConfig({ ...hcl("ports { dns = 0 http = 0 }"), freePorts: true }, configHost());
    assert.deepEqual([free.ports.dns, free.httpAddrs], [0, [{ host: "127.0.0.1", port: 0 }]]);
  });

  it("of client addresses: several, IPv6 in brackets, a socket for HTTP", async () => {
    const config = await loadConfig(
      hcl('client_addr="127.0.0.1 [::1]" addresses { http = "unix:///run/c.sock 10.0.0.1" } unix_sockets { mode = "0700" }'),
      configHost(),
    );
    assert.deepEqual(config.clientAddrs, ["127.0.0.1", "::1"]);
    assert.deepEqual(config.dnsAddrs, [
      { host: "127.0.0.1", port: 8600 },
      { host: "::1", port: 8600 },
    ]);
    assert.deepEqual(config.httpAddrs, [{ path: "/run/c.sock" }, { host: "10.0.0.1", port: 8500 }]);
    assert.equal(config.unixSocketMode, "0700");
  });

  it("of the advertised address: detected when it is the only one", async () => {
    const server = { ...emptySources, fragments: ['data_dir="x" server=true bind_addr="0.0.0.0"'] };
    const detect = async (...addresses: readonly string[]): Promise<string> =>
      loadConfig(server, configHost({}, addresses)).then(
        (config) => config.advertiseAddr,
        (error: unknown) => messageOf(error),
      );
    assert.equal(await detect("10.0.0.1", "8.8.8.8", "fe80::1"), "10.0.0.1");
    assert.equal(
      await detect("10.0.0.1", "10.0.0.2"),
      "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or 'advertise'.",
    );
    assert.equal(await detect("8.8.8.8"), "No private IPv4 address found");
    assert.equal(await detect(), "127.0.0.1");
  });

  it("of the advertised IPv6 address: the public one", async () => {
    const server = { ...emptySources, fragments: ['data_dir="x" server=true bind_addr="::"'] };
    const config = await loadConfig(server, configHost({}, ["fe80::1", "fc00::1", "2600::1"]));
    assert.equal(config.advertiseAddr, "2600::1");
    assert.deepEqual(config.taggedAddresses, { lan: "2600::1", lan_ipv6: "2600::1", wan: "2600::1", wan_ipv6: "2600::1" });
  });

  it("of the tagged addresses: the agent's own win over those of a file, the WAN follows the LAN", async () => {
    const config = await loadConfig(
      hcl('tagged_addresses { lan = "1.2.3.4" foo = "x" } advertise_addr_ipv6 = "::5"'),
      configHost(),
    );
    assert.deepEqual(config.taggedAddresses, {
      foo: "x",
      lan: "127.0.0.1",
      lan_ipv4: "127.0.0.1",
      lan_ipv6: "::5",
      wan: "127.0.0.1",
      wan_ipv4: "127.0.0.1",
      wan_ipv6: "::5",
    });
  });

  it("of joining and of the servers' care", async () => {
    const config = await loadConfig(
      {
        ...emptySources,
        fragments: [
          `data_dir="x" server=true bootstrap_expect=3 start_join=["a"] retry_join=["b:1","c"] retry_interval="5s" retry_max=4
          autopilot { cleanup_dead_servers=false min_quorum=3 server_stabilization_time="1s" }`,
        ],
      },
      configHost(),
    );
    assert.equal(config.bootstrapExpect, 3);
    assert.deepEqual(config.warnings, ["bootstrap_expect > 0: expecting 3 servers"]);
    assert.deepEqual([config.startJoin, config.retryJoin, config.retryInterval, config.retryMax], [["a"], ["b:1", "c"], 5000, 4]);
    const wan = await loadConfig(
      {
        ...emptySources,
        fragments: [`data_dir="x" server=true start_join_wan=["d"] retry_join_wan=["e"] retry_interval_wan="7s" retry_max_wan=2`],
      },
      configHost(),
    );
    assert.deepEqual([wan.startJoinWan, wan.retryJoinWan, wan.retryIntervalWan, wan.retryMaxWan], [["d"], ["e"], 7000, 2]);
    assert.deepEqual(config.autopilot, {
      cleanupDeadServers: false,
      lastContactThreshold: 200,
      maxTrailingLogs: 250,
      minQuorum: 3,
      serverStabilizationTime: 1000,
      redundancyZoneTag: "",
      disableUpgradeMigration: false,
      upgradeVersionTag: "",
    });
  });

  it("of an expectation of one server: that is bootstrap", async () => {
    const config = await loadConfig(
      { ...emptySources, fragments: ['data_dir="x" server=true bootstrap_expect=1'] },
      configHost(),
    );
    assert.deepEqual([config.bootstrap, config.bootstrapExpect], [true, 0]);
    assert.deepEqual(config.warnings, [
      "BootstrapExpect is set to 1; this is the same as Bootstrap mode.",
      "bootstrap = true: do not enable unless necessary",
    ]);
  });

  it("that only deserve a warning", async () => {
    const config = await loadConfig(
      hcl('node_name="a b" non_voting_server=true enable_script_checks=true acl_enforce_version_8=true client_addr=""'),
      configHost(),
    );
    assert.deepEqual(config.warnings, [
      'config key "acl_enforce_version_8" is deprecated and should be removed',
      '"non_voting_server" is a Consul Enterprise configuration and will have no effect',
      "client_addr is empty, client services (DNS, HTTP, HTTPS, GRPC) will not be listening for connections",
      'Node name "a b" will not be discoverable via DNS due to invalid characters. Valid characters include all alpha-numerics and dashes.',
      "using enable-script-checks without ACLs and without allow_write_http_from is DANGEROUS, use enable-local-script-checks instead, see https://www.hashicorp.com/blog/protecting-consul-from-rce-risk-in-specific-configurations/",
    ]);
  });
});

describe("services of one file", () => {
  it("are read for the command line", async () => {
    const host = configHost({ "s.hcl": 'service { name="a" } services { name="b" }' });
    assert.deepEqual(
      (await loadServices("s.hcl", host)).map((service) => service.name),
      ["b", "a"],
    );
  });

  it("are refused with all that is wrong", async () => {
    const host = configHost({ "s.json": '{"service":{"name":"a","weights":{"passing":0},"check":{"id":"c","ttl":"x"}}}' });
    await assert.rejects(loadServices("s.json", host), {
      code: "config-invalid",
      message: /^2 errors occurred:\n\t\* Invalid weight definition for service a/,
    });
    await assert.rejects(loadServices("none.json", host), { message: "open none.json: no such file or directory" });
  });
});

const devConfig: Omit<AgentConfig, "services" | "checks" | "warnings" | "sections"> = {
  devMode: true,
  server: true,
  bootstrap: false,
  bootstrapExpect: 0,
  datacenter: "dc1",
  nodeName: "vm",
  nodeId: "",
  nodeMeta: {},
  dataDir: undefined,
  bindAddr: "127.0.0.1",
  advertiseAddr: "127.0.0.1",
  advertiseAddrWan: "127.0.0.1",
  serfLanBind: "127.0.0.1",
  serfWanBind: "127.0.0.1",
  taggedAddresses: { lan: "127.0.0.1", lan_ipv4: "127.0.0.1", wan: "127.0.0.1", wan_ipv4: "127.0.0.1" },
  clientAddrs: ["127.0.0.1"],
  httpAddrs: [{ host: "127.0.0.1", port: 8500 }],
  httpsAddrs: [],
  dnsAddrs: [{ host: "127.0.0.1", port: 8600 }],
  ports: {
    dns: 8600,
    http: 8500,
    https: -1,
    server: 8300,
    serfLan: 8301,
    serfWan: 8302,
    grpc: -1,
    sidecarMin: 21000,
    sidecarMax: 21255,
  },
  unixSocketMode: "",
  domain: "consul.",
  altDomain: "",
  recursors: [],
  dns: {
    allowStale: true,
    maxStale: 87600 * 3600 * 1000,
    aRecordLimit: 0,
    udpAnswerLimit: 3,
    disableCompression: false,
    enableTruncate: false,
    nodeTtl: 0,
    serviceTtl: {},
    onlyPassing: false,
    recursorTimeout: 2000,
    nodeMetaTxt: true,
    soa: { refresh: 3600, retry: 600, expire: 86400, minTtl: 0 },
  },
  translateWanAddrs: false,
  http: { blockEndpoints: [], allowWriteHttpFrom: [], responseHeaders: {}, useCache: true, unprintableCharFilter: true },
  limits: {
    httpMaxConnsPerClient: 200,
    kvMaxValueSize: 524288,
    txnMaxReqLen: 524288,
    rpcMaxConnsPerClient: 100,
    rpcHandshakeTimeout: 5000,
    rpcRate: Number.POSITIVE_INFINITY,
    rpcMaxBurst: 1000,
  },
  ui: true,
  uiContentPath: "/ui/",
  enableScriptChecks: false,
  enableLocalScriptChecks: false,
  checkUpdateInterval: 300_000,
  checkOutputMaxSize: 4096,
  discardCheckOutput: false,
  defaultQueryTime: 300_000,
  maxQueryTime: 600_000,
  discoveryMaxStale: 0,
  sessionTtlMin: 10_000,
  startJoin: [],
  retryJoin: [],
  retryInterval: 30_000,
  retryMax: 0,
  startJoinWan: [],
  retryJoinWan: [],
  retryIntervalWan: 30_000,
  retryMaxWan: 0,
  reconnectTimeoutLan: 0,
  reconnectTimeoutWan: 0,
  serfLanAllowedCidrs: [],
  serfWanAllowedCidrs: [],
  rejoinAfterLeave: false,
  telemetry: {
    metricsPrefix: "consul",
    disableHostname: false,
    filterDefault: true,
    prefixFilter: [],
    statsdAddress: undefined,
    prometheusRetentionTime: 0,
  },
  autopilot: {
    cleanupDeadServers: true,
    lastContactThreshold: 200,
    maxTrailingLogs: 250,
    minQuorum: 0,
    serverStabilizationTime: 10_000,
    redundancyZoneTag: "",
    disableUpgradeMigration: false,
    upgradeVersionTag: "",
  },
  raftMultiplier: 1,
  raftSnapshotThreshold: 16384,
  raftSnapshotInterval: 30_000,
  raftTrailingLogs: 10240,
  rpcHoldTimeout: 7000,
  leaveDrainTime: 5000,
  leaveOnTerminate: false,
  skipLeaveOnInterrupt: true,
  gossipLan: { gossipNodes: 3, gossipInterval: 100, probeInterval: 100, probeTimeout: 100, suspicionMult: 3, retransmitMult: 4 },
  gossipWan: { gossipNodes: 3, gossipInterval: 100, probeInterval: 100, probeTimeout: 100, suspicionMult: 3, retransmitMult: 4 },
  encrypt: "",
  encryptVerifyIncoming: true,
  encryptVerifyOutgoing: true,
  disableKeyringFile: true,
  logLevel: "debug",
  logJson: false,
  logFile: "",
  logRotateBytes: 0,
  logRotateDuration: 0,
  logRotateMaxFiles: 0,
  watches: [],
  pidFile: "",
  enableDebug: true,
  disableUpdateCheck: false,
  disableRemoteExec: true,
  disableCoordinates: false,
  disableHostNodeId: true,
};
