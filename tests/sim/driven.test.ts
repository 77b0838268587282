/** The real driver over the real log, on disks that lose their power. `DRIVEN_SEEDS` for more. */
import { runDriven } from "../../adapters/sim/driven-group.ts";
import { profiles } from "../../adapters/sim/faults.ts";
import { assert, describe, it } from "../support/harness.ts";

const seeds = Number(process.env["DRIVEN_SEEDS"] ?? 12);

describe("a group of real drivers over real logs", () => {
  for (const profile of profiles)
    it(`is safe and lives again, in ${profile} runs`, async () => {
      let answered = 0;
      for (let seed = 1; seed <= seeds; seed++) {
        const outcome = await runDriven({ seed, profile });
        assert.equal(outcome.failure, undefined, `seed ${seed}: ${outcome.failure?.message}`);
        answered += outcome.answered;
      }
      assert.ok(answered > seeds * 10, `${answered} operations were answered`);
    });

  it("has one history for a seed", async () => {
    const [one, again] = [await runDriven({ seed: 3 }), await runDriven({ seed: 3 })];
    assert.deepEqual(one, again);
  });
});
