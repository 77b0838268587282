/**
 * A follower hands its leader a command that is too large for one request, piece by piece (core/raft/pieces.ts).
 *
 *   follower ──writePiece──► leader: kept ──► "more" … ──last piece──► proposed ──► result
 *
 * One piece at a time is on its way, so heartbeats on the same connection wait for half a megabyte at most. Pieces
 * without their last one have no effect: whatever goes wrong before may be begun again. A leader that does not know the
 * beginning says that it leads nobody, which makes the follower begin again.
 */
import type { Clock, Timer } from "../ports/mod.ts";
import { entryPiece } from "../raft/messages.ts";
import { Assembler, commandBytesMax, cut, wholeBytesMax } from "../raft/pieces.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import type { Millis, NodeId } from "../types/ids.ts";
import { isCommand, type ServerRequest } from "./forwarding.ts";

type Ask = (to: NodeId, request: ServerRequest, timeout: Millis) => Promise<unknown>;
type WritePiece = Extract<ServerRequest, { readonly kind: "writePiece" }>;

/** Of all servers together. Their own limits on bodies and connections bound what they send. */
const openMax = 64;
const openBytesMax = 4 * commandBytesMax;
/** A follower that sends no more has given up. */
const idleMax: Millis = 30_000;
const more = { kind: "more" };

/** Puts a command to the leader, whatever its size. */
export class WriteSender {
  readonly #ask: Ask;
  #idLast = 0;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  /** As the request `write` is answered. */
  async send(leader: NodeId, command: Bytes, timeout: Millis): Promise<unknown> {
    if (command.length <= wholeBytesMax) return this.#ask(leader, { kind: "write", command }, timeout);
    if (command.length > commandBytesMax)
      throw new AgentError("too-large", {
        message: `A command of ${command.length} bytes exceeds the limit of ${commandBytesMax}`,
      });
    const id = ++this.#idLast;
    let answer: unknown;
    for (const [number, piece] of cut(command).entries())
      answer = await this.#ask(leader, { kind: "writePiece", id, number, piece }, timeout);
    return answer;
  }
}

interface Open {
  readonly assembler: Assembler;
  next: number;
  bytes: number;
  timer: Timer | undefined;
}

export interface WriteReceiverOptions {
  readonly clock: Clock;
  /** At the leader. */
  readonly write: (command: Bytes) => Promise<unknown>;
}

/** The leader's end. */
export class WriteReceiver {
  readonly #options: WriteReceiverOptions;
  readonly #open = new Map<string, Open>();
  #bytes = 0;

  constructor(options: WriteReceiverOptions) {
    this.#options = options;
  }

  /** Answers `more`, or after the last piece what the command gave. */
  async take(from: NodeId, { id, number, piece }: WritePiece): Promise<unknown> {
    const { clock, write } = this.#options;
    const key = `${id} ${from}`;
    if (number === 0) this.#begin(key);
    const open = this.#open.get(key);
    if (open === undefined || open.next !== number) {
      this.#forget(key);
      throw new AgentError("no-leader", { message: "No cluster leader" });
    }
    if (this.#bytes + piece.length > openBytesMax) {
      this.#forget(key);
      throw new AgentError("rate-limited", { message: "Too many large writes are on their way" });
    }
    open.timer?.cancel();
    open.next++;
    open.bytes += piece.length;
    this.#bytes += piece.length;
    const [entry] = open.assembler.assemble([{ index: number, term: 0, type: entryPiece, data: piece }]);
    if (open.assembler.midway) {
      open.timer = clock.after(idleMax, () => this.#forget(key));
      return more;
    }
    this.#forget(key);
    if (entry === undefined || entry.type === entryPiece || !isCommand(entry.data))
      throw new AgentError("bad-request", { message: "the pieces are no command" });
    return write(entry.data);
  }

  stop(): void {
    for (const key of [...this.#open.keys()]) this.#forget(key);
  }

  #begin(key: string): void {
    this.#forget(key);
    if (this.#open.size >= openMax) throw new AgentError("rate-limited", { message: "Too many large writes are on their way" });
    this.#open.set(key, { assembler: new Assembler(), next: 0, bytes: 0, timer: undefined });
  }

  #forget(key: string): void {
    const open = this.#open.get(key);
    if (open === undefined) return;
    open.timer?.cancel();
    this.#bytes -= open.bytes;
    this.#open.delete(key);
  }
}
