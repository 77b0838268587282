/** The key-value part of the HTTP API, as the kv, lock and watch commands need it. */
import type { HttpClientResponse } from "../../core/ports/http.ts";
import { type Bytes, fromBase64, text } from "../../core/types/bytes.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { type Api, ApiError, readBody } from "./api.ts";
import { isObject, type Json } from "./json.ts";
import type { QueryParameters } from "../../core/codec/go-url.ts";

export interface KvPair {
  readonly key: string;
  readonly value: Bytes;
  /** 64 bits. */
  readonly flags: bigint;
  readonly createIndex: bigint;
  readonly modifyIndex: bigint;
  readonly lockIndex: bigint;
  /** "" when nobody holds it. */
  readonly session: string;
}

/** Empty when there is none. Rejects with {@link ApiError}. */
export async function readPairs(api: Api, key: string, query: QueryParameters): Promise<readonly KvPair[]> {
  const response = await readKv(api, key, query);
  if (response === undefined) return [];
  const body = readBody(response);
  return Array.isArray(body) ? body.map(pairOf) : [];
}

export interface Watched {
  readonly pairs: readonly KvPair[];
  /** For the next read to wait on, as text: 64 bits. */
  readonly index: string;
}

/** {@link readPairs} that may wait: `query` holds `index` and `wait`. */
export async function watchPairs(api: Api, key: string, query: QueryParameters, cancel: Cancel): Promise<Watched> {
  const response = await api.send({ method: "GET", path: `/v1/kv/${key}`, query, cancel });
  const index = response.headers["x-consul-index"] ?? "0";
  if (response.status === 404) return { pairs: [], index };
  if (response.status !== 200) throw new ApiError(`Unexpected response code: ${response.status}`, response.status);
  const body = readBody(response);
  return { pairs: Array.isArray(body) ? body.map(pairOf) : [], index };
}

/** Names below `prefix`, cut after `separator` unless that is "". */
export async function readKeys(api: Api, prefix: string, separator: string): Promise<readonly string[]> {
  const response = await readKv(api, prefix, { keys: "", ...(separator !== "" && { separator }) });
  if (response === undefined) return [];
  const body = readBody(response);
  return Array.isArray(body) ? body.filter((key: Json) => typeof key === "string") : [];
}

async function readKv(api: Api, key: string, query: QueryParameters): Promise<HttpClientResponse | undefined> {
  // Consul's client drops one leading slash when reading.
  const response = await api.send({ method: "GET", path: `/v1/kv/${key.startsWith("/") ? key.slice(1) : key}`, query });
  if (response.status === 404) return undefined;
  // Unlike everywhere else, without the body.
  if (response.status !== 200) throw new ApiError(`Unexpected response code: ${response.status}`, response.status);
  return response;
}

/** Whether the write was done: false when a check-and-set or a lock did not hold. Rejects with {@link ApiError}. */
export async function writePair(api: Api, key: string, value: Bytes, query: QueryParameters): Promise<boolean> {
  if (key.startsWith("/")) throw new ApiError(`Invalid key. Key must not begin with a '/': ${key}`);
  const response = await api.put(`/v1/kv/${key}`, query, value);
  return text(response.body).includes("true");
}

/** Whether it was deleted: false when a check-and-set did not hold. */
export async function deletePairs(api: Api, key: string, query: QueryParameters): Promise<boolean> {
  const response = await api.delete(`/v1/kv/${key.startsWith("/") ? key.slice(1) : key}`, query);
  return text(response.body).includes("true");
}

function pairOf(json: Json): KvPair {
  const fields = isObject(json) ? json : {};
  const encoded = typeof fields["Value"] === "string" ? fromBase64(fields["Value"]) : { bytes: new Uint8Array(0) };
  if (!("bytes" in encoded)) throw new ApiError(`illegal base64 data at input byte ${encoded.badAt}`);
  return {
    key: String(fields["Key"] ?? ""),
    value: encoded.bytes,
    flags: integer(fields["Flags"]),
    createIndex: integer(fields["CreateIndex"]),
    modifyIndex: integer(fields["ModifyIndex"]),
    lockIndex: integer(fields["LockIndex"]),
    session: String(fields["Session"] ?? ""),
  };
}

function integer(json: Json | undefined): bigint {
  if (typeof json === "bigint") return json;
  return typeof json === "number" && Number.isInteger(json) ? BigInt(json) : 0n;
}
