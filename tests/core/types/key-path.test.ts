import { joinKeyPath } from "../../../core/types/key-path.ts";
import { assert, describe, it } from "../../support/harness.ts";

describe("joinKeyPath", () => {
  const cases: readonly (readonly [parts: readonly string[], joined: string])[] = [
    [["a", ".lock"], "a/.lock"],
    [["", "s1", "job"], "s1/job"],
    [["a//b/", "s1"], "a/b/s1"],
    [["./a/./b", "c"], "a/b/c"],
    [["a/../b", "c"], "b/c"],
    [["../a", "b"], "../a/b"],
    [["../../a", "..", "b"], "../../b"],
    [["/a", "b"], "/a/b"],
    [["/../a", "b"], "/a/b"],
    [["a", ".."], "."],
    [["/", ".."], "/"],
    [["", ""], ""],
  ];
  for (const [parts, joined] of cases)
    it(`makes ${JSON.stringify(joined)} of ${JSON.stringify(parts)}`, () => assert.equal(joinKeyPath(...parts), joined));
});
