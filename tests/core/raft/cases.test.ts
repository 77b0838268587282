/** Runs the scripts of tests/cases/raft; script.ts explains their commands. */
import { runScripts } from "../../support/script.ts";
import { RaftScript } from "./script.ts";

runScripts("raft", () => {
  const script = new RaftScript();
  return (command) => script.run(command);
});
