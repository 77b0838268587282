/**
 * Coordinates of agents on their way into the catalog. Every agent sends its own every few seconds, so they enter the log
 * together; of one node only the latest (Consul 1.8, coordinate_endpoint.go).
 */
import type { Command, CommandResult } from "../catalog/commands.ts";
import type { Clock, Logger, Timer } from "../ports/mod.ts";
import type { CoordinateUpdate } from "../rpc/endpoints/writes.ts";
import { messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";

const period: Millis = 5000;
/** Updates in one command. */
const commandUpdatesMax = 128;
/** Commands in one period; what comes beyond is dropped and comes again with the agent's next update. */
const commandsMax = 5;

export interface CoordinateBatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly write: (command: Command) => Promise<CommandResult>;
}

export class CoordinateBatch {
  readonly #options: CoordinateBatchOptions;
  /** By node and segment. */
  readonly #pending = new Map<string, CoordinateUpdate>();
  #dropped = 0;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: CoordinateBatchOptions) {
    this.#options = options;
  }

  add(update: CoordinateUpdate): void {
    const key = `${update.node}\n${update.segment}`;
    if (this.#stopped) return;
    if (!this.#pending.has(key) && this.#pending.size >= commandUpdatesMax * commandsMax) this.#dropped++;
    else this.#pending.set(key, update);
    this.#timer ??= this.#options.clock.after(period, () => this.#flush());
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#pending.clear();
  }

  #flush(): void {
    this.#timer = undefined;
    const { logger, write } = this.#options;
    if (this.#dropped > 0) logger.log("warn", "Discarded coordinate updates", { number_discarded: this.#dropped });
    this.#dropped = 0;
    const updates = [...this.#pending.values()];
    this.#pending.clear();
    for (let at = 0; at < updates.length; at += commandUpdatesMax) {
      write({ kind: "coordinates", updates: updates.slice(at, at + commandUpdatesMax) }).catch((error: unknown) =>
        logger.log("warn", "Batch update failed", { error: messageOf(error) }),
      );
    }
  }
}
