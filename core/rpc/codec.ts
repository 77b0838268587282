/**
 * Calls as Consul's net/rpc writes them: a header map, then a body value, one call at a time on a stream.
 * The body of a failed call is an empty map, and must be read.
 */
import { Fields } from "../codec/fields.ts";
import { type Encodable, encode, type Value } from "../codec/msgpack.ts";
import type { ValueReader } from "../codec/value-stream.ts";
import { Malformed } from "../codec/msgpack.ts";
import { type Bytes, concat } from "../types/bytes.ts";

const headerBytesMax = 64 * 1024;
/** Answers can be large lists. */
export const bodyBytesMax: number = 64 * 1024 * 1024;
/** What a request may weigh: a transaction is as large as `txn_max_req_len` and the log allow. */
export const requestBytesMax: number = 64 * 1024 * 1024;

export interface RpcRequest {
  readonly sequence: number | bigint;
  /** "Status.Ping". */
  readonly method: string;
  readonly args: Value;
}

export interface RpcResponse {
  readonly sequence: number | bigint;
  /** "" for success. */
  readonly error: string;
  readonly body: Value;
}

export function encodeRequest(request: { readonly sequence: number; readonly method: string; readonly args: Encodable }): Bytes {
  return concat([encode({ Seq: request.sequence, ServiceMethod: request.method }), encode(request.args)]);
}

/** `error` "" is success; otherwise `body` is not looked at. */
export function encodeResponse(request: Pick<RpcRequest, "sequence" | "method">, error: string, body: Encodable): Bytes {
  const header = encode({ Error: error, Seq: request.sequence, ServiceMethod: request.method });
  return concat([header, encode(error === "" ? body : {})]);
}

/** Undefined at the end of the stream. Throws `Malformed`. */
export async function readRequest(reader: ValueReader): Promise<RpcRequest | undefined> {
  const header = await reader.value(headerBytesMax);
  if (header === undefined) return undefined;
  const fields = new Fields(header);
  const args = await reader.value(requestBytesMax);
  if (args === undefined) throw new Malformed("a request ends after its header");
  return { sequence: fields.wide("Seq"), method: fields.text("ServiceMethod"), args };
}

/** Undefined at the end of the stream. Throws `Malformed`. */
export async function readResponse(reader: ValueReader): Promise<RpcResponse | undefined> {
  const header = await reader.value(headerBytesMax);
  if (header === undefined) return undefined;
  const fields = new Fields(header);
  const body = await reader.value(bodyBytesMax);
  if (body === undefined) throw new Malformed("a response ends after its header");
  return { sequence: fields.wide("Seq"), error: fields.text("Error"), body };
}
