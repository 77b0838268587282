/** What the command line reads and writes, against arbitrary input. */
import { fc } from "../../support/property.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { entries } from "../../../plugins/cli/command-table.ts";
import { runCommandLine } from "../../../plugins/cli/command-line.ts";
import type { CliContext } from "../../../plugins/cli/context.ts";
import { formatJson, type Json, parseJson } from "../../../plugins/cli/json.ts";
import { nearest } from "../../../plugins/cli/nearest.ts";
import { compileRegexp } from "../../../plugins/cli/regexp.ts";
import { record, table } from "../../../plugins/cli/table.ts";
import { encodeQuery, escapeHost, escapePath } from "../../../core/codec/go-url.ts";
import { FakeHost, ScriptedHttpClient } from "../../support/fake-host.ts";
import { assert, describe, it } from "../../support/harness.ts";

describe("json", () => {
  it("reads whole numbers beyond 2^53 exactly, and only those as bigint", () => {
    assert.deepEqual(
      parseJson("[18446744073709551615, -9223372036854775808, 9007199254740993, 9007199254740991, 1e20, 1234567890123456.5]"),
      [18446744073709551615n, -9223372036854775808n, 9007199254740993n, 9007199254740991, 1e20, 1234567890123456.5],
    );
  });

  it("does not take a string for a number, whatever is in it", () => {
    const source =
      '{"#12345678901234567890": "12345678901234567890", "=": ["#12345678901234567890", "\\u002312345678901234567890", "a\\"1234567890123456789"], "n": 12345678901234567890}';
    assert.deepEqual(parseJson(source), {
      "#12345678901234567890": "12345678901234567890",
      "=": ["#12345678901234567890", "#12345678901234567890", 'a"1234567890123456789'],
      n: 12345678901234567890n,
    });
  });

  it("explains failures in Go's words, with large integers around or not", () => {
    assert.throws(() => parseJson("["), { message: "unexpected end of JSON input" });
    assert.throws(() => parseJson('[12345678901234567890 "a 12345678901234567890'), {
      message: "invalid character '\"' after array element",
    });
    assert.throws(() => parseJson("[01234567890123456789]"), { message: "invalid character '1' after array element" });
  });

  it("what was written reads back the same", () => {
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.constant(null),
        fc.boolean(),
        fc.string({ unit: "binary" }),
        fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n }),
        tie("list"),
        tie("object"),
      ),
      list: fc.array(tie("value")),
      object: fc.dictionary(fc.string(), tie("value")),
    }));
    fc.assert(
      fc.property(value, (generated) => {
        const exact = normal(generated as Json);
        assert.deepEqual(parseJson(formatJson(exact, "\t")), exact);
      }),
    );
  });

  it("any text is read or refused", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string({ unit: fc.constantFrom("[", "]", "{", "}", '"', "\\", ":", ",", "1234567890123456", "e", ".", "-") }),
    );
    fc.assert(
      fc.property(text, (source) => {
        try {
          parseJson(source);
        } catch (error) {
          assert.ok(error instanceof AgentError, String(error));
        }
      }),
      { numRuns: 1000 },
    );
  });
});

/** Integers as the reader gives them; an object's keys in the order an object can keep. */
function normal(value: Json): Json {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(normal);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, normal(member)]));
}

describe("url", () => {
  it("escapes what Go escapes", () => {
    assert.equal(escapePath("/v1/kv/a b?c#d%é!*()'"), "/v1/kv/a%20b%3Fc%23d%25%C3%A9%21%2A%28%29%27");
    assert.equal(escapePath("-_.~$&+,/:;=@"), "-_.~$&+,/:;=@");
    assert.equal(encodeQuery({ z: "a b", a: ["1", "&"], e: "" }), "?a=1&a=%26&e=&z=a+b");
    assert.equal(encodeQuery({}), "");
    assert.equal(escapeHost("/tmp/consul.sock"), "%2Ftmp%2Fconsul.sock");
    assert.equal(escapeHost("[::1]:8500"), "[::1]:8500");
  });

  it("any text survives the way through a path and a query", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        assert.equal(decodeURIComponent(escapePath(text)), text);
        assert.equal(new URLSearchParams(encodeQuery({ key: text })).get("key"), text);
      }),
    );
  });
});

describe("tables", () => {
  it("pads by characters, not by bytes or UTF-16 units, and not the last column", () => {
    assert.equal(
      table([
        ["a", "b", "c"],
        ["é𝒳", "", " trimmed "],
      ]),
      "a   b  c\né𝒳     trimmed",
    );
    assert.equal(
      record([
        ["Key", "a"],
        ["CreateIndex", ""],
      ]),
      "Key              a\nCreateIndex      ",
    );
  });
});

describe("nearest", () => {
  it("finds a slip of the finger and nothing else", () => {
    const commands = ["members", "monitor", "join", "kv", "leave"];
    assert.equal(nearest("memebrs", commands), "members");
    assert.equal(nearest("mambers", commands), "members");
    assert.equal(nearest("jion", commands), "join");
    assert.equal(nearest("kvv", commands), "kv");
    assert.equal(nearest("zzzzzz", commands), undefined);
    assert.equal(nearest("x", commands), undefined);
  });
});

describe("regular expressions", () => {
  it("honours flags in front and explains failures as Go does", () => {
    const compiled = compileRegexp("(?i)^ALIVE$");
    assert.ok("test" in compiled && compiled.test("alive") && !compiled.test("alive!"));
    const errors = [
      ["[", "missing closing ]: `[`"],
      ["a(", "missing closing ): `a(`"],
      ["a)", "unexpected ): `a)`"],
      ["*", "missing argument to repetition operator: `*`"],
      ["a\\", "trailing backslash at end of expression: ``"],
    ] as const;
    for (const [source, error] of errors) assert.deepEqual(compileRegexp(source), { error: `error parsing regexp: ${error}` });
  });

  it("any text compiles or is explained", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (source) => void compileRegexp(source)));
  });
});

describe("the program", () => {
  it("any words end in an exit code, and in words on standard error unless that is 0 or 2", async () => {
    const words = fc.array(
      fc.oneof(
        fc.constantFrom(
          ...[...entries.keys()].flatMap((path) => path.split(" ")),
          "-h",
          "--",
          "-stale",
          "-zz",
          "-key=a",
          "-enable",
        ),
        fc.string({ maxLength: 6 }),
      ),
      { maxLength: 5 },
    );
    await fc.assert(
      fc.asyncProperty(words, async (argv) => {
        const host = new FakeHost({ argv });
        const crypto = { randomBytes: (length: number) => new Uint8Array(length) };
        const clock = { after: () => ({ cancel: () => undefined }) };
        const context = { argv, host, httpClient: new ScriptedHttpClient([]), crypto, clock, runAgent: () => Promise.resolve(0) };
        const code = await runCommandLine(context as unknown as CliContext);
        assert.ok([0, 1, 2, 127].includes(code), String(code));
        if (code === 1 || code === 127) assert.notEqual(host.written.stderr, "");
      }),
      { numRuns: 1000 },
    );
  });

  it("every command that is built explains itself, with an example", async () => {
    for (const entry of entries.values()) {
      if (typeof entry.does !== "function") continue;
      const command = await entry.does();
      assert.ok(command.usage.startsWith(`consul ${entry.path}`), entry.path);
      assert.ok(command.description.trim().length > 0 && command.examples.length > 0, entry.path);
      for (const [name, flag] of Object.entries(command.flags)) assert.match(flag.help, /\.$|['"`)]$/, `${entry.path} -${name}`);
    }
  });
});
