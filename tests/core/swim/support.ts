/** What the gossip tests share: recorded exchanges, and the platform's cipher behind the Crypto port. */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Crypto } from "../../../core/ports/crypto.ts";
import { type Bytes, fromBase64, fromHex } from "../../../core/types/bytes.ts";

export interface Vector {
  readonly file: string;
  readonly transport: string;
  readonly hex: string;
  readonly response_hex?: string;
  readonly decoded: Decoded;
  readonly keys_base64?: readonly string[];
  readonly note: string;
}

/** The layers as the recorder saw them; `body` holds a message's own fields. */
export interface Decoded {
  readonly raw_hex?: string;
  readonly plain_hex?: string;
  readonly inner?: Decoded;
  readonly plain?: Decoded;
  readonly mlName?: string;
  readonly [field: string]: unknown;
}

const folder = join(process.env.TEST_ROOT as string, "tests/vectors");

/** Recorded exchanges whose file name matches, in order. */
export function vectors(pattern: RegExp): readonly Vector[] {
  return readdirSync(folder)
    .filter((file) => pattern.test(file))
    .sort()
    .map((file) => ({ file, ...JSON.parse(readFileSync(join(folder, file), "utf8")) }));
}

export function bytesOf(hex: string): Bytes {
  const bytes = fromHex(hex);
  if (bytes === undefined) throw new Error(`not hex: ${hex}`);
  return bytes;
}

export function keysOf(vector: Vector): readonly Bytes[] {
  return (vector.keys_base64 ?? []).map((key) => {
    const decoded = fromBase64(key);
    if (!("bytes" in decoded)) throw new Error(`not base64: ${key}`);
    return decoded.bytes;
  });
}

export const platformCrypto: Crypto = {
  randomBytes: (length) => new Uint8Array(randomBytes(length)),
  md5: (content) => new Uint8Array(createHash("md5").update(content).digest()),
  sha256: (content) => new Uint8Array(createHash("sha256").update(content).digest()),
  seal(key, nonce, plain, extra) {
    const cipher = createCipheriv(`aes-${key.length * 8}-gcm` as "aes-128-gcm", key, nonce);
    cipher.setAAD(extra);
    return new Uint8Array(Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]));
  },
  open(key, nonce, sealed, extra) {
    try {
      const cipher = createDecipheriv(`aes-${key.length * 8}-gcm` as "aes-128-gcm", key, nonce);
      cipher.setAAD(extra);
      cipher.setAuthTag(sealed.subarray(sealed.length - 16));
      return new Uint8Array(Buffer.concat([cipher.update(sealed.subarray(0, sealed.length - 16)), cipher.final()]));
    } catch {
      return undefined;
    }
  },
};
