import { fc } from "../../support/property.ts";
import { createCrypto } from "../../../adapters/node-api/crypto.ts";
import { open, seal } from "../../../adapters/shared/aes-gcm.ts";
import { fromHex, toHex } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";

const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });

describe("AES-GCM in TypeScript", () => {
  it("gives the GCM specification's test cases 4, 10 and 16: keys of 128, 192 and 256 bits", () => {
    const key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    const plain =
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    for (const [length, tag] of [
      [16, "5bc94fbc3221a5db94fae95ae7121a47"],
      [24, "2519498e80f1478f37ba55bd6d27618c"],
      [32, "76fc6ece0f4e1768cddf8853bb2d551b"],
    ] as const) {
      const hex = (text: string): Uint8Array => fromHex(text) as Uint8Array;
      const sealed = seal(
        hex(key).slice(0, length),
        hex("cafebabefacedbaddecaf888"),
        hex(plain),
        hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
      );
      assert.equal(toHex(sealed.slice(-16)), tag);
    }
  });

  it("seals as the platform does, and opens what it sealed", () => {
    const crypto = createCrypto();
    const key = fc.oneof(bytes(16), bytes(32));
    fc.assert(
      fc.property(
        key,
        bytes(12),
        fc.uint8Array({ maxLength: 100 }),
        fc.uint8Array({ maxLength: 40 }),
        (key, nonce, plain, extra) => {
          const sealed = seal(key, nonce, plain, extra);
          assert.deepEqual(sealed, crypto.seal(key, nonce, plain, extra));
          assert.deepEqual(open(key, nonce, sealed, extra), new Uint8Array(plain));
        },
      ),
      { numRuns: 50 },
    );
  });

  it("opens nothing that was changed or cut", () => {
    fc.assert(
      fc.property(bytes(24), bytes(12), fc.uint8Array({ maxLength: 40 }), fc.nat(), (key, nonce, plain, where) => {
        const sealed = seal(key, nonce, plain, nonce);
        const broken = sealed.slice();
        (broken[where % broken.length] as number) ^= 1 << (where % 8);
        assert.equal(open(key, nonce, broken, nonce), undefined);
        assert.equal(open(key, nonce, sealed.slice(0, where % sealed.length), nonce), undefined);
      }),
      { numRuns: 30 },
    );
  });
});
