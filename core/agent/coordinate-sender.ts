/**
 * Sends this agent's network coordinate to the servers, so that `near` can sort by distance.
 *
 * Every 15 s and up to as much again by chance; in a cluster where that would be more than 64 updates a second in all,
 * proportionally less often (Consul 1.8, sync_coordinate_interval_min and sync_coordinate_rate_target).
 */
import type { Command, CommandResult } from "../catalog/commands.ts";
import type { Coordinate } from "../catalog/records.ts";
import type { Clock, Logger, Random, Timer } from "../ports/mod.ts";
import { between } from "../ports/random.ts";
import { messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";

const intervalMin: Millis = 15_000;
/** Of the whole cluster. */
const updatesPerSecondMax = 64;

export interface CoordinateSenderOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly node: string;
  readonly coordinate: () => Coordinate;
  readonly clusterSize: () => number;
  readonly write: (command: Command) => Promise<CommandResult>;
}

export class CoordinateSender {
  readonly #options: CoordinateSenderOptions;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: CoordinateSenderOptions) {
    this.#options = options;
  }

  start(): void {
    const { clock, random, clusterSize } = this.#options;
    const interval = Math.max(intervalMin, (clusterSize() / updatesPerSecondMax) * 1000);
    this.#timer = clock.after(interval + between(random, 0, interval), () => void this.#send());
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #send(): Promise<void> {
    const { node, coordinate, write, logger } = this.#options;
    try {
      await write({ kind: "coordinates", updates: [{ node, segment: "", coordinate: coordinate() }] });
    } catch (error) {
      if (!this.#stopped) logger.log("error", "Coordinate update error", { error: messageOf(error) });
    }
    if (!this.#stopped) this.start();
  }
}
