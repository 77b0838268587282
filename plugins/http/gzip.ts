/** Compression with what every runtime has. */
import { type ByteTransform, inPieces, through } from "../../core/codec/byte-transform.ts";
import { type Bytes, concat } from "../../core/types/bytes.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { RenderedBody } from "./shared.ts";

/** Whether `Accept-Encoding` allows gzip: named with a weight above zero. Consul ignores "*". */
export function acceptsGzip(header: string | undefined): boolean {
  if (header === undefined || header === "") return false;
  if (header === "gzip") return true;
  for (const part of header.split(",")) {
    const [coding, ...parameters] = part.split(";").map((text) => text.trim().toLowerCase());
    if (coding !== "gzip") continue;
    const weight = parameters.find((parameter) => parameter.startsWith("q="));
    return weight === undefined || Number(weight.slice(2)) > 0;
  }
  return false;
}

export async function gzip(body: Bytes): Promise<Bytes> {
  const stream = new CompressionStream("gzip");
  const writer = stream.writable.getWriter();
  // Not awaited: the writes complete only as the other end is read. A failure shows there as well.
  void writer.write(body as Uint8Array<ArrayBuffer>).catch(() => {});
  void writer.close().catch(() => {});
  return new Uint8Array(await new Response(stream.readable).arrayBuffer());
}

/** Compressed once for all who ask while the rendering lives. */
export function gzipRendered(rendered: RenderedBody): Bytes | Promise<Bytes> {
  if (rendered.gzip !== undefined) return rendered.gzip;
  return gzip(rendered.body).then((compressed) => {
    rendered.gzip = compressed;
    return compressed;
  });
}

/**
 * What is compressed is never in memory as a whole; the result is. Rejects with `too-large` beyond `bytesMax`, with
 * `cancelled`, and with whatever `content` throws.
 */
export async function gzipStream(content: AsyncIterable<Bytes>, bytesMax: number, cancel: Cancel): Promise<Bytes> {
  const parts: Bytes[] = [];
  let length = 0;
  for await (const part of through(new CompressionStream("gzip") as unknown as ByteTransform, content)) {
    if (cancel.aborted) throw new AgentError("cancelled", { message: "The client went away" });
    length += part.length;
    if (length > bytesMax)
      throw new AgentError("too-large", { message: `Cannot make the archive: it exceeds ${bytesMax} bytes` });
    parts.push(part);
  }
  return concat(parts);
}

/** Decompresses a file as it is read. Throws in the platform's words. */
export function gunzip(file: Bytes): AsyncGenerator<Bytes> {
  return through(new DecompressionStream("gzip") as unknown as ByteTransform, inPieces(file));
}
