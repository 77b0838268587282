import { createTelemetry } from "../../adapters/shared/telemetry.ts";
import { assert, describe, it } from "../support/harness.ts";

/** 2026-11-20T11:31:40.304Z */
const wall = 1_795_174_300_304;
/** In which that lies: intervals begin with the tens of seconds. */
const interval = 1_795_174_300_000;

function telemetry(options: { json?: boolean; gated?: boolean; level?: "trace" | "info" } = {}) {
  const lines: string[] = [];
  let now = 0;
  const made = createTelemetry({
    clock: { wall: () => wall + now, monotonic: () => now },
    level: options.level ?? "info",
    json: options.json === true,
    gated: options.gated === true,
    sink: (line) => lines.push(line),
  });
  return {
    ...made,
    lines,
    pass: (millis: number) => {
      now += millis;
    },
  };
}

export function telemetryContract(): void {
  describe("logger", () => {
    it("writes lines as Consul does: time, padded level, name, message, fields", () => {
      const { logger, lines } = telemetry({ level: "trace" });
      const raft = logger.child("agent").child("server").child("raft");
      raft.log("info", "initial configuration", { index: 1, servers: "[{Suffrage:Voter ID:a}]" });
      raft.log("warn", "leader", { leader: "" });
      logger.log("debug", "plain");
      raft.log("error", "failed to sync", { error: new Error("No cluster leader") });
      raft.log("trace", "list", { of: ["a", "b"] });
      assert.deepEqual(lines, [
        '2026-11-20T11:31:40.304Z [INFO]  agent.server.raft: initial configuration: index=1 servers="[{Suffrage:Voter ID:a}]"',
        "2026-11-20T11:31:40.304Z [WARN]  agent.server.raft: leader: leader=",
        "2026-11-20T11:31:40.304Z [DEBUG] plain",
        '2026-11-20T11:31:40.304Z [ERROR] agent.server.raft: failed to sync: error="No cluster leader"',
        "2026-11-20T11:31:40.304Z [TRACE] agent.server.raft: list: of=[a, b]",
      ]);
    });

    it("writes JSON with @level, @message, @module and @timestamp first", () => {
      const { logger, lines } = telemetry({ json: true });
      logger.child("agent").log("warn", "odd", { count: 2, error: new Error("bad") });
      assert.deepEqual(lines, [
        '{"@level":"warn","@message":"odd","@module":"agent","@timestamp":"2026-11-20T11:31:40.304000Z","count":2,"error":"bad"}',
      ]);
    });

    it("a line stays one line, whatever a peer put into message or field", () => {
      const { logger, lines } = telemetry();
      logger.log("info", "joined\n2026 [ERROR] forged", { name: "a\r\n2026 [ERROR] forged\x1b[31m" });
      assert.equal(lines.length, 1);
      assert.match(lines[0] ?? "", /^[\x20-\x7e]+$/);
    });

    it("levels filter, and change at run time for loggers made before", () => {
      const { logger, lines } = telemetry();
      const child = logger.child("agent");
      child.log("debug", "unheard");
      assert.equal(child.enabled("debug"), false);
      logger.setLevel("debug");
      assert.equal(child.enabled("debug"), true);
      child.log("debug", "heard");
      assert.equal(lines.length, 1);
    });

    it("lines wait behind the gate, in order, and the oldest give way beyond the bound", () => {
      const { logger, lines } = telemetry({ gated: true });
      for (let number = 0; number < 600; number++) logger.log("info", `line ${number}`);
      assert.equal(lines.length, 0);
      logger.openGate();
      logger.log("info", "after");
      assert.equal(lines.length, 513);
      assert.match(lines[0] ?? "", /line 88$/);
      assert.match(lines[512] ?? "", /after$/);
    });

    it("a second sink has its own level and form, and is not gated", () => {
      const { logger, lines } = telemetry({ gated: true });
      const monitor: string[] = [];
      const remove = logger.addSink((line) => monitor.push(line), { level: "debug", json: true });
      logger.log("debug", "detail");
      remove();
      logger.log("debug", "unheard");
      assert.equal(monitor.length, 1);
      assert.match(monitor[0] ?? "", /^\{"@level":"debug"/);
      assert.equal(lines.length, 0);
    });
  });

  describe("metrics", () => {
    const seen = { count: 1, sum: 1, min: 1, max: 1, sumOfSquares: 1 };

    it("counters and samples are summed over the last complete interval, which begins with a ten of seconds", () => {
      const { metrics, pass } = telemetry();
      const requests = metrics.counter("http", { method: "GET" });
      requests.add(1);
      requests.add(2);
      metrics.gauge("runtime.heap").set(7);
      const timing = metrics.sample("raft.apply");
      for (const value of [3, 1, 2]) timing.observe(value);
      pass(9696);
      requests.add(100);
      const { counters, samples, gauges, at, intervalMillis } = metrics.snapshot();
      assert.deepEqual([at, intervalMillis], [interval, 10_000]);
      assert.deepEqual(counters, [
        { name: "consul.http", labels: { method: "GET" }, count: 2, sum: 3, min: 1, max: 2, sumOfSquares: 5 },
      ]);
      assert.deepEqual(samples, [{ name: "consul.raft.apply", labels: {}, count: 3, sum: 6, min: 1, max: 3, sumOfSquares: 14 }]);
      assert.deepEqual(gauges, [{ name: "consul.runtime.heap", labels: {}, value: 7 }]);
    });

    it("while the first interval is not complete, it is what is shown", () => {
      const { metrics, pass } = telemetry();
      metrics.counter("a").add(1);
      pass(9695);
      assert.deepEqual(metrics.snapshot().counters, [{ name: "consul.a", labels: {}, ...seen }]);
    });

    it("a gauge is shown for the intervals in which it was set, with the value it had at their end", () => {
      const { metrics, pass } = telemetry();
      const gauge = metrics.gauge("a");
      gauge.set(1);
      gauge.set(2);
      pass(10_000);
      gauge.set(3);
      assert.equal(metrics.snapshot().gauges[0]?.value, 2);
      pass(10_000);
      assert.equal(metrics.snapshot().gauges[0]?.value, 3);
      pass(10_000);
      assert.deepEqual(metrics.snapshot().gauges, []);
    });

    it("after a silence the last complete interval is empty, and its time is right", () => {
      const { metrics, pass } = telemetry();
      metrics.counter("a").add(1);
      pass(35_000);
      const { counters, at } = metrics.snapshot();
      assert.deepEqual(counters, []);
      assert.equal(at, interval + 20_000);
    });

    it("numbers have 32 bits, as in go-metrics", () => {
      const { metrics } = telemetry();
      metrics.sample("a").observe(0.1);
      assert.equal(metrics.snapshot().samples[0]?.sum, 0.10000000149011612);
    });

    it("names begin with the configured prefix, gauges go on with the host's name where one is given", () => {
      const { metrics } = telemetry();
      metrics.counter("a").add(1);
      metrics.gauge("b").set(1);
      metrics.configure({ ...open, prefix: "mine", hostname: "vm" });
      const { counters, gauges } = metrics.snapshot();
      assert.deepEqual([counters[0]?.name, gauges[0]?.name], ["mine.a", "mine.vm.b"]);
    });

    it("the longest prefix that fits decides what is kept, else the default; also for series asked for before", () => {
      const { metrics } = telemetry();
      const series = ["raft.apply", "raft.fsm.apply", "http.GET", "serf"].map((name) => metrics.counter(name));
      const shown = (): readonly string[] => {
        for (const counter of series) counter.add(1);
        return metrics.snapshot().counters.map(({ name }) => name);
      };
      metrics.configure({ ...open, blocked: ["consul.raft", "consul.http"], allowed: ["consul.raft.fsm"] });
      assert.deepEqual(shown(), ["consul.raft.fsm.apply", "consul.serf"]);
      metrics.configure({ ...open, filterDefault: false, allowed: ["consul.raft.a"] });
      assert.deepEqual(shown(), ["consul.raft.apply"]);
    });

    it("Prometheus is shown totals and quantiles of late, for as long as a series is touched, and nothing without a retention", () => {
      const { metrics, pass } = telemetry();
      metrics.counter("unseen").add(1);
      assert.equal(metrics.totals(), undefined);
      metrics.configure({ ...open, prometheusRetention: 60_000 });
      const counter = metrics.counter("a");
      const timing = metrics.sample("b");
      metrics.gauge("c").set(5);
      counter.add(1);
      for (let value = 1; value <= 100; value++) timing.observe(value);
      pass(25_000);
      counter.add(2);
      const totals = metrics.totals();
      assert.deepEqual(
        totals?.counters.map(({ name, sum }) => [name, sum]),
        [
          ["consul.unseen", 1],
          ["consul.a", 3],
        ],
      );
      assert.deepEqual([totals?.samples[0]?.count, totals?.samples[0]?.quantiles], [100, [Number.NaN, Number.NaN, Number.NaN]]);
      timing.observe(7);
      assert.deepEqual(metrics.totals()?.samples[0]?.quantiles, [7, 7, 7]);
      assert.deepEqual(totals?.gauges, [{ name: "consul.c", labels: {}, value: 5 }]);
      pass(60_001);
      assert.deepEqual(metrics.totals(), { counters: [], samples: [], gauges: [] });
    });

    it("the same name with other labels is another series; more than the bound are counted, not kept", () => {
      const { metrics } = telemetry();
      for (let number = 0; number < 10_050; number++) metrics.counter("a", { client: String(number) }).add(1);
      const { counters, seriesDropped } = metrics.snapshot();
      assert.equal(counters.length, 10_000);
      assert.equal(seriesDropped, 50);
    });

    it("silent series with labels make room, and come back when they are touched", () => {
      const { metrics, pass } = telemetry();
      const early = metrics.counter("a", { client: "early" });
      const plain = metrics.counter("plain");
      for (let number = 0; number < 10_050; number++) metrics.counter("a", { client: String(number) }).add(1);
      pass(40_000);
      metrics.counter("a", { client: "late" }).add(1);
      early.add(1);
      plain.add(1);
      pass(10_000);
      const { counters, seriesDropped } = metrics.snapshot();
      assert.deepEqual(
        counters.map(({ name, labels }) => [name, labels["client"]]),
        [
          ["consul.plain", undefined],
          ["consul.a", "late"],
          ["consul.a", "early"],
        ],
      );
      assert.equal(seriesDropped, 52);
    });
  });
}

const open = { prefix: "consul", hostname: undefined, filterDefault: true, allowed: [], blocked: [], prometheusRetention: 0 };
