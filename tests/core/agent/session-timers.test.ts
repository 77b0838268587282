import { SessionTimers } from "../../../core/agent/session-timers.ts";
import type { Logger } from "../../../core/ports/mod.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualClock } from "../../support/virtual-clock.ts";

const silent: Logger = { log: () => {}, enabled: () => false, child: () => silent };

function setUp(destroy: (id: string) => Promise<void> = async () => {}): {
  clock: VirtualClock;
  timers: SessionTimers;
  ended: [string, number][];
} {
  const clock = new VirtualClock();
  const ended: [string, number][] = [];
  const timers = new SessionTimers({
    clock,
    logger: silent,
    parseTtl: (ttl) => Number.parseInt(ttl, 10) * 1000,
    destroy: (id) => {
      ended.push([id, clock.monotonic()]);
      return destroy(id);
    },
  });
  return { clock, timers, ended };
}

describe("session timers", () => {
  it("end a session at twice its TTL", async () => {
    const { clock, timers, ended } = setUp();
    timers.add({ id: "a", ttl: "10s" });
    await clock.advance(19_999);
    assert.deepEqual(ended, []);
    await clock.advance(1);
    assert.deepEqual(ended, [["a", 20_000]]);
  });

  it("start afresh with each renewal", async () => {
    const { clock, timers, ended } = setUp();
    timers.add({ id: "a", ttl: "10s" });
    for (let round = 0; round < 5; round++) {
      await clock.advance(15_000);
      timers.renew("a");
    }
    assert.deepEqual(ended, []);
    await clock.advance(20_000);
    assert.deepEqual(ended, [["a", 95_000]]);
  });

  it("leave a session without a TTL alone", async () => {
    const { clock, timers, ended } = setUp();
    timers.add({ id: "a", ttl: "" });
    await clock.advance(1_000_000);
    assert.deepEqual([ended, timers.size, clock.pending], [[], 0, 0]);
  });

  it("forget a session that ended otherwise", async () => {
    const { clock, timers, ended } = setUp();
    timers.add({ id: "a", ttl: "10s" });
    timers.remove("a");
    await clock.advance(100_000);
    assert.deepEqual(ended, []);
  });

  it("try a destruction that fails six times, further and further apart", async () => {
    const { clock, timers, ended } = setUp(() => Promise.reject(new Error("no leader")));
    timers.add({ id: "a", ttl: "10s" });
    await clock.advance(10_000_000);
    assert.deepEqual(
      ended.map(([, at]) => at),
      [20_000, 30_000, 50_000, 90_000, 170_000, 330_000],
    );
    assert.equal(timers.size, 0);
  });

  it("serve many sessions with one timer", async () => {
    const { clock, timers, ended } = setUp();
    for (let at = 0; at < 100; at++) timers.add({ id: `s${at}`, ttl: `${10 + (at % 3)}s` });
    assert.equal(clock.pending, 1);
    timers.clear();
    assert.equal(clock.pending, 0);
    await clock.advance(100_000);
    assert.deepEqual(ended, []);
  });
});
