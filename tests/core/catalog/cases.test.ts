/** The scripts of tests/cases/catalog. UPDATE_CASES=1 writes what comes of them into the files, for review. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, it, trapAmbient } from "../../support/harness.ts";
import { parseCases, runCase } from "./catalog-script.ts";

const folder = join(process.env.TEST_ROOT as string, "tests/cases/catalog");

for (const file of readdirSync(folder).sort()) {
  const path = join(folder, file);
  if (process.env["UPDATE_CASES"] === "1") writeFileSync(path, updated(readFileSync(path, "utf8")));
  describe(`catalog: ${file.replace(".txt", "")}`, () => {
    for (const scenario of parseCases(readFileSync(path, "utf8"))) {
      it(scenario.title, () => {
        const actual = trapAmbient(() => runCase(scenario));
        assert.ok(scenario.steps.length > 0, "a case has steps");
        scenario.steps.forEach(({ line, expected }, at) => {
          assert.deepEqual(actual[at], expected, `step ${at + 1}: ${line}`);
        });
      });
    }
  });
}

function updated(script: string): string {
  const results = parseCases(script).flatMap(runCase);
  let at = 0;
  const lines: string[] = [];
  for (const line of script.split("\n")) {
    if (line.startsWith("  ")) continue;
    lines.push(line);
    if (line === "" || line.startsWith("#") || line.startsWith("=== ")) continue;
    for (const result of results[at++] ?? []) lines.push(`  ${result}`);
  }
  return lines.join("\n");
}
