/**
 * A semaphore as Consul's Go client lays it out below a prefix:
 *
 *   PREFIX/SESSION   one for each contender, held by its session: gone or free, and the contender is dead
 *   PREFIX/.lock     {"Limit":2,"Holders":{"SESSION":true,…}}, changed by check-and-set
 */
import { text, utf8 } from "../../core/types/bytes.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { messageOf } from "../../core/types/errors.ts";
import { joinKeyPath } from "../../core/types/key-path.ts";
import { type Contest, type ContestOptions, type Held, nextWait, untilLost } from "./contest.ts";
import { isObject, parseJson } from "./json.ts";
import { deletePairs, type KvPair, readPairs, watchPairs, writePair } from "./kv-api.ts";
import { explain } from "./lock.ts";

/** "This key is part of a semaphore." */
const semaphoreFlag = 0xe0f69a2baa414de0n;
const conflict = "Existing key does not match semaphore use";
/** Attempts to leave while others come and go. */
const releaseAttemptsMax = 100;

interface Slots {
  readonly limit: number;
  readonly holders: ReadonlySet<string>;
}

export class Semaphore implements Contest {
  readonly #options: ContestOptions;
  readonly #prefix: string;
  readonly #limit: number;
  readonly #lockKey: string;
  readonly #released = new AbortController();

  constructor(options: ContestOptions, prefix: string, limit: number) {
    this.#options = options;
    this.#prefix = prefix;
    this.#limit = limit;
    this.#lockKey = joinKeyPath(prefix, ".lock");
  }

  async acquire(stop: Cancel): Promise<Held | undefined> {
    const { api, clock, session } = this.#options;
    const begun = clock.monotonic();
    const contender = { acquire: session.id, flags: String(semaphoreFlag) };
    const made = await explain("failed to make contender entry", writePair(api, this.#contenderKey(), utf8(""), contender));
    if (made !== true) throw new Error("failed to make contender entry: <nil>");
    let index = "0";
    for (let attempt = 0; !stop.aborted; attempt++) {
      const wait = nextWait(this.#options, begun, attempt);
      if (wait === undefined) return undefined;
      const query = { recurse: "", ...(index !== "0" && { index }), wait: `${wait}ms` };
      const seen = await explain("failed to read prefix", watchPairs(api, this.#prefix, query, stop), stop);
      if (seen === undefined) return undefined;
      const pair = this.#find(seen.pairs);
      const slots = this.#slots(pair, seen.pairs);
      if (slots.limit !== this.#limit) throw new Error(`semaphore limit conflict (lock: ${slots.limit}, local: ${this.#limit})`);
      if (slots.holders.size >= slots.limit) {
        index = seen.index;
        continue;
      }
      if (await this.#swap(pair, new Set([...slots.holders, session.id]))) return this.#held();
    }
    return undefined;
  }

  async release(): Promise<void> {
    const { api, session } = this.#options;
    this.#released.abort();
    for (let attempt = 0; attempt < releaseAttemptsMax; attempt++) {
      const [pair] = await readPairs(api, this.#lockKey, {});
      const holders = new Set(this.#decode(pair).holders);
      // Others who died are left to whoever competes next.
      if (!holders.delete(session.id) || (await this.#swap(pair, holders))) break;
    }
    await deletePairs(api, this.#contenderKey(), {});
  }

  async cleanUp(): Promise<"removed" | "in use"> {
    const { api } = this.#options;
    const pairs = (await explain("failed to read prefix", readPairs(api, this.#prefix, { recurse: "" }))) ?? [];
    const pair = this.#find(pairs);
    if (pair === undefined) return "removed";
    if (this.#slots(pair, pairs).holders.size > 0) return "in use";
    const query = { cas: String(pair.modifyIndex) };
    return (await explain("failed to remove semaphore", deletePairs(api, this.#lockKey, query))) === true ? "removed" : "in use";
  }

  #held(): Held {
    const { api, session } = this.#options;
    const stop = this.#released.signal;
    const lost = untilLost(this.#options, stop, async (index) => {
      const query = { recurse: "", consistent: "", ...(index !== "0" && { index }) };
      const seen = await watchPairs(api, this.#prefix, query, stop);
      return { held: this.#slots(this.#find(seen.pairs), seen.pairs).holders.has(session.id), index: seen.index };
    });
    return { lost };
  }

  #contenderKey(): string {
    return joinKeyPath(this.#prefix, this.#options.session.id);
  }

  #find(pairs: readonly KvPair[]): KvPair | undefined {
    const pair = pairs.find(({ key }) => key === this.#lockKey);
    if (pair !== undefined && pair.flags !== semaphoreFlag) throw new Error(conflict);
    return pair;
  }

  /** Without the holders whose contender entry nobody holds any more. */
  #slots(pair: KvPair | undefined, pairs: readonly KvPair[]): Slots {
    const alive = new Set(pairs.map(({ session }) => session).filter((session) => session !== ""));
    const { limit, holders } = this.#decode(pair);
    return { limit, holders: new Set([...holders].filter((holder) => alive.has(holder))) };
  }

  #decode(pair: KvPair | undefined): Slots {
    if (pair === undefined || pair.value.length === 0) return { limit: this.#limit, holders: new Set() };
    try {
      const decoded = parseJson(text(pair.value));
      const fields = isObject(decoded) ? decoded : {};
      const holders = isObject(fields["Holders"]) ? Object.keys(fields["Holders"]) : [];
      return { limit: Number(fields["Limit"] ?? 0), holders: new Set(holders) };
    } catch (error) {
      throw new Error(`lock decoding failed: ${messageOf(error)}`, { cause: error });
    }
  }

  async #swap(pair: KvPair | undefined, holders: ReadonlySet<string>): Promise<boolean> {
    const value = {
      Limit: this.#limit,
      Holders: Object.fromEntries([...holders].sort().map((holder) => [holder, true])),
    };
    const query = { cas: String(pair?.modifyIndex ?? 0n), flags: String(semaphoreFlag) };
    const work = writePair(this.#options.api, this.#lockKey, utf8(JSON.stringify(value)), query);
    return (await explain("failed to update lock", work)) === true;
  }
}
