/**
 * Errors planted one at a time (mutants.ts): each is found. Prints the table of docs/simulator.md: which rule found it, and
 * after how many seeds. `MUTATION_SEEDS=3000 scripts/unit sim/mutations` looks for the rare ones, too.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, it } from "../support/harness.ts";
import { type Catch, hunt, loadMutant, type Mutation, mutations } from "./mutants.ts";

/** Seeds for each. Those that are hardest to find need about half. */
const seeds = Number(process.env["MUTATION_SEEDS"] ?? 400);

const directory = join(process.env["TEST_ROOT"] as string, ".build", `mutants-${process.pid}`);

function row({ name, profile, rare }: Mutation, caught: Catch | undefined): string {
  const [rule, seed] =
    caught !== undefined
      ? [caught.failure.checker, caught.seed]
      : rare !== undefined
        ? ["in long runs", `~${rare}`]
        : ["NOT FOUND", "-"];
  return `| ${name.padEnd(54)} | ${(profile ?? "any").padEnd(9)} | ${rule.padEnd(32)} | ${String(seed).padStart(5)} |`;
}

describe("a planted error is found by the simulator", () => {
  const table = ["| planted error | profile | found by | seed |", "|---|---|---|---|"];

  for (const mutation of mutations) {
    const late = mutation.rare !== undefined && mutation.rare * 5 > seeds;
    it(late ? `${mutation.name}, in long runs: its source is where it was` : mutation.name, async () => {
      mkdirSync(directory, { recursive: true });
      try {
        const run = await loadMutant(mutation, directory);
        const caught = late ? undefined : hunt(run, seeds, mutation.profile);
        table.push(row(mutation, caught));
        assert.ok(late || caught !== undefined, `${mutation.name} was not found in ${seeds} seeds`);
      } finally {
        rmSync(directory, { recursive: true, force: true });
        if (mutation === mutations.at(-1)) console.log(table.join("\n"));
      }
    });
  }
});
