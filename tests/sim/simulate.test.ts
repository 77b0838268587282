/** Whole groups from seeds: safe under faults, alive after them. `SIM_SEEDS` and `SIM_FROM` choose others. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { runSeed, simulate, type SimulateOptions, type Simulation } from "../../adapters/sim/simulate.ts";
import { assert, describe, it } from "../support/harness.ts";

const from = Number(process.env["SIM_FROM"] ?? 10_000);
const count = Number(process.env["SIM_SEEDS"] ?? 200);

function run(options: SimulateOptions): Simulation {
  const simulation = runSeed(options);
  const { failure, seed } = simulation;
  if (failure !== undefined) throw new Error(`seed ${seed}: ${failure.message}\nscripts/replay ${seed}\n${failure.stack}`);
  return simulation;
}

describe("a simulated group", () => {
  const pinned = readFileSync(join(process.env["TEST_ROOT"] as string, "tests/sim/seeds.txt"), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  for (const line of pinned) {
    const [seed = "", ...story] = line.split(" ");
    it(`seed ${seed}: ${story.join(" ")}`, () => {
      run({ seed: Number(seed) });
    });
  }

  it(`is safe and lives again, for seeds ${from} to ${from + count - 1}`, () => {
    let committed = 0;
    let undecided = 0;
    for (let seed = from; seed < from + count; seed++) {
      const simulation = run({ seed });
      committed += simulation.committed;
      undecided += simulation.undecided;
    }
    assert.equal(undecided, 0, "every history was checked to its end");
    assert.ok(committed > count * 20, `${committed} entries committed: too few to mean anything`);
  });

  it("does everything it is asked when nothing goes wrong", () => {
    for (const servers of [3, 5]) {
      const simulation = run({ seed: servers, servers, clients: 4, operations: 60, faults: "none" });
      assert.ok(simulation.committed > 100 && simulation.virtualMillis < 5_000, `${simulation.committed} entries`);
    }
  });

  it("has the same history each time, and another one for another seed", () => {
    const [one, again, other] = [run({ seed: 1, story: true }), run({ seed: 1, story: true }), run({ seed: 2 })];
    assert.equal(one.hash, again.hash);
    assert.deepEqual(one.story, again.story);
    assert.notEqual(one.hash, other.hash);
  });

  it("has the same history whether its story is kept or not", () => {
    assert.equal(run({ seed: 3, story: true }).hash, run({ seed: 3 }).hash);
  });
});

describe("options out of their range", () => {
  it("are refused by name", async () => {
    for (const options of [{ servers: 0 }, { servers: 8 }, { clients: 1.5 }, { operations: 1000 }])
      await assert.rejects(simulate({ seed: 1, ...options }), new RegExp(`"${Object.keys(options)[0]}" must be`));
  });

  it("one server, and seven, are within it", () => {
    for (const servers of [1, 2, 7]) run({ seed: 1, servers });
  });
});

describe("a workload of one's own", () => {
  it("that throws is a failure, with its words", async () => {
    const { failure } = await simulate({
      seed: 1,
      faults: "none",
      workload: async (client) => {
        await client.put("a", "1");
        throw new Error(`client ${client.number} has had enough`);
      },
    });
    assert.equal(failure?.kind, "workload");
    assert.match(failure?.message ?? "", /has had enough/);
  });

  it("that does not expect to be left without an answer gives up, and that is no failure", async () => {
    let unanswered = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const { failure } = await simulate({
        seed,
        workload: async (client) => {
          const session = await client.createSession({ ttl: 200, lockDelay: 50 }).catch((error: unknown) => {
            unanswered++;
            throw error;
          });
          if (await client.acquire("leader", String(client.number), session)) await client.renewSession(session);
        },
      });
      assert.equal(failure, undefined, `seed ${seed}`);
    }
    assert.ok(unanswered > 0);
  });

  it("that waits for ever is a failure of liveness", async () => {
    const { failure } = await simulate({ seed: 1, faults: "none", clients: 1, workload: () => new Promise(() => {}) });
    assert.equal(failure?.kind, "liveness");
  });

  it("locks, reads and sleeps; its last state is what all agree on", async () => {
    const { failure, state } = await simulate({
      seed: 5,
      faults: "none",
      clients: 3,
      workload: async (client) => {
        const session = await client.createSession();
        while (!(await client.acquire("lock", `held by ${client.number}`, session))) await client.sleep(10);
        assert.equal((await client.get("lock"))?.holder, session);
        const count = Number((await client.get("count"))?.value ?? 0);
        await client.sleep(5);
        await client.put("count", String(count + 1));
        await client.destroySession(session);
      },
    });
    assert.equal(failure, undefined);
    assert.equal(state.get("count"), "3");
  });

  it("keeps a session alive by renewing it, and loses the lock when it does not", async () => {
    const { failure } = await simulate({
      seed: 6,
      faults: "none",
      clients: 1,
      workload: async (client) => {
        const session = await client.createSession({ ttl: 100, behavior: "delete" });
        assert.equal(await client.acquire("lock", "mine", session), true);
        for (let round = 0; round < 5; round++) {
          await client.sleep(90);
          assert.equal(await client.renewSession(session), true);
        }
        assert.equal((await client.get("lock"))?.holder, session);
        await client.sleep(300);
        assert.equal(await client.get("lock"), undefined);
        assert.equal(await client.renewSession(session), false);
      },
    });
    assert.equal(failure, undefined);
  });
});
