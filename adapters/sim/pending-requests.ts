/**
 * What clients asked of one simulated server, and what they may be told when.
 *
 *   write ──propose──► asked ──accepted──► in the log ──applied──► done (or unknown: another entry took its place)
 *                          └─dropped──► refused            └─ leadership lost ──► unknown
 *   read  ──read─────► asked ──readReady──► named an index ──that is applied──► value
 *                          └─readDropped──► refused
 */
import type { Command, CommandResult } from "../../core/catalog/commands.ts";
import type { KvRecord } from "../../core/catalog/records.ts";
import type { LogEntry } from "../../core/ports/storage.ts";
import type { LogIndex, Millis, NodeId, Term } from "../../core/types/ids.ts";

export type Consistency = "default" | "consistent" | "stale";
export type Request =
  | { readonly kind: "write"; readonly command: Command }
  | { readonly kind: "read"; readonly key: string; readonly consistency: Consistency }
  /** Answered with index 0 and whether the session is there. */
  | { readonly kind: "renew"; readonly session: string; readonly ttl: Millis };
export type Response =
  | { readonly kind: "done"; readonly index: LogIndex; readonly result: CommandResult }
  | { readonly kind: "value"; readonly record: KvRecord | undefined }
  /** It did not happen and will not. */
  | { readonly kind: "refused"; readonly leader: NodeId | undefined }
  /** Leadership was lost: it may happen yet. */
  | { readonly kind: "unknown" };
export type Reply = (response: Response) => void;

export interface Reading {
  readonly key: string;
  /** What was acknowledged when it was asked: it must not see less. */
  readonly floor: LogIndex;
  readonly reply: Reply;
}

interface Proposed {
  readonly reply: Reply;
  readonly index: LogIndex;
  readonly term: Term;
}

export class PendingRequests {
  readonly #asked = new Map<number, Reply>();
  #proposed: Proposed[] = [];
  readonly #askedReads = new Map<number, Reading>();
  #ready: (Reading & { readonly index: LogIndex })[] = [];
  #idLast = 0;

  /** What Raft is to call it. */
  write(reply: Reply): number {
    const id = ++this.#idLast;
    this.#asked.set(id, reply);
    return id;
  }

  read(reading: Reading): number {
    const id = ++this.#idLast;
    this.#askedReads.set(id, reading);
    return id;
  }

  accepted(id: number, index: LogIndex, term: Term): void {
    const reply = this.#asked.get(id);
    this.#asked.delete(id);
    if (reply !== undefined) this.#proposed.push({ reply, index, term });
  }

  /** Raft took neither this write nor this read. */
  refused(id: number, leader: NodeId | undefined): void {
    const reply = this.#asked.get(id) ?? this.#askedReads.get(id)?.reply;
    this.#asked.delete(id);
    this.#askedReads.delete(id);
    reply?.({ kind: "refused", leader });
  }

  readReady(id: number, index: LogIndex): void {
    const reading = this.#askedReads.get(id);
    this.#askedReads.delete(id);
    if (reading !== undefined) this.#ready.push({ ...reading, index });
  }

  /** What is in the log may happen yet, or not. */
  leadershipLost(): void {
    for (const { reply } of this.#proposed) reply({ kind: "unknown" });
    this.#proposed = [];
  }

  /** An entry took effect; `acknowledge` is called just before its client is told. */
  applied(entry: LogEntry, result: CommandResult, acknowledge: () => void): void {
    for (let first = this.#proposed[0]; first !== undefined && first.index <= entry.index; first = this.#proposed[0]) {
      this.#proposed.shift();
      if (first.index !== entry.index || first.term !== entry.term) {
        first.reply({ kind: "unknown" });
        continue;
      }
      acknowledge();
      first.reply({ kind: "done", index: entry.index, result });
    }
  }

  /** The reads whose index is applied, to be answered now. */
  takeReady(applied: LogIndex): readonly Reading[] {
    const ready = this.#ready.filter((reading) => reading.index <= applied);
    if (ready.length > 0) this.#ready = this.#ready.filter((reading) => reading.index > applied);
    return ready;
  }

  /** Whoever knew of them is gone. */
  clear(): void {
    this.#asked.clear();
    this.#proposed = [];
    this.#askedReads.clear();
    this.#ready = [];
  }
}
