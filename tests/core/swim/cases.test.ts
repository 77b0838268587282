/** Runs the scripts of tests/cases/swim; script.ts explains their commands. */
import { runBlocks } from "../../support/script.ts";
import { SwimScript } from "./script.ts";

runBlocks("swim", () => {
  const script = new SwimScript();
  return (lines) => script.run(lines);
});
