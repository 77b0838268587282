/** What one record of the log says, as CBOR, and what records add up to. */
import { decodeInPlace, encode } from "../../core/codec/cbor.ts";
import type { HardState, LogEntry, RaftWrite } from "../../core/ports/storage.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import { checkedInteger, type LogIndex } from "../../core/types/ids.ts";

/** What one record says. */
export interface WalBatch extends RaftWrite {
  /** Everything up to here was dropped. */
  readonly compactTo?: LogIndex;
}

/** Entries lie flat, four items each: arrays of arrays would cost twice the time. Throws `too-large`. */
export function encodeBatch(batch: WalBatch): Bytes {
  const { hardState, truncateFrom, compactTo } = batch;
  const flat: unknown[] = [];
  for (const entry of batch.entries) flat.push(entry.index, entry.term, entry.type, entry.data);
  return encode([
    hardState === undefined ? null : [hardState.term, hardState.votedFor ?? null],
    truncateFrom ?? null,
    compactTo ?? null,
    flat,
  ]);
}

/** Undefined for a value that no version of ours wrote. The entries are views of `payload`, which is theirs from now on. */
export function decodeBatch(payload: Bytes): WalBatch | undefined {
  let value: unknown;
  try {
    value = decodeInPlace(payload, "a log record");
  } catch (error) {
    if (error instanceof AgentError) return undefined;
    throw error;
  }
  if (!Array.isArray(value) || value.length !== 4) return undefined;
  const [hard, truncate, compact, flat] = value as readonly unknown[];
  const hardState = hard === null ? null : decodeHardState(hard);
  const truncateFrom = truncate === null ? null : checkedInteger(truncate);
  const compactTo = compact === null ? null : checkedInteger(compact);
  const entries = decodeEntries(flat);
  if (hardState === undefined || truncateFrom === undefined || compactTo === undefined || entries === undefined) return undefined;
  return {
    ...(hardState === null ? undefined : { hardState }),
    ...(truncateFrom === null ? undefined : { truncateFrom }),
    ...(compactTo === null ? undefined : { compactTo }),
    entries,
  };
}

function decodeHardState(value: unknown): HardState | undefined {
  if (!Array.isArray(value) || value.length !== 2) return undefined;
  const [term, votedFor] = value as readonly unknown[];
  const checked = checkedInteger(term);
  if (checked === undefined || (votedFor !== null && typeof votedFor !== "string")) return undefined;
  return { term: checked, votedFor: votedFor ?? undefined };
}

function decodeEntries(flat: unknown): readonly LogEntry[] | undefined {
  if (!Array.isArray(flat) || flat.length % 4 !== 0) return undefined;
  const entries: LogEntry[] = [];
  for (let at = 0; at < flat.length; at += 4) {
    const index = checkedInteger(flat[at]);
    const term = checkedInteger(flat[at + 1]);
    const type = checkedInteger(flat[at + 2]);
    const data = flat[at + 3] as unknown;
    if (index === undefined || term === undefined || type === undefined || !(data instanceof Uint8Array)) return undefined;
    entries.push({ index, term, type, data });
  }
  return entries;
}

/** What batches add up to: the state that survives them. */
export class WalContents {
  hardState: HardState = { term: 0, votedFor: undefined };
  entries: LogEntry[] = [];
  compacted: LogIndex = 0;

  /** A sentence saying what is wrong when the batch does not continue what came before. */
  apply(batch: WalBatch): string | undefined {
    if (batch.hardState !== undefined) this.hardState = batch.hardState;
    if (batch.compactTo !== undefined) this.compact(batch.compactTo);
    if (batch.truncateFrom !== undefined) this.#truncate(batch.truncateFrom);
    for (const entry of batch.entries) {
      // Segments that held earlier entries may be gone; then the first one met begins the log.
      const last = this.entries[this.entries.length - 1];
      if (last !== undefined && entry.index !== last.index + 1) return `entry ${entry.index} follows entry ${last.index}`;
      if (entry.index > this.compacted) this.entries.push(entry);
    }
    return undefined;
  }

  compact(index: LogIndex): void {
    const first = this.entries[0];
    if (index > this.compacted) this.compacted = index;
    if (first !== undefined && index >= first.index) this.entries = this.entries.slice(index - first.index + 1);
  }

  #truncate(from: LogIndex): void {
    const first = this.entries[0];
    if (first !== undefined) this.entries.length = Math.max(0, Math.min(this.entries.length, from - first.index));
  }
}
