import type { Bytes } from "../types/bytes.ts";

/** gzip, as a stream: neither side is ever in memory as a whole. Leaving an iteration early lets go of what is left. */
export interface Compression {
  gzip(content: AsyncIterable<Bytes>): AsyncGenerator<Bytes>;
  /** Throws in the platform's words when the content is no gzip file, ends early, or its checksum is wrong. */
  gunzip(content: AsyncIterable<Bytes>): AsyncGenerator<Bytes>;
}
