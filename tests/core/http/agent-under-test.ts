/**
 * One agent for the HTTP plugin to speak for: the real catalog, shared reads and registrations, and in place of Raft and
 * gossip a function call. It looks as the Consul did that tests/cases/http were recorded from.
 */
import { createHash, randomBytes } from "node:crypto";
import { compression } from "../../../adapters/shared/compression.ts";
import { Events } from "../../../core/agent/events.ts";
import { LocalState } from "../../../core/agent/local-state.ts";
import { OperatorSnapshots } from "../../../core/agent/operator-snapshots.ts";
import { Registrations } from "../../../core/agent/registrations.ts";
import { RoutedSnapshots } from "../../../core/agent/routed-snapshots.ts";
import { SnapshotFiles } from "../../../core/agent/snapshot-files.ts";
import { SharedReads } from "../../../core/agent/shared-reads.ts";
import { Catalog } from "../../../core/catalog/catalog.ts";
import type { Command, CommandResult } from "../../../core/catalog/commands.ts";
import type { Answers, QueryKind, QueryOf } from "../../../core/catalog/queries.ts";
import type { AgentConfig } from "../../../core/config/config.ts";
import { emptySources, loadConfig } from "../../../core/config/load.ts";
import type { AgentApi, Blocking, Member, ReadOptions, SharedRead, StoreApi } from "../../../core/plugin/agent-api.ts";
import { createHooks } from "../../../core/plugin/hooks.ts";
import type { Crypto } from "../../../core/ports/crypto.ts";
import type { LogFollow, Logger, LogLevel, Metrics } from "../../../core/ports/telemetry.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { createHandlers, type Handlers } from "../../../plugins/http/plugin.ts";
import type { Route } from "../../../plugins/http/extension.ts";
import { HotReads } from "../../../plugins/http/hot-reads.ts";
import { FakeHost } from "../../support/fake-host.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

export const nodeId = "703d2115-9d36-b5c7-5f45-d8fb9b80a18c";

const baseConfig = `
  server = true
  bootstrap_expect = 1
  node_name = "node-a"
  node_id = "${nodeId}"
  bind_addr = "127.0.0.1"
  node_meta { env = "inv" }
  enable_script_checks = true
  data_dir = "/data"
  ports { http = 18700 dns = -1 server = 18701 serf_lan = 18702 serf_wan = 18703 }
`;

export interface AgentUnderTest extends Handlers {
  readonly agent: AgentApi & { config: AgentConfig };
  readonly catalog: Catalog;
  readonly clock: VirtualClock;
  readonly hot: HotReads;
  readonly shared: SharedReads;
  /** Lines at level error. */
  readonly errors: string[];
  /** Writes a line for those who follow the log. */
  writeLog(level: LogLevel, line: string): void;
  /** How many follow the log. */
  followers(): number;
  apply(command: Command): CommandResult;
  /** False: nobody leads. */
  setLeader(known: boolean): void;
}

/** `hcl` is added to the configuration of the recorded agent. */
export async function createAgentUnderTest(hcl = "", extensions: readonly Route[] = []): Promise<AgentUnderTest> {
  const config = await loadConfig({ ...emptySources, fragments: [baseConfig, hcl] }, new FakeHost());
  const clock = new VirtualClock();
  const catalog = new Catalog();
  const random = { uint32: () => 0, fork: () => random };
  const errors: string[] = [];
  const logger = createTestLogger(errors);
  let leading = true;
  let index = 10;
  const apply = (command: Command): CommandResult => {
    const result = catalog.apply(++index, command);
    catalog.watches.flush();
    return result;
  };
  const meta = (at: number) => ({ index: at, knownLeader: leading, lastContact: 0 });
  const shared = new SharedReads({ catalog, clock, random, limits: { defaultWait: 300_000, maxWait: 600_000 }, meta });
  const store = createStore({ catalog, shared, apply, clock, isLeading: () => leading });
  const local = createLocal(config, clock, logger, apply);
  const events: Events = new Events({
    config: () => config,
    local,
    crypto,
    logger,
    send: async (_name, payload, { datacenter }) => {
      if ((datacenter ?? "dc1") !== "dc1") throw new AgentError("no-datacenter", { message: "No path to datacenter" });
      events.receive(payload, ++eventTime);
    },
  });
  let eventTime = 1;
  const agent = {
    config,
    nodeId,
    version: "1.8.7",
    store,
    local,
    cluster: createCluster(),
    events,
    snapshots: new RoutedSnapshots({
      here: new SnapshotFiles(
        new OperatorSnapshots({
          catalog,
          store,
          raft: { term: 2, servers: () => [{ id: nodeId, address: "127.0.0.1:18701", voter: true }] },
          clock,
          crypto,
          logger,
          onRestored: () => {},
        }),
        compression,
      ),
      datacenter: config.datacenter,
      elsewhere: () => {
        throw new AgentError("no-datacenter", { message: "No path to datacenter" });
      },
    }),
    reload: async () => {},
    leave: async () => {},
    stats: () => ({ consul: { server: "true" } }),
  } satisfies AgentApi & { config: AgentConfig };
  const hot = new HotReads();
  const followers = new Set<{ readonly level: LogLevel; readonly take: (line: string) => void }>();
  const logFollow: LogFollow = {
    follow({ level }, take) {
      const follower = { level, take };
      followers.add(follower);
      return () => void followers.delete(follower);
    },
  };
  const writeLog = (level: LogLevel, line: string): void => {
    for (const follower of followers) if (rank(level) >= rank(follower.level)) follower.take(line);
  };
  const handlers = createHandlers({ agent, clock, crypto, logger, metrics: silentMetrics, hot, logFollow }, extensions);
  for (const command of founding(config)) apply(command);
  const setLeader = (known: boolean): void => {
    leading = known;
  };
  return { ...handlers, agent, catalog, clock, hot, shared, errors, apply, setLeader, writeLog, followers: () => followers.size };
}

const rank = (level: LogLevel): number => ["trace", "debug", "info", "warn", "error"].indexOf(level);

interface StoreParts {
  readonly catalog: Catalog;
  readonly shared: SharedReads;
  readonly clock: VirtualClock;
  readonly apply: (command: Command) => CommandResult;
  readonly isLeading: () => boolean;
}

function createStore({ catalog, shared, clock, apply, isLeading }: StoreParts): StoreApi {
  const check = (options: { readonly datacenter?: string }): void => {
    if ((options.datacenter ?? "dc1") !== "dc1") throw new AgentError("no-datacenter", { message: "No path to datacenter" });
    if (!isLeading()) throw new AgentError("no-leader", { message: "No cluster leader" });
  };
  return {
    now: () => clock.wall(),
    async read<Kind extends QueryKind>(query: QueryOf<Kind>, options: ReadOptions) {
      check(options);
      const { index, answer } = catalog.evaluate<Kind>(query);
      return { meta: { index, knownLeader: true, lastContact: 0 }, answer: answer as Answers[Kind] };
    },
    readNow: () => undefined,
    async readShared<Kind extends QueryKind, Rendered extends object>(request: SharedRead<Kind, Rendered>, blocking?: Blocking) {
      check(request.options);
      return shared.read(request, blocking);
    },
    sharedNow: (key) => (isLeading() ? shared.now(key) : undefined),
    async write(command, options = {}) {
      check(options);
      return apply(command);
    },
    async renewSession(id) {
      return catalog.evaluate<"session">({ kind: "session", id }).answer !== undefined;
    },
  };
}

/** Registers at once in the catalog what anti-entropy would a moment later. */
function createLocal(config: AgentConfig, clock: VirtualClock, logger: Logger, apply: (command: Command) => CommandResult) {
  const state = new LocalState();
  const random = { uint32: () => 0, fork: () => random };
  const registrations = new Registrations({
    state,
    config: () => config,
    hooks: createHooks(() => {}),
    logger,
    clock,
    random,
    persisted: undefined,
  });
  const ttls = new Set<string>();
  registrations.attach({
    add: (definition: { readonly id: string; readonly ttl: number }) => void (definition.ttl > 0 && ttls.add(definition.id)),
    remove: (id: string) => void ttls.delete(id),
    updateTtl(id: string, status: "passing" | "warning" | "critical", output: string): boolean {
      if (!ttls.has(id)) return false;
      registrations.onCheckResult(id, status, output);
      return true;
    },
    stop: () => {},
  } as never);
  state.onChange(() => {
    const at = clock.wall();
    for (const id of state.removedChecks)
      apply({ kind: "deregister", node: config.nodeName, serviceId: undefined, checkId: id, now: at });
    for (const id of state.removedServices)
      apply({ kind: "deregister", node: config.nodeName, serviceId: id, checkId: undefined, now: at });
    state.removedChecks.clear();
    state.removedServices.clear();
    for (const { service } of state.services.values()) apply({ ...node(config), service, checks: [] });
    for (const { check } of state.checks.values()) apply({ ...node(config), service: undefined, checks: [check] });
  });
  return registrations;
}

function node(config: AgentConfig) {
  return {
    kind: "register",
    node: config.nodeName,
    id: nodeId,
    address: "127.0.0.1",
    datacenter: "dc1",
    taggedAddresses: { lan: "127.0.0.1", lan_ipv4: "127.0.0.1", wan: "127.0.0.1", wan_ipv4: "127.0.0.1" },
    nodeMeta: { "consul-network-segment": "", env: "inv" },
    skipNodeUpdate: false,
    now: 1_700_000_000_000,
  } as const;
}

/** What a new leader registers about itself. */
function founding(config: AgentConfig): readonly Command[] {
  const meta = {
    non_voter: "false",
    raft_version: "3",
    serf_protocol_current: "2",
    serf_protocol_max: "5",
    serf_protocol_min: "1",
    version: "1.8.7",
  };
  const plain = {
    kind: "",
    tags: [],
    address: "",
    taggedAddresses: undefined,
    weights: { passing: 1, warning: 1 },
    enableTagOverride: false,
  };
  const serfHealth = {
    checkId: "serfHealth",
    name: "Serf Health Status",
    status: "passing",
    notes: "",
    output: "Agent alive and reachable",
    serviceId: "",
    type: "",
    definition: {},
  };
  return [
    {
      ...node(config),
      service: { ...plain, id: "consul", service: "consul", meta, port: 18701, proxy: undefined, connectNative: false },
      checks: [serfHealth],
    },
  ];
}

function createCluster(): AgentApi["cluster"] {
  const tags = {
    acls: "0",
    bootstrap: "1",
    build: "1.8.7:",
    dc: "dc1",
    ft_fs: "1",
    id: nodeId,
    port: "18701",
    raft_vsn: "3",
    role: "consul",
    segment: "",
    vsn: "2",
    vsn_max: "3",
    vsn_min: "2",
  };
  const versions = { protocolMin: 1, protocolMax: 5, protocolCur: 2, delegateMin: 2, delegateMax: 5, delegateCur: 4 };
  const lan: Member = {
    name: "node-a",
    address: "127.0.0.1",
    port: 18702,
    tags: { ...tags, wan_join_port: "18703" },
    status: "alive",
    ...versions,
  };
  const wan: Member = { name: "node-a.dc1", address: "127.0.0.1", port: 18703, tags, status: "alive", ...versions };
  return {
    members: (pool) => [pool === "lan" ? lan : wan],
    self: () => lan,
    coordinate: () => ({ vec: [0, 0, 0, 0, 0, 0, 0, 0], error: 1.5, adjustment: 0, height: 0.00001 }),
    leader: () => "127.0.0.1:18701",
    peers: () => ["127.0.0.1:18701"],
    datacenters: () => ["dc1"],
    isLeader: () => true,
    join: async (addresses) => addresses.length,
    async forceLeave(name) {
      throw new AgentError("rejected", { message: `agent: No node found with name '${name}'` });
    },
  };
}

const crypto: Crypto = {
  randomBytes: (length) => new Uint8Array(randomBytes(length)),
  md5: (content) => new Uint8Array(createHash("md5").update(content).digest()),
  sha256: (content) => new Uint8Array(createHash("sha256").update(content).digest()),
  seal: () => {
    throw new Error("the API seals nothing");
  },
  open: () => undefined,
};

const silent = { add: () => {}, set: () => {}, observe: () => {} };
const silentMetrics: Metrics = { counter: () => silent, gauge: () => silent, sample: () => silent };

function createTestLogger(errors: string[]): Logger {
  const logger: Logger = {
    log: (level, message, fields) => void (level === "error" && errors.push(`${message} ${JSON.stringify(fields)}`)),
    enabled: (level) => level === "error",
    child: () => logger,
  };
  return logger;
}

export { settle };
