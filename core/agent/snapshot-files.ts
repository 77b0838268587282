/** A server's snapshots as files: what {@link OperatorSnapshots} makes and takes, compressed. */
import { inPieces } from "../codec/byte-transform.ts";
import { decompressed } from "../codec/snapshot-archive.ts";
import type { RestoreOptions, SavedSnapshot, SnapshotApi } from "../plugin/agent-api.ts";
import type { Compression } from "../ports/compression.ts";
import type { Bytes } from "../types/bytes.ts";
import type { OperatorSnapshots } from "./operator-snapshots.ts";

export class SnapshotFiles implements SnapshotApi {
  readonly #archives: OperatorSnapshots;
  readonly #compression: Compression;

  constructor(archives: OperatorSnapshots, compression: Compression) {
    this.#archives = archives;
    this.#compression = compression;
  }

  async save(options: { readonly stale: boolean }): Promise<SavedSnapshot> {
    const saved = await this.#archives.save(options);
    return { ...saved, content: this.#compression.gzip(saved.content) };
  }

  async restore(file: Bytes, { partial = false }: RestoreOptions = {}): Promise<void> {
    const archive = () => decompressed(file, (content) => this.#compression.gunzip(inPieces(content)));
    await this.#archives.restore(archive, partial);
  }
}
