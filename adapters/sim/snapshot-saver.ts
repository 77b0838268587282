/** How one simulated server saves its state: the content is read later than it was taken, checked, and stored. */
import { Catalog } from "../../core/catalog/catalog.ts";
import { below, between, type Random } from "../../core/ports/random.ts";
import type { RaftMachine } from "../../core/raft/raft.ts";
import { concat, emptyBytes } from "../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../core/types/errors.ts";
import type { SnapshotServer } from "./snapshot-courier.ts";
import type { Surroundings } from "./surroundings.ts";
import { happened } from "./trace.ts";
import { check } from "./violation.ts";

export interface SavingServer extends SnapshotServer {
  readonly number: number;
  readonly catalog: Catalog;
}

export class SnapshotSaver {
  readonly #group: Surroundings;
  readonly #server: SavingServer;
  readonly #random: Random;
  #saving = false;

  constructor(group: Surroundings, server: SavingServer, random: Random) {
    this.#group = group;
    this.#server = server;
    this.#random = random;
  }

  /** What it was about to do does not happen. */
  stop(): void {
    this.#saving = false;
  }

  /** Saves the state as it is now; it is read later, when much may have changed. */
  save(machine: RaftMachine): void {
    if (this.#saving) return;
    this.#saving = true;
    const { id, catalog } = this.#server;
    const point = machine.snapshotPoint();
    const hash = catalog.hash();
    const snapshot = catalog.snapshot();
    const random = this.#random;
    const fails = below(random, 10) === 0 && !this.#group.healed(id);
    this.#server.plan(between(random, 0, 30), () => {
      const content = concat([...snapshot]);
      const again = new Catalog();
      restore(again, content);
      check(again.hash() === hash, "snapshots hold the state", () => `the snapshot of ${id} at ${point.index} is another state`);
      if (fails) {
        this.#saving = false;
        this.#server.feed({ kind: "snapshotFailed" });
        return;
      }
      this.#store(machine, { point, content });
    });
  }

  #store(machine: RaftMachine, snapshot: Parameters<SavingServer["disk"]["save"]>[0]): void {
    const { point, content } = snapshot;
    const { id, number } = this.#server;
    const random = this.#random;
    const tell = (what: string): void => this.#group.trace.tell(this.#group.now, id, machine, what);
    this.#server.disk.save(snapshot, {
      first: between(random, 0, 30),
      wait: (duration, act) => this.#server.plan(duration, act),
      done: () => {
        this.#saving = false;
        this.#group.trace.mark(this.#group.now, happened.snapshotTaken, number, point.index, content.length);
        tell(`saved a snapshot of ${point.index}`);
        this.#server.feed({ kind: "snapshotTaken", index: point.index });
      },
      failed: ({ message }) => {
        this.#saving = false;
        tell(`cannot save a snapshot: ${message}`);
        // Not at once: the disk needs time to become better.
        this.#server.plan(between(random, 20, 200), () => this.#server.feed({ kind: "snapshotFailed" }));
      },
    });
  }
}

/** Throws `snapshot-corrupt`. */
export function restore(catalog: Catalog, content: Uint8Array): void {
  const restoring = catalog.restore();
  try {
    restoring.push(content.length === 0 ? emptyBytes : content);
    restoring.finish();
  } catch (error) {
    throw new AgentError("snapshot-corrupt", { message: messageOf(error), cause: error });
  }
  catalog.watches.flush();
}
