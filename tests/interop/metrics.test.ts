/**
 * Three servers and a client, real ones and ours, do the same and are asked for their numbers all the while.
 *
 * Some names come in any such run: metric-names.txt has them, and ours must show each. Others come by chance, as when a
 * machine is slow: of those that the real ones showed this time, ours must have every one, whether or not it came here too.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { createEmbeddedAgent } from "../../adapters/compose/embed.ts";
import { createRuntime } from "../../adapters/node/runtime.ts";
import { ServerCalls } from "../../core/agent/server-calls.ts";
import type { ServerList } from "../../core/agent/server-list.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { RpcClient } from "../../core/rpc/client.ts";
import { dnsPlugin } from "../../plugins/dns/plugin.ts";
import { httpPlugin } from "../../plugins/http/plugin.ts";
import { watchesPlugin } from "../../plugins/watches/plugin.ts";
import { CountedMetrics } from "../support/counted.ts";
import { assert, describe, it } from "../support/harness.ts";
import { ownGround } from "../support/own-ground.ts";
import { patience } from "../support/patience.ts";
import { needsDig, root, run, RunningAgent, temporaryFolder } from "../support/program.ts";
import { findPeer } from "./peers.ts";
import { realPorts } from "./ports.ts";

const found = findPeer("consul");
const consul = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : needsDig.skip;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

/** What ours do not have, and why. */
const differences: readonly (readonly [RegExp, string])[] = [
  [
    /^consul\.runtime\.(free_count|heap_objects|malloc_count|num_goroutines|total_gc_|gc_pause_ns)/,
    "of Go's memory and scheduler",
  ],
  [/^consul\.consul\.(cache|fsm)\./, "Connect and the agent's cache are not built"],
  [/^consul\.fsm\.(ca|federation_state)/, "Connect is not built"],
  [/^consul\.raft\.fsm\.enqueue$/, "there is no queue between the log and the state machine"],
];

const roles = ["server", "client"] as const;
type Role = (typeof roles)[number];
type Names = Readonly<Record<Role, Set<string>>>;
type Shown = { readonly Name: string; readonly Labels: Readonly<Record<string, string>> };
type Answer = Readonly<Record<"Gauges" | "Counters" | "Samples", readonly Shown[]>>;

const listed = readFileSync(join(root, "tests/interop/metric-names.txt"), "utf8");
const expectedOf = (role: Role): readonly string[] => {
  const [, lines = ""] = new RegExp(`^== a ${role}\n([^=]*)`, "m").exec(listed) ?? [];
  return lines.split("\n").filter((shown) => shown !== "");
};
/** "Counters consul.rpc.query" and so on. */
const expected: Readonly<Record<Role, readonly string[]>> = { server: expectedOf("server"), client: expectedOf("client") };

const serverId = /[0-9a-f]{8}-[0-9a-f-]{27}/;
const line = (kind: string, name: string, labels: readonly string[]): string =>
  `${kind} ${name.replace(serverId, "ID")} ${[...labels].sort().join(",")}`.trimEnd();

const network = `${(await ownGround()).network}.13`;

/** Four agents of one kind and every name they have shown. */
class Group {
  readonly names: Names = { server: new Set(), client: new Set() };
  /** Of all since the start, as Prometheus is shown them: with one sign for several. */
  readonly #totals: Names = { server: new Set(), client: new Set() };
  readonly #agents = new Map<number, RunningAgent>();
  readonly #command: string | undefined;
  readonly #first: number;
  readonly #folder: string;

  constructor(options: { readonly command: string | undefined; readonly first: number; readonly folder: string }) {
    this.#command = options.command;
    this.#first = options.first;
    this.#folder = options.folder;
  }

  async start(): Promise<void> {
    const join1 = [`-retry-join=${network}.${this.#first}`, "-retry-interval=1s"];
    const start = async (at: number, args: readonly string[]): Promise<void> => {
      const agent = await RunningAgent.start({
        ...(this.#command === undefined ? {} : { command: this.#command }),
        address: `${network}.${this.#first + at}`,
        args: [
          `-node=n${at}`,
          `-data-dir=${join(this.#folder, String(this.#first + at))}`,
          '-hcl=telemetry { prometheus_retention_time = "1h" disable_hostname = true }',
          ...args,
        ],
        ready: /Synced node info/,
      });
      this.#agents.set(at, agent);
    };
    const server = ["-server", "-bootstrap-expect=3", "-hcl=performance { raft_multiplier = 1 }"];
    await Promise.all([0, 1, 2].map((at) => start(at, at === 0 ? server : [...server, ...join1])));
    await start(3, join1);
  }

  /**
   * Each answer is about ten seconds. On a machine that stands still some may pass unseen, and what happened in them
   * need not happen again: then the sums since the start have it.
   */
  async look(): Promise<void> {
    const looks = [...this.#agents].map(async ([at, agent]) => {
      const role = at < 3 ? "server" : "client";
      const answer = JSON.parse((await agent.request("GET", "/v1/agent/metrics")).body) as Answer;
      for (const kind of ["Gauges", "Counters", "Samples"] as const)
        for (const { Name, Labels } of answer[kind]) this.names[role].add(line(kind, Name, Object.keys(Labels)));
      for (const shown of readTotals((await agent.request("GET", "/v1/agent/metrics?format=prometheus")).body))
        this.#totals[role].add(shown);
    });
    await Promise.all(looks);
  }

  missing(role: Role): readonly string[] {
    return expected[role].filter((shown) => !this.names[role].has(shown) && !this.#totals[role].has(plain(shown)));
  }

  /** What clients of any agent do. A request may fail, as while another server comes to lead: there is a next time. */
  async use(): Promise<void> {
    for (const agent of this.#agents.values()) {
      const put = (path: string, body = ""): Promise<{ readonly body: string }> => agent.request("PUT", `/v1/${path}`, body);
      await put("kv/a/b", "x");
      await put("txn", '[{"KV":{"Verb":"set","Key":"q","Value":"aGVsbG8="}}]');
      await put("txn", '[{"KV":{"Verb":"get","Key":"q"}}]');
      await agent.request("DELETE", "/v1/kv/a/b");
      const [session = ""] = /[0-9a-f-]{36}/.exec((await put("session/create", '{"TTL":"600s"}')).body) ?? [];
      await put(`session/renew/${session}`);
      await put(`session/destroy/${session}`);
      await put("agent/service/register", '{"Name":"web","Tags":["v1"],"Port":80,"Check":{"TTL":"1h"}}');
      await put("agent/check/pass/service:web");
      await put("catalog/register", '{"Node":"ext","Address":"192.0.2.9","Service":{"Service":"db"}}');
      await put("catalog/deregister", '{"Node":"ext"}');
      await put("event/fire/deploy", "x");
      for (const path of reads) await agent.request("GET", `/v1/${path}`);
      for (const question of [["web.service.consul"], ["-x", "192.0.2.1"], ["nobody.service.consul"]])
        await run("dig", [`@${agent.address}`, "-p", "8600", "+tries=1", "+time=2", ...question]);
    }
  }

  async stop(): Promise<void> {
    for (const agent of this.#agents.values()) await agent.stop();
  }
}

const reads = [
  "kv/a?keys",
  "kv/a/b?consistent",
  "kv/a/b?stale",
  "kv/a/b?index=1&wait=100ms",
  "catalog/nodes",
  "catalog/services",
  "catalog/datacenters",
  "catalog/node/n0",
  "catalog/service/web?tag=v1",
  "catalog/service/nobody",
  "catalog/connect/web",
  "health/service/web?tag=v1",
  "health/service/nobody",
  "health/connect/web",
  "health/node/n0",
  "health/checks/web",
  "health/state/any",
  "agent/self",
  "agent/members",
  "agent/services",
  "agent/checks",
  "agent/health/service/name/web",
  "session/list",
  "status/peers",
  "coordinate/nodes",
  "operator/raft/configuration",
  "event/list",
  "acl/tokens",
  "query",
];

/** What a line of metric-names.txt is in Prometheus' text. */
function plain(shown: string): string {
  const [kind = "", name = "", labels = ""] = shown.split(" ");
  return `${{ Gauges: "gauge", Counters: "counter", Samples: "summary" }[kind]} ${name.replace(/\W/g, "_")} ${labels}`.trimEnd();
}

function readTotals(text: string): readonly string[] {
  const kinds = new Map<string, string>();
  for (const [, name = "", kind = ""] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) kinds.set(name, kind);
  const shown: string[] = [];
  for (const [, whole = "", labels = ""] of text.matchAll(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$/gm)) {
    const name = kinds.has(whole) ? whole : whole.replace(/_(sum|count)$/, "");
    const names = [...labels.matchAll(/(\w+)="(?:[^"\\]|\\.)*"/g)].flatMap(([, label = ""]) =>
      label === "quantile" ? [] : [label],
    );
    const plainName = name.replace(/[0-9a-f]{8}_[0-9a-f_]{27}/, "ID").replace(/\W/g, "_");
    shown.push(`${kinds.get(name)} ${plainName} ${names.sort().join(",")}`.trimEnd());
  }
  return shown;
}

/** Every name that an agent of ours asks to be kept when it starts, whether or not anything happens that it counts. */
async function askedFor(): Promise<ReadonlySet<string>> {
  const metrics = new CountedMetrics();
  const agent = await createEmbeddedAgent({
    createRuntime: (options) => ({ ...createRuntime(options), metrics }),
    httpPlugin,
    dnsPlugin,
    watchesPlugin,
  });
  await agent.stop();
  await failedCall(metrics);
  return new Set([...metrics.told.keys()].map((shown) => shown.replace(" ", " consul.").trimEnd()));
}

/** What a client tells of a server that it does not reach has the server's name. */
async function failedCall(metrics: CountedMetrics): Promise<void> {
  const address = { host: "127.0.0.1", port: 1 };
  const client = {
    call: () => Promise.reject(new AgentError("connection-refused", { message: "connection refused" })),
  } as unknown as RpcClient;
  const servers = { first: () => ({ name: "s1", address }), failed: () => {}, size: 1 } as unknown as ServerList;
  const calls = new ServerCalls({ ...realPorts("calls"), client, servers, metrics, holdTimeout: () => 0 });
  await assert.rejects(calls.call({ method: "KVS.Get", args: {}, isRead: true, timeout: 1000 }, () => undefined));
}

const pause = (millis: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, millis));

describe("the numbers of three servers and a client", { skip }, () => {
  const folder = temporaryFolder();
  const real = new Group({ command: consul, first: 1, folder });
  const ours = new Group({ command: undefined, first: 11, folder });
  let known: ReadonlySet<string>;

  before(async () => {
    known = await askedFor();
    let over = false;
    // Often enough to see each interval of ten seconds, from the first on.
    const watch = async (group: Group): Promise<void> => {
      while (!over) {
        // Whatever is not seen for this is missed below.
        await group.look().catch(() => {});
        await pause(1000);
      }
    };
    const watching = [real, ours].map(watch);
    await Promise.all([real.start(), ours.start()]);
    // Some come every 30 s only. Whoever is used again and again shows all that it can.
    const isComplete = (group: Group): boolean => roles.every((role) => group.missing(role).length === 0);
    const use = async (group: Group): Promise<void> => {
      for (const deadline = Date.now() + patience; !isComplete(group) && Date.now() < deadline; await pause(3000))
        await group.use();
    };
    await Promise.all([use(real), use(ours)]);
    over = true;
    await Promise.all(watching);
  });
  after(() => Promise.all([real.stop(), ours.stop()]));

  for (const role of roles) {
    it(`a ${role} of ours shows every name, of the same kind and with the same labels, that a ${role} of Consul 1.8.7 always shows`, () => {
      assert.deepEqual(ours.missing(role), []);
      const unseen = real.missing(role);
      assert.ok(
        expected[role].length > 50 && unseen.length < expected[role].length / 10,
        `the real one was seen at work: ${unseen}`,
      );
    });
  }

  it("ours have every name, of the same kind and with the same labels, that one of Consul 1.8.7 showed besides", () => {
    const isOurs = (shown: string): boolean => known.has(shown) || roles.some((role) => ours.names[role].has(shown));
    const isDeclared = (shown: string): boolean => differences.some(([name]) => name.test(shown.split(" ")[1] ?? ""));
    const shown = new Set(roles.flatMap((role) => [...real.names[role]]));
    assert.deepEqual([...shown].filter((name) => !isOurs(name) && !isDeclared(name)).sort(), []);
  });
});
