import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fc } from "../../support/property.ts";
import { crc32 } from "../../../core/codec/checks.ts";
import { lzwDecode, lzwEncode } from "../../../core/codec/lzw.ts";
import { ceilLog10, ceilLog2, log10, log2 } from "../../../core/structures/log2.ts";
import { toHex, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { bytesOf } from "../swim/support.ts";

interface Case {
  readonly name: string;
  readonly hex: string;
  readonly decoded: { readonly inputHex?: string; readonly inputLen: number };
}

describe("lzw", () => {
  const cases: readonly Case[] = JSON.parse(
    readFileSync(join(process.env.TEST_ROOT as string, "tests/vectors/lzw.json"), "utf8"),
  );
  for (const { name, hex, decoded } of cases) {
    it(`reads and writes ${name} as Go does`, () => {
      const plain = lzwDecode(bytesOf(hex), 100_000);
      assert.equal(plain?.length, decoded.inputLen);
      if (decoded.inputHex !== undefined && decoded.inputHex.length === 2 * decoded.inputLen)
        assert.equal(toHex(plain as Uint8Array), decoded.inputHex);
      assert.equal(toHex(lzwEncode(plain as Uint8Array)), hex);
    });
  }

  it("any content goes there and back in both variants", () => {
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 2000 }),
      fc
        .tuple(fc.uint8Array({ minLength: 1, maxLength: 5 }), fc.nat(20_000))
        .map(([part, length]) => Uint8Array.from({ length }, (_, at) => part[at % part.length] as number)),
      fc
        .tuple(fc.nat(), fc.nat(30_000))
        .map(([seed, length]) => Uint8Array.from({ length }, (_, at) => (Math.imul(at + seed, 2654435761) >>> 16) & 255)),
    );
    fc.assert(
      fc.property(content, fc.boolean(), (plain, leadingClear) => {
        assert.deepEqual(lzwDecode(lzwEncode(plain, { leadingClear }), plain.length), new Uint8Array(plain));
      }),
    );
  });

  it("more than allowed, an early end and unassigned codes are refused", () => {
    const packed = lzwEncode(new Uint8Array(1000));
    assert.equal(lzwDecode(packed, 999), undefined);
    assert.equal(lzwDecode(packed.subarray(0, packed.length - 1), 1000), undefined);
    assert.equal(lzwDecode(new Uint8Array(0), 10), undefined);
    assert.equal(lzwDecode(Uint8Array.of(0xff, 0xff, 0xff), 10), undefined);
  });

  it("random bytes decode or are refused, and never to more than allowed", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 3000 }), (noise) => assert.ok((lzwDecode(noise, 500)?.length ?? 0) <= 500)));
  });
});

describe("checks", () => {
  it("crc32 is the IEEE one", () => {
    assert.equal(crc32(utf8("123456789")), 0xcbf43926);
    assert.equal(crc32(new Uint8Array(0)), 0);
  });
});

describe("logarithms", () => {
  it("agree with the engine's to nine digits, and exactly at powers", () => {
    for (let x = 1; x < 3000; x++) {
      assert.ok(Math.abs(log2(x) - Math.log2(x)) < 1e-9);
      assert.ok(Math.abs(log10(x) - Math.log10(x)) < 1e-9);
      assert.equal(ceilLog10(x), Math.ceil(Math.log10(x) - 1e-12) + 0);
      assert.equal(ceilLog2(x), Math.ceil(Math.log2(x) - 1e-12) + 0);
    }
    assert.equal(log2(1024), 10);
  });
});
