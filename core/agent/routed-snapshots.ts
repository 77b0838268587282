/** Snapshots of this datacenter and, through their servers, of the others. */
import type { RestoreOptions, SavedSnapshot, SaveOptions, SnapshotApi } from "../plugin/agent-api.ts";
import type { Bytes } from "../types/bytes.ts";

export interface RoutedSnapshotsOptions {
  readonly here: SnapshotApi;
  /** This datacenter. */
  readonly datacenter: string;
  /** Throws `no-datacenter`, or `rejected` when none of its servers answers. */
  readonly elsewhere: (datacenter: string) => SnapshotApi;
}

export class RoutedSnapshots implements SnapshotApi {
  readonly #options: RoutedSnapshotsOptions;

  constructor(options: RoutedSnapshotsOptions) {
    this.#options = options;
  }

  async save({ datacenter, ...options }: SaveOptions): Promise<SavedSnapshot> {
    return this.#of(datacenter).save(options);
  }

  async restore(file: Bytes, { datacenter, ...options }: RestoreOptions = {}): Promise<void> {
    await this.#of(datacenter).restore(file, options);
  }

  #of(datacenter: string | undefined): SnapshotApi {
    const { here, datacenter: own, elsewhere } = this.#options;
    return datacenter === undefined || datacenter === "" || datacenter === own ? here : elsewhere(datacenter);
  }
}
