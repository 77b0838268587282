/** What the values of a configuration must be together. The order of the rules is Consul's: the first broken one is told. */
import type { Host } from "../ports/host.ts";
import { fromBase64 } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import { formatListen } from "./addresses.ts";
import { isAny } from "./build.ts";
import type { AgentConfig, ListenAddress } from "./config.ts";
import type { Settings } from "./decode.ts";
import { metadataProblem } from "./definitions-validate.ts";
import { goQuote } from "./go-text.ts";

export interface ValidateOptions {
  readonly settings: Settings;
  readonly host: Pick<Host, "stat" | "fileDescriptorsMax">;
  readonly warnings: string[];
  readonly validateOnly: boolean;
}

/** Rejects with `AgentError("config-invalid")` and Consul's text. Adds to `warnings`. */
export async function validateConfig(config: AgentConfig, options: ValidateOptions): Promise<void> {
  const { settings, warnings } = options;
  refuseUnless(config.datacenter !== "", "datacenter cannot be empty");
  refuseUnless(
    /^[a-z0-9_-]+$/.test(config.datacenter),
    `datacenter cannot be ${goQuote(config.datacenter)}. Please use only [a-z0-9-_]`,
  );
  refuseUnless(config.dataDir !== undefined || config.devMode, "data_dir cannot be empty");
  checkUi(config, settings);
  if (config.dataDir !== undefined) {
    const stat = await options.host.stat(config.dataDir);
    refuseUnless(stat === undefined || stat.kind === "directory", `data_dir ${goQuote(config.dataDir)} is not a directory`);
  }
  warnAboutName("Node", config.nodeName, warnings);
  refuseUnless(!isAny(config.advertiseAddr), "Advertise address cannot be 0.0.0.0, :: or [::]");
  refuseUnless(!isAny(config.advertiseAddrWan), "Advertise WAN address cannot be 0.0.0.0, :: or [::]");
  refuseUnless(
    !settings.get("segment") && !settings.has("segments"),
    "Network segments are not supported in this version of Consul",
  );
  checkDns(config);
  checkBootstrap(config, warnings);
  checkLimits(config, options.host);
  const meta = metadataProblem(config.nodeMeta, false);
  refuseUnless(meta === undefined, `node_meta invalid: ${meta}`);
  const key = fromBase64(config.encrypt);
  if ("badAt" in key)
    throw new AgentError("config-invalid", {
      message: `encrypt has invalid key: illegal base64 data at input byte ${key.badAt}`,
    });
  checkUnique(config);
  if (!options.validateOnly) checkNodeId(config.nodeId);
  warnAboutScripts(config, warnings);
  // Development mode turns the UI on by itself; nobody asked for it there.
  if (config.ui && !config.devMode) warnings.push("the web UI is not built yet: ui = true has no effect");
}

function checkUi(config: AgentConfig, settings: Settings): void {
  const path = config.uiContentPath;
  refuseUnless(/^[A-Za-z0-9\-_/]+$/.test(path), `ui-content-path can only contain alphanumeric, -, _, or /. received: ${path}`);
  refuseUnless(!/^\/v\d+\/$/.test(path), `ui-content-path cannot have 'v[0-9]'. received: ${path}`);
  const both = config.ui && settings.get("ui_dir") && !config.devMode;
  refuseUnless(
    !both,
    "Both the ui and ui-dir flags were specified, please provide only one.\n" +
      "If trying to use your own web UI resources, use the ui-dir flag.\n" +
      "The web UI is included in the binary so use ui to enable it",
  );
}

function checkDns(config: AgentConfig): void {
  refuseUnless(!config.dnsAddrs.some((address) => "path" in address), "DNS address cannot be a unix socket");
  refuseUnless(!config.recursors.some(isAny), "DNS recursor address cannot be 0.0.0.0, :: or [::]");
  // The words that begin names of the DNS interface itself.
  const reserved = ["service", "connect", "node", "query", "addr", config.datacenter];
  const first = config.altDomain.split(".")[0] as string;
  refuseUnless(
    config.altDomain === "" || !reserved.includes(first),
    `alt_domain cannot start with {service,connect,node,query,addr,${config.datacenter}}`,
  );
  for (const [key, value] of [
    ["udp_answer_limit", config.dns.udpAnswerLimit],
    ["a_record_limit", config.dns.aRecordLimit],
  ] as const) {
    refuseUnless(value >= 0, `dns_config.${key} cannot be ${value}. Must be greater than or equal to zero`);
  }
}

function checkBootstrap(config: AgentConfig, warnings: string[]): void {
  const expect = config.bootstrapExpect;
  refuseUnless(!config.bootstrap || config.server, "'bootstrap = true' requires 'server = true'");
  refuseUnless(expect >= 0, `bootstrap_expect cannot be ${expect}. Must be greater than or equal to zero`);
  refuseUnless(expect <= 0 || config.server, "'bootstrap_expect > 0' requires 'server = true'");
  refuseUnless(expect <= 0 || !config.devMode, "'bootstrap_expect > 0' not allowed in dev mode");
  refuseUnless(expect <= 1 || !config.bootstrap, "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive");
  const deploymentTable = "See https://www.consul.io/docs/internals/consensus.html#deployment-table";
  if (expect === 2)
    warnings.push(`bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance. ${deploymentTable}`);
  if (expect > 2 && expect % 2 === 0)
    warnings.push(
      `bootstrap_expect is even number: A cluster with an even number of servers does not achieve optimum fault tolerance. ${deploymentTable}`,
    );
  if (expect > 1) warnings.push(`bootstrap_expect > 0: expecting ${expect} servers`);
  if (expect === 1) warnings.push("BootstrapExpect is set to 1; this is the same as Bootstrap mode.");
  if (config.bootstrap || expect === 1) warnings.push("bootstrap = true: do not enable unless necessary");
}

/** Descriptors the agent needs besides one client's connections. */
const fileDescriptorsReserved = 20;

function checkLimits(config: AgentConfig, host: Pick<Host, "fileDescriptorsMax">): void {
  refuseUnless(
    config.checkOutputMaxSize >= 1,
    "check_output_max_size must be positive, to discard check output use the discard_check_output flag",
  );
  const connections = config.limits.httpMaxConnsPerClient;
  const available = host.fileDescriptorsMax();
  if (connections <= 0 || available === undefined) return;
  const needed = connections + fileDescriptorsReserved;
  refuseUnless(
    needed <= available,
    `system allows a max of ${available} file descriptors, but limits.http_max_conns_per_client: ${connections} needs at least ${needed}`,
  );
}

/** No two surfaces on one socket. The DNS interface counts with its TCP socket. */
function checkUnique(config: AgentConfig): void {
  const { ports } = config;
  const surfaces: (readonly [string, ListenAddress])[] = [
    ...config.dnsAddrs.map((address) => ["DNS", address] as const),
    ...config.httpAddrs.map((address) => ["HTTP", address] as const),
    ["RPC Advertise", { host: config.advertiseAddr, port: ports.server }],
    ["Serf Advertise LAN", { host: config.advertiseAddr, port: ports.serfLan }],
  ];
  if (ports.serfWan >= 0) surfaces.push(["Serf Advertise WAN", { host: config.advertiseAddrWan, port: ports.serfWan }]);
  const taken = new Map<string, string>();
  for (const [name, address] of surfaces) {
    // Any free port is never the same one twice.
    if ("port" in address && address.port === 0) continue;
    const shown = formatListen(address);
    const other = taken.get(shown);
    refuseUnless(other === undefined, `${name} address ${shown} already configured for ${other}`);
    taken.set(shown, name);
  }
}

function checkNodeId(id: string): void {
  if (id === "") return;
  const broken = (problem: string): string => `failed to setup node ID: specified NodeID is invalid: ${problem}`;
  refuseUnless(id.length === 36, broken("uuid string is wrong length"));
  refuseUnless(
    [8, 13, 18, 23].every((at) => id[at] === "-"),
    broken("uuid is improperly formatted"),
  );
  const bad = /[^0-9a-f-]/.exec(id);
  refuseUnless(
    bad === null,
    broken(
      `encoding/hex: invalid byte: U+${(id.codePointAt(bad?.index ?? 0) ?? 0).toString(16).toUpperCase().padStart(4, "0")} '${bad?.[0]}'`,
    ),
  );
  refuseUnless(id.replaceAll("-", "").length === 32, broken("decoded hex is the wrong length"));
}

const dnsNameBytesMax = 63;

function warnAboutName(what: string, name: string, warnings: string[]): void {
  if (/[^A-Za-z0-9-]/.test(name)) {
    warnings.push(
      `${what} name ${goQuote(name)} will not be discoverable via DNS due to invalid characters. Valid characters include all alpha-numerics and dashes.`,
    );
  } else if (name.length > dnsNameBytesMax) {
    warnings.push(
      `${what} name ${goQuote(name)} will not be discoverable via DNS due to it being too long. Valid lengths are between 1 and 63 bytes.`,
    );
  }
}

/** Anyone who reaches the HTTP port could run commands. */
function warnAboutScripts(config: AgentConfig, warnings: string[]): void {
  if (!config.enableScriptChecks || config.http.allowWriteHttpFrom.length > 0) return;
  warnings.push(
    "using enable-script-checks without ACLs and without allow_write_http_from is DANGEROUS, use enable-local-script-checks instead, " +
      "see https://www.hashicorp.com/blog/protecting-consul-from-rce-risk-in-specific-configurations/",
  );
}

function refuseUnless(holds: boolean, message: string): asserts holds {
  if (!holds) throw new AgentError("config-invalid", { message });
}
