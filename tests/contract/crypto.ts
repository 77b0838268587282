import { fromHex, toHex, utf8 } from "../../core/types/bytes.ts";
import { uuid } from "../../core/ports/crypto.ts";
import { assert, describe } from "../support/harness.ts";
import { claim, pattern, type Subject } from "./subject.ts";

const hex = (text: string): Uint8Array => fromHex(text) ?? assert.fail(`no hex: ${text}`);

export function cryptoContract(subject: Subject): void {
  const { crypto } = subject.runtime;
  describe(`crypto of ${subject.name}`, () => {
    claim(subject, "digests are those of RFC 1321 and FIPS 180-4", async () => {
      assert.equal(toHex(crypto.md5(utf8("abc"))), "900150983cd24fb0d6963f7d28e17f72");
      assert.equal(toHex(crypto.sha256(utf8("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
      assert.equal(toHex(crypto.sha256(new Uint8Array(0))), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    });

    claim(subject, "sealing gives ciphertext and tag of the GCM specification's test case 4", async () => {
      const sealed = crypto.seal(
        hex("feffe9928665731c6d6a8f9467308308"),
        hex("cafebabefacedbaddecaf888"),
        hex(
          "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        ),
        hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
      );
      assert.equal(
        toHex(sealed),
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091" +
          "5bc94fbc3221a5db94fae95ae7121a47",
      );
    });

    claim(subject, "what was sealed opens with the same key, nonce and extra, for every key length", async () => {
      for (const keyLength of [16, 24, 32]) {
        for (const length of [0, 1, 1000]) {
          const [key, nonce, extra] = [crypto.randomBytes(keyLength), crypto.randomBytes(12), crypto.randomBytes(5)];
          const sealed = crypto.seal(key, nonce, pattern(length), extra);
          assert.equal(sealed.length, length + 16);
          assert.deepEqual(crypto.open(key, nonce, sealed, extra), pattern(length));
        }
      }
    });

    claim(subject, "a changed bit, other extra bytes, another key or too few bytes do not open, and do not throw", async () => {
      const [key, nonce, extra] = [crypto.randomBytes(16), crypto.randomBytes(12), utf8("extra")];
      const sealed = crypto.seal(key, nonce, pattern(40), extra);
      for (let at = 0; at < sealed.length; at++) {
        const broken = sealed.slice();
        broken[at]! ^= 1;
        assert.equal(crypto.open(key, nonce, broken, extra), undefined);
      }
      assert.equal(crypto.open(key, nonce, sealed, utf8("other")), undefined);
      assert.equal(crypto.open(crypto.randomBytes(16), nonce, sealed, extra), undefined);
      for (const length of [0, 1, 15, 16]) assert.equal(crypto.open(key, nonce, sealed.slice(0, length), extra), undefined);
      assert.equal(crypto.open(key, utf8("short"), sealed, extra), undefined);
    });

    claim(subject, "random bytes have their length and do not repeat; results are plain Uint8Arrays", async () => {
      assert.equal(crypto.randomBytes(0).length, 0);
      assert.notDeepEqual(crypto.randomBytes(32), crypto.randomBytes(32));
      for (const bytes of [crypto.randomBytes(8), crypto.md5(utf8("")), crypto.sha256(utf8(""))])
        assert.equal(bytes.constructor, Uint8Array);
      assert.match(uuid(crypto), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    });
  });
}
