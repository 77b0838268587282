import { compileRegex } from "../structures/linear-regex.ts";
import type { Millis } from "../types/ids.ts";
import { type Query, type QueryResponse, responseFlags } from "./messages.ts";

/** Serf's ring: a query is remembered until this many Lamport times later. */
const slotsMax = 512;
/** Queries of one Lamport time; more can only be hostile. */
const idsPerSlotMax = 256;
/** Of our own, still open. */
const askedMax = 256;
/** Patterns longer than this are not compiled; the query then is not answered. */
const expressionLengthMax = 1024;

export interface Asked {
  readonly time: number;
  readonly id: number;
  readonly deadline: Millis;
  readonly acked: Set<string>;
  readonly answered: Set<string>;
}

/** Which queries were seen, and which of our own wait for answers. */
export class QueryRing {
  readonly #slots: ({ readonly time: number; readonly ids: number[] } | undefined)[] = new Array(slotsMax).fill(undefined);
  #timeMin = 0;
  /** By time and id. All are removed at their deadline. */
  readonly #asked = new Map<string, Asked>();

  /** When the first of our own queries is over. */
  get wakeAt(): Millis {
    let next = Number.POSITIVE_INFINITY;
    for (const asked of this.#asked.values()) next = Math.min(next, asked.deadline);
    return next;
  }

  /** Queries before this are old news: a change of keys must not be made again because its gossip still goes round. */
  ignoreBefore(time: number): void {
    this.#timeMin = Math.max(this.#timeMin, time);
  }

  /** True the first time. `now` is the query clock, which has witnessed the query. */
  admit(query: Query, now: number): boolean {
    if (query.time < this.#timeMin) return false;
    if (now > slotsMax && query.time < now - slotsMax) return false;
    const at = query.time % slotsMax;
    const slot = this.#slots[at];
    // So old that a later one took its place: nobody can tell whether it was seen. Serf believes it.
    if (slot !== undefined && slot.time > query.time) return false;
    if (slot === undefined || slot.time !== query.time) {
      this.#slots[at] = { time: query.time, ids: [query.id] };
      return true;
    }
    if (slot.ids.length >= idsPerSlotMax || slot.ids.includes(query.id)) return false;
    slot.ids.push(query.id);
    return true;
  }

  /** False when there are too many already. */
  asked(query: Query, deadline: Millis): boolean {
    if (this.#asked.size >= askedMax) return false;
    this.#asked.set(keyOf(query), { time: query.time, id: query.id, deadline, acked: new Set(), answered: new Set() });
    return true;
  }

  /** The query that `response` answers, the first time this member does; undefined otherwise, and for more than `answersMax` of them. */
  answered(response: QueryResponse, answersMax: number): Asked | undefined {
    const asked = this.#asked.get(keyOf(response));
    if (asked === undefined) return undefined;
    const heard = response.flags & responseFlags.ack ? asked.acked : asked.answered;
    if (heard.has(response.from) || heard.size >= answersMax) return undefined;
    heard.add(response.from);
    return asked;
  }

  /** Removes those whose time is up. */
  expire(now: Millis): readonly Asked[] {
    const over: Asked[] = [];
    for (const [key, asked] of this.#asked) {
      if (asked.deadline > now) continue;
      over.push(asked);
      this.#asked.delete(key);
    }
    return over;
  }
}

/** Whether `query` is meant for the member `name` with `tags`. What cannot be understood does not pass. */
export function passesFilters(query: Query, name: string, tags: Readonly<Record<string, string>>): boolean {
  for (const filter of query.filters ?? []) {
    if (filter.kind === "unknown") return false;
    if (filter.kind === "nodes") {
      if (!filter.nodes.includes(name)) return false;
      continue;
    }
    if (filter.expression.length > expressionLengthMax) return false;
    const compiled = compileRegex(filter.expression);
    if (!("regex" in compiled) || !compiled.regex.test(tags[filter.tag] ?? "")) return false;
  }
  return true;
}

function keyOf(query: { readonly time: number; readonly id: number }): string {
  return `${query.time} ${query.id}`;
}
