/**
 * Which disks lie in a simulated group: never so many that what was acknowledged is beyond repair.
 *
 * A server whose disk was hurt counts as lost from then on: it may refuse to start, and nobody gives it another disk. So
 * one may be hurt only while the others decide in every configuration that is in force somewhere or could be again; then
 * any majority that committed an entry has somebody unhurt in common with any majority that is left. Every failure
 * is then an error of ours, and not too much damage.
 *
 * And nothing is done that nobody could notice: a lost write is lost only once a later one is there. (A single copy cannot
 * tell that from a write that never was; a protocol that repairs logs from others' could. Consul's Raft has none either.)
 * A turned bit can be noticed anywhere, also in the last record: adapters/shared/wal-tear.ts.
 */
import type { Configuration } from "../../core/raft/messages.ts";
import { majority } from "../../core/raft/quorum.ts";
import type { NodeId } from "../../core/types/ids.ts";

export const damages = ["rotten log", "rotten snapshot", "lost write", "misdirected write"] as const;
export type Damage = (typeof damages)[number];

export class DamageMap {
  readonly #hurt = new Set<NodeId>();

  get size(): number {
    return this.#hurt.size;
  }

  isHurt(id: NodeId): boolean {
    return this.#hurt.has(id);
  }

  hurt(id: NodeId): void {
    this.#hurt.add(id);
  }

  /** The group decides without this one, too, and it is whole so far: two damages of one log may hide each other. */
  mayHurt(id: NodeId, configurations: readonly Configuration[]): boolean {
    return !this.#hurt.has(id) && configurations.every((configuration) => this.decides(configuration, id));
  }

  /** Those that are whole are a majority of this configuration; without `besides`, when one is named. */
  decides({ servers }: Configuration, besides?: NodeId): boolean {
    const voters = servers.filter(({ voter }) => voter);
    return voters.filter(({ id }) => id !== besides && !this.#hurt.has(id)).length >= majority(voters.length);
  }
}
