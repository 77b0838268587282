/** Replies: JSON, text, nothing; and what an error turns into. */
import { AgentError, type ErrorCode, messageOf } from "../../core/types/errors.ts";
import { type Bytes, emptyBytes, utf8 } from "../../core/types/bytes.ts";
import type { HttpReply } from "./extension.ts";
import type { SharedBody } from "./gzip.ts";
import { indentJson } from "./json-write.ts";

/** A reply with the body it came from, which keeps its compressed form. Its headers say that compression varies it. */
export interface SharedReply extends HttpReply {
  readonly rendered: SharedBody;
}

const jsonHeaders = ["Content-Type", "application/json"] as const;
const textHeaders = ["Content-Type", "text/plain; charset=utf-8"] as const;

/** Every error text Consul sends is sniffed by Go as plain text; an empty one has no type. */
export function textReply(status: number, body: string, headers: readonly string[] = []): HttpReply {
  if (body === "") return { status, headers, body: emptyBytes };
  return { status, headers: [...textHeaders, ...headers], body: utf8(body) };
}

export function emptyReply(status = 200, headers: readonly string[] = []): HttpReply {
  return { status, headers, body: emptyBytes };
}

/** `json` is compact; `pretty` indents it and adds the newline. */
export function jsonReply(json: string, pretty: boolean, status = 200, headers: readonly string[] = []): HttpReply {
  return { status, headers: headers.length === 0 ? jsonHeaders : [...jsonHeaders, ...headers], body: jsonBody(json, pretty) };
}

export function jsonBody(json: string, pretty: boolean): Bytes {
  return utf8(pretty ? `${indentJson(json)}\n` : json);
}

/** What nearly every write is answered with: made once, and so put on the wire and compressed once for many. */
const booleanReplies = {
  compact: { yes: sharedJson("true"), no: sharedJson("false") },
  pretty: { yes: sharedJson("true\n"), no: sharedJson("false\n") },
};

export function booleanReply(value: boolean, pretty: boolean): SharedReply {
  const { yes, no } = pretty ? booleanReplies.pretty : booleanReplies.compact;
  return value ? yes : no;
}

function sharedJson(json: string): SharedReply {
  const body = utf8(json);
  return { status: 200, headers: [...jsonHeaders, "Vary", "Accept-Encoding"], body, rendered: { body, gzip: undefined } };
}

/** A refusal that carries its own status, for texts that Consul writes before an error would. */
export class Refusal extends Error {
  readonly status: number;
  /** Sent besides the content type. */
  readonly headers: readonly string[];

  constructor(status: number, message: string, headers: readonly string[] = []) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

const statusOf: Readonly<Partial<Record<ErrorCode, number>>> = {
  "bad-request": 400,
  "permission-denied": 403,
  "not-found": 404,
  "too-large": 413,
  "rate-limited": 429,
  "not-supported": 501,
};

/** 500 with the text as it is, unless the error's code has a status of its own. A rate limit has no text. */
export function errorReply(error: unknown, headers: readonly string[] = []): HttpReply {
  if (error instanceof Refusal) return textReply(error.status, error.message, [...error.headers, ...headers]);
  const status = error instanceof AgentError ? (statusOf[error.code] ?? 500) : 500;
  return textReply(status, status === 429 ? "" : messageOf(error), headers);
}
