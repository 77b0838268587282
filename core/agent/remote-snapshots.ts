/** Snapshots as a client agent hands them through: a server makes them and takes them. */
import type { SavedSnapshot, SnapshotApi } from "../plugin/agent-api.ts";
import type { ByteStream } from "../ports/streams.ts";
import { fetchSnapshot, pushSnapshot } from "../rpc/snapshot-stream.ts";
import type { Bytes } from "../types/bytes.ts";

export interface RemoteSnapshotsOptions {
  /** A fresh connection to a server. */
  readonly connect: () => Promise<ByteStream>;
  readonly datacenter: string;
}

export class RemoteSnapshots implements SnapshotApi {
  readonly #options: RemoteSnapshotsOptions;

  constructor(options: RemoteSnapshotsOptions) {
    this.#options = options;
  }

  async save({ stale }: { readonly stale: boolean }): Promise<SavedSnapshot> {
    const { connect, datacenter } = this.#options;
    return fetchSnapshot(await connect(), { datacenter, stale, token: "" });
  }

  async restore(file: Bytes): Promise<void> {
    const { connect, datacenter } = this.#options;
    await pushSnapshot(await connect(), { datacenter, stale: false, token: "" }, file);
  }
}
