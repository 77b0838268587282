import { loadConfig, emptySources } from "../../../core/config/load.ts";
import { messageOf } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { readCases } from "./cases.ts";
import { configHost } from "./host.ts";

describe("a configuration file is accepted, or refused in Consul's words", () => {
  for (const { kind, title, input, outcome } of readCases("files.txt")) {
    it(`${kind}: ${title}`, async () => {
      const file = `f.${kind}`;
      const host = configHost({ [file]: input });
      const said = await loadConfig({ ...emptySources, files: [file], validateOnly: true }, host).then(
        () => "valid",
        (error: unknown) => messageOf(error),
      );
      assert.equal(said.trim(), outcome);
    });
  }
});
