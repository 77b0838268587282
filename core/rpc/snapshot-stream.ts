/**
 * Snapshots between agents: a connection of its own on the server port, for one snapshot (Consul 1.8,
 * agent/consul/snapshot_endpoint.go).
 *
 *   save     ► first byte 5, request, end     ◄ response, the gzip file, end
 *   restore  ► first byte 5, request, the gzip file, end          ◄ response
 */
import { encode } from "../codec/msgpack.ts";
import { Fields } from "../codec/fields.ts";
import { ValueReader } from "../codec/value-stream.ts";
import type { ReadMeta, SavedSnapshot, SnapshotApi } from "../plugin/agent-api.ts";
import type { Clock } from "../ports/clock.ts";
import type { ByteStream } from "../ports/streams.ts";
import { type Bytes, concat } from "../types/bytes.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { decodeQueryMeta, encodeQueryMeta } from "./endpoints/query-options.ts";
import { firstByte } from "./first-byte.ts";

const operation = { save: 0, restore: 1 } as const;
const headBytesMax = 64 * 1024;
const requestTimeout: Millis = 5000;
const pieceBytes = 64 * 1024;
const nothing: ReadMeta = { index: 0, knownLeader: false, lastContact: 0 };

export interface SnapshotRequest {
  readonly datacenter: string;
  readonly stale: boolean;
  readonly token: string;
}

export interface SnapshotServerOptions {
  readonly clock: Clock;
  /** Of a datacenter; rejects with `no-datacenter`. */
  readonly snapshots: (datacenter: string) => SnapshotApi;
  /** Largest file that is taken. */
  readonly fileBytesMax: number;
}

/** Answers one connection whose first byte was read. Resolves when it is over. */
export async function serveSnapshot(stream: ByteStream, options: SnapshotServerOptions): Promise<void> {
  const reader = new ValueReader(stream);
  const timer = options.clock.after(requestTimeout, () =>
    stream.abort(new AgentError("timeout", { message: "snapshot: no request came" })),
  );
  const head = await reader.value(headBytesMax).finally(() => timer.cancel());
  if (head === undefined) return;
  try {
    const request = new Fields(head);
    const snapshots = options.snapshots(request.text("Datacenter"));
    switch (request.unsigned("Op")) {
      case operation.save:
        await sendSaved(stream, await snapshots.save({ stale: request.flag("AllowStale") }));
        break;
      case operation.restore:
        await snapshots.restore(await rest(reader, options.fileBytesMax));
        await send(stream, response("", nothing));
        break;
      default:
        throw new AgentError("rejected", { message: `unrecognized snapshot op ${request.unsigned("Op")}` });
    }
  } catch (error) {
    await send(stream, response(messageOf(error), nothing));
  }
  await stream.closeWrite();
}

async function sendSaved(stream: ByteStream, saved: SavedSnapshot): Promise<void> {
  try {
    await send(stream, response("", saved.meta));
    try {
      for await (const piece of saved.content) await send(stream, piece);
    } catch (error) {
      // The response is sent: only a broken connection can still say that the file is not whole.
      stream.abort(new AgentError("connection-closed", { message: messageOf(error), cause: error }));
    }
  } finally {
    saved.release();
  }
}

/** Asks for a snapshot over a fresh connection. Rejects with `rejected` in the server's words. */
export async function fetchSnapshot(stream: ByteStream, request: SnapshotRequest): Promise<SavedSnapshot> {
  const release = (): void => stream.abort(new AgentError("closed", { message: "the snapshot was released" }));
  try {
    await send(stream, requestHead(operation.save, request));
    // A server of Consul's that does not lead hands on all that comes, and only then what is answered: it waits for the end.
    await stream.closeWrite();
    const reader = new ValueReader(stream);
    const meta = await readResponse(reader);
    return { meta, content: pieces(reader), release };
  } catch (error) {
    release();
    throw error;
  }
}

/** Sends a snapshot to be restored over a fresh connection. Rejects with `rejected` in the server's words. */
export async function pushSnapshot(stream: ByteStream, request: SnapshotRequest, file: Bytes): Promise<void> {
  try {
    await send(stream, requestHead(operation.restore, request));
    for (let at = 0; at < file.length; at += pieceBytes) await send(stream, file.slice(at, at + pieceBytes));
    await stream.closeWrite();
    await readResponse(new ValueReader(stream));
  } finally {
    stream.abort(new AgentError("closed", { message: "the snapshot is restored" }));
  }
}

function requestHead(op: number, { datacenter, stale, token }: SnapshotRequest): Bytes {
  return concat([Uint8Array.of(firstByte.snapshot), encode({ AllowStale: stale, Datacenter: datacenter, Op: op, Token: token })]);
}

function response(error: string, meta: ReadMeta): Bytes {
  return encode({ ConsistencyLevel: "", Error: error, ...encodeQueryMeta(meta) });
}

async function readResponse(reader: ValueReader): Promise<ReadMeta> {
  const value = await reader.value(headBytesMax);
  if (value === undefined) throw new AgentError("connection-closed", { message: "failed to decode response: EOF" });
  const fields = new Fields(value);
  const error = fields.text("Error");
  if (error !== "") throw new AgentError("rejected", { message: error });
  return decodeQueryMeta(fields);
}

async function* pieces(reader: ValueReader): AsyncGenerator<Bytes> {
  for (let piece = await reader.rest(); piece !== undefined; piece = await reader.rest()) yield piece;
}

async function rest(reader: ValueReader, bytesMax: number): Promise<Bytes> {
  const parts: Bytes[] = [];
  let length = 0;
  for await (const piece of pieces(reader)) {
    length += piece.length;
    if (length > bytesMax) throw new AgentError("too-large", { message: `the snapshot exceeds ${bytesMax} bytes` });
    parts.push(piece);
  }
  return concat(parts);
}

async function send(stream: ByteStream, bytes: Bytes): Promise<void> {
  if (!stream.write(bytes)) await stream.drained();
}
