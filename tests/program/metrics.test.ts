/** The numbers of a running agent, as its operator's tools ask for them. */
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { insist } from "../support/patience.ts";
import { RunningAgent } from "../support/program.ts";

interface Shown {
  readonly Name: string;
  readonly Labels: Readonly<Record<string, string>>;
}
type Answer = Readonly<Record<"Gauges" | "Counters" | "Samples", readonly Shown[]>> & { readonly Timestamp: string };

/** A server that leads shows at least these in an interval in which somebody used it. */
const expected: readonly string[] = [
  "Gauges consul.autopilot.failure_tolerance",
  "Gauges consul.autopilot.healthy",
  "Gauges consul.raft.applied_index",
  "Gauges consul.raft.commitNumLogs",
  "Gauges consul.raft.last_index",
  "Gauges consul.raft.leader.dispatchNumLogs",
  "Gauges consul.rpc.queries_blocking",
  "Gauges consul.runtime.alloc_bytes",
  "Gauges consul.runtime.sys_bytes",
  "Gauges consul.session_ttl.active",
  "Counters consul.catalog.service.not-found service",
  "Counters consul.catalog.service.query service",
  "Counters consul.client.api.catalog_service_nodes node",
  "Counters consul.client.api.success.catalog_service_nodes node",
  "Counters consul.client.rpc",
  "Counters consul.health.service.query service",
  "Counters consul.health.service.query-tags service,tag",
  "Counters consul.raft.apply",
  "Counters consul.rpc.query",
  "Counters consul.serf.events",
  "Counters consul.serf.events.consul:event:deploy",
  "Samples consul.fsm.kvs op",
  "Samples consul.fsm.session op",
  "Samples consul.fsm.txn",
  "Samples consul.http.GET.v1.catalog.service._",
  "Samples consul.http.GET.v1.kv._",
  "Samples consul.http.PUT.v1.kv._",
  "Samples consul.kvs.apply",
  "Samples consul.memberlist.gossip",
  "Samples consul.raft.commitTime",
  "Samples consul.raft.fsm.apply",
  "Samples consul.raft.leader.dispatchLog",
  "Samples consul.rpc.consistentRead",
  "Samples consul.serf.queue.Event",
  "Samples consul.session.apply",
  "Samples consul.txn.apply",
  "Samples consul.txn.read",
];

async function use(agent: RunningAgent): Promise<void> {
  const put = (path: string, body = ""): Promise<unknown> => agent.request("PUT", `/v1/${path}`, body);
  await put("kv/a", "x");
  await put("txn", '[{"KV":{"Verb":"set","Key":"q","Value":"aGVsbG8="}}]');
  await put("txn", '[{"KV":{"Verb":"get","Key":"q"}}]');
  await put("session/create", '{"TTL":"10s"}');
  await put("event/fire/deploy", "x");
  for (const path of ["kv/a", "kv/a", "kv/a?consistent", "catalog/service/nobody", "health/service/nobody?tag=v1"])
    await agent.request("GET", `/v1/${path}`);
}

async function metrics(agent: RunningAgent): Promise<Answer> {
  return JSON.parse((await agent.request("GET", "/v1/agent/metrics")).body);
}

function names(answer: Answer): string[] {
  return (["Gauges", "Counters", "Samples"] as const).flatMap((kind) =>
    answer[kind].map(({ Name, Labels }) => `${kind} ${Name} ${Object.keys(Labels).sort().join(",")}`.trim()),
  );
}

describe("/v1/agent/metrics of a running agent", () => {
  let agent: RunningAgent;
  let collected: RunningAgent;
  before(async () => {
    agent = await RunningAgent.start({ args: ["-dev", "-node=n1"] });
    collected = await RunningAgent.start({
      args: [
        "-dev",
        "-node=n2",
        `-hcl=telemetry { prometheus_retention_time = "60s" metrics_prefix = "mine" prefix_filter = ["-mine.http", "+mine.http.PUT"] }`,
      ],
    });
  });
  after(() => Promise.all([agent?.stop(), collected?.stop()]));

  it("shows what it did under Consul's names, in one interval of ten seconds that begins with a ten", async () => {
    const seen = new Set<string>();
    const missing = (): readonly string[] => expected.filter((name) => !seen.has(name));
    // The interval ends after ten seconds; if everything stands still for as long, another one comes.
    await insist(
      async () => {
        await use(agent);
        const answer = await metrics(agent);
        assert.match(answer.Timestamp, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d0 \+0000 UTC$/);
        for (const name of names(answer)) seen.add(name);
        // Nobody writes the key, so that a question about it lasts as long as it may wait.
        const { headers } = await agent.request("GET", "/v1/kv/a");
        await agent.request("GET", `/v1/kv/a?index=${headers["x-consul-index"]}&wait=1s`);
        return missing();
      },
      ({ length }) => length === 0,
    );
  });

  it("shows Prometheus nothing unless it is told for how long to keep it", async () => {
    const { status, body } = await agent.request("GET", "/v1/agent/metrics?format=prometheus");
    assert.deepEqual([status, body], [415, "Prometheus is not enabled since its retention time is not positive"]);
  });

  it("shows Prometheus totals, with the configured prefix and the machine's name in gauges, and what the filter lets through", async () => {
    await use(collected);
    const { status, headers, body } = await collected.request("GET", "/v1/agent/metrics?format=prometheus");
    assert.deepEqual([status, headers["content-type"]], [200, "text/plain; version=0.0.4; charset=utf-8"]);
    assert.match(
      body,
      /^# HELP mine_kvs_apply mine_kvs_apply\n# TYPE mine_kvs_apply summary\nmine_kvs_apply\{quantile="0\.5"\} /m,
    );
    assert.match(body, /^mine_kvs_apply_count 1$/m);
    assert.match(body, /^mine_catalog_service_query\{service="nobody"\} 1$/m);
    assert.match(body, /^# TYPE mine_[\w]+_raft_applied_index gauge$/m);
    assert.match(body, /^mine_http_PUT_v1_kv___count 1$/m);
    assert.doesNotMatch(body, /http_GET/);
  });
});
