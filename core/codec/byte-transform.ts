/**
 * A web-standard transform (compression, mostly) between async iterables of bytes. The platform's class is the caller's to
 * make: core names none, and this is all it needs of one.
 */
import type { Bytes } from "../types/bytes.ts";

export interface ByteTransform {
  readonly writable: {
    getWriter(): {
      write(piece: Bytes): Promise<void>;
      close(): Promise<void>;
      abort(reason?: unknown): Promise<void>;
    };
  };
  readonly readable: {
    getReader(): {
      read(): Promise<{ readonly done: boolean; readonly value?: Bytes | undefined }>;
      cancel(): Promise<void>;
    };
  };
}

/** Throws what `content` throws, else the platform's error. Leaving early lets go of `content`. */
export async function* through(transform: ByteTransform, content: AsyncIterable<Bytes>): AsyncGenerator<Bytes> {
  const writer = transform.writable.getWriter();
  const reader = transform.readable.getReader();
  let failure: { readonly error: unknown } | undefined;
  const feed = async (): Promise<void> => {
    for await (const piece of content) {
      try {
        await writer.write(piece);
      } catch {
        return; // The reader hears why.
      }
    }
    await writer.close().catch(() => {});
  };
  const feeding = feed().catch(async (error: unknown) => {
    failure = { error };
    await writer.abort(error).catch(() => {});
  });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || value === undefined) break;
      yield value;
    }
  } catch (error) {
    await feeding;
    throw failure === undefined ? error : (failure as { readonly error: unknown }).error;
  } finally {
    await reader.cancel().catch(() => {});
    await feeding;
  }
  if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
}

/** Small, because some platforms decompress a piece at once, whatever comes of it: a thousand times its size at worst. */
const pieceBytes = 16 * 1024;

/** A whole in pieces to transform one by one. */
export async function* inPieces(content: Bytes): AsyncGenerator<Bytes> {
  for (let at = 0; at < content.length; at += pieceBytes) yield content.subarray(at, at + pieceBytes);
}
