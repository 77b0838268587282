/**
 * How an application tests its own code against a cluster that fails: this file imports nothing of the project but
 * `simulate` (from "proconsul/sim"), and runs as it is under `node --test`, `bun test` and `deno test`.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { simulate, type SimulatedClient } from "../../adapters/sim/simulate.ts";

/** The application: adds to a counter. True when that is certain. */
async function increment(client: SimulatedClient): Promise<boolean> {
  const entry = await client.get("counter");
  return client.cas("counter", String(Number(entry?.value ?? 0) + 1), entry);
}

/** The same by someone who has not read about check-and-set. */
async function incrementCarelessly(client: SimulatedClient): Promise<boolean> {
  const entry = await client.get("counter");
  await client.put("counter", String(Number(entry?.value ?? 0) + 1));
  return true;
}

/** How many increments were lost, over some seeds. */
async function lost(act: (client: SimulatedClient) => Promise<boolean>): Promise<number> {
  let missing = 0;
  for (let seed = 1; seed <= 10; seed++) {
    let certain = 0;
    const run = await simulate({
      seed,
      workload: async (client) => {
        for (let attempt = 0; attempt < 10; attempt++) {
          // Nobody answered in time: it may have happened or not, and is not counted.
          if (await act(client).catch(() => false)) certain++;
          await client.sleep(10);
        }
      },
    });
    assert.equal(run.failure, undefined);
    missing += Math.max(0, certain - Number(run.state.get("counter") ?? 0));
  }
  return missing;
}

test("no increment that was confirmed is lost, whatever fails", async () => {
  assert.equal(await lost(increment), 0);
});

test("the simulator finds the increments that careless code loses", async () => {
  assert.ok((await lost(incrementCarelessly)) > 0);
});
