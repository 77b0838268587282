/**
 * Sending and receiving snapshots: the one conversation of Raft that takes long, so it is asynchronous and outside the
 * machine, which only learns of its end.
 *
 *   leader                                   follower
 *   latest snapshot, in chunks ──chunk────►  written into the snapshot store as it comes
 *                              ◄──reply────  after the store took it: that is the backpressure
 *        … last chunk ────────────────────►  saved and synced; the state machine is replaced
 *                              ◄─installed─  snapshotInstalled to its machine
 *   snapshotSent to its machine
 *
 * A chunk without an answer is sent again. A new attempt, term or leader discards what an old one left; a save that is
 * not finished leaves no trace.
 */
import type { Clock, Timer } from "../ports/clock.ts";
import type { SnapshotMeta, SnapshotStore } from "../ports/storage.ts";
import type { Logger } from "../ports/telemetry.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis, NodeId, Term } from "../types/ids.ts";
import { decodeConfiguration } from "./membership.ts";
import { type RaftInput, type RaftMessage, type SnapshotChunk, type SnapshotChunkReply, snapshotPoint } from "./messages.ts";
import type { RaftMachine } from "./raft.ts";

/** Bytes in one chunk. */
export const chunkBytesMax = 256 * 1024;
/** A chunk is sent again after this long without an answer… */
const replyTimeout: Millis = 2_000;
/** …this many times; then the attempt is given up. */
const sendsMax = 15;
/** A transfer that stands still on the receiving side is given up. */
const idleMax: Millis = 60_000;

/** The state machine, as snapshots need it. */
export interface SnapshotContent {
  /** The state as it is now: later changes must not show, however late the content is read. */
  capture(): AsyncIterable<Bytes>;
  /** Replaces the whole state. Throws `snapshot-corrupt` for content it cannot read. */
  restore(content: AsyncIterable<Bytes>): Promise<void>;
  /** A command has been taken in part: no snapshot can say that. Absent: never. */
  midway?(): boolean;
}

export interface SnapshotTransferOptions {
  readonly machine: RaftMachine;
  readonly clock: Clock;
  readonly snapshots: SnapshotStore;
  readonly logger: Logger;
  readonly send: (message: RaftMessage) => void;
  readonly feed: (input: RaftInput) => void;
  /** Replaces the state machine; false when it is already further. */
  readonly install: (meta: SnapshotMeta, from: NodeId, term: Term) => Promise<boolean>;
}

export class SnapshotTransfer {
  readonly #options: SnapshotTransferOptions;
  /** By follower. */
  readonly #outgoing = new Map<NodeId, Outgoing>();
  #incoming: Incoming | undefined;
  /** What is being stored, also for attempts that were given up. */
  readonly #storing = new Set<Promise<void>>();
  #attemptLast = 0;

  constructor(options: SnapshotTransferOptions) {
    this.#options = options;
  }

  /** Sends the newest snapshot and tells the machine how it ended. Never rejects. */
  async sendTo(to: NodeId): Promise<void> {
    const { feed, logger, machine } = this.#options;
    const { term } = machine;
    this.#outgoing.get(to)?.give(undefined);
    const outgoing = new Outgoing(++this.#attemptLast);
    this.#outgoing.set(to, outgoing);
    let index = 0;
    let ok = false;
    try {
      index = await this.#send(to, term, outgoing);
      ok = true;
    } catch (error) {
      logger.log("warn", "failed to send snapshot", { to, error: messageOf(error) });
    }
    // Another attempt has taken its place. How this one ended is no news of that one: told, it would begin once more, and so on.
    if (this.#outgoing.get(to) !== outgoing) return;
    this.#outgoing.delete(to);
    if (machine.term === term) feed({ kind: "snapshotSent", to, ok, index });
  }

  /** A chunk or the answer to one; the machine has seen it already. */
  receive(message: SnapshotChunk | SnapshotChunkReply): void {
    const { machine } = this.#options;
    if (message.term !== machine.term) return;
    if (message.kind === "snapshotChunkReply") {
      const outgoing = this.#outgoing.get(message.from);
      if (outgoing?.attempt === message.attempt) outgoing.give(message);
    } else if (machine.leader === message.from && message.to === machine.id) {
      this.#onChunk(message);
    }
  }

  /** Everything is given up at once; resolves when nothing is being stored any more. Harmless when repeated. */
  async stop(): Promise<void> {
    for (const outgoing of this.#outgoing.values()) outgoing.give(undefined);
    this.#outgoing.clear();
    this.#incoming?.abandon();
    this.#incoming = undefined;
    await Promise.all(this.#storing);
  }

  async #send(to: NodeId, term: Term, outgoing: Outgoing): Promise<number> {
    const { snapshots } = this.#options;
    const meta = await snapshots.latest();
    if (meta === undefined) throw new AgentError("not-found", { message: "there is no snapshot yet" });
    const point = snapshotPoint(meta);
    let offset = 0;
    // One piece behind the reader, since only the end of the content shows which one is the last.
    let pending: Bytes | undefined;
    const chunk = (data: Bytes, last: boolean): SnapshotChunk => ({
      kind: "snapshotChunk",
      from: this.#options.machine.id,
      to,
      term,
      point,
      attempt: outgoing.attempt,
      offset,
      data,
      last,
    });
    for await (const part of snapshots.read(meta)) {
      for (let at = 0; at < part.length; at += chunkBytesMax) {
        if (pending !== undefined) {
          if (await this.#exchange(chunk(pending, false), outgoing)) return meta.index;
          offset += pending.length;
        }
        pending = part.subarray(at, at + chunkBytesMax);
      }
    }
    if (!(await this.#exchange(chunk(pending ?? new Uint8Array(0), true), outgoing))) {
      throw new AgentError("connection-closed", { message: "the follower did not install it" });
    }
    return meta.index;
  }

  /** Sends a chunk until it is taken. True when the follower is done with the whole snapshot. */
  async #exchange(chunk: SnapshotChunk, outgoing: Outgoing): Promise<boolean> {
    const { clock, machine, send } = this.#options;
    const next = chunk.offset + chunk.data.length;
    for (let sends = 0; sends < sendsMax; sends++) {
      if (machine.term !== chunk.term || machine.role !== "leader")
        throw new AgentError("cancelled", { message: "leadership was lost" });
      const reply = outgoing.reply();
      send(chunk);
      const timer = clock.after(replyTimeout, () => outgoing.give("late"));
      for (let answer = await reply; ; answer = await outgoing.reply()) {
        if (answer === "late") break;
        if (answer === undefined || answer.status === "refused") {
          timer.cancel();
          throw new AgentError("cancelled", {
            message: answer === undefined ? "the attempt was given up" : "the follower refused it",
          });
        }
        // It is busy replacing its state machine: alive, however long that takes.
        if (answer.status === "installing") sends = 0;
        const taken = answer.status === "more" && answer.offset >= next && !chunk.last;
        if (answer.status !== "installed" && !taken) continue;
        timer.cancel();
        return answer.status === "installed";
      }
    }
    throw new AgentError("timeout", { message: "the follower does not answer" });
  }

  #onChunk(chunk: SnapshotChunk): void {
    const { machine } = this.#options;
    if (chunk.point.index <= machine.appliedIndex) {
      this.#reply(chunk, chunk.offset + chunk.data.length, "installed");
      return;
    }
    let incoming = this.#incoming;
    if (
      incoming === undefined ||
      incoming.from !== chunk.from ||
      incoming.term !== chunk.term ||
      incoming.attempt !== chunk.attempt
    ) {
      if (chunk.offset !== 0 || incoming?.installing === true || decodeConfiguration(chunk.point.configuration) === undefined) {
        this.#reply(chunk, 0, "refused");
        return;
      }
      incoming?.abandon();
      incoming = this.#begin(chunk);
    }
    if (chunk.offset !== incoming.offset || incoming.ended || incoming.storing) {
      // Sent again because an answer was lost or is late. What is still being stored is answered when it is.
      if (incoming.ended) this.#reply(chunk, incoming.offset, "installing");
      else if (chunk.offset < incoming.offset && !incoming.storing) this.#reply(chunk, incoming.offset, "more");
      return;
    }
    incoming.idle?.cancel();
    incoming.idle = this.#options.clock.after(idleMax, () => this.#giveUp(incoming));
    incoming.take(chunk.data, chunk.last, () => {
      if (this.#incoming === incoming && !chunk.last) this.#reply(chunk, incoming.offset, "more");
    });
  }

  #begin(chunk: SnapshotChunk): Incoming {
    const incoming = new Incoming(chunk.from, chunk.term, chunk.attempt);
    this.#incoming = incoming;
    const storing = this.#store(incoming, chunk).finally(() => this.#storing.delete(storing)); // reports to the leader, and to the log
    this.#storing.add(storing);
    return incoming;
  }

  async #store(incoming: Incoming, chunk: SnapshotChunk): Promise<void> {
    const { install, logger, snapshots } = this.#options;
    try {
      const meta = await snapshots.save(chunk.point, incoming.content());
      incoming.idle?.cancel();
      if (this.#incoming !== incoming) return;
      incoming.installing = true;
      await install(meta, incoming.from, incoming.term);
      this.#reply(chunk, incoming.offset, "installed");
    } catch (error) {
      if (this.#incoming !== incoming) return; // given up on purpose
      logger.log("warn", "failed to install snapshot", { from: incoming.from, error: messageOf(error) });
      this.#reply(chunk, 0, "refused");
    } finally {
      incoming.idle?.cancel();
      if (this.#incoming === incoming) this.#incoming = undefined;
    }
  }

  #giveUp(incoming: Incoming): void {
    incoming.abandon();
    if (this.#incoming === incoming && !incoming.installing) this.#incoming = undefined;
  }

  #reply(chunk: SnapshotChunk, offset: number, status: SnapshotChunkReply["status"]): void {
    const { machine, send } = this.#options;
    send({
      kind: "snapshotChunkReply",
      from: machine.id,
      to: chunk.from,
      term: chunk.term,
      attempt: chunk.attempt,
      offset,
      status,
    });
  }
}

/** The sending end of one attempt: hands answers to whoever waits for one. */
class Outgoing {
  readonly attempt: number;
  #give: ((answer: SnapshotChunkReply | "late" | undefined) => void) | undefined;
  #ended = false;

  constructor(attempt: number) {
    this.attempt = attempt;
  }

  /** The next answer; "late" when there is none in time; undefined when the attempt is over. */
  reply(): Promise<SnapshotChunkReply | "late" | undefined> {
    if (this.#ended) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#give = resolve;
    });
  }

  give(answer: SnapshotChunkReply | "late" | undefined): void {
    if (answer === undefined) this.#ended = true;
    const give = this.#give;
    this.#give = undefined;
    give?.(answer);
  }
}

/** The receiving end: a chunk goes in, the snapshot store pulls it out. At most one chunk is held. */
class Incoming {
  readonly from: NodeId;
  readonly term: Term;
  readonly attempt: number;
  /** Bytes taken. */
  offset = 0;
  ended = false;
  installing = false;
  idle: Timer | undefined;
  #chunk: Bytes | undefined;
  #stored: (() => void) | undefined;
  #wake: (() => void) | undefined;
  #abandoned = false;

  constructor(from: NodeId, term: Term, attempt: number) {
    this.from = from;
    this.term = term;
    this.attempt = attempt;
  }

  /** A chunk is being stored. */
  get storing(): boolean {
    return this.#chunk !== undefined;
  }

  take(data: Bytes, last: boolean, stored: () => void): void {
    this.#chunk = data;
    this.#stored = stored;
    this.offset += data.length;
    this.ended = last;
    this.#wake?.();
  }

  abandon(): void {
    this.#abandoned = true;
    this.#wake?.();
  }

  async *content(): AsyncGenerator<Bytes> {
    for (;;) {
      if (this.#abandoned) throw new AgentError("cancelled", { message: "the transfer was given up" });
      const chunk = this.#chunk;
      if (chunk === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      if (chunk.length > 0) yield chunk;
      // The store came back for more, so it has taken this one.
      this.#chunk = undefined;
      this.#stored?.();
      if (this.ended) return;
    }
  }
}

/**
 * The state as it is now. The first part is asked for at once: a generator does nothing before, and would capture the state
 * as it is when the store gets round to reading it.
 */
export function beginCapture(content: SnapshotContent): AsyncIterable<Bytes> {
  const iterator = content.capture()[Symbol.asyncIterator]();
  const first = iterator.next();
  first.catch(() => undefined); // told to whoever reads
  return begunFrom(iterator, first);
}

async function* begunFrom(iterator: AsyncIterator<Bytes>, first: Promise<IteratorResult<Bytes>>): AsyncGenerator<Bytes> {
  for (let part = await first; part.done !== true; part = await iterator.next()) yield part.value;
}
