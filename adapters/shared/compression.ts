/** Compression with the web's own streams, which every runtime has. */
import { type ByteTransform, through } from "../../core/codec/byte-transform.ts";
import type { Compression } from "../../core/ports/compression.ts";

export const compression: Compression = {
  gzip: (content) => through(new CompressionStream("gzip") as unknown as ByteTransform, content),
  gunzip: (content) => through(new DecompressionStream("gzip") as unknown as ByteTransform, content),
};
