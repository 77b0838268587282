/** Founding a group under whatever may happen meanwhile: founding-swarm.ts says what is simulated, and what is checked. */
import { assert, describe, it } from "../support/harness.ts";
import { runFounding } from "./founding-swarm.ts";

/** Each takes some 20 ms. */
const seeds = Number(process.env["FOUNDING_SEEDS"] ?? 200);

describe("servers that found a group while they are cut off, crash, stand still and are more than expected", () => {
  it("found one for each server, and each gets into one", async () => {
    let several = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      const story: string[] = [];
      try {
        const { groups } = await runFounding(seed, story);
        if (groups > 1) several++;
      } catch (error) {
        throw new Error(`seed ${seed}: ${String(error)}\n${story.join("\n")}`, { cause: error });
      }
    }
    // With halves of which each is as many as expected there may be two; a simulation without them would say little.
    assert.ok(several < seeds / 2, `${several} of ${seeds} seeds end with several groups`);
  });
});
