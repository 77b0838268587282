/** Joining at start: how often, what is said, when it is given up. */
import { joinOnce, RetryJoin } from "../../../core/agent/retry-join.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

function attempt(options: { readonly retriesMax?: number; readonly failures: number; readonly pool?: "lan" | "wan" }) {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const logger = {
    log: (level: string, message: string, fields?: { readonly error?: string }) =>
      void lines.push(`${level}: ${message}${level === "error" ? `: ${fields?.error}` : ""}`),
    child: () => logger,
  } as never;
  const calls: number[] = [];
  let exhausted = 0;
  const join = new RetryJoin({
    pool: options.pool ?? "lan",
    clock,
    logger,
    addresses: ["a", "b"],
    interval: 30_000,
    retriesMax: options.retriesMax ?? 0,
    join: async (addresses) => {
      assert.deepEqual(addresses, ["a", "b"]);
      calls.push(clock.monotonic());
      if (calls.length <= options.failures) throw new Error("refused");
      return 2;
    },
    onExhausted: () => exhausted++,
  });
  join.start();
  return { clock, lines, calls, join, exhausted: () => exhausted };
}

describe("retry_join", () => {
  it("says in Consul's words that it joined, and stops", async () => {
    const { clock, lines, calls } = attempt({ failures: 0 });
    await clock.advance(100_000);
    assert.equal(calls.length, 1);
    assert.deepEqual(lines, [
      "info: Joining cluster...",
      "info: (LAN) joining",
      "info: (LAN) joined",
      "info: Join cluster completed. Synced with initial agents",
    ]);
  });

  it("looks every quarter of a second while the agent is young, then at each interval", async () => {
    const { clock, calls, lines } = attempt({ failures: Number.POSITIVE_INFINITY });
    await settle();
    for (let passed = 0; passed < 95_000; passed += 250) await clock.advance(250);
    assert.deepEqual(calls.slice(0, 4), [0, 250, 500, 750]);
    assert.deepEqual(
      calls.filter((at) => at > 10_250),
      [30_000, 60_000, 90_000],
    );
    assert.equal(lines.filter((line) => line === "warn: Join cluster failed, will retry").length, 4);
  });

  it("counts only what it announced, and gives up after retry_max retries, as Consul does", async () => {
    const { clock, exhausted, lines } = attempt({ failures: Number.POSITIVE_INFINITY, retriesMax: 2 });
    for (let passed = 0; passed < 59_000; passed += 250) await clock.advance(250);
    assert.equal(exhausted(), 0);
    for (let passed = 0; passed < 60_000; passed += 250) await clock.advance(250);
    assert.equal(exhausted(), 1);
    assert.equal(lines.at(-1), "error: Retry join failed: agent: max join LAN retry exhausted, exiting");
    assert.equal(clock.pending, 0);
  });

  it("ends with the agent", async () => {
    const { clock, join, calls } = attempt({ failures: Number.POSITIVE_INFINITY });
    await clock.advance(1000);
    join.stop();
    const before = calls.length;
    await clock.advance(100_000);
    assert.equal(calls.length, before);
  });
});

describe("retry_join_wan", () => {
  it("gives up in Consul's words, about the other pool", async () => {
    const { clock, lines, exhausted } = attempt({ failures: Number.POSITIVE_INFINITY, retriesMax: 1, pool: "wan" });
    for (let passed = 0; passed < 31_000; passed += 250) await clock.advance(250);
    assert.equal(exhausted(), 1);
    assert.deepEqual(lines, [
      "info: Joining cluster...",
      "info: (WAN) joining",
      "warn: (WAN) couldn't join",
      "warn: Join cluster failed, will retry",
      "info: (WAN) joining",
      "warn: (WAN) couldn't join",
      "error: Retry join failed: agent: max join WAN retry exhausted, exiting",
    ]);
  });
});

describe("start_join", () => {
  it("has one attempt, which is told to the log, as is that of `consul join`", async () => {
    const lines: string[] = [];
    const logger = { log: (level: string, text: string) => lines.push(`${level}: ${text}`), child: () => logger } as never;
    assert.equal(await joinOnce(["a"], { pool: "lan", logger, join: async () => 2 }), 2);
    const failing = { pool: "wan", logger, join: () => Promise.reject(new Error("no")) } as const;
    await assert.rejects(joinOnce(["a"], failing), { message: "no" });
    assert.deepEqual(lines, ["info: (LAN) joining", "info: (LAN) joined", "info: (WAN) joining", "warn: (WAN) couldn't join"]);
  });
});
