/**
 * Three servers and a client, real ones and ours, do the same and are asked for their numbers all the while: every name that
 * Consul shows, with its labels, ours show too, but for what is declared here.
 */
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { ownGround } from "../support/own-ground.ts";
import { needsDig, run, RunningAgent, temporaryFolder } from "../support/program.ts";
import { findPeer } from "./peers.ts";

const found = findPeer("consul");
const consul = "path" in found ? found.path : "";
const skip = "missing" in found ? found.missing : needsDig.skip;
if (skip !== false) console.log(`SKIPPED: ${skip}`);

/** What ours do not show, and why. */
const differences: readonly (readonly [RegExp, string])[] = [
  [
    /^consul\.runtime\.(free_count|heap_objects|malloc_count|num_goroutines|total_gc_|gc_pause_ns)/,
    "of Go's memory and scheduler",
  ],
  [/^consul\.consul\.(cache|fsm)\./, "Connect and the agent's cache are not built"],
  [/^consul\.fsm\.(ca|federation_state)/, "Connect is not built"],
  [/^consul\.client\.rpc\.failed$/, "only when a server was not reached, which is chance while a group starts"],
  [/^consul\.raft\.fsm\.enqueue$/, "there is no queue between the log and the state machine"],
  [
    /^consul\.raft\.(compactLogs|snapshot\.|fsm\.snapshot)|^consul\.fsm\.persist$/,
    "an operator's snapshot is none of Raft's here",
  ],
  [/^consul\.memberlist\.(msg\.suspect|msg\.dead|health\.score|degraded)/, "only when gossip was late, which is chance"],
  [
    /^consul\.raft\.(candidate\.electSelf|state\.candidate|rpc\.requestVote|transition)/,
    "whoever founds the group leads without a contest",
  ],
];

type Shown = { readonly Name: string; readonly Labels: Readonly<Record<string, string>> };
type Answer = Readonly<Record<"Gauges" | "Counters" | "Samples", readonly Shown[]>>;

const network = `${(await ownGround()).network}.13`;

/** Four agents of one kind and every name they have shown. */
class Group {
  readonly names = { server: new Set<string>(), client: new Set<string>() };
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
        args: [`-node=n${at}`, `-data-dir=${join(this.#folder, String(this.#first + at))}`, ...args],
        ready: /Synced node info/,
      });
      this.#agents.set(at, agent);
    };
    const server = ["-server", "-bootstrap-expect=3", "-hcl=performance { raft_multiplier = 1 }"];
    await Promise.all([0, 1, 2].map((at) => start(at, at === 0 ? server : [...server, ...join1])));
    await start(3, join1);
  }

  async look(): Promise<void> {
    for (const [at, agent] of this.#agents) {
      const answer = JSON.parse((await agent.request("GET", "/v1/agent/metrics")).body) as Answer;
      const names = at < 3 ? this.names.server : this.names.client;
      for (const kind of ["Gauges", "Counters", "Samples"] as const)
        for (const { Name, Labels } of answer[kind])
          names.add(`${kind} ${Name.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, "ID")} ${Object.keys(Labels).sort().join(",")}`);
    }
  }

  /** What clients of any agent do. */
  async use(): Promise<void> {
    for (const agent of this.#agents.values()) {
      const put = (path: string, body = ""): Promise<{ readonly body: string }> => agent.request("PUT", `/v1/${path}`, body);
      await put("kv/a/b", "x");
      await put("txn", '[{"KV":{"Verb":"set","Key":"q","Value":"aGVsbG8="}}]');
      await put("txn", '[{"KV":{"Verb":"get","Key":"q"}}]');
      await agent.request("DELETE", "/v1/kv/a/b");
      const session = JSON.parse((await put("session/create", '{"TTL":"10s"}')).body).ID;
      await put(`session/renew/${session}`);
      await put(`session/destroy/${session}`);
      await put("agent/service/register", '{"Name":"web","Tags":["v1"],"Port":80,"Check":{"TTL":"90s"}}');
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

/** Until the interval in which the last thing was done is complete, and the next. */
const lookFor = 22_000;

const pause = (millis: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, millis));

describe("the numbers of three servers and a client", { skip }, () => {
  const folder = temporaryFolder();
  const real = new Group({ command: consul, first: 1, folder });
  const ours = new Group({ command: undefined, first: 11, folder });

  before(async () => {
    let over = false;
    // Often enough to see each interval of ten seconds, from the first on.
    const watch = async (group: Group): Promise<void> => {
      while (!over) {
        await group.look();
        await pause(2000);
      }
    };
    const watching = [real, ours].map(watch);
    await Promise.all([real.start(), ours.start()]);
    await Promise.all([real.use(), ours.use()]);
    await pause(lookFor);
    over = true;
    await Promise.all(watching);
  });
  after(() => Promise.all([real.stop(), ours.stop()]));

  for (const role of ["server", "client"] as const) {
    it(`a ${role} of ours shows every name, of the same kind and with the same labels, that a ${role} of Consul 1.8.7 shows`, () => {
      const isDeclared = (shown: string): boolean => differences.some(([name]) => name.test(shown.split(" ")[1] ?? ""));
      const missing = [...real.names[role]].filter((shown) => !ours.names[role].has(shown) && !isDeclared(shown));
      assert.deepEqual(missing.sort(), []);
      assert.ok(real.names[role].size > 50, "the real one was seen at work");
    });
  }
});
