import type { Bytes } from "../types/bytes.ts";
import { Malformed } from "./msgpack.ts";
import type { ByteSource } from "./value-stream.ts";

/** Bytes that all connections together may have in unfinished messages: each alone is within its limit, a thousand are not. */
export class ByteBudget {
  readonly #bytesMax: number;
  #used = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** False when that is more than is left; then nothing is taken. */
  take(length: number): boolean {
    if (this.#used + length > this.#bytesMax) return false;
    this.#used += length;
    return true;
  }

  give(length: number): void {
    this.#used -= length;
  }
}

/** A source whose bytes count against a budget until they are settled. */
export class MeteredSource implements ByteSource {
  readonly #source: ByteSource;
  readonly #budget: ByteBudget;
  #taken = 0;

  constructor(source: ByteSource, budget: ByteBudget) {
    this.#source = source;
    this.#budget = budget;
  }

  /** Rejects with `Malformed` when the budget is used up. */
  async read(): Promise<Bytes | undefined> {
    const chunk = await this.#source.read();
    if (chunk === undefined) return undefined;
    this.charge(chunk.length);
    return chunk;
  }

  /** So much more came out of what was read: a few bytes unpack to thousands. Throws `Malformed` when the budget is used up. */
  charge(length: number): void {
    if (!this.#budget.take(length)) throw new Malformed("too many unfinished messages are held at once");
    this.#taken += length;
  }

  /** What was read so far has been dealt with. To be called at the end, whatever that was. */
  settle(): void {
    this.#budget.give(this.#taken);
    this.#taken = 0;
  }
}
