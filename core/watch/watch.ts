/**
 * A watch follows a part of the state by blocking queries and hands on each new content, as Consul 1.8's api/watch does:
 * for `consul watch`, and for the `watches` of an agent's configuration (plugins/watches).
 *
 *   asking ──answer──► other index, other content ──► handed on ──► asking with that index
 *     ▲ ▲                └── the same ────────────────────────────────────┘
 *     │ └── an index that went back: the state was restored, asked without one
 *     └──── 5 s × failures², at most 3 min ◄── no answer, or another than 200 and 404
 *
 * What is followed: query.ts. What is shown of it: shapes.ts. Whoever consumes the news takes its time: the next question
 * is asked when it comes for more.
 */
import { compactJson, type Json } from "../codec/exact-json.ts";
import type { QueryParameters } from "../codec/go-url.ts";
import { parseExactJson } from "../config/json.ts";
import { type Clock, pause } from "../ports/clock.ts";
import { type Bytes, strictText, text } from "../types/bytes.ts";
import type { Cancel } from "../types/cancel.ts";
import { AgentError } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import type { WatchQuery } from "./query.ts";

export const retryFirst: Millis = 5_000;
export const retryMax: Millis = 180_000;
/** After an answer that says nothing new: the longest wait is over, or the query did not block at all, and this must not spin. */
export const unchangedPause: Millis = 1_000;

export interface WatchAnswer {
  readonly status: number;
  /** X-Consul-Index. */
  readonly index: string | undefined;
  readonly body: Bytes;
}

export interface FollowOptions {
  readonly watch: WatchQuery;
  /** One query of the HTTP API. What it rejects with is a failure like any other. */
  readonly ask: (query: QueryParameters) => Promise<WatchAnswer>;
  readonly clock: Pick<Clock, "after">;
  readonly cancel: Cancel;
  readonly onFailure: (error: unknown, retry: Millis) => void;
}

export interface News {
  /** CONSUL_INDEX. 64 bits: that of events is a hash. */
  readonly index: bigint;
  readonly shown: Json;
}

/** Each new state, beginning with the present one. Failures are told and retried, ever more slowly; ends when cancelled. */
export async function* followState({ watch, ask, clock, cancel, onFailure }: FollowOptions): AsyncGenerator<News> {
  let index = 0n;
  let last: string | undefined;
  let failures = 0;
  while (!cancel.aborted) {
    let answer: News;
    try {
      answer = read(await ask(index > 0n ? { ...watch.query, index: String(index) } : watch.query), watch);
    } catch (error) {
      if (cancel.aborted) return;
      failures++;
      index = 0n;
      const retry = Math.min(retryFirst * failures * failures, retryMax);
      onFailure(error, retry);
      await pause(clock, retry, cancel);
      continue;
    }
    if (cancel.aborted) return;
    failures = 0;
    if (answer.index === index) await pause(clock, unchangedPause, cancel);
    const seen = index;
    index = watch.newsSince === undefined && answer.index < index ? 0n : answer.index;
    const shown = watch.newsSince?.(answer.shown, seen) ?? answer.shown;
    const content = compactJson(shown);
    if (content === last) continue;
    last = content;
    yield { index: answer.index, shown };
  }
}

/** Throws with the text of Consul's client. */
function read({ status, index, body }: WatchAnswer, watch: WatchQuery): News {
  if (status !== 200 && status !== 404) throw failed(`Unexpected response code: ${status} (${text(body)})`);
  const reached = index !== undefined && /^\d{1,20}$/.test(index) ? BigInt(index) : 0n;
  // Without an index the next query would not block: an agent that answers so is asked as if its state never changed.
  if (reached < 1n) throw failed("the answer has no X-Consul-Index");
  if (status === 404) return { index: reached, shown: watch.show(undefined) };
  const content = strictText(body);
  if (content === undefined) throw failed("The answer is not valid UTF-8: is this the address of a Consul agent?");
  return { index: reached, shown: watch.show(parseExactJson(content)) };
}

function failed(message: string): AgentError {
  return new AgentError("rejected", { message });
}
