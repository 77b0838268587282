import type { Random } from "../../core/ports/random.ts";
import { assert, describe } from "../support/harness.ts";
import { claim, type Subject } from "./subject.ts";

const draw = (random: Random, count: number): number[] => Array.from({ length: count }, () => random.uint32());

export function randomContract(subject: Subject): void {
  const { random } = subject.runtime;
  describe(`random of ${subject.name}`, () => {
    claim(subject, "draws are whole numbers in [0, 2^32), spread over it", async () => {
      const draws = draw(random, 4096);
      for (const number of draws) assert.ok(Number.isInteger(number) && number >= 0 && number < 2 ** 32);
      const eighths = new Array<number>(8).fill(0);
      for (const number of draws) eighths[number >>> 29]!++;
      // 512 expected in each; 200 off would be nine standard deviations.
      for (const count of eighths) assert.ok(Math.abs(count - 512) < 200, eighths.join(" "));
      assert.ok(new Set(draws).size > 4000);
    });

    claim(subject, "a fork gives the same numbers however many were drawn before, and other ones than its siblings", async () => {
      const early = draw(random.fork("gossip"), 8);
      draw(random, 100);
      assert.deepEqual(draw(random.fork("gossip"), 8), early);
      assert.notDeepEqual(draw(random.fork("raft"), 8), early);
      assert.notDeepEqual(draw(random.fork("gossip").fork("gossip"), 8), early);
    });
  });
}
