/** Runs the scripts of tests/cases/checks; script.ts explains their commands. */
import { runBlocks } from "../../support/script.ts";
import { CheckScript } from "./script.ts";

runBlocks("checks", () => {
  const script = new CheckScript();
  return (lines) => script.run(lines);
});
