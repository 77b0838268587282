/** The files of `consul snapshot`: read, and verified to the last byte. */
import { type ByteTransform, inPieces, through } from "../../core/codec/byte-transform.ts";
import { type ArchiveMeta, archiveBytesMax, decompressed, readArchive } from "../../core/codec/snapshot-archive.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { CommandError, orFail } from "./command.ts";
import type { CliContext } from "./context.ts";

/** The one FILE argument that all of them take. */
export function fileArgument(args: readonly string[]): string {
  const [file] = args;
  if (file === undefined) throw new CommandError("Missing FILE argument");
  if (args.length > 1) throw new CommandError(`Too many arguments (expected 1, got ${args.length})`);
  return file;
}

export async function readSnapshotFile(context: CliContext, file: string): Promise<Bytes> {
  return orFail(
    "Error opening snapshot file",
    (async () => {
      const size = (await context.host.stat(file))?.size ?? 0;
      if (size > archiveBytesMax) throw new CommandError(`Error opening snapshot file: ${file} exceeds ${archiveBytesMax} bytes`);
      return context.host.readFile(file);
    })(),
  );
}

/** Rejects with Consul's text when anything is wrong with it. Archives of Consul itself are as good. */
export function verifySnapshot(file: Bytes): Promise<ArchiveMeta> {
  return readArchive(
    decompressed(file, (content) => through(new DecompressionStream("gzip") as unknown as ByteTransform, inPieces(content))),
  );
}
