/** Runs the scripts of tests/cases/serf; script.ts explains their commands. */
import { runBlocks } from "../../support/script.ts";
import { SerfScript } from "./script.ts";

runBlocks("serf", () => {
  const script = new SerfScript();
  return (lines) => script.run(lines);
});
