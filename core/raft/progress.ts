/**
 * What a leader knows of one follower.
 *
 *            accepted                       refused, unreachable
 *   probe ──────────────► replicate ──────────────────────────────► probe
 *     │                       │
 *     │  the log it needs is purged
 *     └───────────► snapshot ─┴── sent or failed ──► probe
 *
 * probe: one message, then wait for its answer or the next heartbeat. replicate: messages follow one another
 * without waiting, up to the limits in flight. Without these states, optimistic sending and backing off by one
 * oscillate for ever on a lossy link.
 */
import { assert } from "../types/errors.ts";
import type { LogIndex, Millis } from "../types/ids.ts";

export class Progress {
  /** Known to be durable there.  0 ≤ match < next */
  match: LogIndex = 0;
  /** The next entry to send. */
  next: LogIndex;
  state: "probe" | "replicate" | "snapshot" = "probe";
  /** Probe only: a message is out, wait for its answer, or for one to a later round of heartbeats. */
  waiting = false;
  waitingSince = 0;
  /** The commit index last told. */
  commitSent: LogIndex = 0;
  /** Monotonic time of the last message from it. */
  lastContact: Millis;
  /** The newest round of heartbeats it answered. */
  round = 0;
  /** Of the messages in flight: their last index and their bytes, oldest first. */
  #lastIndexes: LogIndex[] = [];
  #bytes: number[] = [];
  #bytesInFlight = 0;

  constructor(next: LogIndex, now: Millis) {
    this.next = next;
    this.lastContact = now;
  }

  get inflightMessages(): number {
    return this.#lastIndexes.length;
  }
  get inflightBytes(): number {
    return this.#bytesInFlight;
  }

  /** Optimistic: assume this arrives and send the next right behind it. */
  sent(lastIndex: LogIndex, bytes: number): void {
    assert(this.state === "replicate", "only a replicating follower gets messages in flight");
    this.next = lastIndex + 1;
    this.#lastIndexes.push(lastIndex);
    this.#bytes.push(bytes);
    this.#bytesInFlight += bytes;
  }

  /** Everything up to `index` is durable there. True when that is news. */
  acknowledged(index: LogIndex): boolean {
    let done = 0;
    while (done < this.#lastIndexes.length && (this.#lastIndexes[done] as LogIndex) <= index) {
      this.#bytesInFlight -= this.#bytes[done] as number;
      done++;
    }
    if (done > 0) {
      this.#lastIndexes.splice(0, done);
      this.#bytes.splice(0, done);
    }
    if (this.next <= index) this.next = index + 1;
    if (index <= this.match) return false;
    this.match = index;
    return true;
  }

  /**
   * What it acknowledged counts no more: its process has ended, and its data directory may have been replaced by an older
   * copy meanwhile. To commit by what it held before would commit there whatever it holds now.
   */
  forget(): void {
    this.match = 0;
    if (this.state !== "snapshot") this.becomeProbe(this.next);
  }

  becomeProbe(next: LogIndex): void {
    this.#become("probe");
    this.next = Math.max(next, this.match + 1);
  }
  becomeReplicate(): void {
    this.#become("replicate");
    this.next = this.match + 1;
  }
  becomeSnapshot(): void {
    this.#become("snapshot");
  }

  validate(): void {
    assert(this.match >= 0 && this.match < this.next, "0 ≤ match < next");
    assert(this.state === "replicate" || this.#lastIndexes.length === 0, "only replicate has messages in flight");
  }

  #become(state: "probe" | "replicate" | "snapshot"): void {
    this.state = state;
    this.waiting = false;
    this.#lastIndexes = [];
    this.#bytes = [];
    this.#bytesInFlight = 0;
  }
}
