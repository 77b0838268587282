import { metricsJson, type ReadableMetrics } from "../../../plugins/http/metrics.ts";
import { prometheusText } from "../../../plugins/http/prometheus.ts";
import { RouteMetrics, routeName } from "../../../plugins/http/request-metrics.ts";
import { noMetrics } from "../../../core/ports/telemetry.ts";
import { CountedMetrics } from "../../support/counted.ts";
import { assert, describe, it } from "../../support/harness.ts";

const nothing = { gauges: [], counters: [], samples: [] };
const aggregate = { name: "a", labels: {}, count: 2, sum: 3, min: 1, max: 2, sumOfSquares: 5 };

function readable(snapshot: Partial<ReturnType<ReadableMetrics["snapshot"]>>): ReadableMetrics {
  const at = Date.UTC(2026, 10, 20, 17, 37, 50);
  return { ...noMetrics, snapshot: () => ({ ...nothing, at, intervalMillis: 10_000, ...snapshot }), totals: () => undefined };
}

describe("an interval as JSON", () => {
  it("has the fields of go-metrics in their order, and a time of day in UTC", () => {
    assert.equal(
      metricsJson(readable({ counters: [aggregate] })),
      '{"Timestamp":"2026-11-20 17:37:50 +0000 UTC","Gauges":[],"Points":[],"Counters":[{"Name":"a","Count":2,"Rate":0.3,"Sum":3,' +
        '"Min":1,"Max":2,"Mean":1.5,"Stddev":0.7071067811865476,"Labels":{}}],"Samples":[]}',
    );
  });

  it("lists each kind by name, then labels", () => {
    const gauge = (name: string, labels = {}) => ({ name, labels, value: 1 });
    const gauges = [gauge("b"), gauge("a", { x: "2" }), gauge("a"), gauge("a", { x: "1" })];
    const shown = JSON.parse(metricsJson(readable({ gauges }))).Gauges;
    assert.deepEqual(
      shown.map(({ Name, Labels }: { Name: string; Labels: Record<string, string> }) => `${Name}${Labels["x"] ?? ""}`),
      ["a", "a1", "a2", "b"],
    );
  });

  const values: readonly (readonly [number, string])[] = [
    [14_465_824, "14465824"],
    [0.1, "0.1"],
    [1 / 3, "0.33333334"],
    [1e-7, "1e-7"],
    [0, "0"],
    [Number.NaN, "0"],
    [Number.POSITIVE_INFINITY, "0"],
  ];
  for (const [value, text] of values) {
    it(`writes the 32-bit gauge ${value} as ${text}`, () => {
      const json = metricsJson(readable({ gauges: [{ name: "a", labels: {}, value: Math.fround(value) }] }));
      assert.equal(/"Value":([^,]*)/.exec(json)?.[1], text);
    });
  }
});

describe("totals for Prometheus", () => {
  it("are families sorted by name, with help, type and lines", () => {
    const text = prometheusText({
      counters: [
        { ...aggregate, name: "consul.b", labels: { service: "web" }, sum: 2 },
        { ...aggregate, name: "consul.b", labels: { service: "db" }, sum: 1 },
      ],
      gauges: [{ name: "consul.vm.raft.last-index", labels: {}, value: 20_248_304 }],
      samples: [{ ...aggregate, name: "consul.a", labels: { op: "set" }, sum: 0.25, quantiles: [1.5, Number.NaN, 1e-5] }],
    });
    assert.equal(
      text,
      `# HELP consul_a consul_a
# TYPE consul_a summary
consul_a{op="set",quantile="0.5"} 1.5
consul_a{op="set",quantile="0.9"} NaN
consul_a{op="set",quantile="0.99"} 1e-05
consul_a_sum{op="set"} 0.25
consul_a_count{op="set"} 2
# HELP consul_b consul_b
# TYPE consul_b counter
consul_b{service="db"} 1
consul_b{service="web"} 2
# HELP consul_vm_raft_last_index consul_vm_raft_last_index
# TYPE consul_vm_raft_last_index gauge
consul_vm_raft_last_index 2.0248304e+07
`,
    );
  });

  it("a label's value stays one line, and a name one that Prometheus takes", () => {
    const counters = [{ ...aggregate, name: 'serf.events.a"\n{}é', labels: { service: 'x"y\\z\nforged 1' } }];
    assert.equal(
      prometheusText({ ...nothing, counters }).split("\n")[2],
      'serf_events_a_____{service="x\\"y\\\\z\\nforged 1"} 3',
    );
  });

  it("of two names that are written alike and differ in type the first counts", () => {
    const text = prometheusText({
      ...nothing,
      gauges: [{ name: "a.b", labels: {}, value: 1 }],
      counters: [{ ...aggregate, name: "a-b" }],
    });
    assert.equal(text, "# HELP a_b a_b\n# TYPE a_b gauge\na_b 1\n");
  });
});

describe("requests", () => {
  it("are named by method and route, with _ for what follows a route that goes on", () => {
    assert.deepEqual(["/v1/kv/", "/v1/agent/health/service/name/", "/v1/txn"].map(routeName), [
      "v1.kv._",
      "v1.agent.health.service.name._",
      "v1.txn",
    ]);
  });

  it("of the catalog are counted one by one, and how they went, as Consul 1.8.7 does: with a name or two of its own", () => {
    const metrics = new CountedMetrics();
    for (const path of ["/v1/catalog/connect/", "/v1/catalog/service/", "/v1/catalog/nodes"]) {
      const route = new RouteMetrics(metrics, path, "n1");
      for (const status of [200, 400, 500]) route.onAnswered("GET", status, 0, 1);
    }
    const counted = [...metrics.told].filter(([shown]) => shown.startsWith("Counters"));
    assert.deepEqual(Object.fromEntries(counted), {
      "Counters client.api.catalog_connect_service_nodes node": 3,
      "Counters client.api.catalog_nodes node": 3,
      "Counters client.api.catalog_service_nodes node": 3,
      "Counters client.api.success.catalog_nodes node": 1,
      "Counters client.api.success.catalog_service_nodes node": 2,
      "Counters client.rpc.error.catalog_service_nodes node": 2,
    });
  });

  it("of methods that nobody knows are not counted: there is no end of them", () => {
    const asked: string[] = [];
    const sample: typeof noMetrics.sample = (name) => {
      asked.push(name);
      return noMetrics.sample(name);
    };
    const metrics = { ...noMetrics, sample };
    const route = new RouteMetrics(metrics, "/v1/kv/", "n1");
    for (const method of ["GET", "BREW", "GET", "x".repeat(100)]) route.onAnswered(method, 200, 0, 1);
    assert.deepEqual(asked, ["http.GET.v1.kv._"]);
  });
});
