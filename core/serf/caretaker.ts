import type { Address } from "../ports/net.ts";
import { below, between, type Random } from "../ports/random.ts";
import type { LogLevel } from "../ports/telemetry.ts";
import type { Member } from "../plugin/agent-api.ts";
import type { Millis } from "../types/ids.ts";
import type { SerfConfig } from "./config.ts";
import type { SerfMember, SerfMembers } from "./members.ts";

export interface CaretakerParts {
  readonly config: SerfConfig;
  readonly random: Random;
  readonly members: SerfMembers;
  /** Asks for an exchange with a member that failed. */
  readonly reconnect: (to: Address) => void;
  readonly forgotten: (member: SerfMember) => void;
  readonly log: (level: LogLevel, message: string) => void;
}

/** What is done for the member table now and then: forgetting who is long gone, and trying those who failed. */
export class Caretaker {
  readonly #parts: CaretakerParts;
  #reapAt: Millis = Number.POSITIVE_INFINITY;
  #reconnectAt: Millis = Number.POSITIVE_INFINITY;
  #pruneAt: Millis = Number.POSITIVE_INFINITY;

  constructor(parts: CaretakerParts) {
    this.#parts = parts;
  }

  start(now: Millis): void {
    this.#reapAt = now + this.#parts.config.reapInterval;
    this.#reconnectAt = now + this.#parts.config.reconnectInterval;
  }

  get wakeAt(): Millis {
    return Math.min(this.#reapAt, this.#reconnectAt, this.#pruneAt);
  }

  wake(now: Millis): void {
    const { reapInterval, reconnectInterval } = this.#parts.config;
    if (now >= this.#reapAt) {
      this.#reapAt = now + reapInterval;
      this.#reap(now);
    }
    if (now >= this.#pruneAt) this.prune(now);
    if (now >= this.#reconnectAt) {
      this.#reconnectAt = now + reconnectInterval;
      this.#reconnect();
    }
  }

  #reap(now: Millis): void {
    const { reconnectTimeout, tombstoneTimeout, recentIntentTimeout } = this.#parts.config;
    this.#parts.members.dropIntents(now - recentIntentTimeout);
    const due: string[] = [];
    for (const { name, status, goneAt } of this.#parts.members.values()) {
      const timeout = status === "failed" ? reconnectTimeout : status === "left" ? tombstoneTimeout : Number.POSITIVE_INFINITY;
      if (now - goneAt > timeout) due.push(name);
    }
    for (const name of due) this.#erase(name);
  }

  /** Forgets members whose prune is due; called when one may have been set. */
  prune(now: Millis): void {
    this.#pruneAt = Number.POSITIVE_INFINITY;
    for (const member of [...this.#parts.members.values()]) {
      if (member.pruneAt <= now) this.#erase(member.name);
      else this.#pruneAt = Math.min(this.#pruneAt, member.pruneAt);
    }
  }

  #erase(name: string): void {
    const member = this.#parts.members.get(name);
    if (member === undefined) return;
    this.#parts.members.forget(name);
    this.#parts.forgotten(member);
  }

  /** One failed member, now and then: it may only have been cut off. */
  #reconnect(): void {
    const failed: Member[] = [];
    for (const member of this.#parts.members.values()) if (member.status === "failed") failed.push(member);
    if (failed.length === 0) return;
    const alive = Math.max(1, this.#parts.members.size - failed.length - this.#parts.members.count("left"));
    if (between(this.#parts.random, 0, 1) > failed.length / alive) {
      this.#parts.log("debug", "serf: forgoing reconnect for random throttling");
      return;
    }
    const member = failed[below(this.#parts.random, failed.length)] as Member;
    const to: Address = { host: member.address, port: member.port };
    this.#parts.log("info", `serf: attempting reconnect to ${member.name} ${to.host}:${to.port}`);
    this.#parts.reconnect(to);
  }
}
