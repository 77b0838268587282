import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fc } from "../../support/property.ts";
import { compileRegex } from "../../../core/structures/linear-regex.ts";
import { assert, describe, it } from "../../support/harness.ts";

const cases = readFileSync(join(process.env.TEST_ROOT as string, "tests/cases/regex.txt"), "utf8");

function compiled(pattern: string) {
  const result = compileRegex(pattern);
  assert.ok("regex" in result, pattern);
  return result.regex;
}

/** Parts that mean the same to Go and to JavaScript. */
const part = fc.constantFrom(
  "a",
  "b",
  "[ab]",
  "[^a]",
  "(a|b)",
  "(?:ab)",
  ".",
  "^",
  "$",
  "\\b",
  "\\d",
  "\\w",
  "a*",
  "b+",
  "a?",
  "a{2}",
  "[a-c]{1,2}",
  "(?:a|bc)*",
);

describe("linear regular expressions", () => {
  for (const line of cases.split("\n")) {
    const [pattern, text, outcome] = line.split("\t");
    if (pattern === undefined || text === undefined) continue;
    it(`${pattern} against ${JSON.stringify(text)}: ${outcome}`, () => {
      const result = compileRegex(pattern);
      const actual =
        "fault" in result ? result.fault : result.regex.test(text.replaceAll("\\n", "\n")) ? "matches" : "does not match";
      assert.equal(actual, outcome);
    });
  }

  it("agree with JavaScript's on what both understand", () => {
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 5 }),
        fc.string({ unit: fc.constantFrom("a", "b", "c", "1", " ", "é"), maxLength: 8 }),
        (parts, text) => {
          const pattern = parts.join("");
          assert.equal(compiled(pattern).test(text), new RegExp(pattern, "u").test(text), `${pattern} ${text}`);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("take time linear in the text where backtracking would take forever", () => {
    const text = `${"a".repeat(5000)}b`;
    assert.equal(compiled("(a+)+$").test(text), false);
    assert.equal(compiled("(a|aa|a?)*c").test(text), false);
    assert.equal(compiled("(?:(?:(?:a*)*)*)*c").test(text), false);
  });

  it("refuse a program that grows too large, and too deep a nest", () => {
    const large = compileRegex("(abcdefgh){900}");
    assert.ok("fault" in large && large.fault.includes("expression too large"));
    const deep = compileRegex("(".repeat(10_000));
    assert.ok("fault" in deep);
  });

  it("answer or refuse any text, never throwing", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 30 }), fc.string({ unit: "binary", maxLength: 20 }), (pattern, text) => {
        const result = compileRegex(pattern);
        if ("regex" in result) assert.equal(typeof result.regex.test(text), "boolean");
        else assert.match(result.fault, /^error parsing regexp: /);
      }),
    );
    const odd = fc.string({ unit: fc.constantFrom(..."()[]{}?*+|\\^$.-:<>PpQExi1,a"), maxLength: 15 });
    fc.assert(
      fc.property(odd, (pattern) => {
        const result = compileRegex(pattern);
        if ("regex" in result) result.regex.test("aPx1");
      }),
      { numRuns: 2000 },
    );
  });
});
