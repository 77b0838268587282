/**
 * Plants errors one at a time (mutants.ts), looks for each, and prints the table of docs/simulator.md: which rule found it,
 * and after how many seeds. `MUTATION_SEEDS=3000 scripts/unit sim/` looks for the rare ones, too.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, it } from "../support/harness.ts";
import { type Catch, loadMutant, type Mutation } from "./mutants.ts";

/** Seeds for each. Those that are hardest to find need about half. */
export const seeds = Number(process.env["MUTATION_SEEDS"] ?? 200);

export const directory = join(process.env["TEST_ROOT"] as string, ".build", `mutants-${process.pid}`);
const head = ["| planted error | profile | found by | seed |", "|---|---|---|---|"];

function row({ name, profile, rare }: Mutation, caught: Catch | undefined): string {
  const [rule, seed] =
    caught !== undefined
      ? [caught.failure.checker, caught.seed]
      : rare !== undefined
        ? ["in long runs", `~${rare}`]
        : ["NOT FOUND", "-"];
  return `| ${name.padEnd(54)} | ${(profile ?? "any").padEnd(9)} | ${rule.padEnd(32)} | ${String(seed).padStart(5)} |`;
}

export function found(
  title: string,
  list: readonly Mutation[],
  budget: number,
  search: (mutation: Mutation) => Promise<Catch | undefined>,
): void {
  describe(title, () => {
    const table = [...head];
    for (const mutation of list) {
      const late = mutation.rare !== undefined && mutation.rare * 5 > budget;
      // Even where nobody looks for it now, it must be plantable: the list follows the code.
      it(late ? `${mutation.name}: in long runs` : mutation.name, async () => {
        mkdirSync(directory, { recursive: true });
        try {
          const caught = late ? undefined : await search(mutation);
          if (late) await loadMutant(mutation, directory);
          table.push(row(mutation, caught));
          assert.ok(late || caught !== undefined, `${mutation.name} was not found in ${budget} seeds`);
        } finally {
          rmSync(directory, { recursive: true, force: true });
          if (mutation === list.at(-1)) console.log(table.join("\n"));
        }
      });
    }
  });
}
