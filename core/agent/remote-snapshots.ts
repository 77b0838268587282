/** Snapshots as they are handed through, by a client agent or for another datacenter: a server makes them and takes them. */
import type { RestoreOptions, SavedSnapshot, SaveOptions, SnapshotApi } from "../plugin/agent-api.ts";
import type { ByteStream } from "../ports/streams.ts";
import { fetchSnapshot, pushSnapshot } from "../rpc/snapshot-stream.ts";
import type { Bytes } from "../types/bytes.ts";
import type { Cancel } from "../types/cancel.ts";
import { AgentError } from "../types/errors.ts";

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

  async save({ stale, datacenter, cancel }: SaveOptions): Promise<SavedSnapshot> {
    const { datacenter: own } = this.#options;
    return fetchSnapshot(await this.#connect(cancel), { datacenter: datacenter ?? own, stale, token: "" });
  }

  /** Only the server that holds the state restores in part: the wire has no word for it. */
  async restore(file: Bytes, { datacenter, cancel, partial = false }: RestoreOptions = {}): Promise<void> {
    if (partial)
      throw new AgentError("not-supported", { message: "A snapshot is restored in part at a server of its datacenter only" });
    const { datacenter: own } = this.#options;
    await pushSnapshot(await this.#connect(cancel), { datacenter: datacenter ?? own, stale: false, token: "" }, file);
  }

  /** A connection that breaks when nobody wants what it is for: a server that hangs would hold it for ever. */
  async #connect(cancel: Cancel | undefined): Promise<ByteStream> {
    const stream = await this.#options.connect();
    const abort = (): void => stream.abort(new AgentError("cancelled", { message: "The client went away" }));
    cancel?.addEventListener("abort", abort);
    if (cancel?.aborted === true) abort();
    return stream;
  }
}
