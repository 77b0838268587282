/**
 * The flags of the `agent` command, as data: the command line reads them with these kinds, prints these helps, and
 * hands what was given to {@link sourcesFromFlags}, which makes the sources of core/config/load.ts of it.
 */
import { AgentError } from "../types/errors.ts";
import type { Setting, Settings } from "./decode.ts";
import { setOwn } from "./go-text.ts";
import type { ConfigSources } from "./load.ts";

export type FlagKind = "bool" | "string" | "int" | "duration" | "list" | "map";

export interface AgentFlag {
  /** Without the dash. */
  readonly name: string;
  readonly kind: FlagKind;
  /** The configuration key it sets; undefined for the six that are about the sources themselves. */
  readonly key: string | undefined;
  readonly help: string;
}

/** One flag as it was given, in the order of the command line. The value is text, or typed already. */
export interface GivenFlag {
  readonly name: string;
  readonly value: string | number | boolean;
}

type Row = readonly [string, FlagKind, string | undefined, string];

const sourceFlag = undefined;

// biome-ignore format: a table reads best with one row per line
const rows: readonly Row[] = [
  ["advertise", "string", "advertise_addr", "The address other agents are told to reach this one at."],
  ["advertise-wan", "string", "advertise_addr_wan", "The address told to agents of other datacenters, if it is another one than -advertise."],
  ["allow-write-http-from", "list", "http_config.allow_write_http_from", "A network (CIDR) from which HTTP requests that change something are accepted. May be given several times."],
  ["alt-domain", "string", "alt_domain", "A second domain that the DNS interface answers for."],
  ["bind", "string", "bind_addr", "The address to listen on for other agents."],
  ["bootstrap", "bool", "bootstrap", "Let this server become leader by itself. For the first server of a datacenter only."],
  ["bootstrap-expect", "int", "bootstrap_expect", "How many servers to wait for before electing the first leader."],
  ["check_output_max_size", "int", "check_output_max_size", "How many bytes of a check's output are kept."],
  ["client", "string", "client_addr", "The address to serve clients on: HTTP and DNS. Several are separated by spaces."],
  ["config-dir", "list", sourceFlag, "A directory whose .json and .hcl files are read, in the order of their names. May be given several times."],
  ["config-file", "list", sourceFlag, "A configuration file, JSON or HCL by its extension. May be given several times."],
  ["config-format", "string", sourceFlag, "Read every configuration file as this, 'hcl' or 'json', whatever its extension."],
  ["data-dir", "string", "data_dir", "The directory that keeps the agent's state."],
  ["datacenter", "string", "datacenter", "The datacenter this agent belongs to."],
  ["default-query-time", "duration", "default_query_time", "How long a blocking query waits when the request does not say."],
  ["dev", "bool", sourceFlag, "Development mode: a server alone, in memory, with quick timers. Not for production."],
  ["disable-host-node-id", "bool", "disable_host_node_id", "Make the node ID at random instead of from the machine's own ID."],
  ["disable-keyring-file", "bool", "disable_keyring_file", "Do not keep the gossip keyring in a file."],
  ["dns-port", "int", "ports.dns", "The port of the DNS interface; -1 turns it off."],
  ["domain", "string", "domain", "The domain that the DNS interface answers for."],
  ["enable-local-script-checks", "bool", "enable_local_script_checks", "Run script checks that are defined in configuration files."],
  ["enable-script-checks", "bool", "enable_script_checks", "Run script checks, also those registered over HTTP. Read the security notes first."],
  ["encrypt", "string", "encrypt", "The key that encrypts gossip, in base64."],
  ["grpc-port", "int", "ports.grpc", "The port of the gRPC interface; -1 turns it off."],
  ["hcl", "list", sourceFlag, "A piece of configuration in HCL, read after all files. May be given several times."],
  ["http-port", "int", "ports.http", "The port of the HTTP interface; -1 turns it off."],
  ["https-port", "int", "ports.https", "The port of the HTTPS interface; -1 turns it off."],
  ["join", "list", "start_join", "The address of an agent to join at start; failing to is fatal. May be given several times."],
  ["join-wan", "list", "start_join_wan", "The address of a server of another datacenter to join at start. May be given several times."],
  ["log-file", "string", "log_file", "A file, or the beginning of a file's name, to write the log to as well."],
  ["log-json", "bool", "log_json", "Write each log line as a JSON object."],
  ["log-level", "string", "log_level", "The least severe level that is logged: trace, debug, info, warn or err."],
  ["log-rotate-bytes", "int", "log_rotate_bytes", "Begin a new log file after this many bytes."],
  ["log-rotate-duration", "duration", "log_rotate_duration", "Begin a new log file after this time."],
  ["log-rotate-max-files", "int", "log_rotate_max_files", "How many old log files to keep."],
  ["max-query-time", "duration", "max_query_time", "The longest that a blocking query may wait, whatever the request says."],
  ["node", "string", "node_name", "This node's name, unique in the cluster."],
  ["node-id", "string", "node_id", "This node's ID, a UUID, unique for all time. Otherwise one is made and kept in the data directory."],
  ["node-meta", "map", "node_meta", "A pair of metadata for this node, as key:value. May be given several times."],
  ["non-voting-server", "bool", "non_voting_server", "(Enterprise) Has no effect."],
  ["pid-file", "string", "pid_file", "A file to write the process ID to."],
  ["primary-gateway", "list", "primary_gateways", "The address of a mesh gateway of the primary datacenter. May be given several times."],
  ["protocol", "int", "protocol", "The protocol version to speak; the newest by default."],
  ["raft-protocol", "int", "raft_protocol", "The Raft protocol version; the newest by default."],
  ["recursor", "list", "recursors", "A DNS server to ask about names outside the domain. May be given several times."],
  ["rejoin", "bool", "rejoin_after_leave", "Join the former cluster again, although this agent had left it."],
  ["retry-interval", "duration", "retry_interval", "The time between attempts to join."],
  ["retry-interval-wan", "duration", "retry_interval_wan", "The time between attempts to join other datacenters."],
  ["retry-join", "list", "retry_join", "The address of an agent to join, tried until it works. May be given several times."],
  ["retry-join-wan", "list", "retry_join_wan", "The address of a server of another datacenter to join, tried until it works. May be given several times."],
  ["retry-max", "int", "retry_max", "How often to try to join before giving up; 0 for ever."],
  ["retry-max-wan", "int", "retry_max_wan", "How often to try to join other datacenters before giving up; 0 for ever."],
  ["segment", "string", "segment", "(Enterprise) The network segment to join."],
  ["serf-lan-allowed-cidrs", "list", "serf_lan_allowed_cidrs", "A network (CIDR) whose addresses may be members of this datacenter. May be given several times."],
  ["serf-lan-bind", "string", "serf_lan", "The address to listen on for gossip of this datacenter."],
  ["serf-lan-port", "int", "ports.serf_lan", "The port for gossip of this datacenter."],
  ["serf-wan-allowed-cidrs", "list", "serf_wan_allowed_cidrs", "A network (CIDR) whose addresses may be servers of other datacenters. May be given several times."],
  ["serf-wan-bind", "string", "serf_wan", "The address to listen on for gossip between datacenters."],
  ["serf-wan-port", "int", "ports.serf_wan", "The port for gossip between datacenters."],
  ["server", "bool", "server", "Be a server: hold the catalog and take part in consensus."],
  ["server-port", "int", "ports.server", "The port for requests between agents."],
  ["syslog", "bool", "enable_syslog", "Log to syslog as well."],
  ["ui", "bool", "ui", "Serve the built-in web UI."],
  ["ui-content-path", "string", "ui_content_path", "The path of the URL at which the web UI is served."],
  ["ui-dir", "string", "ui_dir", "A directory with a web UI to serve instead of the built-in one."],
];

export const AGENT_FLAGS: readonly AgentFlag[] = rows.map(([name, kind, key, help]) => ({ name, kind, key, help }));

const flagsByName: ReadonlyMap<string, AgentFlag> = new Map(AGENT_FLAGS.map((flag) => [flag.name, flag]));

/** Throws `AgentError("config-invalid")` in the words of Go's flag package for a value of the wrong kind or an unknown name. */
export function sourcesFromFlags(given: readonly GivenFlag[]): ConfigSources {
  const lists: Settings = new Map();
  const scalars: Settings = new Map();
  const files: string[] = [];
  const fragments: string[] = [];
  let devMode = false;
  let format = "";
  for (const { name, value } of given) {
    const flag = flagsByName.get(name);
    if (flag === undefined) throw refuse(`flag provided but not defined: -${name}`);
    switch (flag.name) {
      case "dev":
        devMode = readBool(flag, value);
        break;
      case "config-dir":
      case "config-file":
        files.push(String(value));
        break;
      case "config-format":
        format = String(value);
        break;
      case "hcl":
        fragments.push(String(value));
        break;
      default:
        add(flag, value, lists, scalars);
    }
  }
  return { devMode, lists, scalars, files, format, fragments };
}

function add(flag: AgentFlag, value: GivenFlag["value"], lists: Settings, scalars: Settings): void {
  const key = flag.key as string;
  switch (flag.kind) {
    case "list":
      lists.set(key, [...((lists.get(key) ?? []) as readonly string[]), String(value)]);
      return;
    case "map": {
      const pairs = { ...((scalars.get(key) ?? {}) as Readonly<Record<string, string>>) };
      const [name, content] = splitPair(String(value));
      setOwn(pairs, name, content);
      scalars.set(key, pairs);
      return;
    }
    default:
      scalars.set(key, readScalar(flag, value));
  }
}

function readScalar(flag: AgentFlag, value: GivenFlag["value"]): Setting {
  if (flag.kind === "bool") return readBool(flag, value);
  if (flag.kind !== "int") return String(value);
  if (typeof value === "number") return value;
  const text = String(value);
  if (!/^[+-]?\d+$/.test(text))
    throw refuse(`invalid value "${text}" for flag -${flag.name}: strconv.Atoi: parsing "${text}": invalid syntax`);
  if (!Number.isSafeInteger(Number(text)))
    throw refuse(`invalid value "${text}" for flag -${flag.name}: strconv.Atoi: parsing "${text}": value out of range`);
  return Number(text);
}

const trueTexts: ReadonlySet<string> = new Set(["1", "t", "T", "true", "TRUE", "True"]);
const falseTexts: ReadonlySet<string> = new Set(["0", "f", "F", "false", "FALSE", "False"]);

function readBool(flag: AgentFlag, value: GivenFlag["value"]): boolean {
  if (typeof value === "boolean") return value;
  const text = String(value);
  if (trueTexts.has(text)) return true;
  if (falseTexts.has(text)) return false;
  throw refuse(`invalid boolean value "${text}" for -${flag.name}: strconv.ParseBool: parsing "${text}": invalid syntax`);
}

/** "key:value"; without a colon the value is empty. */
function splitPair(text: string): readonly [string, string] {
  const colon = text.indexOf(":");
  return colon < 0 ? [text, ""] : [text.slice(0, colon), text.slice(colon + 1)];
}

function refuse(message: string): AgentError {
  return new AgentError("config-invalid", { message });
}
