import type { Crypto } from "../../core/ports/crypto.ts";
import type { Random } from "../../core/ports/random.ts";
import { createCrypto } from "../node-api/crypto.ts";

/** The real algorithms, which are functions; but entropy from the seed. */
export function createSimCrypto(entropy: Random): Crypto {
  return {
    ...createCrypto(),
    randomBytes(length) {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length; at++) bytes[at] = entropy.uint32() & 255;
      return bytes;
    },
  };
}
