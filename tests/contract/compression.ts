/** What every {@link Compression} must do. */
import { gunzipSync, gzipSync } from "node:zlib";
import type { Compression } from "../../core/ports/compression.ts";
import { type Bytes, concat } from "../../core/types/bytes.ts";
import { assert, describe, it } from "../support/harness.ts";

export function compressionContract(name: string, compression: Compression): void {
  describe(`${name}: compression`, () => {
    const content = Uint8Array.from({ length: 300_000 }, (_, at) => (at * at) >> 7);

    it("makes a gzip file that others read, from any pieces", async () => {
      const file = await whole(compression.gzip(pieces(content, 7_001)));
      assert.deepEqual(new Uint8Array(gunzipSync(file)), content);
    });

    it("reads what others made, from any pieces", async () => {
      assert.deepEqual(await whole(compression.gunzip(pieces(new Uint8Array(gzipSync(content)), 911))), content);
    });

    it("of nothing is a gzip file too", async () => {
      assert.equal(gunzipSync(await whole(compression.gzip(pieces(new Uint8Array(0), 1)))).length, 0);
    });

    it("throws for a file that ends early, one with a wrong checksum, and one that is none", async () => {
      const file = new Uint8Array(gzipSync(content));
      const wrong = file.slice();
      wrong[file.length - 5] = (wrong[file.length - 5] as number) ^ 1;
      for (const broken of [file.subarray(0, file.length - 9), wrong, content])
        await assert.rejects(whole(compression.gunzip(pieces(broken, 4_096))));
    });

    it("throws what the content throws", async () => {
      async function* failing(): AsyncGenerator<Bytes> {
        yield content;
        throw new Error("the source is gone");
      }
      await assert.rejects(whole(compression.gzip(failing())), /the source is gone/);
    });

    it("that is left early lets go of its content", async () => {
      let released = false;
      async function* endless(): AsyncGenerator<Bytes> {
        try {
          for (;;) yield content.slice();
        } finally {
          released = true;
        }
      }
      for await (const piece of compression.gzip(endless())) if (piece.length > 0) break;
      assert.equal(released, true);
    });
  });
}

async function* pieces(content: Bytes, size: number): AsyncGenerator<Bytes> {
  for (let at = 0; at < content.length; at += size) yield content.slice(at, at + size);
}

async function whole(content: AsyncIterable<Bytes>): Promise<Bytes> {
  const parts: Bytes[] = [];
  for await (const part of content) parts.push(part);
  return concat(parts);
}
