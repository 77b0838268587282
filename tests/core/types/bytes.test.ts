import { fc } from "../../support/property.ts";
import { compareBytes, fromBase64, fromHex, toBase64, toHex } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";

describe("bytes", () => {
  it("base64 of any bytes is the platform's, and decodes to the same bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const encoded = toBase64(bytes);
        assert.equal(encoded, Buffer.from(bytes).toString("base64"));
        assert.deepEqual(fromBase64(encoded), { bytes: new Uint8Array(bytes) });
      }),
    );
  });

  it("broken base64 names the offset that Go names: of the first bad byte, or of the group that is cut short", () => {
    const broken: readonly (readonly [string, number])[] = [
      ["zz!", 2],
      ["!", 0],
      ["QQ", 0],
      ["aGkxaG", 4],
      ["a=", 1],
      ["aG=", 3],
      ["aG=k", 2],
      ["aGk==", 4],
      ["aGkx=", 4],
    ];
    for (const [encoded, badAt] of broken) assert.deepEqual(fromBase64(encoded), { badAt }, encoded);
  });

  it("any text given to the base64 decoder is answered, never thrown at", () => {
    fc.assert(fc.property(fc.string(), (encoded) => void fromBase64(encoded)));
  });

  it("hex goes there and back", () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => assert.deepEqual(fromHex(toHex(bytes)), new Uint8Array(bytes))));
    assert.equal(fromHex("abc"), undefined);
    assert.equal(fromHex("zz"), undefined);
  });

  it("comparison orders as Buffer.compare does", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (left, right) =>
        assert.equal(Math.sign(compareBytes(left, right)), Buffer.compare(left, right)),
      ),
    );
  });
});
