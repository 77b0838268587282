import { fc } from "../../support/property.ts";
import { parseInt64, parseUint64 } from "../../../plugins/cli/number-words.ts";
import { type Flags, parseFlags } from "../../../plugins/cli/flags.ts";
import { assert, describe, it } from "../../support/harness.ts";

const flags = {
  on: { kind: "bool", initial: false, help: "" },
  loud: { kind: "bool", initial: true, help: "", errorStyle: "strconv" },
  name: { kind: "string", initial: "x", help: "" },
  n: { kind: "int", initial: 3, help: "" },
  port: { kind: "int", initial: 0, help: "", errorStyle: "strconv" },
  big: { kind: "uint", initial: 0n, help: "" },
  wait: { kind: "duration", initial: 0, help: "" },
  tag: { kind: "list", help: "" },
  meta: { kind: "map", help: "" },
} as const satisfies Flags;

function parsed(...args: string[]) {
  const result = parseFlags(flags, args);
  assert.equal(result.kind, "parsed", result.kind === "invalid" ? result.message : "");
  return result as Extract<typeof result, { kind: "parsed" }>;
}

function problem(...args: string[]): string {
  const result = parseFlags(flags, args);
  return result.kind === "invalid" ? result.message : result.kind;
}

describe("flags", () => {
  it("a value follows its flag, after = or as the next word, behind one dash or two", () => {
    for (const args of [["-name", "v"], ["-name=v"], ["--name", "v"], ["--name=v"]])
      assert.equal(parsed(...args).values.name, "v");
  });

  it("the next word is the value, whatever it looks like", () => {
    assert.equal(parsed("-name", "-on").values.name, "-on");
    assert.equal(parsed("-name", "--").values.name, "--");
    assert.equal(parsed("-name", "a=b").values.name, "a=b");
    assert.equal(parsed("-name=a=b").values.name, "a=b");
    assert.equal(parsed("-name=").values.name, "");
    assert.equal(parsed("-n", "-5").values.n, -5);
  });

  it("a boolean never takes the next word", () => {
    assert.deepEqual([parsed("-on", "false").values.on, parsed("-on", "false").positional], [true, ["false"]]);
    assert.equal(parsed("-loud=false").values.loud, false);
    assert.equal(parsed("-on=T").values.on, true);
  });

  it("the first word that is no flag ends the flags, and -- is swallowed", () => {
    assert.deepEqual(parsed("-on", "a", "-name", "v").positional, ["a", "-name", "v"]);
    assert.deepEqual(parsed("-on", "--", "-name", "v").positional, ["-name", "v"]);
    assert.deepEqual(parsed("-", "-on").positional, ["-", "-on"]);
    assert.deepEqual(parsed("", "-on").positional, ["", "-on"]);
  });

  it("the last of a repeated flag wins, a list keeps all, a map keeps the last of each key", () => {
    assert.equal(parsed("-n=1", "-n=2").values.n, 2);
    assert.deepEqual(parsed("-tag", "a", "-tag=b").values.tag, ["a", "b"]);
    assert.deepEqual(parsed("-meta=a=1", "-meta=b==", "-meta=a=2").values.meta, { a: "2", b: "=" });
    assert.deepEqual(Object.keys(parsed("-meta=__proto__=1").values.meta), ["__proto__"]);
  });

  it("what was given is told apart from what was not, in order", () => {
    const { given, occurrences } = parsed("-name=x", "-on", "-tag", "a", "-tag=b");
    assert.deepEqual([...given], ["name", "on", "tag"]);
    assert.deepEqual(
      occurrences.map(({ name, value }) => `${name}=${value}`),
      ["name=x", "on=true", "tag=a", "tag=b"],
    );
  });

  it("integers are read in Go's notations, to all 64 bits", () => {
    assert.equal(parsed("-n=0x1F").values.n, 31);
    assert.equal(parsed("-n=-0b11").values.n, -3);
    assert.equal(parsed("-n=017").values.n, 15);
    assert.equal(parsed("-n=1_000").values.n, 1000);
    assert.equal(parsed("-big=18446744073709551615").values.big, 18446744073709551615n);
    assert.equal(parsed("-port=-1").values.port, -1);
  });

  it("durations are milliseconds", () => {
    assert.equal(parsed("-wait=1m30.5s").values.wait, 90_500);
  });

  it("errors are Go's", () => {
    assert.equal(problem("-zz"), "flag provided but not defined: -zz");
    assert.equal(problem("--zz=1"), "flag provided but not defined: -zz");
    assert.equal(problem("-toString"), "flag provided but not defined: -toString");
    assert.equal(problem("-name"), "flag needs an argument: -name");
    assert.equal(problem("---name"), "bad flag syntax: ---name");
    assert.equal(problem("-=v"), "bad flag syntax: -=v");
    assert.equal(problem("--=v"), "bad flag syntax: --=v");
    assert.equal(problem("-on=F1"), 'invalid boolean value "F1" for -on: parse error');
    assert.equal(problem("-on="), 'invalid boolean value "" for -on: parse error');
    assert.equal(
      problem("-loud=x\n"),
      'invalid boolean value "x\\n" for -loud: strconv.ParseBool: parsing "x\\n": invalid syntax',
    );
    assert.equal(problem("-n=x"), 'invalid value "x" for flag -n: parse error');
    assert.equal(problem("-n", ""), 'invalid value "" for flag -n: parse error');
    assert.equal(problem("-big=-1"), 'invalid value "-1" for flag -big: parse error');
    assert.equal(problem("-big=99999999999999999999"), 'invalid value "99999999999999999999" for flag -big: value out of range');
    assert.equal(problem("-port=0x1F"), 'invalid value "0x1F" for flag -port: strconv.Atoi: parsing "0x1F": invalid syntax');
    assert.equal(problem("-wait=1"), 'invalid value "1" for flag -wait: parse error');
    assert.equal(problem("-meta=x"), 'invalid value "x" for flag -meta: Missing "=" value in argument: x');
  });

  it("-h and -help ask for help, unless a value was expected", () => {
    assert.equal(problem("-h"), "help");
    assert.equal(problem("-on", "--help=1"), "help");
    assert.equal(parsed("-name", "-h").values.name, "-h");
    assert.deepEqual(parsed("a", "-h").positional, ["a", "-h"]);
  });

  const word = fc.oneof(
    fc.constantFrom(
      "-on",
      "--on",
      "-on=false",
      "-on=zz",
      "-name",
      "--name=a=b",
      "-tag",
      "-tag=",
      "-meta=a=b",
      "-meta",
      "-n=7",
      "-n",
      "-",
      "--",
      "---",
      "-=",
      "v",
      "",
      "7",
      "a=b",
      "-h",
      "-zz",
    ),
    fc.string({ unit: "binary", maxLength: 8 }),
  );

  it("any words give what a straightforward model of Go's rules gives", () => {
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), (words) => {
        const result = parseFlags(flags, words);
        const expected = model(words);
        if (result.kind !== "parsed")
          assert.equal(result.kind === "help" ? "help" : result.message.split(":")[0]?.split(" ")[0], expected);
        else assert.deepEqual({ occurrences: result.occurrences, positional: result.positional }, expected);
      }),
      { numRuns: 3000 },
    );
  });

  it("any word as a number is read as BigInt would read it, or refused", () => {
    const digits = fc.oneof(
      fc.bigInt({ min: -(1n << 65n), max: 1n << 65n }).map(String),
      fc.tuple(fc.constantFrom("0x", "0b", "0o", "-0X"), fc.nat().map(String)).map(([prefix, rest]) => prefix + rest),
      fc.string({ unit: fc.constantFrom("0", "1", "9", "f", "_", "x", "-", "+"), maxLength: 12 }),
    );
    fc.assert(
      fc.property(digits, (text) => {
        const signed = parseInt64(text);
        const unsigned = parseUint64(text);
        if (/^-?[1-9]\d*$/.test(text)) {
          const value = BigInt(text);
          assert.deepEqual(signed, BigInt.asIntN(64, value) === value ? { kind: "integer", value } : { kind: "range" });
        }
        if (unsigned.kind === "integer") assert.ok(unsigned.value >= 0n && unsigned.value < 1n << 64n);
        if (/[^0-9a-fA-FxXoObB_+-]|__|_$|^_/.test(text)) assert.equal(signed.kind, "syntax");
        if (unsigned.kind === "syntax" && signed.kind === "integer") assert.match(text, /^[+-]/);
      }),
      { numRuns: 2000 },
    );
  });
});

/** Go's rules written as plainly as possible: pop a word, decide, repeat. Errors by their first word. */
function model(words: readonly string[]): unknown {
  const occurrences: { name: string; value: string }[] = [];
  const rest = [...words];
  while (rest.length > 0) {
    const head = rest[0] as string;
    if (head === "" || head === "-" || head[0] !== "-") break;
    rest.shift();
    if (head === "--") break;
    const bare = head.replace(/^--?/, "");
    if (/^($|-|=)/.test(bare)) return "bad";
    const [name, ...values] = bare.split("=") as [string, ...string[]];
    const flag = (flags as Flags)[name];
    if (flag === undefined || !Object.keys(flags).includes(name)) return name === "h" || name === "help" ? "help" : "flag";
    const inline = values.length > 0 ? values.join("=") : undefined;
    const value = inline ?? (flag.kind === "bool" ? "true" : rest.shift());
    if (value === undefined) return "flag";
    const fits = {
      bool: () => /^(1|t|T|true|TRUE|True|0|f|F|false|FALSE|False)$/.test(value),
      int: () => /^[+-]?\d+$/.test(value) && Number(value) < 1e6 && !/^[+-]?0\d/.test(value),
      uint: () => /^\d+$/.test(value) && !/^0\d/.test(value),
      duration: () => value === "0",
      map: () => value.includes("="),
      string: () => true,
      list: () => true,
    };
    if (!fits[flag.kind]()) return "invalid";
    occurrences.push({ name, value });
  }
  return { occurrences, positional: rest };
}
