import { fc } from "../../support/property.ts";
import { formatDuration, parseDuration } from "../../../core/config/duration.ts";
import { goQuote } from "../../../core/config/go-text.ts";
import { type HclValue, parseHcl } from "../../../core/config/hcl.ts";
import { parseJson } from "../../../core/config/json.ts";
import { emptySources, loadConfig } from "../../../core/config/load.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { configHost } from "./host.ts";

/** A list of one object for each object, which is how HCL sees blocks. */
describe("HCL becomes plain values", () => {
  const cases: readonly (readonly [string, string, HclValue])[] = [
    [
      "literals",
      'a = 1 b = -2.5 c = true d = "x" e = 0x1F f = 017 g = 1e3',
      { a: 1, b: -2.5, c: true, d: "x", e: 31, f: 15, g: 1000 },
    ],
    ["a block", "a { b = 1 }", { a: [{ b: 1 }] }],
    ["a block that is assigned", "a = { b = 1 }", { a: [{ b: 1 }] }],
    ["repeated blocks", "a { b = 1 } a { b = 2 }", { a: [{ b: 1 }, { b: 2 }] }],
    ["labels", 'a "x" "y" { b = 1 }', { a: [{ x: [{ y: [{ b: 1 }] }] }] }],
    ["repeated labels", 'a "x" { b = 1 } a "z" { b = 2 }', { a: [{ x: [{ b: 1 }] }, { z: [{ b: 2 }] }] }],
    ["lists", 'a = [1, "x", [true], { b = 2 }]', { a: [1, "x", [true], { b: 2 }] }],
    ["repeated lists", "a = [1] a = [2]", { a: [1, 2] }],
    ["empty ones", "a {} b = [] c = {}", { a: [{}], b: [], c: [{}] }],
    ["a heredoc", "a = <<X\none\n two\nX\n", { a: "one\n two\n" }],
    ["an indented heredoc", "a = <<-X\n    one\n      two\n    X\n", { a: "one\n  two\n" }],
    ["an indented heredoc with a line less indented", "a = <<-X\n  one\n      two\n    X\n", { a: "  one\n      two\n" }],
    ["escapes", String.raw`a = "\t\n\"\\\x41\101\u00e9\U0001F600"`, { a: '\t\n"\\AA\u00e9\u{1F600}' }],
    ["interpolations as they are", String.raw`a = "${"${"}x("\n")} \\"`, { a: String.raw`${"${"}x("\n")} \ `.trimEnd() }],
    ["JSON", '{"a": {"b": [1, null]}}', { a: { b: [1, null] } }],
    ["names of every object", '__proto__ = "x" constructor { a = 1 }', JSON.parse('{"__proto__":"x","constructor":[{"a":1}]}')],
  ];
  for (const [title, text, value] of cases) it(title, () => assert.deepEqual(parseHcl(text), value));

  it("any JSON object reads the same in HCL", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 })), (object) => {
        const text = JSON.stringify(object);
        assert.deepEqual(parseHcl(text), JSON.parse(text));
      }),
    );
  });

  it("nesting beyond the limit is refused, in both languages", () => {
    assert.throws(() => parseHcl(`a = ${"[".repeat(100_000)}`), AgentError);
    assert.throws(() => parseHcl("a {".repeat(100_000)), AgentError);
    assert.throws(() => parseJson("[".repeat(100_000)), { message: "exceeded max depth" });
  });

  it("any text is read or refused, never crashed on", () => {
    const bits = [
      "a",
      "=",
      "{",
      "}",
      "[",
      "]",
      ",",
      '"',
      "\\",
      "${",
      "<<X\n",
      "<<-X\n",
      "X\n",
      "\n",
      "1",
      "0x",
      ".",
      "e",
      "-",
      "/*",
      "*/",
      "//",
      "#",
      "true",
      "\0",
      " ",
    ];
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(fc.constantFrom(...bits), { maxLength: 40 }).map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(text, (source) => {
        try {
          parseHcl(source);
        } catch (error) {
          assert.ok(error instanceof AgentError && error.code === "bad-request", String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("any bytes as a file are a configuration or refused as one", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), fc.constantFrom("f.hcl", "f.json"), async (bytes, name) => {
        try {
          await loadConfig({ ...emptySources, devMode: true, files: [name] }, configHost({ [name]: bytes }));
        } catch (error) {
          assert.ok(error instanceof AgentError && error.code === "config-invalid", String(error));
        }
      }),
    );
  });
});

describe("JSON", () => {
  it("reads what JSON.parse reads, to the same values", () => {
    fc.assert(fc.property(fc.json(), (text) => assert.deepEqual(parseJson(text), JSON.parse(text))));
  });

  it("refuses what JSON.parse refuses, and numbers beyond all floats", () => {
    assert.throws(() => parseJson("1e400"), { message: "json: cannot unmarshal number 1e400 into Go value of type float64" });
    const damaged = fc.tuple(fc.json(), fc.nat(), fc.string({ maxLength: 2 })).map(([text, at, other]) => {
      const cut = at % (text.length + 1);
      return text.slice(0, cut) + other + text.slice(cut + 1);
    });
    fc.assert(
      fc.property(fc.oneof(damaged, fc.string()), (text) => {
        fc.pre(!/e\+?\d{3}/i.test(text));
        assert.equal(
          readable(() => parseJson(text)),
          readable(() => JSON.parse(text)),
          text,
        );
      }),
      { numRuns: 2000 },
    );
  });

  it("of a request body is the first value; an early end is told as Go's decoder tells it", () => {
    const first = (text: string): unknown => parseJson(text, { extent: "first" });
    assert.deepEqual(first('{"a":1} zzz'), { a: 1 });
    for (const text of ["{", '{"a', "[1,", "tru", "-", '"\\u1']) assert.throws(() => first(text), { message: "unexpected EOF" });
    for (const text of ["", " \n"]) assert.throws(() => first(text), { message: "EOF" });
    assert.throws(() => first('{"a":1,}'), { message: "invalid character '}' looking for beginning of object key string" });
  });

  function readable(read: () => unknown): boolean {
    try {
      read();
      return true;
    } catch {
      return false;
    }
  }
});

describe("durations", () => {
  const good: readonly (readonly [string, number])[] = [
    ["0", 0],
    ["5s", 5000],
    ["1h15m30.918s", 4530918],
    ["-1.5h", -5400000],
    ["+.5s", 500],
    ["1.s", 1000],
    ["300ms", 300],
    ["1us", 0.001],
    ["1µs", 0.001],
    ["1μs", 0.001],
    ["1ns", 0.000001],
    ["87600h", 315360000000],
  ];
  for (const [text, millis] of good)
    it(`${text} is read`, () => assert.deepEqual(parseDuration(text), { kind: "duration", millis }));

  const bad: readonly (readonly [string, string])[] = [
    ["", 'time: invalid duration ""'],
    ["zz", 'time: invalid duration "zz"'],
    ["-", 'time: invalid duration "-"'],
    [".s", 'time: invalid duration ".s"'],
    [" 5s", 'time: invalid duration " 5s"'],
    ["5", 'time: missing unit in duration "5"'],
    ["1h5", 'time: missing unit in duration "1h5"'],
    ["5d", 'time: unknown unit "d" in duration "5d"'],
    ["5s ", 'time: unknown unit "s " in duration "5s "'],
    ["9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'],
    ["10000000h", 'time: invalid duration "10000000h"'],
  ];
  for (const [text, problem] of bad)
    it(`"${text}" is refused`, () => assert.deepEqual(parseDuration(text), { kind: "invalid", problem }));

  const shown: readonly (readonly [number, string])[] = [
    [0, "0s"],
    [1500, "1.5s"],
    [300, "300ms"],
    [0.001, "1µs"],
    [0.0015, "1.5µs"],
    [0.000001, "1ns"],
    [120_000, "2m0s"],
    [315360000000, "87600h0m0s"],
    [-61_500, "-1m1.5s"],
  ];
  for (const [millis, text] of shown) it(`${millis} ms is shown as ${text}`, () => assert.equal(formatDuration(millis), text));

  it("any whole number of milliseconds survives being shown and read", () => {
    fc.assert(
      fc.property(fc.integer(), (millis) =>
        assert.deepEqual(parseDuration(formatDuration(millis)), { kind: "duration", millis: millis || 0 }),
      ),
    );
  });

  it("any text is read or refused, never crashed on", () => {
    fc.assert(fc.property(fc.string(), (text) => void parseDuration(text)));
  });
});

it("a quoted string is as Go's %q shows it", () => {
  assert.equal(goQuote('a"\\\n\x01\x7f é\u200b\u{1F600}\u{E0001}'), '"a\\"\\\\\\n\\x01\\x7f é\\u200b\u{1F600}\\U000e0001"');
});
