/** The log alone, through many crashes; and errors planted in it, each of which is found. */
import { assert, describe, it } from "../support/harness.ts";
import { huntLog, runLog } from "./log-swarm.ts";
import { loadLogMutant, logMutations } from "./mutants.ts";
import { directory, found } from "./mutation-table.ts";

const seeds = Number(process.env["MUTATION_SEEDS"] ?? 4000);

describe("a log that lives through crashes", () => {
  it("holds what it acknowledged, and refuses only damage", () => {
    assert.equal(huntLog(runLog, seeds)?.failure.message, undefined);
  });
});

found("an error planted in the log is found by the log alone", logMutations, seeds, async (mutation) =>
  huntLog(await loadLogMutant(mutation, directory), seeds),
);
