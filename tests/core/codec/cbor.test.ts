import { decode, decodeInPlace, depthMax, encode, tryDecode } from "../../../core/codec/cbor.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { fc } from "../../support/property.ts";
import { assert, describe, it } from "../../support/harness.ts";

const bytes = (...values: number[]) => Uint8Array.from(values);

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = [value];
  return value;
}

describe("cbor", () => {
  it("a command with bytes, bigint flags and undefined fields comes back as it went in", () => {
    const command = {
      kind: "kv",
      op: { op: "cas", key: "config/ä", value: bytes(0, 1, 255), flags: 2n ** 64n - 1n, index: 2 ** 40 + 1 },
      now: 1_600_000_000_123,
      meta: undefined,
      none: null,
      list: [true, false, -1, 1.5, "", []],
    };
    assert.deepEqual(tryDecode(encode(command))?.value, command);
  });

  it("every plain value survives", () => {
    const plain = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.string(),
        fc.string({ unit: "binary" }).map((text) => text.replace(/[\ud800-\udfff]/g, "")),
        fc.integer(),
        fc.maxSafeInteger(),
        // Minus zero is written as zero.
        fc.double({ noNaN: true }).map((number) => number + 0),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.boolean(),
        fc.constant(null),
        fc.constant(undefined),
        fc.uint8Array({ maxLength: 300 }),
        fc.array(tie("value"), { maxLength: 30 }),
        fc.dictionary(
          fc.string().filter((key) => key !== "__proto__"),
          tie("value"),
          { noNullPrototype: true, maxKeys: 30 },
        ),
      ),
    })).value;
    fc.assert(
      fc.property(plain, (value) => assert.deepEqual(tryDecode(encode(value))?.value, value)),
      { numRuns: 300 },
    );
  });

  it("a map of more than 65535 keys survives", () => {
    const large = Object.fromEntries(Array.from({ length: 70_000 }, (_, at) => [`k${at}`, at]));
    assert.deepEqual(tryDecode(encode(large))?.value, large);
  });

  it("bytes decoded in place are views of what was read, and everything else is as ever", () => {
    const value = { key: "a", value: bytes(1, 2, 3), list: [bytes(), 2n ** 63n, undefined] };
    const encoded = encode(value);
    const decoded = decodeInPlace(encoded) as typeof value;
    assert.deepEqual(decoded, value);
    encoded[encoded.indexOf(3, encoded.indexOf(2))] = 9;
    assert.deepEqual([...decoded.value], [1, 2, 9]);
    assert.throws(() => decodeInPlace(bytes(0xc0, 0)), /Cannot decode a record: tag 0 is not allowed/);
  });

  it("decoded bytes are copies of what was read", () => {
    const encoded = encode({ data: bytes(1, 2, 3) });
    const decoded = (decode(encoded) as { data: Uint8Array }).data;
    encoded.fill(0);
    assert.deepEqual(decoded, bytes(1, 2, 3));
    assert.equal(decoded.constructor, Uint8Array);
    assert.equal(encoded.constructor, Uint8Array);
  });

  it("bytes encoded earlier do not change when more is encoded, large or small", () => {
    const kept: { value: unknown; encoded: Uint8Array; copy: Uint8Array }[] = [];
    for (let round = 0; round < 400; round++) {
      const value = { round, text: "x".repeat(round % 17 === 0 ? 30_000 : round) };
      const encoded = encode(value);
      kept.push({ value, encoded, copy: encoded.slice() });
    }
    for (const { value, encoded, copy } of kept) {
      assert.deepEqual(encoded, copy);
      assert.deepEqual(tryDecode(encoded)?.value, value);
    }
  });

  it("tags, records, indefinite lengths, odd keys, deep nesting, tails and cuts are refused", () => {
    const refused: [string, Uint8Array][] = [
      ["bignum", bytes(0xc2, 0x41, 1)],
      ["negative bignum", bytes(0xc3, 0x41, 1)],
      ["date", bytes(0xc1, 0x00)],
      ["set", bytes(0xd9, 1, 2, 0x80)],
      ["record", bytes(0xd9, 0xdf, 0xff, 0x83, 0x19, 0xe0, 0, 0x81, 0x61, 0x61, 1)],
      ["indefinite array", bytes(0x9f, 1, 0xff)],
      ["indefinite text", bytes(0x7f, 0x61, 0x61, 0xff)],
      ["number as key", bytes(0xa1, 1, 1)],
      ["huge array", bytes(0x9a, 0xff, 0xff, 0xff, 0xff)],
      ["huge map", bytes(0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
      ["huge text", bytes(0x7b, 0, 0, 0, 1, 0, 0, 0, 0)],
      ["tail", bytes(1, 1)],
      ["nothing", bytes()],
      ["simple value", bytes(0xe5)],
      ["deep", new Uint8Array(100_000).fill(0x81)],
    ];
    for (const [name, hostile] of refused) {
      assert.equal(tryDecode(hostile), undefined, name);
      assert.throws(() => decode(hostile, name), { code: "storage-failed" }, name);
    }
    const whole = encode({ a: [1, "two", bytes(3)], b: 2n ** 63n });
    for (let length = 0; length < whole.length; length++) assert.equal(tryDecode(whole.subarray(0, length)), undefined);
  });

  it("nesting is allowed up to the limit and refused beyond, both ways", () => {
    assert.deepEqual(tryDecode(encode(nested(depthMax)))?.value, nested(depthMax));
    assert.throws(() => encode(nested(depthMax + 1)), { code: "bad-request" });
    assert.throws(() => encode(nested(1_000_000)), { code: "bad-request" });
  });

  it("what is not plain data is not encoded", () => {
    for (const value of [
      new Set([1]),
      new Map([[1, 2]]),
      2n ** 64n,
      -(2n ** 64n) - 1n,
      () => 1,
      Symbol("s"),
      new Error("x"),
      /x/,
    ])
      assert.throws(() => encode(value), AgentError);
    assert.deepEqual(tryDecode(encode({ after: "an error" }))?.value, { after: "an error" });
  });

  it("random bytes are refused or decoded, never thrown at", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (random) => {
        tryDecode(random);
      }),
      { numRuns: 3000 },
    );
  });

  it("a damaged encoding is refused or decoded, never thrown at", () => {
    const whole = encode({
      kind: "kv",
      op: { key: "a", value: bytes(1, 2, 3), flags: 2n ** 60n },
      list: [1.5, -7, null, undefined],
    });
    for (let at = 0; at < whole.length; at++)
      for (let bit = 0; bit < 8; bit++) {
        const damaged = whole.slice();
        damaged[at] = (damaged[at] as number) ^ (1 << bit);
        tryDecode(damaged);
      }
  });
});
