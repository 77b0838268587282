/**
 * AES-GCM around packets and streams: version byte, nonce of 12, ciphertext, tag of 16.
 * Version 0 pads its plain text to whole blocks (PKCS #7) and is sent by very old members only; version 1 does not.
 */
import type { Crypto } from "../ports/crypto.ts";
import { type Bytes, concat } from "../types/bytes.ts";
import type { Keyring } from "./keyring.ts";

const nonceLength = 12;
const tagLength = 16;
const blockLength = 16;
const sentVersion = 1;

/** What encryption adds to a packet. */
export const encryptionOverhead: number = 1 + nonceLength + tagLength;

export interface Sealer {
  readonly crypto: Crypto;
  readonly keyring: Keyring;
  /** False: what we send stays plain text although there are keys, while encryption is being enabled member by member. Default true. */
  readonly verifyOutgoing?: boolean;
}

/** With which key to seal what we send. Undefined: not at all. */
export function sendingKey(sealer: Sealer): Bytes | undefined {
  return sealer.verifyOutgoing === false ? undefined : sealer.keyring.primary;
}

/** `extra` is authenticated with the content: nothing for packets, the frame's head for streams. */
export function seal(sealer: Sealer, key: Bytes, plain: Bytes, extra: Bytes): Bytes {
  const nonce = sealer.crypto.randomBytes(nonceLength);
  return concat([Uint8Array.of(sentVersion), nonce, sealer.crypto.seal(key, nonce, plain, extra)]);
}

/** Tries each key, the primary first. Undefined when none opens it or it is malformed. */
export function open(sealer: Sealer, sealed: Bytes, extra: Bytes): Bytes | undefined {
  const version = sealed[0];
  if (version === undefined || version > 1 || sealed.length < encryptionOverhead) return undefined;
  const nonce = sealed.subarray(1, 1 + nonceLength);
  const content = sealed.subarray(1 + nonceLength);
  for (const key of sealer.keyring.keys) {
    const plain = sealer.crypto.open(key, nonce, content, extra);
    if (plain !== undefined) return version === 0 ? withoutPadding(plain) : plain;
  }
  return undefined;
}

/**
 * The version is not authenticated: whoever turns the 1 of a recorded packet into a 0 must not get its end cut off. So
 * the padding has to be whole; what members pad is.
 */
function withoutPadding(padded: Bytes): Bytes | undefined {
  const padding = padded[padded.length - 1];
  if (padding === undefined || padding === 0 || padding > blockLength || padded.length % blockLength !== 0) return undefined;
  const end = padded.length - padding;
  for (let at = end; at < padded.length; at++) if (padded[at] !== padding) return undefined;
  return padded.subarray(0, end);
}
