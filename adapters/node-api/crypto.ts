import type { CipherGCMTypes } from "node:crypto";
import type { Crypto } from "../../core/ports/crypto.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { assert } from "../../core/types/errors.ts";
import * as aesGcm from "../shared/aes-gcm.ts";
import { builtin } from "./builtin.ts";

const crypto = builtin<typeof import("node:crypto")>("node:crypto");

const tagLength = 16;
const nonceLength = 12;

/** Deno's node:crypto knows AES-GCM with keys of 16 and 32 bytes only. */
const hasAes192 = !("Deno" in globalThis);

/** `Crypto` over node:crypto, which computes at once on Node, Bun and Deno. */
export function createCrypto(): Crypto {
  return {
    randomBytes: (length) => plain(crypto().randomBytes(length)),
    md5: (content) => plain(crypto().createHash("md5").update(content).digest()),
    sha256: (content) => plain(crypto().createHash("sha256").update(content).digest()),
    seal(key, nonce, content, extra) {
      assert(nonce.length === nonceLength, "the nonce is of 12 bytes");
      if (key.length === 24 && !hasAes192) return aesGcm.seal(key, nonce, content, extra);
      const cipher = crypto().createCipheriv(cipherOf(key), key, nonce);
      cipher.setAAD(extra);
      const head = cipher.update(content);
      const tail = cipher.final();
      const sealed = new Uint8Array(head.length + tail.length + tagLength);
      sealed.set(head);
      sealed.set(tail, head.length);
      sealed.set(cipher.getAuthTag(), head.length + tail.length);
      return sealed;
    },
    open(key, nonce, sealed, extra) {
      if (nonce.length !== nonceLength || sealed.length < tagLength) return undefined;
      if (key.length === 24 && !hasAes192) return aesGcm.open(key, nonce, sealed, extra);
      const decipher = crypto().createDecipheriv(cipherOf(key), key, nonce);
      decipher.setAAD(extra);
      decipher.setAuthTag(sealed.subarray(sealed.length - tagLength));
      const content = decipher.update(sealed.subarray(0, sealed.length - tagLength));
      try {
        decipher.final();
      } catch {
        return undefined;
      }
      return plain(content);
    },
  };
}

function cipherOf(key: Bytes): CipherGCMTypes {
  assert(key.length === 16 || key.length === 24 || key.length === 32, "the key is of 16, 24 or 32 bytes");
  return key.length === 16 ? "aes-128-gcm" : key.length === 24 ? "aes-192-gcm" : "aes-256-gcm";
}

/** Buffer's `slice` shares memory where Uint8Array's copies: never hand one out as the other. */
function plain(buffer: Uint8Array): Bytes {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
