/** scripts/simulate and scripts/replay, and the reduction of what fails. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { main } from "../../adapters/sim/command.ts";
import { asArguments, reduce } from "../../adapters/sim/reduce.ts";
import { faultFamilies } from "../../adapters/sim/simulate.ts";
import { assert, describe, it } from "../support/harness.ts";
import { hunt, loadMutant, mutations } from "./mutants.ts";

function run(...words: string[]): { code: number; lines: string[] } {
  const lines: string[] = [];
  return {
    code: main(
      words,
      (line) => lines.push(line),
      () => 0,
    ),
    lines,
  };
}

describe("the simulate command", () => {
  it("runs as many seeds as it is told and says how fast", () => {
    const { code, lines } = run("simulate", "--seeds", "3", "--from", "7");
    assert.equal(code, 0);
    assert.match(lines.at(-1) ?? "", /^ok: 3 seeds, .* from 7$/);
  });

  it("replays a seed, line by line when asked", () => {
    const [short, long] = [run("replay", "4"), run("replay", "4", "--trace")];
    assert.match(short.lines[0] ?? "", /^ok: \d+ events, \d+ entries, .* hash [0-9a-f]{16}$/);
    assert.equal(long.lines.at(-1), short.lines[0]);
    assert.ok(long.lines.length > 100);
  });

  it("explains itself to who uses it wrongly", () => {
    for (const words of [
      [],
      ["replay"],
      ["replay", "1", "2"],
      ["simulate", "--seeds"],
      ["simulate", "--seeds", "x"],
      ["simulate", "--what"],
    ]) {
      const { code, lines } = run(...words);
      assert.equal(code, 64, words.join(" "));
      assert.match(lines.join("\n"), /usage: simulate/);
    }
    assert.equal(run("replay", "1", "--without", "gravity").code, 64);
  });
});

describe("a failing seed", () => {
  it("is reduced: fewer kinds of trouble, the same broken rule", async () => {
    const mutation = mutations.find(({ name }) => name === "vote for a shorter log");
    assert.ok(mutation !== undefined);
    const directory = join(process.env["TEST_ROOT"] as string, ".build", `reduced-${process.pid}`);
    mkdirSync(directory, { recursive: true });
    try {
      const mutant = await loadMutant(mutation, directory);
      const caught = hunt(mutant, 100);
      assert.ok(caught !== undefined);
      const before = mutant({ seed: caught.seed });
      const { options, simulation } = reduce({ seed: caught.seed }, mutant);
      assert.equal(simulation.failure?.checker, caught.failure.checker);
      assert.ok((options.without?.length ?? 0) >= faultFamilies.length / 3, `without ${options.without}`);
      assert.ok(simulation.story.length > 0 && simulation.events <= before.events * 2);
      assert.match(asArguments(options), /--without .*/);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
