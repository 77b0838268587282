/** Compression with what every runtime has. */
import type { Bytes } from "../../core/types/bytes.ts";

/** A body that many replies carry. */
export interface SharedBody {
  readonly body: Bytes;
  /** The body compressed, once somebody wanted it: the one field that is filled in later. */
  gzip: Bytes | undefined;
}

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

/** Compressed once for all who ask while the body lives. */
export function gzipRendered(rendered: SharedBody): Bytes | Promise<Bytes> {
  if (rendered.gzip !== undefined) return rendered.gzip;
  return gzip(rendered.body).then((compressed) => {
    rendered.gzip = compressed;
    return compressed;
  });
}
