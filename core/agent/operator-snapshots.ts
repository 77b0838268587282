/**
 * The whole state as a file, and back: what `consul snapshot` asks of a server.
 *
 *   save     catalog ──two equal snapshots──► the first: size and hash ──► the second: the archive, as it is read
 *   restore  archive ──read once: whole?──► restoreBegin ──read again──► restoreChunk… ──► restoreEnd
 *
 * A restore goes through the log like any write, so that it is durable, the same on every server, and in order with
 * what clients write meanwhile; the catalog swaps its tables at the last entry (core/catalog/restoring.ts). The chunks go
 * one by one: each is acknowledged before the next, and so the log holds little of what may be much.
 */
import type { Catalog } from "../catalog/catalog.ts";
import type { CommandResult } from "../catalog/commands.ts";
import { restoreBytesMax, restoreChunkBytesMax } from "../catalog/restoring.ts";
import { type CatalogSnapshot, snapshotFormat } from "../catalog/snapshot.ts";
import { Sha256 } from "../codec/sha256.ts";
import { Pipe } from "../codec/pipe.ts";
import { type ArchiveMeta, readArchive, writeArchive } from "../codec/snapshot-archive.ts";
import type { ByteSource } from "../codec/value-stream.ts";
import type { SavedSnapshot, StoreApi } from "../plugin/agent-api.ts";
import { type Clock, type Crypto, type Logger, uuid } from "../ports/mod.ts";
import { type Bytes, concat, text } from "../types/bytes.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import { type ConsulStateSurvey, looksLikeConsulState, surveyConsulState, translateConsulState } from "./consul-state.ts";
import type { Raft } from "./raft.ts";

/** Archives being made; each holds two snapshots of the catalog, and its reader may hold the file. */
const savesMax = 2;
/** Between two looks at other work while a state is hashed: about a millisecond's. */
const hashBytesBetween = 256 * 1024;
/** Where the format's name stands in a catalog snapshot, give or take the length of numbers. */
const formatWithinBytes = 64;

export interface OperatorSnapshotsOptions {
  readonly catalog: Catalog;
  readonly store: StoreApi;
  readonly raft: Pick<Raft, "term" | "servers">;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly logger: Logger;
  /** A restore that this server carried out is done. */
  readonly onRestored: () => void;
}

export class OperatorSnapshots {
  readonly #options: OperatorSnapshotsOptions;
  #saves = 0;
  /** Of the restore that this server carries out. */
  #restoring: string | undefined;

  constructor(options: OperatorSnapshotsOptions) {
    this.#options = options;
  }

  /** The archive, before compression. Rejects with `no-leader` (unless `stale`), `rate-limited` when several are being made already. */
  async save({ stale }: { readonly stale: boolean }): Promise<SavedSnapshot> {
    const { catalog, store, raft, clock } = this.#options;
    if (this.#saves >= savesMax)
      throw new AgentError("rate-limited", { message: `Cannot save a snapshot: ${savesMax} are being made already` });
    this.#saves++;
    const taken: CatalogSnapshot[] = [];
    let open = true;
    const release = (): void => {
      if (!open) return;
      open = false;
      this.#saves--;
      for (const snapshot of taken) snapshot.release();
    };
    try {
      // The answer is of no interest; when it is there, so is everything that was acknowledged before the question.
      // Not by the lease: a leader that has just lost its group must not hand out what it believes to be the newest state.
      const { meta } = await store.read<"kvGet">({ kind: "kvGet", key: "" }, { consistency: stale ? "stale" : "consistent" });
      // Taken in one turn, so of one state; and equal states give equal bytes.
      const index = catalog.lastIndex;
      taken.push(catalog.snapshot("operator"));
      taken.push(catalog.snapshot("operator"));
      const [measured, content] = taken as [CatalogSnapshot, CatalogSnapshot];
      const wall = clock.wall();
      const { size, sha256 } = await this.#measure(measured);
      const { term } = raft;
      const archiveMeta = { version: 1, id: `${term}-${index}-${wall}`, index, term, servers: raft.servers(), size };
      return { meta: { ...meta, index }, content: writeArchive(archiveMeta, sha256, wall / 1000, pieces(content)), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /**
   * `archive` is called twice: once to verify the whole before anything is changed, once to bring it in. An archive of the
   * original Consul will do; `partial`: also one with what is not kept here, which is then left behind.
   */
  async restore(archive: () => AsyncIterable<Bytes>, partial: boolean): Promise<void> {
    if (this.#restoring !== undefined)
      throw new AgentError("rate-limited", { message: "Cannot restore a snapshot: another is being restored" });
    const { logger, crypto, onRestored } = this.#options;
    const id = uuid(crypto);
    this.#restoring = id;
    try {
      const { index, state } = await verify(archive());
      if (state.kind === "consul") this.#tellLeftBehind(state.survey, partial);
      logger.log("info", "restoring a snapshot", { index, of: state.kind === "ours" ? "Proconsul" : "Consul" });
      await this.#replay(id, archive(), state);
      logger.log("info", "restored a snapshot", { index });
    } catch (error) {
      logger.log("error", "failed to restore a snapshot", { error: messageOf(error) });
      throw error;
    } finally {
      this.#restoring = undefined;
    }
    onRestored();
  }

  #tellLeftBehind({ leftBehind }: ConsulStateSurvey, partial: boolean): void {
    if (leftBehind.size === 0) return;
    const what = [...leftBehind].map(([name, count]) => `${name} (${count})`).join(", ");
    if (!partial)
      throw new AgentError("rejected", {
        message: `Cannot restore the snapshot: it holds what Proconsul does not keep: ${what}. Remove them in Consul and save again, or leave them behind (consul snapshot restore -partial, PUT /v1/snapshot?partial)`,
      });
    this.#options.logger.log("warn", "the snapshot holds what is not kept here; leaving it behind", { what });
  }

  /** This server leads now. Whoever was restoring through another leader has lost it, and will not come back for it. */
  onLeading(): void {
    const id = this.#options.catalog.restoringId;
    if (id !== undefined && id !== this.#restoring) this.#discard(id);
  }

  async #measure(snapshot: CatalogSnapshot): Promise<{ readonly size: number; readonly sha256: Bytes }> {
    const hash = new Sha256();
    let size = 0;
    let sincePause = 0;
    for (const frame of snapshot) {
      hash.update(frame);
      size += frame.length;
      sincePause += frame.length;
      if (size > restoreBytesMax)
        throw new AgentError("too-large", { message: `Cannot save a snapshot: the state exceeds ${restoreBytesMax} bytes` });
      if (sincePause < hashBytesBetween) continue;
      sincePause = 0;
      await this.#pause();
    }
    return { size, sha256: hash.digest() };
  }

  async #replay(id: string, archive: AsyncIterable<Bytes>, state: StateKind): Promise<void> {
    await this.#write({ kind: "restoreBegin", id });
    try {
      // Its hashes are checked again on the way: it was read before, but not kept.
      const { result: length } = await readState(archive, (source) =>
        this.#send(id, state.kind === "ours" ? allOf(source) : translateConsulState(source, state.survey)),
      );
      await this.#write({ kind: "restoreEnd", id, length });
    } catch (error) {
      this.#discard(id);
      throw error;
    }
  }

  /** Chunk by chunk; gives their length. */
  async #send(id: string, content: AsyncIterable<Bytes>): Promise<number> {
    let at = 0;
    let waiting: Bytes[] = [];
    let size = 0;
    const flush = async (): Promise<void> => {
      const bytes = concat(waiting);
      waiting = [];
      size = 0;
      await this.#write({ kind: "restoreChunk", id, at, bytes });
      at += bytes.length;
    };
    for await (const piece of content) {
      for (let from = 0; from < piece.length; ) {
        const part = piece.slice(from, from + restoreChunkBytesMax - size);
        waiting.push(part);
        size += part.length;
        from += part.length;
        if (size === restoreChunkBytesMax) await flush();
      }
    }
    if (size > 0) await flush();
    return at;
  }

  async #write(command: Parameters<StoreApi["write"]>[0]): Promise<void> {
    const result: CommandResult = await this.#options.store.write(command);
    if (result.kind === "rejected") throw new AgentError("rejected", { message: result.message });
  }

  /** So that the servers need not hold what nobody will end. Should it fail, the next leader does it. */
  #discard(id: string): void {
    this.#write({ kind: "restoreDiscard", id }).catch((error: unknown) =>
      this.#options.logger.log("warn", "an unfinished restore could not be discarded", { error: messageOf(error) }),
    );
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => void this.#options.clock.after(0, resolve));
  }
}

/** What an archive's state was found to be. */
type StateKind = { readonly kind: "ours" } | { readonly kind: "consul"; readonly survey: ConsulStateSurvey };

/** Reads an archive to its end, and knows what its state is. */
async function verify(archive: AsyncIterable<Bytes>): Promise<{ readonly index: number; readonly state: StateKind }> {
  const { meta, result } = await readState(archive, async (source) => {
    // What is wrong with the archive as a whole is told before what is wrong with its state.
    try {
      return await inspect(source);
    } catch (error) {
      while ((await source.read()) !== undefined);
      return { kind: "fault", error } as const;
    }
  });
  if (result.kind === "fault") throw result.error;
  return { index: meta.index, state: result };
}

async function inspect(source: ByteSource): Promise<StateKind> {
  const parts: Bytes[] = [];
  let length = 0;
  for (let piece = await source.read(); piece !== undefined; piece = await source.read()) {
    parts.push(piece);
    length += piece.length;
    if (length >= formatWithinBytes) break;
  }
  const start = concat(parts);
  if (looksLikeConsulState(start)) return { kind: "consul", survey: await surveyConsulState(followed(start, source)) };
  if (!text(start.subarray(0, formatWithinBytes)).includes(snapshotFormat))
    throw new AgentError("rejected", {
      message: "Cannot restore the snapshot: its state is neither Proconsul's nor Consul's. Use a file of `consul snapshot save`",
    });
  while ((await source.read()) !== undefined);
  return { kind: "ours" };
}

/** `start`, then what `source` gives. */
function followed(start: Bytes, source: ByteSource): ByteSource {
  let first: Bytes | undefined = start;
  return {
    read() {
      const next = first;
      first = undefined;
      return next === undefined ? source.read() : Promise.resolve(next);
    },
  };
}

/** Reads an archive while `consume` reads the state in it. Rejects with the first failure of the two. */
async function readState<Result>(
  archive: AsyncIterable<Bytes>,
  consume: (state: ByteSource) => Promise<Result>,
): Promise<{ readonly meta: ArchiveMeta; readonly result: Result }> {
  const pipe = new Pipe();
  const consumed = consume(pipe);
  consumed.catch((error: unknown) => pipe.abandon(error));
  try {
    const meta = await readArchive(archive, { stateBytesMax: restoreBytesMax, onState: (piece) => pipe.write(piece) });
    pipe.end();
    return { meta, result: await consumed };
  } catch (error) {
    pipe.fail(error);
    await consumed.catch(() => undefined); // the first failure is the one to tell
    throw error;
  }
}

async function* allOf(source: ByteSource): AsyncGenerator<Bytes> {
  for (let piece = await source.read(); piece !== undefined; piece = await source.read()) yield piece;
}

async function* pieces(snapshot: CatalogSnapshot): AsyncGenerator<Bytes> {
  yield* snapshot;
}
