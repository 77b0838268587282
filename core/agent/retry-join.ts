/**
 * Joining others at start: `start_join` once, `retry_join` until it works; for either pool.
 *
 *   trying ──one address answered──► joined
 *     ▲ └──none did──► waiting `retry_interval` ──┐        after the first try and `retry_max` more: the agent ends
 *     └────────────────────────────────────────────┘
 *
 * While the agent is young it looks more often, without counting that as tries: servers that are started together
 * would otherwise wait half a minute for the one that was last to listen.
 */
import type { Clock, Logger, Timer } from "../ports/mod.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";

const youngFor: Millis = 10_000;
const youngInterval: Millis = 250;

export interface RetryJoinOptions {
  readonly pool: "lan" | "wan";
  readonly clock: Clock;
  readonly logger: Logger;
  readonly addresses: readonly string[];
  readonly interval: Millis;
  /** How often it is tried again, as in Consul. 0: for ever. */
  readonly retriesMax: number;
  readonly join: (addresses: readonly string[]) => Promise<number>;
  /** All tries failed. */
  readonly onExhausted: () => void;
}

export class RetryJoin {
  readonly #options: RetryJoinOptions;
  #timer: Timer | undefined;
  #stopped = false;
  #tries = 0;
  #youngUntil: Millis = 0;
  #nextAttemptAt: Millis = 0;

  constructor(options: RetryJoinOptions) {
    this.#options = options;
  }

  start(): void {
    const { addresses, clock, logger, pool } = this.#options;
    if (addresses.length === 0) return;
    logger.log("info", "Joining cluster...", { cluster: pool.toUpperCase() });
    this.#youngUntil = clock.monotonic() + youngFor;
    void this.#try(); // reports to the log
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #try(): Promise<void> {
    const { addresses, clock, logger, interval, retriesMax, join, onExhausted, pool } = this.#options;
    const cluster = pool.toUpperCase();
    const isAttempt = clock.monotonic() >= this.#nextAttemptAt;
    if (isAttempt) {
      logger.log("info", `(${cluster}) joining`, { [`${pool}_addresses`]: addresses });
      this.#nextAttemptAt = clock.monotonic() + interval;
    }
    let problem: string;
    try {
      const joined = await join(addresses);
      if (this.#stopped) return;
      logger.log("info", `(${cluster}) joined`, { number_of_nodes: joined });
      logger.log("info", "Join cluster completed. Synced with initial agents", { cluster, num_agents: joined });
      return;
    } catch (error) {
      problem = messageOf(error);
    }
    if (this.#stopped) return;
    if (isAttempt) {
      logger.log("warn", `(${cluster}) couldn't join`, { number_of_nodes: 0, error: problem });
      this.#tries++;
      if (retriesMax > 0 && this.#tries > retriesMax) {
        logger.log("error", "Retry join failed", { error: `agent: max join ${cluster} retry exhausted, exiting` });
        onExhausted();
        return;
      }
      logger.log("warn", "Join cluster failed, will retry", {
        cluster,
        retry_interval: `${interval / 1000}s`,
        error: problem,
      });
    }
    const now = clock.monotonic();
    const untilAttempt = Math.max(0, this.#nextAttemptAt - now);
    const delay = now < this.#youngUntil ? Math.min(youngInterval, untilAttempt) : untilAttempt;
    this.#timer = clock.after(delay, () => void this.#try());
  }
}

interface JoinParts {
  readonly pool: "lan" | "wan";
  readonly logger: Logger;
  readonly join: (addresses: readonly string[]) => Promise<number>;
}

/** One attempt: of `start_join`, whose failure ends the start, or of `consul join`. It is told to the log. Rejects with `rejected` and memberlist's text. */
export async function joinOnce(addresses: readonly string[], parts: JoinParts): Promise<number> {
  const cluster = parts.pool.toUpperCase();
  parts.logger.log("info", `(${cluster}) joining`, { [`${parts.pool}_addresses`]: addresses });
  try {
    const joined = await parts.join(addresses);
    parts.logger.log("info", `(${cluster}) joined`, { number_of_nodes: joined });
    return joined;
  } catch (error) {
    parts.logger.log("warn", `(${cluster}) couldn't join`, { number_of_nodes: 0, error: messageOf(error) });
    throw new AgentError("rejected", { message: messageOf(error), cause: error });
  }
}
