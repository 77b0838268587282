/**
 * Ends sessions whose TTL ran out. Only the leader keeps these timers; a new leader starts each one afresh.
 *
 * A session ends at twice its TTL after it was created or renewed: the TTL is a promise that it lives at least so long
 * (Consul 1.8, session_ttl.go; measured 19.6 s for 10 s). One timer serves all sessions.
 */
import type { SessionRecord } from "../catalog/records.ts";
import type { Clock, Logger, Timer } from "../ports/mod.ts";
import { messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";

const ttlMultiplier = 2;
const destroyAttemptsMax = 6;
const destroyBackoff: Millis = 10_000;

export interface SessionTimersOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Proposes the destruction. */
  readonly destroy: (id: string) => Promise<void>;
  /** Go duration to milliseconds; undefined when it is none. */
  readonly parseTtl: (ttl: string) => Millis | undefined;
}

interface Deadline {
  readonly ttl: Millis;
  at: Millis;
  attempts: number;
}

export class SessionTimers {
  readonly #options: SessionTimersOptions;
  readonly #deadlines = new Map<string, Deadline>();
  #timer: Timer | undefined;
  #timerAt: Millis = Number.POSITIVE_INFINITY;

  constructor(options: SessionTimersOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#deadlines.size;
  }

  /** A session appeared, or leadership did: its full time runs from now. */
  add(session: Pick<SessionRecord, "id" | "ttl">): void {
    const ttl = session.ttl === "" ? 0 : (this.#options.parseTtl(session.ttl) ?? 0);
    if (ttl <= 0) return;
    const at = this.#options.clock.monotonic() + ttl * ttlMultiplier;
    this.#deadlines.set(session.id, { ttl, at, attempts: 0 });
    this.#arm(at);
  }

  /**
   * False: its end is on its way into the log, and nobody can promise any more that it lives. (Consul 1.8 says yes to such a
   * renewal, and the session ends nevertheless.)
   */
  renew(id: string): boolean {
    const deadline = this.#deadlines.get(id);
    if (deadline === undefined) return true;
    if (deadline.attempts > 0) return false;
    deadline.at = this.#options.clock.monotonic() + deadline.ttl * ttlMultiplier;
    this.#arm(deadline.at);
    return true;
  }

  remove(id: string): void {
    this.#deadlines.delete(id);
  }

  /** Leadership is gone. */
  clear(): void {
    this.#deadlines.clear();
    this.#timer?.cancel();
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  /** Renewals only move deadlines later, so the timer may fire early and then looks again. */
  #arm(at: Millis): void {
    if (at >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = this.#options.clock.after(Math.max(0, at - this.#options.clock.monotonic()), () => this.#expire());
  }

  #expire(): void {
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#options.clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const [id, deadline] of this.#deadlines) {
      if (deadline.at <= now) this.#end(id, deadline, now);
      if (this.#deadlines.has(id)) next = Math.min(next, deadline.at);
    }
    if (next < Number.POSITIVE_INFINITY) this.#arm(next);
  }

  #end(id: string, deadline: Deadline, now: Millis): void {
    deadline.attempts++;
    // The next attempt, should this one fail; a session that ended is removed when the destruction is applied.
    if (deadline.attempts >= destroyAttemptsMax) deadline.at = Number.POSITIVE_INFINITY;
    else deadline.at = now + destroyBackoff * 2 ** (deadline.attempts - 1);
    this.#options.logger.log("debug", "Session TTL expired", { session: id });
    this.#options.destroy(id).catch((error: unknown) => {
      this.#options.logger.log("error", "Session destroy failed", { session: id, error: messageOf(error) });
      // Given up: until somebody renews it.
      if (deadline.attempts >= destroyAttemptsMax) deadline.attempts = 0;
    });
  }
}
