import type { Bytes } from "../types/bytes.ts";

/** Synchronous on purpose: WebCrypto completes out of order, differently on each runtime, and is 2–20 times slower per packet. */
export interface Crypto {
  randomBytes(length: number): Bytes;
  /** 16 bytes. For file names Consul derives from service IDs; not for security. */
  md5(content: Bytes): Bytes;
  sha256(content: Bytes): Bytes;
  /** AES-GCM; the 16-byte tag follows the ciphertext. Key of 16, 24 or 32 bytes, nonce of 12. */
  seal(key: Bytes, nonce: Bytes, plain: Bytes, extra: Bytes): Bytes;
  /** Undefined when the seal is broken. */
  open(key: Bytes, nonce: Bytes, sealed: Bytes, extra: Bytes): Bytes | undefined;
}

/** A random (version 4) UUID in lower case. */
export function uuid(crypto: Crypto): string {
  const bytes = crypto.randomBytes(16);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  let hex = "";
  for (const byte of bytes) hex += (byte + 256).toString(16).slice(1);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
