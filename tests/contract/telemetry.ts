import { createTelemetry } from "../../adapters/shared/telemetry.ts";
import { assert, describe, it } from "../support/harness.ts";

/** 2026-11-20T11:31:40.304Z */
const wall = 1_795_174_300_304;

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
        '2026-11-20T11:31:40.304Z [TRACE] agent.server.raft: list: of="[a, b]"',
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
    it("counters and samples are summed over the last complete interval, gauges keep their value", () => {
      const { metrics, pass } = telemetry();
      const requests = metrics.counter("consul.http", { method: "GET" });
      requests.add(1);
      requests.add(2);
      metrics.gauge("consul.runtime.heap").set(7);
      const timing = metrics.sample("consul.raft.apply");
      for (const value of [3, 1, 2]) timing.observe(value);
      pass(10_000);
      requests.add(100);
      const { counters, samples, gauges, totals, at, intervalMillis } = metrics.snapshot();
      assert.deepEqual([at, intervalMillis], [wall, 10_000]);
      assert.deepEqual(counters, [
        { name: "consul.http", labels: { method: "GET" }, count: 2, sum: 3, min: 1, max: 2, sumOfSquares: 5 },
      ]);
      assert.deepEqual(samples, [{ name: "consul.raft.apply", labels: {}, count: 3, sum: 6, min: 1, max: 3, sumOfSquares: 14 }]);
      assert.deepEqual(gauges, [{ name: "consul.runtime.heap", labels: {}, value: 7 }]);
      assert.equal(totals.counters[0]?.sum, 103);
    });

    it("after a silence the last complete interval is empty, and its time is right", () => {
      const { metrics, pass } = telemetry();
      metrics.counter("a").add(1);
      pass(35_000);
      const { counters, at } = metrics.snapshot();
      assert.deepEqual(counters, []);
      assert.equal(at, wall + 20_000);
    });

    it("the same name with other labels is another series; more than the bound are counted, not kept", () => {
      const { metrics } = telemetry();
      for (let number = 0; number < 10_050; number++) metrics.counter("a", { client: String(number) }).add(1);
      const { counters, seriesDropped } = metrics.snapshot();
      assert.equal(counters.length, 10_000);
      assert.equal(seriesDropped, 50);
    });
  });
}
