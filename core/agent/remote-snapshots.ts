/** Snapshots as they are handed through, by a client agent or for another datacenter: a server makes them and takes them. */
import type { SavedSnapshot, SnapshotApi } from "../plugin/agent-api.ts";
import type { ByteStream } from "../ports/streams.ts";
import { fetchSnapshot, pushSnapshot } from "../rpc/snapshot-stream.ts";
import type { Bytes } from "../types/bytes.ts";

export interface RemoteSnapshotsOptions {
  /** A fresh connection to a server. */
  readonly connect: () => Promise<ByteStream>;
  /** Of which, unless another one is asked for. */
  readonly datacenter: string;
}

export class RemoteSnapshots implements SnapshotApi {
  readonly #options: RemoteSnapshotsOptions;

  constructor(options: RemoteSnapshotsOptions) {
    this.#options = options;
  }

  async save({ stale, datacenter }: { readonly stale: boolean; readonly datacenter?: string }): Promise<SavedSnapshot> {
    const { connect, datacenter: own } = this.#options;
    return fetchSnapshot(await connect(), { datacenter: datacenter ?? own, stale, token: "" });
  }

  async restore(file: Bytes, { datacenter }: { readonly datacenter?: string } = {}): Promise<void> {
    const { connect, datacenter: own } = this.#options;
    await pushSnapshot(await connect(), { datacenter: datacenter ?? own, stale: false, token: "" }, file);
  }
}
