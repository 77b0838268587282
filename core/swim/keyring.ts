import { type Bytes, equalBytes, toBase64 } from "../types/bytes.ts";
import { assert } from "../types/errors.ts";

/** AES-128, 192 or 256. */
const keyLengths: readonly number[] = [16, 24, 32];
/** Rotations leave old keys behind; each costs one attempt per broken packet. */
export const keysMax = 64;

/** The keys in use: the first encrypts, all decrypt. An empty ring means that gossip is not encrypted. */
export class Keyring {
  #keys: Bytes[] = [];

  /** The first key becomes the primary. Keys of a wrong length, and more than `keysMax`, are the caller's mistake: see `isKey`. */
  constructor(keys: readonly Bytes[] = []) {
    for (const key of keys) {
      const refusal = this.install(key);
      assert(refusal === undefined, `a keyring is made of keys: ${refusal}`);
    }
  }

  static isKey(key: Bytes): boolean {
    return keyLengths.includes(key.length);
  }

  /** Primary first. */
  get keys(): readonly Bytes[] {
    return this.#keys;
  }

  get primary(): Bytes | undefined {
    return this.#keys[0];
  }

  /** Undefined when done, otherwise why not, in memberlist's words. Installing a key twice is harmless. */
  install(key: Bytes): string | undefined {
    if (!Keyring.isKey(key)) return "key size must be 16, 24 or 32 bytes";
    if (this.#find(key) >= 0) return undefined;
    if (this.#keys.length >= keysMax) return `the keyring already holds ${keysMax} keys`;
    this.#keys.push(key.slice());
    return undefined;
  }

  use(key: Bytes): string | undefined {
    const at = this.#find(key);
    if (at < 0) return "Requested key is not in the keyring";
    this.#keys = [this.#keys[at] as Bytes, ...this.#keys.filter((_, index) => index !== at)];
    return undefined;
  }

  /** Removing an absent key succeeds. */
  remove(key: Bytes): string | undefined {
    const at = this.#find(key);
    if (at === 0) return "Removing the primary key is not allowed";
    if (at > 0) this.#keys.splice(at, 1);
    return undefined;
  }

  /** As the keyring file and Serf's answers hold them: base64, primary first. */
  encoded(): readonly string[] {
    return this.#keys.map(toBase64);
  }

  #find(key: Bytes): number {
    return this.#keys.findIndex((held) => equalBytes(held, key));
  }
}
