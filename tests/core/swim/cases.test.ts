/** Runs the scripts of tests/cases/swim. With REWRITE=1 in the environment, what is printed becomes the expectation. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, it } from "../../support/harness.ts";
import { SwimScript } from "./script.ts";

const folder = join(process.env.TEST_ROOT as string, "tests/cases/swim");

describe("a member in virtual time", () => {
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".txt"))) {
    it(file.replace(".txt", "").replaceAll("-", " "), () => {
      const path = join(folder, file);
      const rewritten: string[] = [];
      const script = new SwimScript();
      for (const block of readFileSync(path, "utf8")
        .trim()
        .split(/\n{2,}/)) {
        const lines = block.split("\n");
        const rule = lines.indexOf("----");
        const commands = rule < 0 ? lines : lines.slice(0, rule);
        const printed = script.run(commands.filter((line) => !line.startsWith("#")));
        rewritten.push([...commands, ...(printed.length === 0 ? [] : ["----", ...printed])].join("\n"));
        if (process.env["REWRITE"] === undefined) {
          assert.deepEqual(printed, rule < 0 ? [] : lines.slice(rule + 1), `after ${commands.at(-1)}`);
        }
      }
      if (process.env["REWRITE"] !== undefined) writeFileSync(path, `${rewritten.join("\n\n")}\n`);
    });
  }
});
