/**
 * Commands too large for one entry: cut into pieces that follow one another in the log, put together where they are applied.
 *
 *   command ──cut──► [0 ‖ bytes] [512 Ki ‖ bytes] … [n ‖ bytes]    entries of type entryPiece: consecutive, of one term
 *                                                        └─► applied as one command, at the last piece's index
 *
 * An entry of many megabytes would hold up the heartbeats behind it, on its way and on the disk. A leader appends all
 * pieces of a command at once, so nothing comes between them; where it was lost before all of them had spread, the next
 * leader's first entry follows instead, and what had come is forgotten. All servers see the same entries and so forget at
 * the same one. No snapshot is taken in the middle (`midway`), so none needs to carry pieces.
 *
 * A piece: the command's length (4 bytes) · where its bytes belong (4 bytes) · the bytes.
 */
import type { LogEntry } from "../ports/storage.ts";
import { type Bytes, concat } from "../types/bytes.ts";
import type { LogIndex, Term } from "../types/ids.ts";
import { entryCommand, entryPiece } from "./messages.ts";

/** What is larger is cut. */
export const wholeBytesMax = 1024 * 1024;
/** One piece, with its head. Consul 1.8: 512 KiB. */
export const pieceBytesMax = 512 * 1024;
/** The largest command: what codecs and snapshots take in one piece, with room for what they put around it. */
export const commandBytesMax = 63 * 1024 * 1024;
const headBytes = 8;

/** The pieces of a command that is larger than {@link wholeBytesMax}; each of `pieceBytes`, with its head. */
export function cut(command: Bytes, pieceBytes: number = pieceBytesMax): readonly Bytes[] {
  const pieces: Bytes[] = [];
  const bytesMax = pieceBytes - headBytes;
  for (let at = 0; at < command.length; at += bytesMax) {
    const bytes = command.subarray(at, at + bytesMax);
    const piece = new Uint8Array(headBytes + bytes.length);
    const view = new DataView(piece.buffer);
    view.setUint32(0, command.length);
    view.setUint32(4, at);
    piece.set(bytes, headBytes);
    pieces.push(piece);
  }
  return pieces;
}

/** Puts commands together again. Holds one at most, of {@link commandBytesMax} bytes. */
export class Assembler {
  #parts: Bytes[] = [];
  #length = 0;
  /** Where the next piece must stand. */
  #index: LogIndex = 0;
  #term: Term = 0;

  /** Some pieces of a command were taken, and others may follow. */
  get midway(): boolean {
    return this.#parts.length > 0;
  }

  /** Committed entries, in order, each once. The same, but a last piece comes out as the whole command. */
  assemble(entries: readonly LogEntry[]): readonly LogEntry[] {
    if (!this.midway && !entries.some((entry) => entry.type === entryPiece)) return entries;
    return entries.map((entry) => this.#take(entry));
  }

  /** The state machine was replaced, by one that is not in the middle of anything. */
  reset(): void {
    this.#parts = [];
    this.#length = 0;
  }

  #take(entry: LogEntry): LogEntry {
    const { index, term, type, data } = entry;
    const follows = index === this.#index && term === this.#term;
    if (type !== entryPiece || data.length <= headBytes) {
      this.reset();
      return entry;
    }
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    const length = view.getUint32(0);
    const at = view.getUint32(4);
    if (!follows || at !== this.#length) this.reset();
    const end = at + data.length - headBytes;
    if (at !== this.#length || end > length || length > commandBytesMax) {
      this.reset();
      return entry;
    }
    this.#parts.push(data.subarray(headBytes));
    this.#length = end;
    this.#index = index + 1;
    this.#term = term;
    if (end < length) return entry;
    const whole = concat(this.#parts);
    this.reset();
    return { index, term, type: entryCommand, data: whole };
  }
}
