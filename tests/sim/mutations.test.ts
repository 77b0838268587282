/** Errors planted one at a time (mutants.ts): each is found. Prints which checker found it, and at which seed. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, it } from "../support/harness.ts";
import { type Catch, hunt, loadMutant, mutations } from "./mutants.ts";

/** Seeds for each. Those that are hardest to find need about half. */
const seeds = Number(process.env["MUTATION_SEEDS"] ?? 400);

const directory = join(process.env["TEST_ROOT"] as string, ".build", `mutants-${process.pid}`);

describe("a planted error is found by the simulator", () => {
  const found: string[] = [];
  const line = (name: string, caught: Catch | undefined): string =>
    `${name.padEnd(48)} ${caught === undefined ? "NOT FOUND" : `${caught.failure.checker.padEnd(28)} seed ${caught.seed} of ${seeds}`}`;

  for (const mutation of mutations) {
    it(mutation.name, async () => {
      mkdirSync(directory, { recursive: true });
      try {
        const caught = hunt(await loadMutant(mutation, directory), seeds);
        found.push(line(mutation.name, caught));
        assert.ok(caught !== undefined, `${mutation.name} was not found in ${seeds} seeds`);
      } finally {
        rmSync(directory, { recursive: true, force: true });
        if (mutation === mutations.at(-1)) console.log(found.join("\n"));
      }
    });
  }
});
