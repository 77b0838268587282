import type { Bytes } from "../types/bytes.ts";
import type { ByteSource } from "./value-stream.ts";

/**
 * From whoever pushes bytes to whoever pulls them: one piece at a time, so that nothing piles up between them.
 * A write resolves when its piece was taken.
 */
export class Pipe implements ByteSource {
  #piece: { readonly bytes: Bytes; readonly taken: () => void; readonly refuse: (reason: unknown) => void } | undefined;
  #reader: { readonly give: (bytes: Bytes | undefined) => void; readonly refuse: (reason: unknown) => void } | undefined;
  /** Set by the writer: nothing follows, or why nothing can. */
  #end: { readonly failure?: unknown } | undefined;
  /** Set by the reader. */
  #abandoned: { readonly reason: unknown } | undefined;

  /** One write at a time. Rejects with the reader's reason once it reads no more. */
  write(bytes: Bytes): Promise<void> {
    if (this.#abandoned !== undefined) return Promise.reject(this.#abandoned.reason);
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      reader.give(bytes);
      return Promise.resolve();
    }
    return new Promise((taken, refuse) => {
      this.#piece = { bytes, taken, refuse };
    });
  }

  end(): void {
    this.#end ??= {};
    this.#reader?.give(undefined);
    this.#reader = undefined;
  }

  /** Nothing more will come, and what came is not all: reading rejects. */
  fail(failure: unknown): void {
    this.#end ??= { failure };
    this.#reader?.refuse(failure);
    this.#reader = undefined;
  }

  /** One read at a time. */
  read(): Promise<Bytes | undefined> {
    const piece = this.#piece;
    if (piece !== undefined) {
      this.#piece = undefined;
      piece.taken();
      return Promise.resolve(piece.bytes);
    }
    if (this.#end !== undefined) return "failure" in this.#end ? Promise.reject(this.#end.failure) : Promise.resolve(undefined);
    return new Promise((give, refuse) => {
      this.#reader = { give, refuse };
    });
  }

  /** Nothing more will be read. */
  abandon(reason: unknown): void {
    this.#abandoned ??= { reason };
    this.#piece?.refuse(reason);
    this.#piece = undefined;
  }
}
