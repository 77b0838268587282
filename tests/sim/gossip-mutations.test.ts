/** Errors planted one at a time (gossip-mutants.ts): each is found. Prints which rule found it, and at which seed. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, it } from "../support/harness.ts";
import { gossipMutations, loadGossipMutant } from "./gossip-mutants.ts";

/** Seeds for each. Those that are hardest to find need about half. */
const seeds = Number(process.env["MUTATION_SEEDS"] ?? 40);

const directory = join(process.env["TEST_ROOT"] as string, ".build", `gossip-mutants-${process.pid}`);

describe("an error planted in the gossip protocol is found by the simulator", () => {
  const found: string[] = [];
  for (const mutation of gossipMutations) {
    it(mutation.name, async () => {
      mkdirSync(directory, { recursive: true });
      try {
        const run = await loadGossipMutant(mutation, directory);
        let seed = 1;
        let failure = run({ seed }).failure;
        while (!mutation.foundBy.includes(failure?.checker ?? "") && seed < seeds) failure = run({ seed: ++seed }).failure;
        const end = failure === undefined ? "NOT FOUND" : `${failure.checker.padEnd(38)} seed ${seed} of ${seeds}`;
        found.push(`${mutation.name.padEnd(66)} ${end}`);
        assert.ok(failure !== undefined, `${mutation.name} was not found in ${seeds} seeds`);
        assert.ok(mutation.foundBy.includes(failure.checker), `${failure.checker}: ${failure.message}`);
      } finally {
        rmSync(directory, { recursive: true, force: true });
        if (mutation === gossipMutations.at(-1)) console.log(found.join("\n"));
      }
    });
  }
});
