/**
 * Sending a snapshot from one simulated server to another, in pieces, over the same links as everything else: what
 * core/raft/snapshot-transfer.ts does with promises, with callbacks.
 *
 *   piece ─► received ─► answered ─► next piece … last piece ─► stored ─► installed ─► answered ─► snapshotSent
 */
import { below, between, type Random } from "../../core/ports/random.ts";
import type { RaftInput, SnapshotChunk, SnapshotChunkReply } from "../../core/raft/messages.ts";
import type { RaftMachine } from "../../core/raft/raft.ts";
import { concat, type Bytes } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Millis, NodeId, Term } from "../../core/types/ids.ts";
import type { GroupDisk, StoredSnapshot } from "./group-disk.ts";
import type { Surroundings } from "./surroundings.ts";

/** A piece without an answer is sent again after this long, this many times. */
const replyTimeout: Millis = 200;
const sendsMax = 5;

/** The server that sends and receives. */
export interface SnapshotServer {
  readonly id: NodeId;
  readonly disk: GroupDisk;
  readonly machine: RaftMachine | undefined;
  plan(delay: Millis, act: () => void): void;
  feed(input: RaftInput): void;
  install(snapshot: StoredSnapshot, from: NodeId, term: Term, done: () => void): void;
}

interface Outgoing {
  readonly to: NodeId;
  readonly term: Term;
  readonly attempt: number;
  readonly snapshot: StoredSnapshot;
  readonly pieceBytes: number;
  offset: number;
  sends: number;
}

interface Incoming {
  readonly from: NodeId;
  readonly term: Term;
  readonly attempt: number;
  readonly pieces: Bytes[];
  offset: number;
  installing: boolean;
}

export class SnapshotCourier {
  readonly #group: Surroundings;
  readonly #server: SnapshotServer;
  readonly #random: Random;
  readonly #outgoing = new Map<NodeId, Outgoing>();
  #incoming: Incoming | undefined;
  #attemptLast = 0;

  constructor(group: Surroundings, server: SnapshotServer, random: Random) {
    this.#group = group;
    this.#server = server;
    this.#random = random;
  }

  stop(): void {
    this.#outgoing.clear();
    this.#incoming = undefined;
  }

  sendTo(to: NodeId, machine: RaftMachine): void {
    const snapshot = this.#read();
    const { term } = machine;
    if (snapshot === undefined) {
      this.#server.plan(1, () => this.#tell(to, term, false, 0));
      return;
    }
    const pieces = 1 + below(this.#random, 3);
    const outgoing: Outgoing = {
      to,
      term,
      attempt: ++this.#attemptLast,
      snapshot,
      pieceBytes: Math.ceil(snapshot.content.length / pieces),
      offset: 0,
      sends: 0,
    };
    this.#outgoing.set(to, outgoing);
    this.#send(outgoing);
  }

  receive(message: SnapshotChunk | SnapshotChunkReply): void {
    const { machine } = this.#server;
    if (machine === undefined || message.term !== machine.term) return;
    if (message.kind === "snapshotChunkReply") this.#onReply(message);
    else if (machine.leader === message.from) this.#onChunk(message, machine);
  }

  #send(outgoing: Outgoing): void {
    const { machine } = this.#server;
    if (machine === undefined || this.#outgoing.get(outgoing.to) !== outgoing) return;
    if (machine.term !== outgoing.term || machine.role !== "leader" || outgoing.sends === sendsMax) {
      this.#end(outgoing, false);
      return;
    }
    outgoing.sends++;
    const { offset, attempt, snapshot, pieceBytes, term, to } = outgoing;
    const data = snapshot.content.subarray(offset, offset + pieceBytes);
    const last = offset + data.length === snapshot.content.length;
    this.#group.send({
      kind: "snapshotChunk",
      from: this.#server.id,
      to,
      term,
      point: snapshot.point,
      attempt,
      offset,
      data,
      last,
    });
    const { sends } = outgoing;
    this.#server.plan(replyTimeout, () => {
      if (outgoing.sends === sends && outgoing.offset === offset) this.#send(outgoing);
    });
  }

  #onReply(reply: SnapshotChunkReply): void {
    const outgoing = this.#outgoing.get(reply.from);
    if (outgoing?.attempt !== reply.attempt) return;
    if (reply.status === "installed") this.#end(outgoing, true);
    else if (reply.status === "refused") this.#end(outgoing, false);
    else if (reply.status === "installing") outgoing.sends = 1;
    else if (reply.offset > outgoing.offset) {
      outgoing.offset = reply.offset;
      outgoing.sends = 0;
      this.#send(outgoing);
    }
  }

  #end(outgoing: Outgoing, ok: boolean): void {
    this.#outgoing.delete(outgoing.to);
    this.#tell(outgoing.to, outgoing.term, ok, outgoing.snapshot.point.index);
  }

  #tell(to: NodeId, term: Term, ok: boolean, index: number): void {
    if (this.#server.machine?.term === term) this.#server.feed({ kind: "snapshotSent", to, ok, index });
  }

  #onChunk(chunk: SnapshotChunk, machine: RaftMachine): void {
    if (chunk.point.index <= machine.appliedIndex) {
      this.#reply(chunk, chunk.offset + chunk.data.length, "installed");
      return;
    }
    let incoming = this.#incoming;
    if (incoming?.from !== chunk.from || incoming.term !== chunk.term || incoming.attempt !== chunk.attempt) {
      if (chunk.offset !== 0 || incoming?.installing === true) {
        this.#reply(chunk, 0, "refused");
        return;
      }
      incoming = { from: chunk.from, term: chunk.term, attempt: chunk.attempt, pieces: [], offset: 0, installing: false };
      this.#incoming = incoming;
    }
    if (incoming.installing) this.#reply(chunk, incoming.offset, "installing");
    else if (chunk.offset !== incoming.offset) this.#reply(chunk, incoming.offset, "more");
    else {
      incoming.pieces.push(chunk.data);
      incoming.offset += chunk.data.length;
      if (chunk.last) this.#store(chunk, incoming);
      else this.#reply(chunk, incoming.offset, "more");
    }
  }

  #store(chunk: SnapshotChunk, incoming: Incoming): void {
    incoming.installing = true;
    const content = concat(incoming.pieces);
    const snapshot: StoredSnapshot = { point: chunk.point, content };
    const end = (status: SnapshotChunkReply["status"]): void => {
      if (this.#incoming === incoming) this.#incoming = undefined;
      this.#reply(chunk, incoming.offset, status);
    };
    this.#server.disk.save(snapshot, {
      first: between(this.#random, 0, 20),
      wait: (duration, act) => this.#server.plan(duration, act),
      done: () => {
        if (this.#server.machine === undefined) return;
        this.#server.install(snapshot, incoming.from, incoming.term, () => end("installed"));
      },
      failed: () => end("refused"),
    });
  }

  /** Undefined when there is none that could be read. */
  #read(): StoredSnapshot | undefined {
    try {
      return this.#server.disk.readSnapshot();
    } catch (error) {
      if (error instanceof AgentError && this.#group.isHurt(this.#server.id)) return undefined;
      throw error;
    }
  }

  #reply(chunk: SnapshotChunk, offset: number, status: SnapshotChunkReply["status"]): void {
    const { machine, id } = this.#server;
    if (machine === undefined) return;
    this.#group.send({
      kind: "snapshotChunkReply",
      from: id,
      to: chunk.from,
      term: chunk.term,
      attempt: chunk.attempt,
      offset,
      status,
    });
  }
}
