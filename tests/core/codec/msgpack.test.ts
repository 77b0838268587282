import { fc } from "../../support/property.ts";
import { decode, depthMax, type Encodable, encode, Float, Malformed, type Value } from "../../../core/codec/msgpack.ts";
import { sourceOf, ValueReader } from "../../../core/codec/value-stream.ts";
import { text, toHex, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { bytesOf } from "../swim/support.ts";

const hexOf = (value: Encodable) => toHex(encode(value));

describe("msgpack", () => {
  it("writes each integer in its smallest form", () => {
    const forms: [number | bigint, string][] = [
      [0, "00"],
      [127, "7f"],
      [128, "cc80"],
      [255, "ccff"],
      [256, "cd0100"],
      [65535, "cdffff"],
      [65536, "ce00010000"],
      [4294967295, "ceffffffff"],
      [4294967296, "cf0000000100000000"],
      [18446744073709551615n, "cfffffffffffffffff"],
      [5n, "05"],
      [-1, "ff"],
      [-32, "e0"],
      [-33, "d0df"],
      [-128, "d080"],
      [-129, "d1ff7f"],
      [-32769, "d2ffff7fff"],
      [-2147483649, "d3ffffffff7fffffff"],
      [-9223372036854775808n, "d38000000000000000"],
    ];
    for (const [value, hex] of forms) {
      assert.equal(hexOf(value), hex);
      const back = decode(bytesOf(hex));
      assert.equal(BigInt(back as number), BigInt(value));
    }
  });

  it("writes strings and bytes alike as raw, never as str8 or bin", () => {
    assert.equal(hexOf(""), "a0");
    assert.equal(hexOf("node"), "a46e6f6465");
    assert.equal(hexOf(new Uint8Array(0)), "a0");
    assert.equal(hexOf("x".repeat(31)).slice(0, 2), "bf");
    assert.equal(hexOf("x".repeat(32)).slice(0, 6), "da0020");
    assert.equal(hexOf(new Uint8Array(130)).slice(0, 6), "da0082");
    assert.equal(hexOf(new Uint8Array(65536)).slice(0, 10), "db00010000");
    assert.equal(hexOf("ä"), "a2c3a4");
  });

  it("writes str8 and bin8 when asked for the new dialect", () => {
    assert.equal(toHex(encode("x".repeat(36), { dialect: "new" })).slice(0, 4), "d924");
    assert.equal(toHex(encode(new Uint8Array(8), { dialect: "new" })), "c4080000000000000000");
  });

  it("writes a struct's keys in ascending order and leaves undefined out", () => {
    assert.equal(hexOf({ b: 1, a: null, c: undefined }), "82a161c0a16201");
  });

  it("writes whole floats as floats when told so", () => {
    assert.equal(hexOf(new Float(0)), "cb0000000000000000");
    assert.equal(hexOf(0.5), "cb3fe0000000000000");
  });

  it("reads str, bin and raw as the same bytes, and any key order", () => {
    for (const hex of [
      "a3616263",
      "d903616263",
      "da0003616263",
      "db00000003616263",
      "c403616263",
      "c50003616263",
      "c600000003616263",
    ]) {
      assert.equal(text(decode(bytesOf(hex)) as Uint8Array), "abc");
    }
    assert.deepEqual(
      decode(bytesOf("82a16201a161c0")),
      new Map<string, Value>([
        ["b", 1],
        ["a", null],
      ]),
    );
    assert.deepEqual(decode(bytesOf("de0001a161c3")), new Map([["a", true]]));
  });

  it("skips extensions and reads them as nil", () => {
    assert.deepEqual(decode(bytesOf("93d40100c702010000c0")), [null, null, null]);
  });

  it("refuses lengths its input does not hold, before making room for them", () => {
    for (const hex of [
      "ddffffffff",
      "dfffffffff",
      "dbffffffff00",
      "c6ffffffff",
      "dc000100".slice(0, 6),
      "91",
      "81a161",
      "cc",
      "cb00",
      "",
    ]) {
      assert.throws(() => decode(bytesOf(hex)), Malformed, hex);
    }
  });

  it("refuses what follows the value, unknown types, keys that are no strings, and bottomless nesting", () => {
    assert.throws(() => decode(bytesOf("0101")), /follow/);
    assert.throws(() => decode(bytesOf("c1")), /unknown type 0xc1/);
    assert.throws(() => decode(bytesOf("810101")), /key/);
    assert.throws(() => decode(new Uint8Array(100_000).fill(0x91)), /deep/);
    let nested: Encodable = 1;
    for (let depth = 0; depth <= depthMax; depth++) nested = [nested];
    assert.throws(() => encode(nested), /deep/);
  });

  const encodable: fc.Arbitrary<Encodable> = fc.letrec<{ value: Encodable }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constant(null),
      fc.boolean(),
      fc.maxSafeInteger(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => new Float(value)),
      fc.uint8Array({ maxLength: 300 }),
      fc.array(tie("value"), { maxLength: 20 }),
      fc.dictionary(fc.string(), tie("value"), { maxKeys: 20 }).map((fields) => new Map(Object.entries(fields))),
    ),
  })).value;

  /** What `decode` gives for what `encode` was given. */
  const decodedForm = (value: Encodable): Value => {
    if (value instanceof Float) return value.value;
    if (typeof value === "bigint" && Number.isSafeInteger(Number(value))) return Number(value);
    if (typeof value === "string") return utf8(value);
    if (value instanceof Uint8Array) return new Uint8Array(value);
    if (Array.isArray(value)) return value.map(decodedForm);
    if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, decodedForm(item)]));
    return value as Value;
  };

  it("any value goes there and back, whole and in pieces", async () => {
    await fc.assert(
      fc.asyncProperty(encodable, fc.integer({ min: 1, max: 50 }), async (value, chunk) => {
        const bytes = encode(value);
        assert.deepEqual(decode(bytes), decodedForm(value));
        const twice = [...bytes, ...bytes];
        const reader = new ValueReader({
          read: () => Promise.resolve(twice.length > 0 ? Uint8Array.from(twice.splice(0, chunk)) : undefined),
        });
        assert.deepEqual(await reader.value(bytes.length), decodedForm(value));
        assert.deepEqual(await reader.value(bytes.length), decodedForm(value));
        assert.equal(await reader.value(1), undefined);
      }),
    );
  });

  it("random bytes decode or are malformed, whole and from a stream", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (noise) => {
        let whole: Value | undefined;
        try {
          whole = decode(noise);
        } catch (error) {
          assert.ok(error instanceof Malformed);
        }
        try {
          const first = await new ValueReader(sourceOf(noise)).value(1000);
          if (whole !== undefined) assert.deepEqual(first, whole);
        } catch (error) {
          assert.ok(error instanceof Malformed && whole === undefined);
        }
      }),
    );
  });

  it("a value larger than allowed is refused as soon as its length is known", async () => {
    await assert.rejects(new ValueReader(sourceOf(bytesOf("da1000"))).value(4096), /larger than 4096/);
    await assert.rejects(new ValueReader(sourceOf(bytesOf("ddffffffff"))).value(4096), /larger than 4096/);
  });
});
