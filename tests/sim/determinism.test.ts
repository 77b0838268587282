/**
 * One seed, one history, on every engine: the hash over all events of twenty seeds is pinned in hashes.txt, and this
 * file runs on Node, Bun and Deno. Every change of core/raft, core/catalog or adapters/sim that changes what happens moves
 * the hashes: `REWRITE=1 scripts/unit sim/determinism` writes them anew, on one engine, and the others must agree.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runSeed } from "../../adapters/sim/simulate.ts";
import { assert, describe, it } from "../support/harness.ts";

const file = join(process.env["TEST_ROOT"] as string, "tests/sim/hashes.txt");
const seeds = 20;

describe("the history of a seed", () => {
  it("is the pinned one, event by event", () => {
    const lines: string[] = [];
    for (let seed = 1; seed <= seeds; seed++) {
      const { hash, events, committed } = runSeed({ seed });
      lines.push(`${seed} ${hash} ${events} events ${committed} entries`);
    }
    const found = `${lines.join("\n")}\n`;
    if (process.env["REWRITE"] !== undefined) writeFileSync(file, found);
    assert.equal(found, readFileSync(file, "utf8"), "another history: on purpose? then REWRITE=1 scripts/unit sim/determinism");
  });
});
