/**
 * Replies rendered once and served many times. All clients that ask the same thing between two changes get the same
 * bytes; only what a server says of itself (the index headers) is checked on each reply.
 */
import type { QueryKind } from "../../core/catalog/queries.ts";
import type { AgentApi, Blocking, Consistency, ReadMeta, Shared, SharedRead } from "../../core/plugin/agent-api.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import type { HttpReply } from "./extension.ts";
import type { SharedBody } from "./gzip.ts";

/** A finished reply. */
export interface RenderedBody extends SharedBody {
  readonly status: number;
  /** With the index headers of `meta`. */
  readonly headers: readonly string[];
  /** What keeping this costs, its compressed form included, for the bound of the store's cache. */
  readonly bytes: number;
  /** What `headers` were made from. */
  readonly meta: ReadMeta;
  /** `headers` are sent as they are, whatever the server says of itself. */
  readonly fixedHeaders?: boolean;
  /** The headers before those of `meta`. */
  readonly ownHeaders: readonly string[];
}

/** A shared read that gives a reply, whatever it asks. */
export interface ReplyRead {
  readonly key: string;
  readonly consistency: Consistency;
  read(blocking: Blocking): Promise<Shared<RenderedBody>>;
  onError(error: unknown): HttpReply;
}

export function replyRead<Kind extends QueryKind>(
  agent: AgentApi,
  onError: ReplyRead["onError"],
  shared: SharedRead<Kind, RenderedBody>,
): ReplyRead {
  return {
    key: shared.key,
    consistency: shared.options.consistency,
    onError,
    read: (blocking) => agent.store.readShared(shared, blocking),
  };
}

const jsonAndVary: readonly string[] = ["Content-Type", "application/json", "Vary", "Accept-Encoding"];
const varyAlone: readonly string[] = ["Vary", "Accept-Encoding"];
const replyHeadersOverhead = 400;

/** `headers` instead of the content type of JSON; [] for an empty body. */
export function rendered(
  status: number,
  body: Bytes,
  meta: ReadMeta,
  consistency: string | undefined,
  headers?: readonly string[],
): RenderedBody {
  const base = headers === undefined ? jsonAndVary : headers.length === 0 ? varyAlone : [...headers, ...varyAlone];
  const ownHeaders = consistency === undefined ? base : [...base, "X-Consul-Effective-Consistency", consistency];
  return {
    status,
    headers: [...ownHeaders, ...metaHeaders(meta)],
    body,
    bytes: 2 * body.length + replyHeadersOverhead,
    meta,
    ownHeaders,
    gzip: undefined,
  };
}

export function metaHeaders(meta: ReadMeta): string[] {
  return [
    "X-Consul-Index",
    String(meta.index),
    "X-Consul-Knownleader",
    meta.knownLeader ? "true" : "false",
    "X-Consul-Lastcontact",
    String(Math.trunc(meta.lastContact)),
  ];
}

/** What an error says of itself where headers were set before it was known. */
export const unknownMeta: readonly string[] = [
  "X-Consul-Index",
  "1",
  "X-Consul-Knownleader",
  "false",
  "X-Consul-Lastcontact",
  "0",
];

/** The headers that are right now; the very array of the rendering when nothing changed since. */
export function currentHeaders({ meta, rendered }: Shared<RenderedBody>): readonly string[] {
  const made = rendered.meta;
  if (
    rendered.fixedHeaders === true ||
    made === meta ||
    (made.index === meta.index && made.knownLeader === meta.knownLeader && made.lastContact === meta.lastContact)
  ) {
    return rendered.headers;
  }
  return [...rendered.ownHeaders, ...metaHeaders(meta)];
}

/** How Consul names a mode in X-Consul-Effective-Consistency. */
export function effectiveConsistency(consistency: Consistency): string {
  return consistency === "default" ? "leader" : consistency;
}
